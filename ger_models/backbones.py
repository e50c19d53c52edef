"""What the models share: their base class, and networks from pixels to features (timm's, which only this file creates,
and the small one for faces)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any

import timm
import timm.data
import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from .configuration_ger import NO_LABEL


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


def data_settings(backbone: nn.Module) -> dict[str, Any]:
    """How photos are made for a backbone's published weights, as settings of GerProcessor: size, the share that the
    square covers, mean, standard deviation and interpolation.

    Raises:
        ValueError: it takes photos that are not square.
    """
    found = timm.data.resolve_data_config(pretrained_cfg=backbone.pretrained_cfg)
    height, width = found["input_size"][1:]
    if height != width:
        raise ValueError(
            f"the backbone takes photos of {width} x {height} pixels; only squares are made for a backbone"
        )
    return {
        "crop_size": height,
        "resize_shorter": max(height, math.floor(height / found["crop_pct"])),
        "keep_aspect": found["crop_mode"] == "center",
        "image_mean": found["mean"],
        "image_std": found["std"],
        # others, such as lanczos, are close to bicubic
        "interpolation": "bilinear" if found["interpolation"] == "bilinear" else "bicubic",
    }


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


class GerPreTrainedModel(PreTrainedModel):
    """The base class of this package's models.

    A `forward` names its inputs and refuses others with a TypeError; decorated with `can_return_tuple`, it returns a
    tuple where `return_dict=False`.

    Attributes:
        has_face_outputs: whether `forward` takes `output_faces`, which adds the outputs for each face.
    """

    input_modalities = ("image",)
    has_face_outputs = False

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        recompute = getattr(module, "init_non_persistent_buffers", None)
        if callable(recompute):  # buffers of timm's layers that no checkpoint holds
            recompute()

    @staticmethod
    def classification_loss(logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor | None:
        """Cross-entropy of logits (photos, classes) and labels (photos,), -1 for none; None without labels."""
        return None if labels is None else F.cross_entropy(logits, labels, ignore_index=NO_LABEL)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a number from 0 to 1 that depends on all channels' means (Hu et al. 2018)."""

    def __init__(self, width: int, reduction: int = 8) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, width // reduction, 1)
        self.up = nn.Conv2d(width // reduction, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(faces, width, height, width of the map) -> the same shape."""
        return x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with BatchNorm beside a shortcut (He et al. 2016); the shortcut averages where the map
    shrinks (He et al. 2019, ResNet-D)."""

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(wide)
        self.excitation = SqueezeExcitation(wide)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or narrow != wide:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride), nn.Conv2d(narrow, wide, 1, bias=False), nn.BatchNorm2d(wide)
            )
        nn.init.zeros_(self.norm2.weight)  # each block begins as its shortcut (Goyal et al. 2017)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(faces, narrow, side, side) -> (faces, wide, side / stride, side / stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.excitation(self.norm2(self.conv2(y)))
        return F.relu(y + self.shortcut(x))


class ExpressionNet(nn.Module):
    """Grey faces (faces, 1, 48, 48), scaled to -1 ... 1 -> embeddings (faces, last of `widths`).

    Args:
        widths: channels of each stage; every stage but the first halves the map.
        blocks: residual blocks of each stage; the first may have none, since at full resolution they cost most.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        layers: list[nn.Module] = []
        narrow = widths[0]
        for stage, (wide, count) in enumerate(zip(widths, blocks, strict=True)):
            for i in range(count):
                layers.append(ResidualBlock(narrow, wide, stride=2 if stage and not i else 1))
                narrow = wide
        self.body = nn.Sequential(*layers)
        self.width = narrow
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """(faces, 1, 48, 48), scaled to -1 ... 1 -> (faces, width)."""
        return self.body(self.stem(faces)).mean((2, 3))
