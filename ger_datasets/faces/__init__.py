"""Faces: found, described and cut out in one pass."""

from ..detectors import DETECTORS
from .alignment import TEMPLATES, align_faces, crop_faces
from .detector import FaceExtractor
from .modes import MODES
from .protocol import FaceDetector, Faces

__all__ = ["DETECTORS", "MODES", "TEMPLATES", "FaceDetector", "FaceExtractor", "Faces", "align_faces", "crop_faces"]
