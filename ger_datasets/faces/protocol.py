"""What every face detector takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from ..schema import FACE_FEATURE_DIM


@dataclass(frozen=True)
class Faces:
    """The faces of one photo, most confident first; row i of every array is the same face.

    Attributes:
        boxes: (faces, 4) float32, x1 y1 x2 y2 in pixels, clipped to the photo.
        scores: (faces,) float32, the probability that this is a face.
        landmarks: (faces, 5, 2) float32, x y in pixels: left eye, right eye, nose, left and right mouth corner.
        features: (faces, 256) float32, O-Net's last hidden layer.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: np.ndarray) -> Faces:
        """The faces `rows` (indices or a mask), in that order."""
        return Faces(self.boxes[rows], self.scores[rows], self.landmarks[rows], self.features[rows])

    def largest(self) -> Faces:
        """The face of the largest box alone, the more confident of two of one size; no face if there is none."""
        areas = np.prod(self.boxes[:, 2:] - self.boxes[:, :2], axis=1)
        return self.select(np.argmax(areas, keepdims=True)) if len(self) else self

    @classmethod
    def none(cls) -> Faces:
        """No face at all, in the right shapes."""
        shapes = ((0, 4), (0,), (0, 5, 2), (0, FACE_FEATURE_DIM))
        return cls(*(np.zeros(shape, np.float32) for shape in shapes))


@runtime_checkable
class FaceDetector(Protocol):
    """A detector: a class that is called with the keyword `device` and has these two members.

    One that finds boxes and landmarks but has no features of this kind takes them from
    `FaceExtractor.describe(images, boxes)`. A method `whole_pictures`, as `FaceExtractor` has, is
    optional.
    """

    @property
    def settings(self) -> dict[str, Any]:
        """What the faces that are found depend on, as JSON values, with a `name`; written to the manifest and card."""

    def extract(self, images: Sequence[Image.Image | np.ndarray]) -> list[Faces]:
        """The faces of each of `images`, RGB or (height, width, 3) uint8, of any sizes; a photo's faces do not depend
        on the others."""
