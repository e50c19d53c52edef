"""The faces of a photo and its scene -> logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .configuration_ger import NO_LABEL, GerFusionConfig
from .pooling import CrossAttentionPooling


@dataclass
class GerFusionOutput(ModelOutput):
    """`loss` (a scalar, if labels were given) and `logits` (batch, classes)."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None


class MaskedStandardize(nn.BatchNorm1d):
    """Each dimension to mean 0 and variance 1 over the tokens there are; padded slots count for nothing and stay 0.

    O-Net's features come as they are, with ranges that differ tenfold between dimensions.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x (batch, tokens, width), mask (batch, tokens) bool, True where a token counts."""
        there = x[mask]  # (tokens there are, width)
        if self.training and len(there) < 2:
            return torch.zeros_like(x)  # one token alone has no variance, and none has no mean
        return torch.zeros_like(x).masked_scatter(mask[..., None], super().forward(there))


class GerFusionForImageClassification(PreTrainedModel):
    """Face features and, where there is one, a scene feature through a cross-attention transformer and a linear head.

    A photo without faces gets an answer from its scene feature, or, without that too, the answer that training
    gave such photos.
    """

    config_class = GerFusionConfig
    main_input_name = "face_features"

    def __init__(self, config: GerFusionConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.face_norm = MaskedStandardize(config.face_dim)
        self.face_projection = nn.Linear(config.face_dim, width)
        if config.scene_dim:
            self.scene_norm = MaskedStandardize(config.scene_dim)
            self.scene_projection = nn.Linear(config.scene_dim, width)
        self.feature_dropout = nn.Dropout(config.feature_dropout)
        self.pooling = CrossAttentionPooling(
            width=width,
            depth=config.depth,
            face_layers=config.face_layers,
            scene_layers=config.scene_layers,
            cross_rounds=config.cross_rounds,
            heads=config.heads,
            head_dim=config.head_dim,
            mlp_dim=config.mlp_dim,
            dropout=config.dropout,
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, CrossAttentionPooling):
            init.normal_(module.face_class_token, std=0.02)
            init.normal_(module.scene_class_token, std=0.02)

    def forward(
        self,
        face_features: torch.Tensor,
        face_mask: torch.Tensor,
        scene_feature: torch.Tensor | None = None,
        scene_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> GerFusionOutput:
        """Classify photos by their faces and scene.

        Args:
            face_features: (batch, faces, face_dim); what stands in padded slots does not matter.
            face_mask: (batch, faces) bool, True where there is a face. A row may be all False.
            scene_feature: (batch, scene_dim), or None.
            scene_mask: (batch,) bool, True where the photo has a scene feature; None: all have, if any is given.
            labels: (batch,) int64; -1 marks a photo without a label, which adds nothing to the loss.
        """
        faces = self.face_projection(self.feature_dropout(self.face_norm(face_features, face_mask)))
        scene, scene_mask = self._scene_tokens(scene_feature, scene_mask, faces)
        logits = self.head(self.norm(self.pooling(faces, face_mask, scene, scene_mask)))
        loss = None if labels is None else F.cross_entropy(logits, labels, ignore_index=NO_LABEL)
        return GerFusionOutput(loss=loss, logits=logits)

    def _scene_tokens(
        self, feature: torch.Tensor | None, mask: torch.Tensor | None, like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, scene tokens, width) and its mask; no tokens where none is given or the model has no use for one."""
        if not self.config.scene_dim or feature is None:
            return like.new_zeros(len(like), 0, like.shape[2]), like.new_zeros(len(like), 0, dtype=torch.bool)
        mask = torch.ones(len(like), dtype=torch.bool, device=like.device) if mask is None else mask
        scene = self.scene_norm(feature[:, None], mask[:, None])
        return self.scene_projection(self.feature_dropout(scene)), mask[:, None]
