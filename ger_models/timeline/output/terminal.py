"""Frames of a camera or stream -> the group's curve in a terminal: one line that changes, or one each second."""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Sequence
from typing import TextIO

import numpy as np

from ..record import ReadFrame
from .page import clock

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", "_.:-=+*#"  # heights of a curve; for terminals that cannot show the first
LONGEST, SHORTEST = 24, 4  # characters, of each class's curve


class LiveLine:
    """Shows the curve of each class while it is made.

    On a terminal one line is written over, and holds as much of the past as fits; elsewhere a line is written for each
    second. The curve is the exponential mean over the past, each frame counted by its faces.

    Args:
        class_names: (classes,).
        smooth: window in seconds, as in `curve.group_curve`; 0: not smoothed.
        stream: where it is written.
    """

    def __init__(self, class_names: Sequence[str], smooth: float, stream: TextIO) -> None:
        self.class_names, self.smooth, self.stream = class_names, smooth, stream
        self._in_place = stream.isatty()
        self._heights = BLOCKS if _can_show(stream, BLOCKS) else PLAIN
        self._sums = np.zeros(len(class_names))
        self._weight, self._last = 0.0, 0.0
        self._shown_second = -1
        self._past: deque[np.ndarray] = deque(maxlen=LONGEST)

    def add(self, frame: ReadFrame) -> None:
        """Show the next frame."""
        faces = len(frame.reading.boxes)
        kept = math.exp((self._last - frame.seconds) / (self.smooth / 2)) if self.smooth else 0.0
        self._sums, self._weight, self._last = self._sums * kept, self._weight * kept, frame.seconds
        if faces:
            self._sums = self._sums + faces * frame.reading.probabilities
            self._weight += faces
        known = self._weight > 1e-3  # of one face: it was seen lately
        self._past.append(self._sums / self._weight if known else np.full(len(self._sums), np.nan))
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1
            self._write("\r" + self._text(faces, frame.seconds, width).ljust(width))
        elif int(frame.seconds) > self._shown_second:
            self._write(self._text(faces, frame.seconds, 10**6) + "\n")
        self._shown_second = int(frame.seconds)

    def end(self) -> None:
        """Leave the line as it is."""
        if self._in_place and self._past:
            self._write("\n")

    def _text(self, faces: int, seconds: float, width: int) -> str:
        """The line, no longer than `width`: with curves if they fit, and else without them, or cut."""
        count = "no face" if not faces else f"{faces} face{'s' * (faces > 1)}"
        now = self._past[-1]
        shares = ["  ? " if np.isnan(share) else f"{share:.2f}" for share in now]
        names = [f"{name} {share}" for name, share in zip(self.class_names, shares, strict=True)]
        plain = "  ".join([clock(seconds), *names, count])
        room = min(LONGEST, (width - len(plain)) // len(names) - 1)
        if room < SHORTEST:
            return plain[:width]
        past = np.array(self._past)[-room:]
        curves = [self._drawn(past[:, i]).rjust(room) for i in range(len(names))]
        return "  ".join([clock(seconds), *map(" ".join, zip(names, curves, strict=True)), count])

    def _drawn(self, shares: np.ndarray) -> str:
        top = len(self._heights) - 1
        return "".join(" " if np.isnan(x) else self._heights[round(float(x) * top)] for x in shares)

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
