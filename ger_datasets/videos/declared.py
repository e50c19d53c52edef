"""What the header of a video file says: the size of its frames and its length, without decoding anything."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import av

from .completeness import declared_end
from .decoding import CONTAINERS, TAGS


class Declared(NamedTuple):
    """What a header says; the video itself may differ.

    Attributes:
        width: of the frames, pixels; 0: not known.
        height: the same.
        seconds: when the video ends; None: not known.
    """

    width: int
    height: int
    seconds: float | None


def declared(path: str | Path) -> Declared:
    """What the header of a video says; nothing is known of a file that is no video."""
    try:
        with open(path, "rb") as file, av.open(file, options={"format_whitelist": CONTAINERS}, **TAGS) as container:
            stream = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                return Declared(0, 0, None)
            return Declared(stream.width or 0, stream.height or 0, declared_end(container, stream)[0])
    except (OSError, ValueError, av.error.FFmpegError):  # decoding it reports the reason
        return Declared(0, 0, None)
