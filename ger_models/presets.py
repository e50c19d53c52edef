"""The named models in one table: configuration, processor and training recipe. A new model is a row here, or a
Preset that an entry point `group_emotion.presets` of another package names.

Reading the table imports neither torch nor transformers.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from ger_datasets.support.errors import UserError, one_line

from .training.recipe import Recipe, modern

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from .processing_ger import GerProcessor

ENTRY_POINTS = "group_emotion.presets"

# input columns of the fusion models, by the fields `faces` and `scene` of their configuration
FACE_COLUMNS = {"features": "face_features", "images": "aligned_faces", "expressions": "face_boxes"}
SCENE_COLUMNS = {"none": (), "feature": ("scene_feature",), "image": ("image",)}


@dataclass(frozen=True)
class Preset:
    """A named model.

    Attributes:
        architecture: `model_type` of its configuration.
        recipe: the default training recipe.
        more: other recipes, by name.
        source: source of the configuration and the recipe.
        config: fields of the configuration that differ from the class's defaults.
        photo_column: column that a scene model reads: `image` or `skeleton`.
        uses_scene_features: whether the model reads `scene_feature` of datasets that have it.
        imagenet: whether training may start a backbone, if there is one, from timm's ImageNet weights.
        processor: settings of the processor that differ from its defaults.
    """

    architecture: str
    recipe: Recipe
    source: str
    config: Mapping[str, Any] = field(default_factory=dict)
    photo_column: str = "image"
    uses_scene_features: bool = False
    imagenet: bool = False
    processor: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Recipe] = field(default_factory=dict)

    @property
    def config_class(self) -> type[PreTrainedConfig]:
        """The class of its configuration."""
        from .auto import MODELS

        return next(config for config in MODELS if config.model_type == self.architecture)

    @property
    def recipes(self) -> dict[str, Recipe]:
        """All recipes by name, the default first; `modern` is AdamW, cosine, balanced classes and averaged weights."""
        rate = 0.0003 if self.starts_from_imagenet() else 0.001
        return {"default": self.recipe, **self.more, "modern": modern(self.recipe, rate)}

    def fields(self, overrides: str = "") -> dict[str, Any]:
        """The configuration's fields, `overrides` (`field=value,…`) included."""
        return {**self.config, **(parse_overrides(overrides, self.config_class) if overrides else {})}

    def starts_from_imagenet(self, overrides: str = "") -> bool:
        """Whether the model has a backbone that can start from timm's ImageNet weights."""
        if self.architecture != "ger_fusion" or not self.imagenet:
            return self.imagenet
        return self.fields(overrides).get("scene") == "image"

    def processor_columns(self, overrides: str = "") -> tuple[str, ...]:
        """The columns that the processor turns into the model's inputs; they follow from the configuration.

        Raises:
            UserError: an unknown field or an invalid value.
        """
        if self.architecture == "ger_fusion":
            fields = self.fields(overrides)
            faces, scene = fields.get("faces", "features"), fields.get("scene", "none")
            for name, value, known in (("faces", faces, FACE_COLUMNS), ("scene", scene, SCENE_COLUMNS)):
                if not isinstance(value, str) or value not in known:
                    raise UserError(f"GerFusionConfig.{name} must be one of {', '.join(known)}, not {value!r}")
            patches = ("sampled_patches",) if (faces, scene) == ("images", "image") else ()
            return (FACE_COLUMNS[faces], *patches, *SCENE_COLUMNS[scene])
        others = {"ger_face": "aligned_faces", "ger_expression": "face_boxes"}
        return (others.get(self.architecture, self.photo_column),)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a prepared dataset that the model reads without overrides."""
        return self.dataset_columns()

    def dataset_columns(self, overrides: str = "") -> tuple[str, ...]:
        """The columns of a prepared dataset that the model and its processor read."""
        made = self.processor_columns(overrides)
        beside = [*(["image"] if "face_boxes" in made else []), *(["face_scores"] if self._leaves_faces_out() else [])]
        return tuple(dict.fromkeys([*made, *beside]))

    def _leaves_faces_out(self) -> bool:
        return bool(self.processor.get("min_face_score"))

    def optional_columns(self, overrides: str = "") -> tuple[str, ...]:
        """The columns that are read only if the dataset has them filled."""
        return ("scene_feature",) if self.uses_scene_features and "scene" not in self.fields(overrides) else ()


def _sgd(learning_rate: float, epochs: int, batch_size: int = 16, step_epochs: int = 7) -> Recipe:
    """The original's recipe: SGD with momentum 0.9, the learning rate divided by 10 every few epochs."""
    return Recipe("sgd", learning_rate, epochs, batch_size, step_epochs=step_epochs)


_FINE_TUNE = {"fine_tune": _sgd(0.001, epochs=8, step_epochs=4)}  # the original's second stage

