"""The names of weights in checkpoints of other code -> their names in this package's models."""

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


# The original's fusion models -> GerFusionForImageClassification as published, in this order. `crossvit:` marks the
# second file of its model 5, whose small branch has the faces and whose large branch has the scene.
TRANSFORMER = "crossvit:"
_BLOCK = r"^crossvit:multi_scale_encoder\.layers\.(\d+)\."
_FUSION = (
    (r"^global_model\.", "scene_backbone.features."),
    (r"^align_model\.fc6\.", "face_projection."),
    (r"^align_model\.", "face_net."),
    (r"^global_fc_main\.", "scene_projection."),
    (r"^global_fc\.", "pooling.query."),
    (r"^attentionfc1\.", "pooling.score.0."),
    (r"^attentionfc2\.", "pooling.score.1."),
    (r"^(bn_debug_face|bn_face_features)\.", "pooled_standardize."),
    (r"^(bn_debug_global|bn_global)\.", "scene_standardize."),
    (r"^global_fc3_debug\.", "head."),
    (r"^crossvit:sm_", "pooling.face_"),
    (r"^crossvit:lg_", "pooling.scene_"),
    (r"_image_embedder\.pos_embedding$", "_positions"),
    (r"_image_embedder\.cls_token$", "_class_token"),
    (r"_mlp_head\.", "_head."),
    (_BLOCK + r"0\.", r"pooling.face_branches.\1."),
    (_BLOCK + r"1\.", r"pooling.scene_branches.\1."),
    (_BLOCK + r"2\.layers\.(\d+)\.0\.fn\.", r"pooling.face_to_scene.\1.\2."),
    (_BLOCK + r"2\.layers\.(\d+)\.1\.fn\.", r"pooling.scene_to_face.\1.\2."),
    (r"\.layers\.(\d+)\.0\.", r".layers.\1.attention."),
    (r"\.layers\.(\d+)\.1\.norm\.", r".layers.\1.mlp.0."),
    (r"\.layers\.(\d+)\.1\.fn\.net\.0\.", r".layers.\1.mlp.1."),
    (r"\.layers\.(\d+)\.1\.fn\.net\.3\.", r".layers.\1.mlp.4."),
    (r"\.fn\.to_q\.", ".query."),
    (r"\.fn\.to_kv\.", ".key_value."),
    (r"\.fn\.to_out\.", ".out."),
)
# layers that the original's forward pass does not use -> why they are dropped
UNUSED = {
    "crossvit:sm_image_embedder.to_patch_embedding.1": "not used by the original: tokens come from the face network",
    "crossvit:lg_image_embedder.to_patch_embedding.1": "not used by the original: tokens come from the scene network",
    "crossvit:linear": "not used by the original: the classifier of the transformer's pretraining",
}


def fusion_name(name: str) -> str:
    """As the weights of the original's fusion models are called; other names stay as they are.

    >>> fusion_name("align_model.fc6.bias"), fusion_name("crossvit:lg_mlp_head.0.weight")
    ('face_projection.bias', 'pooling.scene_head.0.weight')
    >>> fusion_name("crossvit:multi_scale_encoder.layers.1.2.layers.0.1.fn.fn.to_q.weight")
    'pooling.scene_to_face.1.0.query.weight'
    """
    name = _OLD_DENSE_LAYER.sub(r"\1\2.", name)
    for pattern, replacement in _FUSION:
        name = re.sub(pattern, replacement, name)
    return name
