"""Encoders of photos, used on faces: the square around each face is a photo of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..processing_faces import square_of


def encode_squares(
    encoder: Any, images: Sequence[Image.Image], boxes_xyxy: Sequence[Sequence[Any]]
) -> list[np.ndarray]:
    """For each photo (faces, width) float32.

    Args:
        encoder: has `encode`, see `Encoder`.
        images: RGB photos, upright.
        boxes_xyxy: for each of them (faces, 4), x1 y1 x2 y2 in pixels.
    """
    faces = [square(image, box) for image, boxes in zip(images, boxes_xyxy, strict=True) for box in boxes]
    counts = [len(boxes) for boxes in boxes_xyxy]
    return np.split(encoder.encode(faces), np.cumsum(counts)[:-1]) if counts else []


def square(image: Image.Image, box_xyxy: Sequence[float]) -> Image.Image:
    """The square around a face's box, of its longer side, as far as it lies in the photo; at least one pixel."""
    left, top, right, bottom = square_of(box_xyxy, 1.0)
    left, top = min(max(left, 0), image.width - 1), min(max(top, 0), image.height - 1)
    return image.crop((left, top, max(min(right, image.width), left + 1), max(min(bottom, image.height), top + 1)))
