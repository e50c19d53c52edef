"""The named models: configuration, processor and training recipe, one table. A new model is a row here."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from ger_datasets.errors import UserError

from .auto import MODELS
from .configuration_ger import GerFusionConfig, GerSceneConfig
from .processing_ger import GerProcessor


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        optimizer: a name in `training.OPTIMIZERS`.
        schedule: a name in `training.SCHEDULES`: `step` divides the learning rate by 10 every `step_epochs`; `cosine`
            warms up over the first tenth of the steps and falls to 0.
        batch_size: photos per process and step.
        max_grad_norm: gradients are clipped to this norm; 0 leaves them alone.
    """

    optimizer: str
    learning_rate: float
    epochs: int
    batch_size: int
    schedule: str = "step"
    step_epochs: int = 7
    weight_decay: float = 0.0
    max_grad_norm: float = 0.0


@dataclass(frozen=True)
class Preset:
    """A named model.

    Attributes:
        config_class: its architecture.
        columns: what it reads of a prepared dataset; those in `optional` only where the dataset has them filled.
        recipe: how it is trained.
        source: where the configuration and the recipe come from.
        config: fields of the configuration that differ from the class's defaults.
        imagenet: whether training may start from timm's ImageNet weights.
    """

    config_class: type[PreTrainedConfig]
    columns: Sequence[str]
    recipe: Recipe
    source: str
    config: Mapping[str, Any] = field(default_factory=dict)
    optional: Sequence[str] = ()
    imagenet: bool = False


PRESETS: dict[str, Preset] = {
    "densenet_emotic": Preset(
        GerSceneConfig,
        columns=("image",),
        config={"backbone": "densenet161"},
        imagenet=True,
        recipe=Recipe("sgd", learning_rate=0.001, epochs=16, batch_size=32, step_epochs=7),
        source="the original's model 1: DenseNet-161 (Huang et al. 2017), SGD with momentum 0.9",
    ),
    "features_crossvit": Preset(
        GerFusionConfig,
        columns=("face_features",),
        optional=("scene_feature",),
        config={
            "hidden_size": 64,
            "depth": 1,
            "face_layers": 1,
            "scene_layers": 1,
            "cross_rounds": 1,
            "heads": 4,
            "head_dim": 16,
            "mlp_dim": 128,
            "feature_dropout": 0.5,
        },
        recipe=Recipe(
            "adamw",
            learning_rate=0.001,
            epochs=30,
            batch_size=16,
            schedule="cosine",
            weight_decay=0.05,
            max_grad_norm=1.0,
        ),
        # The original's has 40 million weights; this one, of 0.2 million, learns from a few hundred photos.
        source="the original's pretraining stage of model 5, at a width that a few hundred photos can train",
    ),
}


def preset(name: str) -> Preset:
    """The preset `name`; UserError that lists the models there are."""
    if name not in PRESETS:
        raise UserError(f"unknown model {name!r}: there are {', '.join(PRESETS)}")
    return PRESETS[name]


def parse_overrides(text: str, config_class: type[PreTrainedConfig]) -> dict[str, Any]:
    """`backbone=resnet18,dropout=0.1` -> {"backbone": "resnet18", "dropout": 0.1}; fields of `config_class` only."""
    overrides: dict[str, Any] = {}
    own = [field for field in inspect.signature(config_class.__init__).parameters if field not in ("self", "kwargs")]
    for item in filter(None, (part.strip() for part in text.split(","))):
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
        scene_dim: length of the dataset's scene features; 0 where it has none.
        overrides: configuration fields, `field=value,…`.
        pretrained: start from timm's ImageNet weights.

    Raises:
        UserError: no such preset or field, or a value that the configuration refuses.
        OSError: the ImageNet weights are neither in the cache nor within reach.
    """
    chosen = preset(name)
    fields = {**chosen.config, **parse_overrides(overrides, chosen.config_class)}
    columns = list(chosen.columns)
    if scene_dim and "scene_feature" in chosen.optional:
        columns.append("scene_feature")
        fields["scene_dim"] = scene_dim
    labels = dict(enumerate(class_names))
    try:
        config = chosen.config_class(id2label=labels, label2id={name: i for i, name in labels.items()}, **fields)
        model_class = MODELS[chosen.config_class]
        model = model_class(config, pretrained=True) if pretrained and chosen.imagenet else model_class(config)
        return model, GerProcessor(columns=columns, scene_dim=fields.get("scene_dim", 0))
    except ValueError as error:
        raise UserError(str(error)) from error
