"""Faces: found, described and cut out in one pass."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from .alignment import TEMPLATES, align_faces, crop_faces
from .detector import FaceExtractor
from .modes import MODES
from .protocol import FaceDetector, Faces

# name -> what makes the detector; another one goes here and no caller changes
DETECTORS: Mapping[str, Callable[..., FaceDetector]] = MappingProxyType({"mtcnn": FaceExtractor})

__all__ = ["DETECTORS", "MODES", "TEMPLATES", "FaceDetector", "FaceExtractor", "Faces", "align_faces", "crop_faces"]
