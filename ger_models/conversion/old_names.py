"""What the weights of others' checkpoints are called in this package's models."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

WRAPPERS = ("module.", "model.", "non_align_model.")  # DataParallel, trainers, the original's mean over the faces

# DenseNet in torchvision before 0.2 (2017), whose published weights are still called so
_OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")

# lukemelas' efficientnet_pytorch -> timm: the stem and the top; then blocks with an expansion, and those without,
# which are depthwise-separable
_EFFICIENT_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "fc"}
_EFFICIENT_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_EFFICIENT_FIRST = {**_EFFICIENT_BLOCK, "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
del _EFFICIENT_FIRST["_expand_conv"], _EFFICIENT_FIRST["_bn0"]


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Each name, and what is left of it without the wrappers' prefixes that all of them share.

    >>> unwrapped(["module.fc.weight", "module.fc.bias"])
    {'module.fc.weight': 'fc.weight', 'module.fc.bias': 'fc.bias'}
    """
    bare = {name: name for name in names}
    while bare and (wrapper := next((w for w in WRAPPERS if all(left.startswith(w) for left in bare.values())), None)):
        bare = {name: left.removeprefix(wrapper) for name, left in bare.items()}
    return bare


def scene_name(name: str, backbone: nn.Module) -> str | None:
    """`conv1.weight` -> `backbone.conv1.weight`, `classifier.bias` -> `head.bias`; None: nothing is called so.

    Args:
        name: as in torchvision's DenseNet and ResNet (timm has kept these names), timm, or efficientnet_pytorch.
        backbone: the timm model of the checkpoint to be.
    """
    name = _OLD_DENSE_LAYER.sub(r"\1\2.", name)
    if name.startswith("_"):
        name = _efficient_name(name, backbone) or ""
    layer, _, kind = name.rpartition(".")
    own = getattr(backbone, "pretrained_cfg", {}).get("classifier")
    if layer in {"fc", "classifier", "head", own}:
        return f"head.{kind}"
    return f"backbone.{name}" if name else None


def _efficient_name(name: str, backbone: nn.Module) -> str | None:
    layer, _, kind = name.rpartition(".")
    if layer in _EFFICIENT_TOP:
        return f"{_EFFICIENT_TOP[layer]}.{kind}"
    numbered = re.fullmatch(r"_blocks\.(\d{1,3})\.(\w+)", layer)
    places = [
        (i, j, block) for i, stage in enumerate(getattr(backbone, "blocks", ())) for j, block in enumerate(stage)
    ]
    if not numbered or int(numbered[1]) >= len(places):
        return None
    i, j, block = places[int(numbered[1])]
    layers = _EFFICIENT_BLOCK if hasattr(block, "conv_pwl") else _EFFICIENT_FIRST
    return f"blocks.{i}.{j}.{layers[numbered[2]]}.{kind}" if numbered[2] in layers else None


def face_name(name: str) -> str | None:
    """As SphereFace-20's public weights are called.

    >>> face_name("conv1_1.weight"), face_name("fc6.weight")
    ('net.conv1_1.weight', 'head.weight')
    """
    return f"head.{name.removeprefix('fc6.')}" if name.startswith("fc6.") else f"net.{name}"
