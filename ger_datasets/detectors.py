"""The face detectors by name. A new one is a class as `faces.FaceDetector` says, and a line here.

Packages that are installed beside this one add theirs as entry points of the group `group_emotion.detectors`.
"""

from __future__ import annotations

import inspect
from typing import Any

from .support.errors import UserError
from .support.registry import Registry

DEFAULT_DETECTOR = "mtcnn"
# name -> what makes the detector, called with the keyword `device`, and with `min_face_pixels` if the user gives it
DETECTORS: Registry[Any] = Registry(
    "face detector", {DEFAULT_DETECTOR: "ger_datasets.faces.detector:FaceExtractor"}, "group_emotion.detectors"
)
MIN_FACE_PIXELS_HELP = (
    "Side of the smallest face that is detected, in pixels of the photo. 40 finds faces faster than 20 and misses "
    "small ones (docs/faces.md). Default: the detector's own; mtcnn: 20."
)


def make_detector(name: str, device: Any, min_face_pixels: int | None = None) -> Any:
    """The face detector `name` of `DETECTORS` on `device`.

    Args:
        min_face_pixels: side of the smallest face that it detects; None: the detector's own default.

    Raises:
        UserError: an unknown detector, one without such a limit, or a limit that it refuses.
    """
    make = DETECTORS[name]
    if min_face_pixels is None:
        return make(device=device)
    if "min_face_pixels" not in inspect.signature(make).parameters:
        raise UserError(f"the detector {name} has no min_face_pixels: leave --min_face_pixels out")
    try:
        return make(device=device, min_face_pixels=min_face_pixels)
    except ValueError as error:
        raise UserError(f"--min_face_pixels: {error}") from error
