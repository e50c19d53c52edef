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
from ger_datasets.support.repository_names import public_name

from ..inference.checkpoints import checkpoint_place, load_checkpoint
from ..inference.revisions import weights_digest
from ..modeling_expression import GerExpressionForImageClassification

CHUNK = 64  # faces per forward: their activations stay in a CPU's cache


def expressions_source(checkpoint: str, source_root: Path, device: str) -> CheckpointExpressions:
    """The source that `--expressions CHECKPOINT` names; `source_root` does not matter."""
    return CheckpointExpressions(checkpoint, device=device)


class CheckpointExpressions:
    """A batch source of `ger_datasets.preparation.column_sources`: expressions of faces from an expression model.

    The checkpoint is opened here, so that an invalid one is refused at once, and again in each process that unpickles
    the source.

    Args:
        checkpoint: the output folder of train.py, a Hub repository, or `starter`.
        device: where the model runs.

    Raises:
        UserError: the checkpoint does not exist, has another model type, or predicts other expressions.
    """

    name = "face_expressions"

    def __init__(self, checkpoint: str, device: str | torch.device = "cpu") -> None:
        self.checkpoint, self.device = checkpoint_place(checkpoint), device
        self._load()
        self.settings: dict[str, Any] = {
            "name": public_name(self.checkpoint),
            "weights_sha256": weights_digest(self.model),
        }

    def _load(self) -> None:
        self.model, self.processor = load_checkpoint(self.checkpoint)
        if not isinstance(self.model, GerExpressionForImageClassification):
            raise UserError(
                f"{self.checkpoint} holds a {type(self.model).__name__}; expressions come from a model such as "
                "face_expressions, or from starter"
            )
        found = self.model.config.expressions
        if found != list(EXPRESSIONS):
            raise UserError(f"{self.checkpoint} predicts {listing(found)}; the column holds {listing(EXPRESSIONS)}")
        self.model.to(self.device)
        # every face has a row in its columns; an expression model has a GerProcessor
        self.processor.max_faces, self.processor.min_face_score = sys.maxsize, 0.0  # type: ignore[misc]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "checkpoint": str(Path(self.checkpoint).resolve()) if Path(self.checkpoint).is_dir() else self.checkpoint,
            "settings": self.settings,
            "device": self.device,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load()

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
