"""A photo and its faces -> the columns of its row. What is prepared and what is predicted on goes through here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from PIL import Image

from ..photos.patches import sample_patches
from ..photos.reading import encode_jpeg
from .alignment import align_faces, crop_faces
from .detector import FaceExtractor
from .protocol import FaceDetector, Faces


def whole_pictures(detector: FaceDetector, images: Sequence[Image.Image], device: torch.device | str) -> list[Faces]:
    """Each of `images` as one face, as `FaceExtractor.whole_pictures` describes it.

    A detector without such a method leaves it to MTCNN's O-Net, whose features the columns hold.
    """
    own = getattr(detector, "whole_pictures", None)
    return own(images) if own is not None else _mtcnn(str(device)).whole_pictures(images)


@lru_cache(maxsize=1)
def _mtcnn(device: str) -> FaceExtractor:
    return FaceExtractor(device=device)


def photo_columns(image: Image.Image, faces: Faces, wanted: Collection[str] | None = None) -> dict[str, Any]:
    """The columns of `schema.features` that follow from the photo alone, images as PIL images.

    Args:
        image: the photo, upright, RGB.
        faces: its faces.
        wanted: the columns that are made; None: all of them.
    """
    makers: dict[str, Callable[[], Any]] = {
        "image": lambda: image,
        "face_boxes": faces.boxes.tolist,
        "face_scores": faces.scores.tolist,
        "face_landmarks": lambda: faces.landmarks.reshape(-1, 10).tolist(),
        "face_features": faces.features.tolist,
        "face_expressions": lambda: None,
        "face_crops": lambda: crop_faces(image, faces.boxes),
        "aligned_faces": lambda: align_faces(image, faces.landmarks),
        "sampled_patches": lambda: [] if len(faces) else sample_patches(image),
        "skeleton": lambda: None,
        "scene_feature": lambda: None,
    }
    return {name: make() for name, make in makers.items() if wanted is None or name in wanted}


def encoded(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The same columns with every PIL image as `datasets` stores it: JPEG bytes and no path."""

    def stored(value: Any) -> Any:
        if isinstance(value, Image.Image):
            return {"bytes": encode_jpeg(value), "path": None}
        if isinstance(value, list) and value and isinstance(value[0], Image.Image):
            return [stored(image) for image in value]
        return value

    return {name: stored(value) for name, value in columns.items()}
