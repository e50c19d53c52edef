"""Frames -> what is read off each: class probabilities of the group, faces, their expressions and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ger_datasets.detectors import DEFAULT_DETECTOR
from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.repository_names import public_name

from ..evaluation.calibration import calibrated, calibration_of
from ..inference.encoded_columns import AddedColumns
from ..inference.members import Answers, Members
from ..inference.revisions import model_revision
from ..pipeline_ger import FACES, WITHOUT_FACES, FaceColumns
from ..processing_ger import sure_faces
from ..starter import STARTER_NAME
from .faces import FaceReader, FaceReadings


@dataclass(frozen=True)
class FrameReading:
    """What is read off one frame.

    Attributes:
        probabilities: (classes,) float32.
        boxes: (faces, 4) float32, x1 y1 x2 y2 in pixels of the frame: of the faces that count.
        expressions: (faces, 7) float32, probabilities of `schema.EXPRESSIONS`.
        embeddings: (faces, width) float32.
        hidden_boxes: (detected faces, 4) float32: of all that the detector found, as sure as it may be.
    """

    probabilities: np.ndarray
    boxes: np.ndarray
    expressions: np.ndarray
    embeddings: np.ndarray
    hidden_boxes: np.ndarray


class FrameReader:
    """A detector, a model of the group, and the starter, which gives expressions and tells people apart.

    Args:
        model: a checkpoint or Hub repository, or `starter`.
        detector: a name in `ger_datasets.detectors.DETECTORS`.
        device: where all of them run.
        min_face_score: how sure the detector must be of a face for it to be counted. Default: the model's own.
        min_face_pixels: as `FaceColumns` takes it.

    Attributes:
        class_names: of the model, in the order of its probabilities.
        note: what to know before believing the answers; may be empty.
        settings: what the readings depend on, as JSON values.

    Raises:
        UserError: the checkpoint cannot be used.
    """

    def __init__(
        self,
        model: str = STARTER_NAME,
        detector: str = DEFAULT_DETECTOR,
        device: str | torch.device = "cpu",
        min_face_score: float | None = None,
        min_face_pixels: int | None = None,
    ) -> None:
        self._members = Members([model], device)
        self._people = FaceReader(STARTER_NAME, device)
        if min_face_score is not None:
            self._members.min_face_scores = [min_face_score]
        columns = self._members.columns
        added = AddedColumns(self._members.models, columns, device)
        self._find = FaceColumns(
            device,
            {*columns, *FACES, WITHOUT_FACES},
            detector=detector,
            min_face_pixels=min_face_pixels,
            added=added,
        )
        self._least = self._members.min_face_scores[0]
        checkpoint, processor = self._members.models[0], self._members.processors[0]
        self._embedded: list[torch.Tensor] = []  # of the last batch, where the model is the starter: read once
        if model == STARTER_NAME:
            checkpoint.expression_head.register_forward_pre_hook(self._keep_embeddings)
        self._calibration = calibration_of(checkpoint.config)
        self.class_names = self._members.class_names(0)
        self.note = str(getattr(checkpoint.config, "notice", ""))
        self.settings: dict[str, Any] = {
            "model": public_name(model),
            "model_revision": model_revision(model, checkpoint, processor),
            "detector": detector,
            "min_face_score": self._least,
            "min_face_pixels": min_face_pixels,
            "device": str(device).partition(":")[0],
        }

    def read(self, images: Sequence[Image.Image]) -> list[FrameReading]:
        """Read frames of any sizes in one batch; what is read off a frame does not depend on the others.

        Raises:
            UserError: the model reads a column that does not follow from a photo.
        """
        if not images:
            return []
        rows, answers = self.ask_alone(images)
        shares = calibrated(answers.logits, self._calibration)
        boxes = [np.asarray(row["face_boxes"], np.float32).reshape(-1, 4) for row in rows]
        sure = [found[: sure_faces(row, self._least)] for found, row in zip(boxes, rows, strict=True)]
        people = self._seen_by_model(answers, sure) or self._people.readings(images, [each.tolist() for each in sure])
        return [
            FrameReading(share, mine, each.expressions, each.embeddings, found)
            for share, mine, each, found in zip(shares, sure, people, boxes, strict=True)
        ]

    def _seen_by_model(self, answers: Answers, boxes: Sequence[np.ndarray]) -> list[FaceReadings] | None:
        """What the starter has seen of the faces when it answered; None where it is not the model, or saw others."""
        expressions, counts = answers.face_expressions, [len(each) for each in boxes]
        if not self._embedded or expressions is None or [len(each) for each in expressions] != counts:
            return None
        embeddings = self._embedded.pop().float().cpu().numpy()  # (all faces, width)
        if len(embeddings) != sum(counts):
            return None
        return [
            FaceReadings(np.array(of_frame, np.float32).reshape(-1, len(EXPRESSIONS)), mine)
            for of_frame, mine in zip(expressions, np.split(embeddings, np.cumsum(counts)[:-1]), strict=True)
        ]

    def _keep_embeddings(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._embedded[:] = [inputs[0].detach()]

    def ask_alone(self, images: Sequence[Image.Image]) -> tuple[list[dict[str, Any]], Answers]:
        """Detection and model alone: the rows of the images, and the model's answers."""
        rows = self._find(images)
        return rows, self._members.ask(rows)[0]
