"""How a video's timeline is made, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from ger_datasets.support.errors import UserError

from .curve import SMOOTHINGS


@dataclass(frozen=True)
class Options:
    """How a video's timeline is made.

    Attributes:
        fps: sampled frames per second of the video's time, above 0.
        smooth: window of the curve in seconds; 0: not smoothed.
        method: how it is smoothed: a name in `curve.SMOOTHINGS`.
        blur_faces: blur the faces in all pictures.
        render: write timeline.mp4, too.

    Raises:
        UserError: on construction, for a value that is out of range.
    """

    fps: float = 2.0
    smooth: float = 2.0
    method: str = "exponential"
    blur_faces: bool = False
    render: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.fps < float("inf"):
            raise UserError(f"fps must be a number above 0, not {self.fps}")
        if not 0 <= self.smooth < float("inf"):
            raise UserError(f"smooth must be 0 or more seconds, not {self.smooth}")
        if self.method not in SMOOTHINGS:
            raise UserError(f"unknown smoothing {self.method!r}: there are {', '.join(SMOOTHINGS)}")
