"""Animated GIF and WebP -> frames with times, through Pillow: FFmpeg does not read animated WebP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import count
from typing import BinaryIO

from PIL import Image

FORMATS = ("GIF", "WEBP")
SHORTEST = 0.01  # seconds; shorter frames, and those of 0, are shown for a tenth of a second, as browsers do
INSTEAD = 0.1


def is_animation_format(file: BinaryIO) -> bool:
    """Whether an open file is a GIF or a WebP by its first bytes; its position stays."""
    place = file.tell()
    head = file.read(12)
    file.seek(place)
    return head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def missing_bytes(file: BinaryIO) -> bool:
    """Whether the end of a GIF or WebP is missing."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF":
        return int.from_bytes(head[4:8], "little") + 8 > size
    file.seek(max(0, size - 64))
    return b"\x3b" not in file.read()  # a GIF's trailer; some programs write more after it


def animation_frames(image: Image.Image) -> Iterator[tuple[float, Image.Image]]:
    """The frames of an animation, each with the seconds at which it is shown; transparency is laid on white.

    Args:
        image: as Pillow has opened it.

    Raises:
        ValueError: the rest is damaged.
    """
    seconds = 0.0
    for number in count():
        try:
            image.seek(number)
            image.load()
        except EOFError:
            return
        except (OSError, SyntaxError) as error:  # Pillow's errors of content are no errors of the disk
            raise ValueError(str(error)) from error
        rgba = image.convert("RGBA")
        yield seconds, Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert("RGB")
        duration = float(image.info.get("duration", 0)) / 1000
        seconds += duration if duration > SHORTEST else INSTEAD