_SMALL = {
    "hidden_size": 64,
    "depth": 1,
    "face_layers": 1,
    "scene_layers": 1,
    "cross_rounds": 1,
    "heads": 4,
    "head_dim": 16,
    "mlp_dim": 128,
    "feature_dropout": 0.5,
}
_FEATURES_RECIPE = Recipe(
    "adamw",
    learning_rate=0.001,
    epochs=24,
    batch_size=16,
    schedule="cosine",
    warmup=0.1,
    weight_decay=0.05,
    max_grad_norm=1.0,
)
_FUSION = {"faces": "images", "scene": "image", "join": "both", "feature_dropout": 0.5}
_WHOLE_PHOTO = {"keep_aspect": False}  # the fusion models saw the whole photo at 224 x 224
_ATTENTION = "Gupta et al. 2018, arXiv 1807.03380"


def _fusion(pooling: str, learning_rate: float, source: str) -> Preset:
    """Aligned faces and the whole photo, at the original's size."""
    return Preset(
        "ger_fusion",
        config={**_FUSION, "pooling": pooling},
        processor=_WHOLE_PHOTO,
        imagenet=True,
        recipe=_sgd(learning_rate, epochs=27, step_epochs=9),
        source=source,
    )


PRESETS: dict[str, Preset] = {
    "face_aligned": Preset(
        "ger_face",
        recipe=_sgd(0.01, epochs=25),
        more=_FINE_TUNE,
        source="the original's model 0: SphereFace-20 on aligned faces, the mean of the faces' logits",
    ),
    "densenet_emotic": Preset(
        "ger_scene",
        config={"backbone": "densenet161"},
        imagenet=True,
        recipe=_sgd(0.001, epochs=16, batch_size=32),
        source="the original's model 1: DenseNet-161 (Huang et al. 2017), trained on EMOTIC, then on GAF 3.0",
    ),
    "resnet_places": Preset(
        "ger_scene",
        config={"backbone": "resnet18"},
        imagenet=True,
        recipe=_sgd(0.001, epochs=25),
        source="the original's model 2: ResNet-18 (He et al. 2016) from Places365 (Zhou et al. 2017)",
    ),
    "densenet_skeleton": Preset(
        "ger_scene",
        photo_column="skeleton",
        config={"backbone": "densenet161"},
        imagenet=True,
        recipe=_sgd(0.001, epochs=25),
        source="the original's model 3: DenseNet-161 on skeleton images",
    ),
    "efficientnet_skeleton": Preset(
        "ger_scene",
        photo_column="skeleton",
        config={"backbone": "tf_efficientnet_b6", "dropout": 0.5},
        imagenet=True,
        recipe=_sgd(0.001, epochs=25),
        source="the original's model 4: EfficientNet-B6 (Tan and Le 2019) on skeleton images",
    ),
    "fusion_crossvit": _fusion(
        "cross_attention", 0.001, "the original's model 5: faces and scene through a cross-attention transformer"
    ),
    "densenet": Preset(
        "ger_scene",
        config={"backbone": "densenet161"},
        imagenet=True,
        recipe=_sgd(0.001, epochs=16, batch_size=32),
        source="DenseNet-161 (Huang et al. 2017) from ImageNet alone",
    ),
    "face_aligned_lsoftmax": Preset(
        "ger_face",
        config={"margin": 4},
        recipe=_sgd(0.01, epochs=25),
        more=_FINE_TUNE,
        source=f"{_ATTENTION}: SphereFace-20 with the large-margin softmax",
    ),
    "fusion_average": Preset(
        "ger_fusion",
        config={"faces": "features", "scene": "image", "pooling": "average", "join": "both", "project": False},
        processor=_WHOLE_PHOTO,
        imagenet=True,
        recipe=_sgd(0.001, epochs=24),
        source=f"{_ATTENTION}: the mean of O-Net's features beside the scene's",
    ),
    "fusion_attention_scene": _fusion(
        "attention_scene", 0.001, f"{_ATTENTION}, attention A: the scene's vector asks, the faces answer"
    ),
    "fusion_attention_intermediate": _fusion(
        "attention_intermediate", 0.001, f"{_ATTENTION}, attention B: scene and faces meet in 64 dimensions"
    ),
    "fusion_attention_score": _fusion(
        "attention_score", 0.01, f"{_ATTENTION}, attention C: each face has a score of its own"
    ),
    "features_crossvit": Preset(
        "ger_fusion",
        uses_scene_features=True,
        imagenet=True,
        config=_SMALL,
        recipe=_FEATURES_RECIPE,
        more={"original": _sgd(0.001, epochs=24)},
        # The original's has 40 million weights; this one, of 0.2 million, learns from a few hundred photos.
        source="the original's pretraining stage of model 5, at a width that a few hundred photos can train",
    ),
    "expressions_crossvit": Preset(
        "ger_fusion",
        uses_scene_features=True,
        imagenet=True,
        config={**_SMALL, "faces": "expressions"},
        recipe=_FEATURES_RECIPE,
        source="features_crossvit over the embeddings of face_expressions instead of O-Net's features",
    ),
    "face_expressions": Preset(
        "ger_expression",
        processor={"max_faces": 200, "min_face_score": 0.9},
        recipe=Recipe(
            "adamw",
            learning_rate=0.005,
            epochs=60,
            batch_size=256,
            schedule="cosine",
            warmup=0.15,
            weight_decay=0.1,
            max_grad_norm=2.0,
            loss="cross_entropy",
            label_smoothing=0.1,
            ema=0.998,
        ),
        source="a small residual network over each face; trained on single faces, it ships with the package",
    ),
    "face_aligned_tiny": Preset(
        "ger_face",
        config={"channels": 8},
        recipe=modern(_sgd(0.001, epochs=6), learning_rate=0.001),
        source="face_aligned at an eighth of its width: a few hundred photos train it from nothing, on a CPU",
    ),
    "fusion_crossvit_tiny": Preset(
        "ger_fusion",
        config={
            **_SMALL,
            **_FUSION,
            "pooling": "cross_attention",
            "face_channels": 8,
            "backbone": "test_resnet",
            "freeze_scene": False,
            "feature_dropout": 0.2,
        },
        processor=_WHOLE_PHOTO,
        recipe=modern(_sgd(0.001, epochs=5), learning_rate=0.001),
        source="fusion_crossvit at a small part of its width: a few hundred photos train it from nothing, on a CPU",
    ),
}

