"""The models' configurations, one class per architecture. Each is checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from transformers import PreTrainedConfig

NO_LABEL = -1  # a photo whose label is withheld

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")  # FER2013's order
# which group emotion an expression counts for; surprise can be either, and counts for none
GROUPS = {
    "angry": "Negative",
    "disgust": "Negative",
    "fear": "Negative",
    "sad": "Negative",
    "neutral": "Neutral",
    "happy": "Positive",
}
# the network over a face: channels and residual blocks of each stage
EXPRESSION_WIDTHS, EXPRESSION_BLOCKS = (24, 48, 80, 160, 224), (0, 2, 2, 2, 1)
ANSWER_COMBINATIONS = ("probabilities", "logarithms")


def _refuse(config: PreTrainedConfig, field: str, rule: str) -> NoReturn:
    raise ValueError(f"{type(config).__name__}.{field} must be {rule}, not {getattr(config, field)!r}")


def _check_int(config: PreTrainedConfig, field: str, least: int, most: int) -> None:
    value = getattr(config, field)
    if type(value) is not int or not least <= value <= most:  # a bool is an int to isinstance
        _refuse(config, field, f"a whole number from {least} to {most}")


def _check_number(config: PreTrainedConfig, field: str, least: float, most: float) -> None:
    value = getattr(config, field)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        _refuse(config, field, f"from {least} to {most}")


def _check_bool(config: PreTrainedConfig, field: str) -> None:
    if not isinstance(getattr(config, field), bool):
        _refuse(config, field, "true or false")


def _check_choice(config: PreTrainedConfig, field: str, choices: tuple[str, ...]) -> None:
    if getattr(config, field) not in choices:
        _refuse(config, field, f"one of {', '.join(choices)}")


def _check_backbone(config: PreTrainedConfig) -> None:
    if not isinstance(config.backbone, str) or not config.backbone:
        _refuse(config, "backbone", "the name of a timm model")


def _check_stages(config: PreTrainedConfig, widths: str, blocks: str) -> None:
    """The fields `widths` and `blocks` describe an ExpressionNet."""
    for field, least in ((widths, 8), (blocks, 0)):
        values = getattr(config, field)
        numbers = values if isinstance(values, (list, tuple)) else ()
        if not numbers or any(type(number) is not int or not least <= number <= 1024 for number in numbers):
            _refuse(config, field, f"a list of whole numbers from {least} to 1024")
        setattr(config, field, list(values))
    counts = getattr(config, blocks)
    if len(getattr(config, widths)) != len(counts) or any(count < 1 for count in counts[1:]):
        _refuse(config, blocks, f"as many numbers as {widths}, of which only the first may be 0")


class GerSceneConfig(PreTrainedConfig):
    """A whole photo (or skeleton image) through one convolutional network.

    Args:
        backbone: a timm model's name.
        dropout: share of the backbone's features that is dropped before the head, 0 to 0.95.
    """

    model_type = "ger_scene"

    def __init__(self, backbone: str = "densenet161", dropout: float = 0.0, **kwargs: Any) -> None:
        self.backbone = backbone
        self.dropout = dropout
        super().__init__(**kwargs)
        _check_backbone(self)
        _check_number(self, "dropout", 0, 0.95)


class GerFaceConfig(PreTrainedConfig):
    """Aligned faces, each through SphereFace-20; a photo's logits are the mean over its faces.

    Args:
        channels: of SphereFace's first stage; 64 is SphereFace-20, fewer make it narrower throughout.
        margin: of the large-margin softmax, 2 to 8; 1: plain softmax.
        dropout: share of a face's embedding that is dropped before the head, 0 to 0.95.
    """

    model_type = "ger_face"

    def __init__(self, channels: int = 64, margin: int = 1, dropout: float = 0.0, **kwargs: Any) -> None:
        self.channels = channels
        self.margin = margin
        self.dropout = dropout
        super().__init__(**kwargs)
        _check_int(self, "channels", 1, 1024)
        _check_int(self, "margin", 1, 8)
        _check_number(self, "dropout", 0, 0.95)


class GerFusionConfig(PreTrainedConfig):
    """Faces and a scene, each brought to tokens, the faces pooled into one vector, and both classified.

    Args:
        faces: where faces come from: `features` (of O-Net, precomputed), `images` (aligned, through SphereFace-20) or
            `expressions` (grey squares, through the network of GerExpressionConfig without its head).
        scene: where the scene comes from: `none`, `feature` (precomputed) or `image` (the photo, through `backbone`).
        pooling: how faces become one vector: a name in `modeling_fusion.POOLINGS`.
        join: what is classified: `pooled`, the pooled vector alone; `both`, it and the scene's vector, each through
            BatchNorm without affine, concatenated.
        backbone: a timm model's name; of use where `scene` is `image`.
        freeze_scene: whether the backbone stays as it is in training, its BatchNorm statistics too.
        project: whether faces and scene are brought to `hidden_size`; if not, `join` takes them as they are.
        freeze_faces: whether the network over the faces stays as it is in training, its BatchNorm statistics too; of
            use where `faces` is `images` or `expressions`.
        face_widths: channels of each stage of the network where `faces` is `expressions`.
        face_blocks: residual blocks of each of these stages.
        face_channels: of SphereFace's first stage, where `faces` is `images`; 64 is SphereFace-20.
        face_dim: length of one face's precomputed feature; 256 for MTCNN's O-Net.
        scene_dim: length of the precomputed scene feature; 0 where there is none.
        hidden_size: width of the tokens and of the pooled vector.
        depth: blocks of cross-attention, each of a face branch, a scene branch and their crossing.
        face_layers: transformer layers per block over the face tokens (CrossViT's small branch).
        scene_layers: transformer layers per block over the scene token (CrossViT's large branch).
        cross_rounds: rounds of cross-attention per block.
        heads: attention heads.
        head_dim: width of one head.
        mlp_dim: hidden width of the feed-forward layers.
        dropout: in attention and feed-forward layers, 0 to 0.95.
        feature_dropout: share of faces' and scene's features that is dropped before their projection, 0 to 0.95.
        as_published: compute as the original's code did, errors included (see the end of `pooling.py`); for converted
            checkpoints only.
        face_slots: how many faces the original padded each photo to, 1 to 16; of use where `as_published`.
    """

    model_type = "ger_fusion"

    def __init__(
        self,
        faces: str = "features",
        scene: str = "none",
        pooling: str = "cross_attention",
        join: str = "pooled",
        backbone: str = "densenet161",
        freeze_scene: bool = True,
        freeze_faces: bool = False,
        face_widths: Sequence[int] = EXPRESSION_WIDTHS,
        face_blocks: Sequence[int] = EXPRESSION_BLOCKS,
        project: bool = True,
        face_channels: int = 64,
        face_dim: int = 256,
        scene_dim: int = 0,
        hidden_size: int = 256,
        depth: int = 4,
        face_layers: int = 2,
        scene_layers: int = 3,
        cross_rounds: int = 2,
        heads: int = 8,
        head_dim: int = 64,
        mlp_dim: int = 2048,
        dropout: float = 0.1,
        feature_dropout: float = 0.0,
        as_published: bool = False,
        face_slots: int = 15,
        **kwargs: Any,
    ) -> None:
        self.faces = faces
        self.scene = scene
        self.pooling = pooling
        self.join = join
        self.backbone = backbone
        self.freeze_scene = freeze_scene
        self.freeze_faces = freeze_faces
        self.face_widths = face_widths
        self.face_blocks = face_blocks
        self.project = project
        self.face_channels = face_channels
        self.face_dim = face_dim
        self.scene_dim = scene_dim
        self.hidden_size = hidden_size
        self.depth = depth
        self.face_layers = face_layers
        self.scene_layers = scene_layers
        self.cross_rounds = cross_rounds
        self.heads = heads
        self.head_dim = head_dim
        self.mlp_dim = mlp_dim
        self.dropout = dropout
        self.feature_dropout = feature_dropout
        self.as_published = as_published
        self.face_slots = face_slots
        super().__init__(**kwargs)
        _check_choice(self, "faces", ("features", "images", "expressions"))
        _check_choice(self, "scene", ("none", "feature", "image"))
        _check_choice(self, "join", ("pooled", "both"))
        _check_backbone(self)
        _check_int(self, "scene_dim", 1 if scene == "feature" else 0, 65536)
        for field in ("face_channels", "face_dim", "hidden_size", "heads", "head_dim", "mlp_dim"):
            _check_int(self, field, 1, 65536)
        for field in ("depth", "face_layers", "scene_layers", "cross_rounds"):
            _check_int(self, field, 1, 64)
        for field in ("dropout", "feature_dropout"):
            _check_number(self, field, 0, 0.95)
        for field in ("freeze_scene", "freeze_faces", "project"):
            _check_bool(self, field)
        _check_stages(self, "face_widths", "face_blocks")
        if faces == "features" and freeze_faces:
            raise ValueError("GerFusionConfig.freeze_faces must be false where faces is features, not True")
        if join == "both" and scene == "none":
            raise ValueError("GerFusionConfig.join must be pooled where scene is none, not 'both'")
        if not project and pooling != "average":
            raise ValueError(f"GerFusionConfig.project must be true for the pooling {pooling!r}")
        _check_bool(self, "as_published")
        _check_int(self, "face_slots", 1, 16)
        if as_published and (scene != "image" or join != "both" or faces not in ("features", "images")):
            raise ValueError(
                "GerFusionConfig.as_published must be false unless faces is features or images, scene is image and "
                "join is both"
            )


class GerExpressionConfig(PreTrainedConfig):
    """The faces of a photo, each through a small network that recognises its expression; the group's emotion follows
    from all of them.

    The labels (`id2label`) are either the expressions themselves, as in a dataset of single faces, or the group
    emotions that `groups` names.

    Args:
        expressions: names of the network's outputs, in order.
        groups: expression -> the group emotion that it counts for. Expressions that are not named count for none.
        priors: group emotion -> its share of the faces that the network was trained on, to the power that was found
            best on validation. A face's probabilities are divided by them, so that an emotion with many expressions
            is not favoured. None: no correction.
        combination: `probabilities` averages the faces' probabilities, `logarithms` their logarithms.
        answer_temperature: divides the logits of the group's answer, above 0; higher is less certain.
        widths: channels of each stage of the network; the last is the width of a face's embedding.
        blocks: residual blocks of each stage.
        dropout: share of the embedding that is dropped before the head in training, 0 to 0.95.
    """

    model_type = "ger_expression"

    def __init__(
        self,
        expressions: Sequence[str] = EXPRESSIONS,
        groups: Mapping[str, str] | None = None,
        priors: Mapping[str, float] | None = None,
        combination: str = "probabilities",
        answer_temperature: float = 1.0,
        widths: Sequence[int] = EXPRESSION_WIDTHS,
        blocks: Sequence[int] = EXPRESSION_BLOCKS,
        dropout: float = 0.3,
        **kwargs: Any,
    ) -> None:
        self.expressions = list(expressions)
        self.groups = dict(GROUPS if groups is None else groups)
        self.priors = None if priors is None else dict(priors)
        self.combination = combination
        self.answer_temperature = answer_temperature
        self.widths = widths
        self.blocks = blocks
        self.dropout = dropout
        super().__init__(**kwargs)
        if not self.expressions or not all(isinstance(name, str) for name in self.expressions):
            _refuse(self, "expressions", "a list of names")
        _check_choice(self, "combination", ANSWER_COMBINATIONS)
        _check_number(self, "answer_temperature", 0.001, 100)
        _check_number(self, "dropout", 0, 0.95)
        _check_stages(self, "widths", "blocks")
        if self.priors is not None and any(not 0 < share <= 1 for share in self.priors.values()):
            _refuse(self, "priors", "shares above 0 and at most 1")
