"""The aligned faces of a photo -> logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .backbones import EMBEDDING, GerPreTrainedModel, LargeMarginLinear, SphereFace20, keep_own_weights
from .configuration_ger import GerFaceConfig
from .pooling import unpack


@dataclass
class GerFaceOutput(ModelOutput):
    """`loss` (a scalar, if labels were given), `logits` (photos, classes) and, on request, `face_logits` (photos,
    faces, classes) and `face_attention` (photos, faces), each face's share in the answer; zero in padded slots.

    In training with a margin and labels there are also `plain_logits` (photos, classes), without the margin and
    without a gradient: `logits` are lowered for the true class, and say nothing about accuracy."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    face_logits: torch.Tensor | None = None
    face_attention: torch.Tensor | None = None
    plain_logits: torch.Tensor | None = None


class GerFaceForImageClassification(GerPreTrainedModel):
    """SphereFace-20 over each aligned face, a linear head, and the mean over a photo's faces.

    Faces are concatenated, without padding. The logits of photos without faces are learned; the original filled
    missing faces with copies of others.
    """

    config_class = GerFaceConfig
    main_input_name = "face_pixels"
    has_face_outputs = True

    def __init__(self, config: GerFaceConfig) -> None:
        super().__init__(config)
        self.net = SphereFace20(config.channels)
        keep_own_weights(self.net)
        self.dropout = nn.Dropout(config.dropout)
        self.head: nn.Linear
        if config.margin > 1:
            self.head = LargeMarginLinear(EMBEDDING, config.num_labels, config.margin)
        else:
            self.head = nn.Linear(EMBEDDING, config.num_labels)
        self.no_face_logits = nn.Parameter(torch.zeros(config.num_labels))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            init.zeros_(module.no_face_logits)

    @can_return_tuple
    def forward(
        self,
        face_pixels: torch.Tensor,
        face_counts: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_faces: bool = False,
    ) -> GerFaceOutput:
        """Classify photos by their faces.

        Args:
            face_pixels: (total_faces, 3, 112, 96), the faces of all photos, concatenated.
            face_counts: (photos,) int64, number of faces of each photo, which may be 0.
            labels: (photos,) int64; -1 for photos without a label, which the loss ignores.
            output_faces: also return `face_logits` and `face_attention`.
        """
        embeddings = self.dropout(self.net(face_pixels))
        if self.config.margin > 1:
            of_faces = None if labels is None else labels.repeat_interleave(face_counts)
            per_face = self.head(embeddings, of_faces)
        else:
            per_face = self.head(embeddings)  # (total_faces, classes)
        padded, mask = unpack(per_face, face_counts)
        counts = face_counts[:, None]
        logits = self._mean(padded, counts)
        plain_logits = None
        if self.training and self.config.margin > 1 and labels is not None:
            with torch.no_grad():
                plain_logits = self._mean(unpack(self.head(embeddings), face_counts)[0], counts)
        return GerFaceOutput(
            loss=self.classification_loss(logits, labels),
            logits=logits,
            face_logits=padded if output_faces else None,
            face_attention=mask / counts.clamp(min=1) if output_faces else None,
            plain_logits=plain_logits,
        )

    def _mean(self, padded: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Padded face logits (photos, faces, classes) and counts (photos, 1) -> (photos, classes)."""
        return padded.sum(1) / counts.clamp(min=1) + self.no_face_logits * (counts == 0)
