"""An expression model's checkpoint -> the expressions of faces, for the column `face_expressions`, and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.errors import UserError, listing

from ..inference.checkpoints import load_checkpoint
from ..modeling_expression import GerExpressionForImageClassification
from .checkpoint import ExpressionEncoder, encoder_name
from .sources import EncodedColumn


def expressions_source(checkpoint: str, source_root: Path, device: str) -> CheckpointExpressions:
    """The source that `--expressions CHECKPOINT` names; `source_root` does not matter."""
    return CheckpointExpressions(checkpoint, device=device)


class FaceReadings(NamedTuple):
    """What a network reads off the faces of one photo.

    Attributes:
        expressions: (faces, 7) float32: probabilities of `schema.EXPRESSIONS`.
        embeddings: (faces, width) float32: the input of the network's last layer.
    """

    expressions: np.ndarray
    embeddings: np.ndarray


class CheckpointExpressions(EncodedColumn):
    """A batch source of `ger_datasets.preparation.column_sources`: expressions of faces from an expression model.

    Args:
        checkpoint: the output folder of train.py, a Hub repository, or `starter`.
        device: where the model runs.

    Raises:
        UserError: the checkpoint does not exist, has another model type, or predicts other expressions.
    """

    encoder: ExpressionEncoder

    def __init__(self, checkpoint: str, device: str | torch.device = "cpu") -> None:
        super().__init__("face_expressions", checkpoint, of_faces=True, device=str(device))
        del self.settings["width"]  # of the embeddings

    def _open(self) -> None:
        model, processor = load_checkpoint(self.encoder_name)
        if not isinstance(model, GerExpressionForImageClassification):
            raise UserError(
                f"{self.encoder_name} holds a {type(model).__name__}; expressions come from a model such as "
                "face_expressions, or from starter"
            )
        found = model.config.expressions
        if found != list(EXPRESSIONS):
            raise UserError(f"{self.encoder_name} predicts {listing(found)}; the column holds {listing(EXPRESSIONS)}")
        self.encoder = ExpressionEncoder(model, processor, encoder_name(self.encoder_name), self.device)

    def batch_columns(
        self, images: Sequence[Image.Image], face_boxes: Sequence[Sequence[Any]]
    ) -> dict[str, list[list[Any]]]:
        """{"face_expressions": the probabilities of each photo's faces}."""
        return {"face_expressions": [faces.expressions.tolist() for faces in self.read(images, face_boxes)]}

    @torch.inference_mode()
    def read(self, images: Sequence[Image.Image], face_boxes: Sequence[Sequence[Any]]) -> list[FaceReadings]:
        """The faces of some photos, in one pass through the network.

        Args:
            images: RGB photos of any sizes.
            face_boxes: for each of them (faces, 4), x1 y1 x2 y2 in pixels; faces may be 0.
        """
        if not images:
            return []
        embeddings = self.encoder.encode_faces(images, face_boxes)
        whole = torch.from_numpy(np.concatenate(embeddings)).to(self.device)  # (all faces, width)
        expressions = self.encoder.model.expression_head(whole).softmax(1).cpu().numpy()
        ends = np.cumsum([len(each) for each in embeddings])[:-1]
        return [FaceReadings(*each) for each in zip(np.split(expressions, ends), embeddings, strict=True)]
