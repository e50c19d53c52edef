"""The models' configurations, one class per architecture. Constructors validate the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from transformers import PreTrainedConfig

NO_LABEL = -1  # a photo whose label is withheld
FACE_WIDTH, FACE_HEIGHT = 96, 112  # pixels of an aligned face; the original of this system used 112 x 96

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")  # FER2013's order
# expression -> group emotion; surprise can be positive or negative, so it is left out
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


def _maps_names(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Whether `value` maps names to values of `kind`."""
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(each, kind) and not isinstance(each, bool) for name, each in value.items()
    )


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
    """A whole photo (or skeleton image) through one network.

    Args:
        backbone: a timm model's name, or `hf:REPO`, a vision model of transformers, which `backbone_config` describes.
        dropout: share of the backbone's features that is dropped before the head, 0 to 0.95.
        backbone_config: of `hf:` backbones: the vision model's configuration, `model_type` included.
        freeze_backbone: whether the backbone stays as it is in training, its BatchNorm statistics too.
        unit_length: whether features are divided by their length before the head, as zero-shot heads need it.
        prompts: of zero-shot heads: class -> the texts that its weights come from.
    """

    model_type = "ger_scene"

    def __init__(
        self,
        backbone: str = "densenet161",
        dropout: float = 0.0,
        backbone_config: Mapping[str, Any] | None = None,
        freeze_backbone: bool = False,
        unit_length: bool = False,
        prompts: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.backbone = backbone
        self.dropout = dropout
        self.backbone_config = backbone_config
        self.freeze_backbone = freeze_backbone
        self.unit_length = unit_length
        self.prompts = prompts
        super().__init__(**kwargs)
        _check_backbone(self)
        _check_number(self, "dropout", 0, 0.95)
        for field in ("freeze_backbone", "unit_length"):
            _check_bool(self, field)
        if backbone_config is not None and not isinstance(backbone_config, Mapping):
            _refuse(self, "backbone_config", "a mapping, or none")
        if (backbone_config is not None) != backbone.startswith("hf:"):
            _refuse(self, "backbone_config", "given for backbones hf:REPO, and for no others")


class GerFaceConfig(PreTrainedConfig):
    """SphereFace-20 over each aligned face; a photo's logits are the mean over its faces.

    Args:
        channels: channels of SphereFace's first stage; 64 is SphereFace-20. All stages scale with it.
        margin: margin of the large-margin softmax, 2 to 8; 1: plain softmax.
        dropout: dropout rate of a face's embedding before the head, 0 to 0.95.
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
    """Faces and a scene are projected to tokens, the faces are pooled into one vector, and the result is classified.

    Args:
        faces: input of the faces: `features` (precomputed by O-Net), `images` (aligned faces, encoded by
            SphereFace-20), `expressions` (grey squares, encoded by the network of GerExpressionConfig without its
            head) or `patches` (no faces: the sampled patches, encoded by `backbone`).
        scene: input of the scene: `none`, `feature` (precomputed) or `image` (the photo, encoded by `backbone`).
        pooling: a name in `modeling_fusion.POOLINGS`.
        join: input of the classifier: `pooled`, the pooled vector; `both`, the pooled vector and the scene's vector,
            concatenated after BatchNorm without affine parameters.
        backbone: a timm model's name; used if `scene` is `image`.
        freeze_scene: freeze the backbone, including its BatchNorm statistics.
        freeze_pooling: freeze the pooling, without dropout; its weights then come from another run.
        project: project faces and scene to `hidden_size`; otherwise `join` takes them unprojected.
        freeze_faces: freeze the face network, including its BatchNorm statistics; used if `faces` is `images` or
            `expressions`.
        face_widths: channels of each stage of the face network if `faces` is `expressions`.
        face_blocks: residual blocks of each of these stages.
        face_channels: channels of SphereFace's first stage if `faces` is `images`; 64 is SphereFace-20.
        face_dim: length of one face's precomputed feature; 256 for MTCNN's O-Net.
        scene_dim: length of the precomputed scene feature; 0 if `scene` is not `feature`.
        face_column: the dataset's column of precomputed face features; used if `faces` is `features`.
        scene_column: the dataset's column of the precomputed scene feature; used if `scene` is `feature`.
        encoders: column -> the encoder that filled it in the training data: `name`, `width`, `weights_sha256`.
        head_layers: hidden layers of the classifier, each of `hidden_size`, 0 or 1.
        hidden_size: width of the tokens and of the pooled vector.
        depth: number of blocks; each has a face branch, a scene branch and cross-attention between them.
        face_layers: transformer layers per block over the face tokens (CrossViT's small branch).
        scene_layers: transformer layers per block over the scene token (CrossViT's large branch).
        cross_rounds: rounds of cross-attention per block.
        heads: attention heads.
        head_dim: width of one head.
        mlp_dim: hidden width of the feed-forward layers.
        dropout: dropout rate of attention and feed-forward layers, 0 to 0.95.
        feature_dropout: dropout rate of the face and scene features before their projection, 0 to 0.95.
        as_published: compute as the original's code did, errors included (see the end of `pooling.py`); for converted
            checkpoints only.
        face_slots: how many faces the original padded each photo to, 1 to 16; used if `as_published`.
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
        freeze_pooling: bool = False,
        freeze_faces: bool = False,
        face_widths: Sequence[int] = EXPRESSION_WIDTHS,
        face_blocks: Sequence[int] = EXPRESSION_BLOCKS,
        project: bool = True,
        face_channels: int = 64,
        face_dim: int = 256,
        scene_dim: int = 0,
        face_column: str = "face_features",
        scene_column: str = "scene_feature",
        encoders: Mapping[str, Mapping[str, Any]] | None = None,
        head_layers: int = 0,
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
        self.freeze_pooling = freeze_pooling
        self.freeze_faces = freeze_faces
        self.face_widths = face_widths
        self.face_blocks = face_blocks
        self.project = project
        self.face_channels = face_channels
        self.face_dim = face_dim
        self.scene_dim = scene_dim
        self.face_column = face_column
        self.scene_column = scene_column
        self.encoders = encoders
        self.head_layers = head_layers
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
        _check_choice(self, "faces", ("features", "images", "expressions", "patches"))
        _check_choice(self, "scene", ("none", "feature", "image"))
        _check_choice(self, "join", ("pooled", "both"))
        if not isinstance(pooling, str):
            _refuse(self, "pooling", "the name of a pooling")
        _check_backbone(self)
        _check_int(self, "scene_dim", 1 if scene == "feature" else 0, 65536)
        for field in ("face_channels", "face_dim", "hidden_size", "heads", "head_dim", "mlp_dim"):
            _check_int(self, field, 1, 65536)
        _check_int(self, "head_layers", 0, 1)
        for field in ("face_column", "scene_column"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field):
                _refuse(self, field, "the name of a column")
        if encoders is not None and not _maps_names(encoders, Mapping):
            _refuse(self, "encoders", "a mapping of columns to encoders, or none")
        for field in ("depth", "face_layers", "scene_layers", "cross_rounds"):
            _check_int(self, field, 1, 64)
        for field in ("dropout", "feature_dropout"):
            _check_number(self, field, 0, 0.95)
        for field in ("freeze_scene", "freeze_pooling", "freeze_faces", "project"):
            _check_bool(self, field)
        _check_stages(self, "face_widths", "face_blocks")
        if faces in ("features", "patches") and freeze_faces:
            raise ValueError(f"GerFusionConfig.freeze_faces must be false where faces is {faces}, not True")
        if faces == "patches" and (scene != "image" or not project):
            raise ValueError("GerFusionConfig.faces may be patches only where scene is image and project is true")
        if join == "both" and scene == "none":
            raise ValueError("GerFusionConfig.join must be pooled where scene is none, not 'both'")
        if not project and pooling not in ("average", "mean_and_max"):
            raise ValueError(f"GerFusionConfig.project must be true for the pooling {pooling!r}")
        _check_bool(self, "as_published")
        _check_int(self, "face_slots", 1, 16)
        if as_published and (scene != "image" or join != "both" or faces not in ("features", "images")):
            raise ValueError(
                "GerFusionConfig.as_published must be false unless faces is features or images, scene is image and "
                "join is both"
            )


class GerExpressionConfig(PreTrainedConfig):
    """A small network recognises the expression of each face; the group's emotion is computed from all faces.

    The labels (`id2label`) are either the expressions themselves, as in a dataset of single faces, or the group
    emotions that `groups` names.

    Args:
        expressions: names of the network's outputs, in order.
        groups: expression -> group emotion. Expressions that are not listed are ignored.
        priors: group emotion -> its share of the network's training faces, to the power that was best on validation.
            A face's probabilities are divided by them, so that an emotion with many expressions is not favoured.
            None: no correction.
        combination: `probabilities` averages the faces' probabilities, `logarithms` their logarithms.
        answer_temperature: divides the group's logits; above 0. A higher value gives less confident answers.
        widths: channels of each stage of the network; the last is the width of a face's embedding.
        blocks: residual blocks of each stage.
        dropout: dropout rate of the embedding before the head, 0 to 0.95.
        two_views: embed two views of each face when not training, a tighter one and a mirrored one, and average them.
            It takes twice the time.
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
        two_views: bool = False,
        **kwargs: Any,
    ) -> None:
        self.expressions = expressions
        self.groups = GROUPS if groups is None else groups
        self.priors = priors
        self.combination = combination
        self.answer_temperature = answer_temperature
        self.widths = widths
        self.blocks = blocks
        self.dropout = dropout
        self.two_views = two_views
        super().__init__(**kwargs)
        names = self.expressions if isinstance(self.expressions, (list, tuple)) else ()
        if not names or not all(isinstance(name, str) for name in names):
            _refuse(self, "expressions", "a list of names")
        if not _maps_names(self.groups, str):
            _refuse(self, "groups", "a mapping of expressions to group emotions")
        self.expressions, self.groups = list(names), dict(self.groups)
        _check_choice(self, "combination", ANSWER_COMBINATIONS)
        _check_number(self, "answer_temperature", 0.001, 100)
        _check_number(self, "dropout", 0, 0.95)
        _check_bool(self, "two_views")
        _check_stages(self, "widths", "blocks")
        if self.priors is not None:
            numbers = _maps_names(self.priors, (int, float))
            if not numbers or any(not 0 < share <= 1 for share in self.priors.values()):
                _refuse(self, "priors", "a mapping of group emotions to shares above 0 and at most 1")
            self.priors = dict(self.priors)
