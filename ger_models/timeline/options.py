"""How a video's timeline is made: the options of the command lines, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ger_datasets.support.errors import UserError, listing

from .curve import SMOOTHINGS

if TYPE_CHECKING:
    from ger_datasets.videos.live import LiveSource

# option -> default, help; group-emotion and predict.py have them all
VIDEO_OPTIONS: dict[str, tuple[Any, str]] = {
    "fps": (2.0, "Videos: frames per second of time that are looked at."),
    "smooth": (2.0, "Videos: seconds that the curve is smoothed over; 0: not."),
    "smoothing": ("exponential", f"Videos: {' or '.join(SMOOTHINGS)}."),
    "blur_faces": (False, "Make the faces in the pictures unrecognisable; the answers stay the same."),
    "render": (False, "Videos: also write an mp4 of the frames with boxes, expressions and curve."),
    "seconds": (None, "Cameras and streams: when to stop. Default: when the stream ends, or on Ctrl-C."),
}


def video_option(name: str) -> Any:
    """The dataclass field of a name in `VIDEO_OPTIONS`."""
    default, text = VIDEO_OPTIONS[name]
    return field(default=default, metadata={"help": text})


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


def chosen_source(words: Sequence[str], options: Options, seconds: float | None) -> LiveSource | None:
    """The camera or stream that is to be watched; None if all `words` are files or folders.

    Raises:
        UserError: it is not alone, or there are options that do not fit.
    """
    from ger_datasets.videos.live import live_source

    sources = [source for source in map(live_source, words) if source is not None]
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UserError(f"--seconds must be a number above 0, not {seconds}")
    if not sources:
        if seconds is not None:
            raise UserError("--seconds is for cameras and streams: a video is read whole")
        return None
    if len(words) > 1:
        found = listing(source.name for source in sources)
        raise UserError(f"a camera or stream is watched alone, found {len(words)} videos, among them {found}")
    if options.render:
        raise UserError("--render needs a video file: a camera or stream cannot be read a second time")
    return sources[0]
