"""The only file that creates a timm model."""

from __future__ import annotations

import difflib

import timm
from torch import nn


def create_backbone(name: str, pretrained: bool = False) -> nn.Module:
    """The timm model `name` without its classifier: photos (batch, 3, height, width) -> features (batch, width).

    Args:
        name: a timm model's name.
        pretrained: load timm's ImageNet weights, from the local cache or from the Hub. For training only: a
            checkpoint brings its own weights.

    Raises:
        ValueError: timm knows no such model; the message names similar ones.
        OSError: the ImageNet weights are neither in the cache nor within reach.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.4)
        raise ValueError(f"timm has no model {name!r}; near it are {', '.join(near) or 'none'}")
    return timm.create_model(name, pretrained=pretrained, num_classes=0)


def feature_width(backbone: nn.Module) -> int:
    """The width of what `create_backbone`'s models return."""
    return backbone.head_hidden_size  # type: ignore[return-value]  # timm's models all have it


def keep_own_weights(module: nn.Module) -> None:
    """Mark `module` as initialised, so that `post_init` does not draw its weights anew.

    On direct construction transformers would re-initialise every layer with N(0, 0.02), and a backbone's own
    initialisation or its ImageNet weights would be lost without a word.
    """
    if any(parameter.is_meta for parameter in module.parameters()):
        return  # from_pretrained builds on the meta device and fills in the checkpoint's weights
    for part in module.modules():
        part._is_hf_initialized = True  # type: ignore[assignment]  # a flag of transformers'


def init_non_persistent_buffers(module: nn.Module) -> None:
    """Recompute the buffers of a timm layer that no checkpoint holds, where it has any."""
    recompute = getattr(module, "init_non_persistent_buffers", None)
    if callable(recompute):
        recompute()
