"""The faces of a photo -> the expression of each face -> the emotion of the group."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers.utils import ModelOutput, can_return_tuple

from .backbones import ExpressionNet, GerPreTrainedModel, keep_own_weights
from .configuration_ger import GerExpressionConfig
from .pooling import unpack

SMALLEST = 1e-6  # probability; keeps logarithms finite
TIGHTER = 5 / 6  # side of the tighter view of a face, relative to the face's square


@dataclass
class GerExpressionOutput(ModelOutput):
    """`loss` (a scalar, if labels were given), `logits` (photos, classes) and, on request, `face_attention` (photos,
    faces), each face's weight in the answer, and `face_expressions` (photos, faces, expressions), each face's
    probabilities; both are zero for padding."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    face_attention: torch.Tensor | None = None
    face_expressions: torch.Tensor | None = None


class GerExpressionForImageClassification(GerPreTrainedModel):
    """A residual network over each face, and the mean over the faces of a photo.

    If the labels are the expressions, a photo's logits are the mean of its faces' logits; the network is trained this
    way, on photos with one face each. If the labels are group emotions, each face's probabilities are summed by group,
    divided by the groups' priors and averaged over the faces. A photo without faces gets equal probabilities.
    """

    config_class = GerExpressionConfig
    main_input_name = "expression_pixels"
    has_face_outputs = True

    def __init__(self, config: GerExpressionConfig) -> None:
        super().__init__(config)
        self.net = ExpressionNet(config.widths, config.blocks)
        keep_own_weights(self.net)
        self.dropout = nn.Dropout(config.dropout)
        self.expression_head = nn.Linear(self.net.width, len(config.expressions))
        self.post_init()

    def embed(self, expression_pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings (faces, width) of faces (faces, 1, 48, 48), the input of the head."""
        if self.training or not self.config.two_views:
            return self.net(expression_pixels)
        return (self.net(_tighter(expression_pixels)) + self.net(expression_pixels.flip(-1))) / 2

    @can_return_tuple
    def forward(
        self,
        expression_pixels: torch.Tensor,
        face_counts: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_faces: bool = False,
    ) -> GerExpressionOutput:
        """Classify photos by the expressions of their faces.

        Args:
            expression_pixels: (total_faces, 1, 48, 48), the grey faces of all photos, concatenated.
            face_counts: (photos,) int64, number of faces of each photo, which may be 0.
            labels: (photos,) int64; -1 for photos without a label, which the loss ignores.
            output_faces: also return `face_attention` and `face_expressions`.

        Raises:
            ValueError: the labels are neither the expressions nor the groups of the configuration.
        """
        face_logits = self.expression_head(self.dropout(self.embed(expression_pixels))).float()  # (faces, expressions)
        labels_are_expressions = self._label_names() == self.config.expressions
        per_face = face_logits if labels_are_expressions else self._group_scores(face_logits)
        counts = face_counts[:, None].clamp(min=1)
        logits = _sums(per_face, face_counts) / counts
        if not labels_are_expressions:
            if self.config.combination == "probabilities":
                logits = torch.where(face_counts[:, None] > 0, logits.clamp(min=SMALLEST).log(), 0.0)
            logits = logits / self.config.answer_temperature
        output = GerExpressionOutput(loss=self.classification_loss(logits, labels), logits=logits)
        if output_faces:
            expressions, mask = unpack(face_logits.softmax(1), face_counts)
            output["face_attention"], output["face_expressions"] = mask / counts, expressions
        return output

    def _label_names(self) -> list[str]:
        return [self.config.id2label[i] for i in range(self.config.num_labels)]

    def _group_scores(self, face_logits: torch.Tensor) -> torch.Tensor:
        """(faces, expressions) -> (faces, classes): probabilities of the groups, or their logarithms."""
        config, names = self.config, self._label_names()
        missing = sorted(set(config.groups.values()) - set(names)) + sorted(set(names) - set(config.groups.values()))
        if missing:
            raise ValueError(
                f"the labels {', '.join(names)} are neither the expressions {', '.join(config.expressions)} nor the "
                f"groups {', '.join(sorted(set(config.groups.values())))}: set GerExpressionConfig.groups"
            )
        membership = face_logits.new_tensor(
            [[float(config.groups.get(expression) == name) for name in names] for expression in config.expressions]
        )
        scores = face_logits.softmax(1) @ membership  # (faces, classes)
        if config.priors is not None:
            scores = scores / scores.new_tensor([config.priors[name] for name in names])
        scores = scores / scores.sum(1, keepdim=True).clamp(min=SMALLEST)
        return scores if config.combination == "probabilities" else scores.clamp(min=SMALLEST).log()


def _tighter(faces: torch.Tensor) -> torch.Tensor:
    """(faces, 1, side, side) -> their middles, enlarged to the same shape."""
    side = faces.shape[-1]
    edge = round(side * (1 - TIGHTER) / 2)
    middle = faces[:, :, edge : side - edge, edge : side - edge]
    return F.interpolate(middle, (side, side), mode="bilinear", align_corners=False)


def _sums(per_face: torch.Tensor, face_counts: torch.Tensor) -> torch.Tensor:
    """(total_faces, classes) -> (photos, classes); without the GPU synchronisation that padding would need."""
    photos = torch.arange(len(face_counts), device=face_counts.device)
    photo_of_face = torch.repeat_interleave(photos, face_counts, output_size=len(per_face))
    return per_face.new_zeros(len(face_counts), per_face.shape[1]).index_add(0, photo_of_face, per_face)
