"""The face detectors by name. A new one is a class as `faces.FaceDetector` says, and a line here.

Packages that are installed beside this one add theirs as entry points of the group `group_emotion.detectors`.
"""

from __future__ import annotations

from typing import Any

from .support.registry import Registry

DEFAULT_DETECTOR = "mtcnn"
# name -> what makes the detector, called with the keyword `device`
DETECTORS: Registry[Any] = Registry(
    "face detector", {DEFAULT_DETECTOR: "ger_datasets.faces.detector:FaceExtractor"}, "group_emotion.detectors"
)
