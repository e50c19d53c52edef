"""A video -> every n-th of its frames, or those that show something new: its key frames.

The difference of consecutive frames is a curve over the video; a rule picks key frames from that curve. The video is
decoded twice, once for the curve and once for the picked frames, and no more than a few frames are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from ..support.errors import UserError
from .decoding import SUFFIXES, BadVideo, IncompleteVideo, decoded_frames
from .display import View, shown_pixels

__all__ = [
    "KEY_FRAME_RULES",
    "SUFFIXES",
    "BadVideo",
    "Frame",
    "IncompleteVideo",
    "frame_differences",
    "key_frames",
    "rgb_to_luv",
    "video_frames",
    "write_key_frames",
]

DIFFERENCE_SIDE = 256  # pixels; frames are reduced to this longer side before they are compared
SMOOTHING_FRAMES = 50  # the original's Hann window
JUMP = 0.6  # the original's threshold on the relative change of the difference
TOP_FRAMES = 50  # the original's number of frames with the largest difference

# Linear RGB with the primaries of sRGB and white point D65 -> XYZ (IEC 61966-2-1, annex; Y of white is 1)
RGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
# OpenCV's 8-bit LUV stretches L* (0 to 100), u* (-134 to 220) and v* (-140 to 122) to 0 to 255 (its `cvtColor` pages)
LUV_TO_LEVELS = np.array([255 / 100, 255 / 354, 255 / 262], np.float32)


class Frame(NamedTuple):
    """One frame of a video.

    Attributes:
        number: counted from 0 as frames are shown.
        seconds: when it is shown; see `decoding.decoded_frames`.
        image: as a player shows it: square pixels, upright, deinterlaced, sRGB.
    """

    number: int
    seconds: float
    image: Image.Image


def rgb_to_luv(pixels: np.ndarray) -> np.ndarray:
    """CIE 1976 L*u*v* of sRGB pixels, white point D65.

    The transfer function and primaries are those of sRGB (IEC 61966-2-1); L*, u* and v* those of CIE 15:2004, 8.2.2.

    Args:
        pixels: (..., 3) uint8, RGB.

    Returns:
        (..., 3) float32: L* from 0 to 100, u* and v* around 0 for greys.
    """
    levels = np.arange(256, dtype=np.float32) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    xyz = linear.astype(np.float32)[pixels] @ RGB_TO_XYZ.T
    luminance = xyz[..., 1]
    lightness = np.where(luminance > (6 / 29) ** 3, 116 * np.cbrt(luminance) - 16, (29 / 3) ** 3 * luminance)
    chromaticity, white = _chromaticity(xyz), _chromaticity(RGB_TO_XYZ.sum(axis=1))
    return np.concatenate([lightness[..., None], 13 * lightness[..., None] * (chromaticity - white)], axis=-1)


def _chromaticity(xyz: np.ndarray) -> np.ndarray:
    """(..., 2): u' and v' of XYZ; 0 for black, which has none."""
    total = xyz @ np.array([1, 15, 3], np.float32)
    return xyz[..., :2] * np.array([4, 9], np.float32) / np.maximum(total, 1e-12)[..., None]


def frame_differences(path: str | Path) -> np.ndarray:
    """How much each frame of a video differs from the one before.

    The mean absolute difference in CIE LUV over pixels and channels, in levels of OpenCV's 8-bit LUV as in the
    original, but without its rounding. Frames are first reduced to `DIFFERENCE_SIDE`, which averages noise away and
    takes a fraction of the time.

    Args:
        path: the video.

    Returns:
        (frames - 1,) float64; element i compares the intact frames i and i + 1, counted from 0 as they are shown.

    Raises:
        BadVideo: as `decoded_frames`; of an incomplete video the intact part is compared.
    """
    return _compared(path)[1]


def _compared(path: str | Path) -> tuple[list[int], np.ndarray, IncompleteVideo | None]:
    """The numbers of the intact frames, their differences, and why these are not all frames."""
    size: tuple[int, int] | None = None

    def levels(frame: av.VideoFrame, view: View) -> np.ndarray:  # (height, width, 3) float32, reduced
        nonlocal size
        size = size or _reduced(*view.size)  # of the first frame, should they change
        return rgb_to_luv(shown_pixels(frame, View(size), "AREA")) * LUV_TO_LEVELS

    numbers: list[int] = []
    differences: list[float] = []
    before, incomplete = None, None
    try:
        for number, _, now in decoded_frames(path, levels):
            if before is not None:
                differences.append(float(np.abs(now - before).mean(dtype=np.float64)))
            numbers.append(number)
            before = now
    except IncompleteVideo as reason:
        incomplete = reason
    return numbers, np.array(differences, np.float64), incomplete


def _reduced(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, DIFFERENCE_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def local_maxima(differences: np.ndarray) -> np.ndarray:
    """The frames at local maxima of the differences (frames - 1,), smoothed by a Hann window of `SMOOTHING_FRAMES`.

    The curve goes on beyond its ends at the value it has there: mirroring it would move maxima that lie within half a
    window of an end.
    """
    from scipy.signal import find_peaks  # half a second, which every process of prepare.py would spend

    if len(differences) == 0:
        return np.zeros(0, np.int64)
    window = np.hanning(SMOOTHING_FRAMES)
    after = (SMOOTHING_FRAMES - 1) // 2
    around = np.pad(differences, (SMOOTHING_FRAMES - 1 - after, after), mode="edge")
    smoothed = np.convolve(around, window / window.sum(), mode="valid")  # (frames - 1,)
    # A lone cut becomes the window's own shape, whose top is two equal values: no maximum to a strict comparison with
    # the neighbours (argrelextrema), but a peak. Prominence: on a level curve, rounding errors are no maxima.
    peaks, _ = find_peaks(smoothed, prominence=1e-6)
    return peaks + 1


def threshold(differences: np.ndarray) -> np.ndarray:
    """The frames whose difference, of (frames - 1,), has risen by `JUMP` or more of itself since the frame before.

    >>> threshold(np.array([1.0, 1.0, 9.0, 9.0]))
    array([3])
    """
    before, now = differences[:-1], differences[1:]
    larger = np.maximum(before, now)
    rise = np.divide(now - before, larger, out=np.zeros_like(now), where=larger > 0)
    return np.flatnonzero(rise >= JUMP) + 2  # element i of `now` belongs to frame i + 2


def top(differences: np.ndarray) -> np.ndarray:
    """The `TOP_FRAMES` frames with the largest difference, of (frames - 1,), the earlier ones where it is equal; never
    of 0.

    >>> top(np.array([0.0, 5.0, 2.0]))
    array([2, 3])
    """
    order = np.argsort(-differences, kind="stable")[:TOP_FRAMES]
    return np.sort(order[differences[order] > 0]) + 1


# name -> (frames - 1,) differences -> sorted numbers of the key frames, which may be none
KEY_FRAME_RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "local_maxima": local_maxima,
    "threshold": threshold,
    "top": top,
}


def key_frames(path: str | Path, rule: str = "local_maxima") -> list[int]:
    """The numbers of a video's key frames, counted from 0, in order; the middle frame where the rule finds none.

    Args:
        path: the video; of an incomplete one the intact part is used.
        rule: a name in `KEY_FRAME_RULES`.

    Raises:
        BadVideo: as `frame_differences`.
        UserError: there is no such rule.
    """
    return _key_frames(path, rule)[0]


def _key_frames(path: str | Path, rule: str) -> tuple[list[int], IncompleteVideo | None]:
    if rule not in KEY_FRAME_RULES:
        raise UserError(f"unknown key_frames {rule!r}: there are {', '.join(KEY_FRAME_RULES)}")
    numbers, differences, incomplete = _compared(path)
    picked = KEY_FRAME_RULES[rule](differences).tolist() or [len(differences) // 2]
    return [numbers[place] for place in picked], incomplete


def video_frames(path: str | Path, every: int | None = None, rule: str = "local_maxima") -> Iterator[Frame]:
    """Frames of a video as a player shows them, in their full size, one at a time.

    Args:
        path: the video.
        every: take the frames 0, `every`, 2 `every`, ... as they are shown; None: the key frames.
        rule: how key frames are found: a name in `KEY_FRAME_RULES`.

    Raises:
        IncompleteVideo: after the frames of the intact part, where the rest is missing or damaged.
        BadVideo: as `decoded_frames`.
        UserError: there is no such rule, or `every` is below 1.
    """
    if every is not None:
        if every < 1:
            raise UserError(f"every must be 1 or more frames, not {every}")
        for number, seconds, pixels in decoded_frames(path, shown_pixels, lambda number, _: number % every == 0):
            yield Frame(number, seconds, Image.fromarray(pixels))
        return
    numbers, incomplete = _key_frames(path, rule)
    wanted, last = set(numbers), numbers[-1]
    for number, seconds, pixels in decoded_frames(path, shown_pixels, lambda number, _: number in wanted):
        yield Frame(number, seconds, Image.fromarray(pixels))
        if number == last:
            break
    else:
        raise BadVideo("it had fewer frames when it was read a second time")
    if incomplete:
        raise incomplete


def write_key_frames(
    path: str | Path, folder: str | Path, rule: str = "local_maxima", quality: int = 95
) -> list[Path]:
    """Write the key frames of a video as `folder/frame_000123.jpg`, as a player shows them, in their full size.

    Args:
        path: the video.
        folder: made when missing. What was written before an error stays there.
        rule: a name in `KEY_FRAME_RULES`.
        quality: of the JPEG files, 1 to 95; chroma is not subsampled.

    Returns:
        the files, in the order of the frames.

    Raises:
        IncompleteVideo: after the key frames of the intact part have been written.
        BadVideo: as `decoded_frames`.
        UserError: there is no such rule, or the folder cannot be written.
    """
    folder = Path(folder)
    written: list[Path] = []
    for number, _, image in video_frames(path, rule=rule):
        written.append(folder / f"frame_{number:06d}.jpg")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            image.save(written[-1], format="JPEG", quality=quality, subsampling=0)
        except OSError as error:
            raise UserError(
                f"cannot write {folder}: {error.strerror or error}; choose another place or free it"
            ) from error
    return written
