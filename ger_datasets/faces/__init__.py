"""Faces: found, described and cut out in one pass."""

from .alignment import align_faces, crop_faces
from .detector import FaceExtractor, Faces

__all__ = ["FaceExtractor", "Faces", "align_faces", "crop_faces"]