# The original's numbers for its models.
ALIASES = {
    "model0": "face_aligned",
    "model1": "densenet_emotic",
    "model2": "resnet_places",
    "model3": "densenet_skeleton",
    "model4": "efficientnet_skeleton",
    "model5": "fusion_crossvit",
}


def preset(name: str) -> Preset:
    """The preset `name`, or the original's number for it.

    >>> preset("model1") is preset("densenet_emotic")
    True

    Raises:
        UserError: no such model; the message lists those there are.
    """
    name = ALIASES.get(name, name)
    if name in PRESETS:
        return PRESETS[name]
    others = _of_other_packages()
    if name not in others:
        raise UserError(f"unknown model {name!r}: there are {', '.join(preset_names())}")
    try:
        found = others[name].load()
    except Exception as error:  # another package's code may raise anything
        raise UserError(f"the model {name} cannot be loaded from {others[name].value}: {one_line(error)}") from error
    if not isinstance(found, Preset):
        raise UserError(f"the model {name}: {others[name].value} must be a Preset, not a {type(found).__name__}")
    return found


def preset_names() -> list[str]:
    """The names of all presets, including those of other packages, which are not imported."""
    return list(dict.fromkeys([*PRESETS, *_of_other_packages()]))


def _of_other_packages() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def parse_overrides(text: str, config_class: type[PreTrainedConfig]) -> dict[str, Any]:
    """`backbone=resnet18,dropout=0.1` -> {"backbone": "resnet18", "dropout": 0.1}; fields of `config_class` only.
    Values are parsed as JSON if possible, otherwise as text: `widths=[8,16],blocks=[0,1]` are two lists.

    >>> from ger_models import GerSceneConfig
    >>> parse_overrides("backbone=resnet18,dropout=0.1", GerSceneConfig)
    {'backbone': 'resnet18', 'dropout': 0.1}

    Raises:
        UserError: no field of that name, or no `=`.
    """
    overrides: dict[str, Any] = {}
    own = [field for field in inspect.signature(config_class.__init__).parameters if field not in ("self", "kwargs")]
    for item in filter(None, (part.strip() for part in re.split(r",(?=\s*\w+\s*=)", text))):
        name, equals, value = item.partition("=")
        if not equals or name not in own:
            raise UserError(
                f"cannot read {item!r} in the configuration overrides: write FIELD=VALUE, of {', '.join(own)}"
            )
        try:
            overrides[name] = json.loads(value)
        except ValueError:
            overrides[name] = value
    return overrides


def build(
    name: str, class_names: Sequence[str], scene_dim: int = 0, overrides: str = "", pretrained: bool = False
) -> tuple[PreTrainedModel, GerProcessor]:
    """A new model of the preset `name`, and its processor.

    Args:
        class_names: the dataset's, in the order of its labels.
        scene_dim: length of the dataset's scene features; 0 if it has none.
        overrides: configuration fields, `field=value,…`.
        pretrained: start from timm's ImageNet weights.

    Raises:
        UserError: no such preset or field, or a value that the configuration refuses.
        OSError: the ImageNet weights are not in the cache and cannot be downloaded.
    """
    from .auto import MODELS
    from .processing_ger import GerProcessor

    chosen = preset(name)
    fields, columns = chosen.fields(overrides), chosen.processor_columns(overrides)
    if scene_dim and chosen.optional_columns(overrides):
        fields["scene"], columns = "feature", (*columns, "scene_feature")
    if fields.get("scene") == "feature":
        fields.setdefault("scene_dim", scene_dim)
    labels = dict(enumerate(class_names))
    try:
        config = chosen.config_class(id2label=labels, label2id={name: i for i, name in labels.items()}, **fields)
        imagenet = pretrained and chosen.starts_from_imagenet(overrides)
        model = MODELS[chosen.config_class](config, **({"pretrained": True} if imagenet else {}))
        return model, GerProcessor(columns=columns, scene_dim=fields.get("scene_dim", 0), **chosen.processor)
    except ValueError as error:
        raise UserError(str(error)) from error
