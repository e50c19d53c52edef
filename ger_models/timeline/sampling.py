"""A video -> some frames per second of its time, decoded in a thread of its own while the caller works."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from ger_datasets.support.errors import UserError
from ger_datasets.videos.decoding import decoded_frames
from ger_datasets.videos.display import shown_pixels
from ger_datasets.videos.frames import Frame, IncompleteVideo

WAITING = 4  # frames that are decoded ahead: 25 MB of 1080p
ROUNDING = 1e-6  # seconds, by which timestamps may miss the moments of sampling
PAUSE = 0.1  # seconds after which the thread looks whether anybody still waits for its frames


def sampled_frames(
    path: str | Path,
    fps: float,
    waiting: int = WAITING,
    start: float = 0.0,
    until: float | None = None,
    within: float | None = None,
) -> Iterator[Frame]:
    """`fps` frames per second of a video's time: the first frame at or after 0, 1/fps, 2/fps, ... seconds.

    Where the video shows fewer frames than that, each is given once. The frames are decoded by a thread, at most
    `waiting` of them ahead, which ends with the iteration: memory does not grow with the length of the video.

    Args:
        path: the video.
        fps: frames per second, above 0.
        waiting: most frames that wait for the caller.
        start: the seconds of a frame that was sampled before: it and those after it are given. What comes before is
            decoded, but not converted.
        until: the second of the video at which reading stops; None: at its end.
        within: the seconds of time that reading may take; None: as many as it needs.

    Raises:
        IncompleteVideo: after the frames of the intact part, where the rest is missing or damaged, or is left out
            because of `until` or `within`.
        BadVideo: as `decoded_frames`.
        UserError: `fps` is not a number above 0.
    """
    if not 0 < fps < math.inf:
        raise UserError(f"fps must be a number above 0, not {fps}")
    return _from_thread(_frames(path, fps, start, until, within), waiting)


def _frames(
    path: str | Path, fps: float, start: float, until: float | None, within: float | None
) -> Generator[Frame, None, None]:
    due, begin = start, time.monotonic()

    def wanted(number: int, seconds: float) -> bool:
        nonlocal due
        if until is not None and seconds >= until:
            raise IncompleteVideo(f"only its first {until / 60:g} minutes are used")
        if within is not None and time.monotonic() - begin > within:
            raise IncompleteVideo(f"reading it takes more than {within / 60:g} minutes; only its beginning is used")
        if seconds < due - ROUNDING:
            return False
        due = (math.floor((seconds + ROUNDING) * fps) + 1) / fps
        return True

    for number, seconds, pixels in decoded_frames(path, shown_pixels, wanted):
        yield Frame(number, seconds, Image.fromarray(pixels))


def _from_thread(frames: Generator[Frame, None, None], waiting: int) -> Iterator[Frame]:
    """The same frames and the same error, made by a thread."""
    ready: queue.Queue[Frame | BaseException | None] = queue.Queue(waiting)
    stopped = threading.Event()

    def put(thing: Frame | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(thing, timeout=PAUSE)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            with closing(frames):
                for frame in frames:
                    if not put(frame):
                        return
            put(None)
        except BaseException as error:  # noqa: BLE001 (it is raised where the frames are used)
            put(error)

    thread = threading.Thread(target=work, name="decoding", daemon=True)
    thread.start()
    try:
        while (thing := ready.get()) is not None:
            if isinstance(thing, BaseException):
                raise thing
            yield thing
    finally:
        stopped.set()
        thread.join()


def sample_durations(seconds: np.ndarray) -> np.ndarray:
    """How long each sampled frame stands for: until the next one; the last, as long as the median of the others.

    Args:
        seconds: (frames,), increasing.

    Returns:
        (frames,) float64; of a single frame 0, since nothing says how long it was shown.

    >>> sample_durations(np.array([0.0, 0.5, 1.0, 2.0]))
    array([0.5, 0.5, 1. , 0.5])
    """
    gaps = np.diff(np.asarray(seconds, np.float64))
    last = [np.median(gaps)] if len(gaps) else [0.0] * min(1, len(seconds))
    return np.concatenate([gaps, last])
