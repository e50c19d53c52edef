"""The frame that boxes refer to, from a photo's header, and boxes clipped to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..photos.reading import STORED_PIXELS, TURNS, open_photo, orientation
from ..support.errors import BadPhoto


@dataclass(frozen=True)
class PhotoFrame:
    """Width and height of a photo in pixels; `stored_so`: the dataset holds it neither turned nor reduced."""

    width: int
    height: int
    stored_so: bool

    def fits(self, sides: tuple[int, int] | None) -> bool:
        """Whether boxes annotated on a photo with these sides, in either order, are in pixels of the stored photo.

        Either order, because copies of the annotations differ in it; a photo of any other size has been changed.
        """
        return self.stored_so and (sides is None or sorted(sides) == sorted((self.width, self.height)))


def read_frame(path: Path) -> PhotoFrame:
    """The frame of the photo in the file `path`, which is not decoded; 0 x 0 and not `stored_so` if it cannot be."""
    try:
        with open_photo(path) as image:
            width, height = image.size
            if width * height > STORED_PIXELS:  # of a PNG, asking for EXIF decodes the pixels
                return PhotoFrame(width, height, False)
            return PhotoFrame(width, height, orientation(image) not in TURNS)
    except BadPhoto:
        return PhotoFrame(0, 0, False)


def clip_box(box_xyxy: Sequence[float], frame: PhotoFrame) -> list[float] | None:
    """The part of the box x1 y1 x2 y2 inside the photo, in pixels; None if there is none, or not four numbers."""
    if len(box_xyxy) != 4 or not all(math.isfinite(number) for number in box_xyxy):
        return None
    x1, x2 = (min(max(x, 0.0), float(frame.width)) for x in box_xyxy[0::2])
    y1, y2 = (min(max(y, 0.0), float(frame.height)) for y in box_xyxy[1::2])
    return [x1, y1, x2, y2] if x1 < x2 and y1 < y2 else None
