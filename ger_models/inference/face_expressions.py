"""An expression model's checkpoint -> the expression of each face, for the column `face_expressions`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.errors import UserError, listing

from ..modeling_expression import GerExpressionForImageClassification
from .checkpoint_source import CheckpointSource

CHUNK = 64  # faces per forward: their activations stay in a CPU's cache


def expressions_source(checkpoint: str, source_root: Path, device: str) -> CheckpointExpressions:
    """The source that `--expressions CHECKPOINT` names; `source_root` does not matter."""
    return CheckpointExpressions(checkpoint, device=device)


class CheckpointExpressions(CheckpointSource):
    """Expressions of faces from an expression model, such as the included one. See `CheckpointSource`."""

    name = "face_expressions"
    model_class = GerExpressionForImageClassification
    use = "expressions come from a model such as face_expressions, or from starter"

    def _load(self) -> None:
        super()._load()
        found = self.model.config.expressions
        if found != list(EXPRESSIONS):
            raise UserError(f"{self.checkpoint} predicts {listing(found)}; the column holds {listing(EXPRESSIONS)}")
        # every face has a row in its columns; an expression model has a GerProcessor
        self.processor.max_faces, self.processor.min_face_score = sys.maxsize, 0.0  # type: ignore[misc]

    def batch_columns(
        self, images: Sequence[Image.Image], face_boxes: Sequence[Sequence[Any]]
    ) -> dict[str, list[list[list[float]]]]:
        """{"face_expressions": the probabilities of each photo's faces}."""
        return {"face_expressions": [faces.tolist() for faces in self.read(images, face_boxes)]}

    @torch.inference_mode()
    def read(self, images: Sequence[Image.Image], face_boxes: Sequence[Sequence[Any]]) -> list[np.ndarray]:
        """The expressions of the faces of some photos.

        Args:
            images: RGB photos of any sizes.
            face_boxes: for each of them (faces, 4), x1 y1 x2 y2 in pixels.

        Returns:
            For each photo (faces, 7) float32, the probabilities of `schema.EXPRESSIONS`.
        """
        rows = [{"image": image, "face_boxes": boxes} for image, boxes in zip(images, face_boxes, strict=True)]
        faces = self.processor(rows)["expression_pixels"].to(self.device)  # (all faces, 1, side, side)
        probabilities = [
            self.model.expression_head(self.model.embed(chunk)).softmax(1) for chunk in faces.split(CHUNK)
        ]
        counts = [len(boxes) for boxes in face_boxes]
        return np.split(torch.cat(probabilities).cpu().numpy(), np.cumsum(counts)[:-1])
