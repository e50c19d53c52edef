"""The models' configurations, one class per architecture. Each is checked when it is made."""

from __future__ import annotations

from transformers import PreTrainedConfig

NO_LABEL = -1  # a photo whose label is withheld


def _check(config: PreTrainedConfig, field: str, least: float, most: float) -> None:
    value = getattr(config, field)
    if not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{type(config).__name__}.{field} must be from {least} to {most}, not {value!r}")


class GerSceneConfig(PreTrainedConfig):
    """A whole photo (or skeleton image) through one convolutional network.

    Args:
        backbone: a timm model's name.
        dropout: share of the backbone's features that is dropped before the head, 0 to 0.95.
    """

    model_type = "ger_scene"

    def __init__(self, backbone: str = "densenet161", dropout: float = 0.0, **kwargs) -> None:
        self.backbone = backbone
        self.dropout = dropout
        super().__init__(**kwargs)
        if not isinstance(backbone, str) or not backbone:
            raise ValueError(f"GerSceneConfig.backbone must be the name of a timm model, not {backbone!r}")
        _check(self, "dropout", 0, 0.95)


class GerFusionConfig(PreTrainedConfig):
    """Face features and a scene feature, joined by a cross-attention transformer.

    Args:
        face_dim: length of one face's feature; 256 for MTCNN's O-Net.
        scene_dim: length of the scene feature; 0 where there is none.
        hidden_size: width of the tokens and of the pooled vector.
        depth: blocks, each of a face branch, a scene branch and their cross-attention.
        face_layers: transformer layers per block over the face tokens (CrossViT's small branch).
        scene_layers: transformer layers per block over the scene token (CrossViT's large branch).
        cross_rounds: rounds of cross-attention per block.
        heads: attention heads.
        head_dim: width of one head.
        mlp_dim: hidden width of the feed-forward layers.
        dropout: in attention and feed-forward layers, 0 to 0.95.
        feature_dropout: share of the input features that is dropped in training, 0 to 0.95.
    """

    model_type = "ger_fusion"

    def __init__(
        self,
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
        **kwargs,
    ) -> None:
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
        super().__init__(**kwargs)
        _check(self, "scene_dim", 0, 65536)
        for field in ("face_dim", "hidden_size", "heads", "head_dim", "mlp_dim"):
            _check(self, field, 1, 65536)
        for field in ("depth", "face_layers", "scene_layers", "cross_rounds"):
            _check(self, field, 1, 64)
        for field in ("dropout", "feature_dropout"):
            _check(self, field, 0, 0.95)
