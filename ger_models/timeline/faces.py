"""Photos and the boxes of their faces -> expressions, and embeddings to follow people by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from ..encoders.face_expressions import CHUNK, CheckpointExpressions


class FaceReadings(NamedTuple):
    """What a network reads off the faces of one photo.

    Attributes:
        expressions: (faces, 7) float32: probabilities of `schema.EXPRESSIONS`.
        embeddings: (faces, width) float32: what the network's last layer sees.
    """

    expressions: np.ndarray
    embeddings: np.ndarray


class FaceReader(CheckpointExpressions):
    """An expression model, such as the starter, with its embeddings. See `CheckpointExpressions` for its arguments."""

    @torch.inference_mode()
    def readings(self, images: Sequence[Image.Image], face_boxes: Sequence[Sequence[Any]]) -> list[FaceReadings]:
        """The faces of some photos, in one pass through the network.

        Args:
            images: RGB photos of any sizes.
            face_boxes: for each of them (faces, 4), x1 y1 x2 y2 in pixels; faces may be 0.
        """
        if not images:
            return []
        rows = [{"image": image, "face_boxes": boxes} for image, boxes in zip(images, face_boxes, strict=True)]
        pixels = self.processor(rows)["expression_pixels"].to(self.model.device)  # (all faces, 1, side, side)
        embeddings = torch.cat([self.model.embed(chunk) for chunk in pixels.split(CHUNK)])
        expressions = self.model.expression_head(embeddings).softmax(1)
        ends = np.cumsum([len(boxes) for boxes in face_boxes])[:-1]
        return [
            FaceReadings(*each)
            for each in zip(
                np.split(expressions.float().cpu().numpy(), ends),
                np.split(embeddings.float().cpu().numpy(), ends),
                strict=True,
            )
        ]
