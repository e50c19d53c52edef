"""Small JPEGs of evenly spaced sampled frames: never more than a set number, however long the video is."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from ger_datasets.support.atomic_files import replacing

from ...inference.blurring import blur_faces

MOST_PICTURES = 200  # with 30 KB each, the page stays below 8 MB
MOST_WAITING = 8  # frames that wait to become pictures: 50 MB of 1080p
SIDE = 480  # pixels, longer side
QUALITY = 72  # of the JPEGs


class Pictures:
    """A folder of pictures, named by the number of the sampled frame.

    Every frame is kept at first; whenever there are too many, every second picture is deleted and from then on only
    every second one is kept. A thread of its own writes them, while the caller reads the next frames.

    Args:
        folder: an existing folder.
        hide_faces: blur all faces that the detector finds.
    """

    def __init__(self, folder: Path, hide_faces: bool = False) -> None:
        self.folder, self.hide_faces = folder, hide_faces
        self._step = 1
        self._writer = ThreadPoolExecutor(1)
        self._writing: deque[Future[None]] = deque()

    def offer(self, number: int, image: Image.Image, boxes_xyxy: np.ndarray) -> None:
        """Keep the picture of sampled frame `number` if it is its turn, with its faces boxes_xyxy (faces, 4).

        Raises:
            UserError: an earlier one cannot be written.
        """
        self._wait(MOST_WAITING - 1)
        self._writing.append(self._writer.submit(self._keep, number, image, boxes_xyxy))

    def _wait(self, left: int) -> None:
        """Until only so many pictures are to be written."""
        while len(self._writing) > left:
            self._writing.popleft().result()

    def _keep(self, number: int, image: Image.Image, boxes_xyxy: np.ndarray) -> None:
        step = _step(number)
        if step > self._step:
            for path in self.folder.glob("*.jpg"):
                if int(path.stem) % step:
                    path.unlink()
            self._step = step
        if number % step:
            return
        with replacing(self.folder / f"{number:06d}.jpg") as file:
            file.write(jpeg(reduced(image, SIDE, boxes_xyxy if self.hide_faces else None), QUALITY))

    def read(self) -> dict[int, bytes]:
        """Number of the sampled frame -> JPEG, in the order of time; raises UserError if one cannot be written."""
        self._wait(0)
        return {int(path.stem): path.read_bytes() for path in sorted(self.folder.glob("*.jpg"))}


def _step(number: int) -> int:
    """The least power of two so that there are at most `MOST_PICTURES` multiples of it from 0 to `number`."""
    step = 1
    while number // step + 1 > MOST_PICTURES:
        step *= 2
    return step


def reduced(
    image: Image.Image, side: int, hidden_boxes_xyxy: Sequence[Sequence[float]] | np.ndarray | None = None
) -> Image.Image:
    """The picture with its longer side reduced to `side` pixels, the faces in the given boxes of it blurred."""
    scale = min(1.0, side / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if hidden_boxes_xyxy is None or not len(hidden_boxes_xyxy):
        return small
    boxes = (np.asarray(hidden_boxes_xyxy, np.float64) * scale).tolist()
    return blur_faces(small, boxes, [1.0] * len(boxes))


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The content of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
