"""The named models in one table: configuration, processor and training recipe. A new model is a row here, or a
Preset that an entry point `group_emotion.presets` of another package names.

Reading the table imports neither torch nor transformers.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from ger_datasets.schema import FACE_FEATURE_DIM
from ger_datasets.support.errors import UserError, one_line

from .training.recipe import Recipe, modern

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from .processing_ger import GerProcessor

ENTRY_POINTS = "group_emotion.presets"

# MTCNN gives hands and patterns 0.7 to 0.87, and faces 0.93 and more unless they are very small
MIN_FACE_SCORE = 0.9

# what the fusion models read, by the fields `faces` and `scene` of their configuration
FACE_COLUMNS = {
    "features": "face_features",
    "images": "aligned_faces",
    "expressions": "face_boxes",
    "patches": "sampled_patches",
}
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
        published: whether it re-creates a published system, whose pixels and faces it keeps. Others take size, mean,
            standard deviation and interpolation from their backbone, where it starts from ImageNet weights, and leave
            out faces below `MIN_FACE_SCORE`.
    """

    architecture: str
    recipe: Recipe
    source: str
    config: Mapping[str, Any] = field(default_factory=dict)
    photo_column: str = "image"
    uses_scene_features: bool = False
    imagenet: bool = False
    processor: Mapping[str, Any] = field(default_factory=dict)
    published: bool = False
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

    def follows_backbone(self, overrides: str = "") -> bool:
        """Whether photos are made as the backbone's published weights take them: it is another than the preset's own,
        or its ImageNet weights are this package's choice."""
        fields = self.fields(overrides)
        if "backbone" in fields and fields["backbone"] != self.config.get("backbone"):
            return True
        return self.starts_from_imagenet(overrides) and not self.published

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

    def renamed(self, overrides: str = "") -> dict[str, str]:
        """Columns that the processor reads -> the dataset's columns that hold them, where the names differ."""
        if self.architecture != "ger_fusion":
            return {}
        fields = self.fields(overrides)
        names = {"face_features": fields.get("face_column"), "scene_feature": fields.get("scene_column")}
        return {own: str(column) for own, column in names.items() if column and column != own}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a prepared dataset that the model reads without overrides."""
        return self.dataset_columns()

    def dataset_columns(self, overrides: str = "") -> tuple[str, ...]:
        """The columns of a prepared dataset that the model and its processor read."""
        made = self.processor_columns(overrides)
        beside = ["image"] if "face_boxes" in made else []
        if self.processor_settings["min_face_score"] and {*FACE_COLUMNS.values()}.intersection(made):
            beside.append("face_scores")
        renamed = self.renamed(overrides)
        return tuple(dict.fromkeys(renamed.get(column, column) for column in [*made, *beside]))

    @property
    def processor_settings(self) -> dict[str, Any]:
        """The settings of its processor, the least face score included."""
        return {"min_face_score": 0.0 if self.published else MIN_FACE_SCORE, **self.processor}

    def optional_columns(self, overrides: str = "") -> tuple[str, ...]:
        """Those that it reads of datasets in which they are filled."""
        if not self.uses_scene_features or "scene" in self.fields(overrides):
            return ()
        return (self.renamed(overrides).get("scene_feature", "scene_feature"),)


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
        published=True,
        imagenet=True,
        recipe=_sgd(learning_rate, epochs=27, step_epochs=9),
        source=source,
    )


_SIGLIP = "vit_base_patch16_siglip_224.v2_webli"
_FINETUNE = Recipe(
    "adamw",
    learning_rate=0.0003,
    epochs=12,
    batch_size=32,
    schedule="cosine",
    warmup=0.1,
    weight_decay=0.05,
    max_grad_norm=1.0,
    loss="cross_entropy",
    label_smoothing=0.1,
    ema=0.999,
    layer_decay=0.75,
    gradient_checkpointing=True,
)


def _probe(backbone: str, source: str) -> Preset:
    """A linear classifier over a frozen backbone; it reads the column of its vectors where the dataset has one."""
    return Preset(
        "ger_scene",
        imagenet=True,
        config={"backbone": backbone, "freeze_backbone": True},
        recipe=Recipe(
            "adamw",
            learning_rate=0.001,
            epochs=30,
            batch_size=64,
            schedule="cosine",
            warmup=0.1,
            weight_decay=0.01,
            loss="cross_entropy",
        ),
        more={"finetune": _FINETUNE},
        source=f"linear probe of {source}",
    )


PRESETS: dict[str, Preset] = {
    "face_aligned": Preset(
        "ger_face",
        published=True,
        recipe=_sgd(0.01, epochs=25),
        more=_FINE_TUNE,
        source="the original's model 0: SphereFace-20 on aligned faces, the mean of the faces' logits",
    ),
    "densenet_emotic": Preset(
        "ger_scene",
        config={"backbone": "densenet161"},
        imagenet=True,
        published=True,
        recipe=_sgd(0.001, epochs=16, batch_size=32),
        source="the original's model 1: DenseNet-161 (Huang et al. 2017), trained on EMOTIC, then on GAF 3.0",
    ),
    "resnet_places": Preset(
        "ger_scene",
        config={"backbone": "resnet18"},
        imagenet=True,
        published=True,
        recipe=_sgd(0.001, epochs=25),
        source="the original's model 2: ResNet-18 (He et al. 2016) from Places365 (Zhou et al. 2017)",
    ),
    "densenet_skeleton": Preset(
        "ger_scene",
        photo_column="skeleton",
        config={"backbone": "densenet161"},
        imagenet=True,
        published=True,
        recipe=_sgd(0.001, epochs=25),
        source="the original's model 3: DenseNet-161 on skeleton images",
    ),
    "efficientnet_skeleton": Preset(
        "ger_scene",
        photo_column="skeleton",
        config={"backbone": "tf_efficientnet_b6", "dropout": 0.5},
        imagenet=True,
        published=True,
        recipe=_sgd(0.001, epochs=25),
        source="the original's model 4: EfficientNet-B6 (Tan and Le 2019) on skeleton images",
    ),
    "fusion_crossvit": _fusion(
        "cross_attention", 0.001, "the original's model 5: faces and scene through a cross-attention transformer"
    ),
    "fusion_crossvit_group_scene": replace(
        _fusion("cross_attention", 0.001, "the original's models 5 and 6A for Group & Scene, of up to 16 faces"),
        processor={**_WHOLE_PHOTO, "max_faces": 16},
        recipe=_sgd(0.001, epochs=21, batch_size=8),
        more={"faces": _sgd(0.001, epochs=18, batch_size=8, step_epochs=9)},
    ),
    "patches_crossvit": Preset(
        "ger_fusion",
        config={**_FUSION, "faces": "patches", "pooling": "cross_attention", "freeze_scene": False},
        processor={**_WHOLE_PHOTO, "patch_side": 224},
        published=True,
        imagenet=True,
        recipe=_sgd(0.01, epochs=30, batch_size=32, step_epochs=6),
        source="the original's model 6B for Group & Scene: four patches of photos without faces, and the scene",
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
        published=True,
        recipe=_sgd(0.01, epochs=25),
        more=_FINE_TUNE,
        source=f"{_ATTENTION}: SphereFace-20 with the large-margin softmax",
    ),
    "fusion_average": Preset(
        "ger_fusion",
        config={"faces": "features", "scene": "image", "pooling": "average", "join": "both", "project": False},
        processor=_WHOLE_PHOTO,
        imagenet=True,
        published=True,
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
    "siglip_probe": _probe(_SIGLIP, "SigLIP 2 (Tschannen et al. 2025, arXiv 2502.14786)"),
    "clip_probe": _probe("vit_base_patch16_clip_224.openai", "CLIP (Radford et al. 2021, arXiv 2103.00020)"),
    "dino_probe": _probe("vit_base_patch14_dinov2.lvd142m", "DINOv2 (Oquab et al. 2023, arXiv 2304.07193)"),
    "siglip_finetune": Preset(
        "ger_scene",
        imagenet=True,
        config={"backbone": _SIGLIP, "dropout": 0.1},
        recipe=_FINETUNE,
        source="SigLIP 2 (Tschannen et al. 2025, arXiv 2502.14786), all layers trained, lower ones more slowly",
    ),
    "scene_and_faces": Preset(
        "ger_fusion",
        uses_scene_features=True,
        config={
            "pooling": "mean_and_max",
            "project": False,
            "hidden_size": 128,
            "head_layers": 1,
            "dropout": 0.3,
            "feature_dropout": 0.3,
        },
        recipe=_FEATURES_RECIPE,
        source="the scene's vector beside the mean and maximum of the faces' vectors, each normalised, and one hidden "
        "layer",
    ),
    "face_expressions": Preset(
        "ger_expression",
        processor={"max_faces": 200},
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
    name: str,
    class_names: Sequence[str],
    scene_dim: int = 0,
    overrides: str = "",
    pretrained: bool = False,
    face_dim: int | None = None,
) -> tuple[PreTrainedModel, GerProcessor]:
    """A new model of the preset `name`, and its processor.

    Args:
        class_names: the dataset's, in the order of its labels.
        scene_dim: length of the dataset's scene features; 0 if it has none.
        overrides: configuration fields, `field=value,…`.
        pretrained: start from the backbone's published weights, timm's or, for `backbone=hf:REPO`, the repository's.
        face_dim: length of the dataset's face features; None: O-Net's.

    Raises:
        UserError: no such preset or field, or a value that the configuration refuses.
        OSError: the published weights are neither in the cache nor within reach.
    """
    from .auto import MODELS
    from .backbones import data_settings
    from .processing_ger import GerProcessor

    chosen = preset(name)
    fields, columns = chosen.fields(overrides), chosen.processor_columns(overrides)
    if scene_dim and chosen.optional_columns(overrides):
        fields["scene"], columns = "feature", (*columns, "scene_feature")
        if not fields.get("project", True):
            fields.setdefault("join", "both")  # the pooling does not see the scene
    if fields.get("scene") == "feature":
        fields.setdefault("scene_dim", scene_dim)
    if fields.get("faces", "features") == "features" and face_dim is not None:
        fields.setdefault("face_dim", face_dim)
    labels = dict(enumerate(class_names))
    tower, pixels = None, {}
    if str(fields.get("backbone", "")).startswith("hf:") and chosen.architecture == "ger_scene":
        tower, preprocessing, fields = _hub_backbone(fields)
        pixels = {"preprocessing": preprocessing.to_dict()}
    try:
        config = chosen.config_class(id2label=labels, label2id={name: i for i, name in labels.items()}, **fields)
        published = pretrained and chosen.starts_from_imagenet(overrides)
        from_timm = published and tower is None
        model = MODELS[chosen.config_class](config, **({"pretrained": True} if from_timm else {}))
        if published and tower is not None:
            model.backbone.load_state_dict(tower.state_dict())
        backbones = [part for part_name, part in model.named_children() if part_name.endswith("backbone")]
        if backbones and tower is None and chosen.follows_backbone(overrides):
            pixels = data_settings(backbones[0])
        settings = {**pixels, **chosen.processor_settings, "renamed": chosen.renamed(overrides)}
        settings["face_dim"] = fields.get("face_dim", FACE_FEATURE_DIM)
        return model, GerProcessor(columns=columns, scene_dim=fields.get("scene_dim", 0), **settings)
    except ValueError as error:
        raise UserError(str(error)) from error


def _hub_backbone(fields: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """The vision model that `backbone=hf:REPO` names, its preprocessing, and the configuration's fields with it.

    Raises:
        UserError: no such repository or folder, or one without a vision model.
    """
    from ger_datasets.support.hub_connection import read_from_hub
    from ger_datasets.support.repository_names import is_missing_folder, public_name

    from .backbones import load_tower

    repository = fields["backbone"].removeprefix("hf:")
    if not repository or is_missing_folder(repository):
        raise UserError(f"backbone=hf:{repository}: no such folder; give a repository of the Hub or a folder")
    try:
        tower, preprocessing, _ = read_from_hub(repository, lambda: load_tower(repository))
    except UserError:
        raise
    except Exception as error:  # transformers raises a dozen kinds on another's files
        raise UserError(f"the backbone hf:{repository} cannot be loaded: {one_line(error)}") from error
    own = {"backbone": f"hf:{public_name(repository)}", "backbone_config": tower.fields}
    return tower, preprocessing, {**fields, **own}
