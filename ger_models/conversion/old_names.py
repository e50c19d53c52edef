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


# The original's fusion models -> GerFusionForImageClassification as published. `crossvit:` marks the second file of
# its model 5.
TRANSFORMER = "crossvit:"
_FUSION_LAYERS = {
    "align_model.fc6": "face_projection",
    "global_fc_main": "scene_projection",
    "global_fc": "pooling.query",
    "attentionfc1": "pooling.score.0",
    "attentionfc2": "pooling.score.1",
    "global_fc3_debug": "head",
    "bn_debug_face": "pooled_standardize",
    "bn_debug_global": "scene_standardize",
    "bn_face_features": "pooled_standardize",
    "bn_global": "scene_standardize",
}
_SIDES = {"sm": "face", "lg": "scene"}
_BRANCHES = ("face_branches", "scene_branches")
_CROSSINGS = ("face_to_scene", "scene_to_face")
_ATTENTION = {"norm": "norm", "fn.to_q": "query", "fn.to_kv": "key_value", "fn.to_out.0": "out.0"}
_FEED_FORWARD = {"norm": "0", "fn.net.0": "1", "fn.net.3": "4"}
_BRANCH_LAYER = re.compile(r"multi_scale_encoder\.layers\.(\d+)\.([01])\.(?:layers\.(\d+)\.([01])\.)?(.+)")
_CROSSING_LAYER = re.compile(r"multi_scale_encoder\.layers\.(\d+)\.2\.layers\.(\d+)\.([01])\.fn\.(.+)")
_SIDE_LAYER = re.compile(r"(sm|lg)_(mlp_head\.\d|image_embedder\.(?:pos_embedding|cls_token))(?:\.(.+))?")
_SIDE_PARTS = {"image_embedder.pos_embedding": "positions", "image_embedder.cls_token": "class_token"}
# weights that the original's own forward does not use
UNUSED = {
    "crossvit:sm_image_embedder.to_patch_embedding.1": "not used by the original: tokens come from the face network",
    "crossvit:lg_image_embedder.to_patch_embedding.1": "not used by the original: tokens come from the scene network",
    "crossvit:linear": "not used by the original: the classifier of the transformer's pretraining",
}


def fusion_name(name: str) -> str | None:
    """A weight of the original's fusion models; None: nothing is called so.

    >>> fusion_name("align_model.fc6.bias"), fusion_name("crossvit:lg_mlp_head.0.weight")
    ('face_projection.bias', 'pooling.scene_head.0.weight')
    """
    if name.startswith(TRANSFORMER):
        found = _transformer_name(name.removeprefix(TRANSFORMER))
        return found and f"pooling.{found}"
    layer, _, kind = name.rpartition(".")
    if layer in _FUSION_LAYERS:
        return f"{_FUSION_LAYERS[layer]}.{kind}"
    network, _, rest = name.partition(".")
    if network == "global_model":
        return "scene_backbone.features." + _OLD_DENSE_LAYER.sub(r"\1\2.", rest)
    return f"face_net.{rest}" if network == "align_model" else None


def _transformer_name(name: str) -> str | None:
    """Of the original's CrossViT: `sm` is the faces' branch, `lg` the scene's."""
    if side := _SIDE_LAYER.fullmatch(name):
        part = _SIDE_PARTS.get(side[2]) or side[2].replace("mlp_", "") + f".{side[3]}"
        return f"{_SIDES[side[1]]}_{part}"
    layer, _, kind = name.rpartition(".")
    if crossing := _CROSSING_LAYER.fullmatch(layer):
        block, turn, way, part = crossing.groups()
        return f"{_CROSSINGS[int(way)]}.{block}.{turn}.{_ATTENTION.get(part)}.{kind}"
    branch = _BRANCH_LAYER.fullmatch(layer)
    if not branch:
        return None
    block, which, number, sublayer, part = branch.groups()
    place = f"{_BRANCHES[int(which)]}.{block}"
    if number is None:
        return f"{place}.{part}.{kind}"
    parts, kept = (_ATTENTION, "attention") if sublayer == "0" else (_FEED_FORWARD, "mlp")
    return f"{place}.layers.{number}.{kept}.{parts.get(part)}.{kind}"
