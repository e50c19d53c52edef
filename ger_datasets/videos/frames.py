"""A video -> the frames that show something new: its key frames.

The difference of consecutive frames is a curve over the video; a rule picks frames from that curve. The video is
decoded twice, once for the curve and once to write the picked frames, and no more than a few frames are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from PIL import Image

from ..support.errors import OneLine, UserError

SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"})
# FFmpeg's demuxers that are tried, whatever the suffix. Playlists (HLS, concat, ...) open other files and addresses.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg"
# Before PyAV 19 a tag that is no UTF-8 stops the reading of a video; from 19 on it does not, and this is not known.
TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
MAX_FRAME_PIXELS = 8192 * 4320  # 8K; a larger frame is no photo of people but a way to fill the memory

DIFFERENCE_SIDE = 256  # pixels; frames are reduced to this longer side before they are compared
SMOOTHING_FRAMES = 50  # the original's Hann window
JUMP = 0.6  # the original's threshold on the relative change of the difference
TOP_FRAMES = 50  # the original's number of frames with the largest difference

# Linear RGB with the primaries of sRGB and white point D65 -> XYZ (IEC 61966-2-1, annex; Y of white is 1)
RGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
# OpenCV's 8-bit LUV stretches L* (0 to 100), u* (-134 to 220) and v* (-140 to 122) to 0 to 255 (its `cvtColor` pages)
LUV_TO_LEVELS = np.array([255 / 100, 255 / 354, 255 / 262], np.float32)


class BadVideo(OneLine):
    """One video that cannot be used. The message is the reason, without the file's path; the others go on."""


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
        (frames - 1,) float64; element i compares the frames i and i + 1, counted from 0 as they are shown.

    Raises:
        BadVideo: the file is no video, has no frame, is damaged, or its frames are larger than `MAX_FRAME_PIXELS`.
    """
    reformatter, size = VideoReformatter(), None

    def levels(frame: av.VideoFrame) -> np.ndarray:  # (height, width, 3) float32, reduced
        nonlocal size
        size = size or _reduced(frame.width, frame.height)  # of the first frame, should they change
        small = reformatter.reformat(frame, *size, format="rgb24", interpolation="AREA")
        return rgb_to_luv(small.to_ndarray()) * LUV_TO_LEVELS

    differences, before = [], None
    for _, now in _decoded(Path(path), levels):
        if before is not None:
            differences.append(float(np.abs(now - before).mean(dtype=np.float64)))
        before = now
    return np.array(differences, np.float64)


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
        path: the video.
        rule: a name in `KEY_FRAME_RULES`.

    Raises:
        BadVideo: as `frame_differences`.
        UserError: there is no such rule.
    """
    if rule not in KEY_FRAME_RULES:
        raise UserError(f"unknown key_frames {rule!r}: there are {', '.join(KEY_FRAME_RULES)}")
    differences = frame_differences(path)
    return KEY_FRAME_RULES[rule](differences).tolist() or [len(differences) // 2]


def video_frames(
    path: str | Path, every: int | None = None, rule: str = "local_maxima"
) -> Iterator[tuple[int, Image.Image]]:
    """Frames of a video, upright, RGB, in their full size, with their numbers from 0, one at a time.

    Args:
        path: the video.
        every: take the first frame and every so many-th after it; None: the key frames.
        rule: how key frames are found: a name in `KEY_FRAME_RULES`.

    Raises:
        BadVideo: as `frame_differences`; with `every`, what comes before the damage has been given by then.
        UserError: there is no such rule, or `every` is below 1.
    """
    if every is not None and every < 1:
        raise UserError(f"every must be 1 or more frames, not {every}")
    wanted = key_frames(path, rule) if every is None else None
    for number, pixels in _decoded(Path(path), _upright_rgb, wanted, every or 1):
        yield number, Image.fromarray(pixels)


def write_key_frames(
    path: str | Path, folder: str | Path, rule: str = "local_maxima", quality: int = 95
) -> list[Path]:
    """Write the key frames of a video as `folder/frame_000123.jpg`, upright, RGB, in their full size.

    Args:
        path: the video.
        folder: made when missing. What was written before an error stays there.
        rule: a name in `KEY_FRAME_RULES`.
        quality: of the JPEG files, 1 to 95; chroma is not subsampled.

    Returns:
        the files, in the order of the frames.

    Raises:
        BadVideo: as `frame_differences`.
        UserError: there is no such rule, or the folder cannot be written.
    """
    folder, wanted = Path(folder), key_frames(path, rule)
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, pixels in _decoded(Path(path), _upright_rgb, wanted):
            written.append(folder / f"frame_{number:06d}.jpg")
            Image.fromarray(pixels).save(written[-1], format="JPEG", quality=quality, subsampling=0)
    except OSError as error:  # of writing: `_decoded` makes its own into BadVideo
        raise UserError(
            f"cannot write {folder}: {error.strerror or error}; choose another place or free it"
        ) from error
    if len(written) < len(wanted):
        raise BadVideo("it had fewer frames when it was read a second time")
    return written


def _decoded(
    path: Path, convert: Callable[[av.VideoFrame], np.ndarray], wanted: Sequence[int] | None = None, every: int = 1
) -> Iterator[tuple[int, np.ndarray]]:
    """The numbers and converted frames of a video in the order in which they are shown, one at a time.

    Args:
        path: the video.
        convert: what makes an array of a frame.
        wanted: the numbers of the frames to convert, in order; None: all of them.
        every: where none are named, only each frame whose number this divides.

    Raises:
        BadVideo: whatever goes wrong.
    """
    count, left = 0, None if wanted is None else set(wanted)
    try:
        # An open file, not its name: FFmpeg takes names with a colon for addresses, and wants them in UTF-8.
        with (
            open(path, "rb") as file,
            av.open(file, options={"format_whitelist": CONTAINERS}, **TAGS) as container,
        ):
            stream = container.streams.best("video")
            if stream is None or stream.disposition & Disposition.attached_pic:  # the cover of a sound file
                raise BadVideo("it has no video, only sound" if container.streams.audio else "it has no video")
            if stream.codec_context is None:
                raise BadVideo("its video is in a codec that FFmpeg does not know")
            _check_size(stream.width, stream.height)
            stream.thread_type = "SLICE"  # threads over frames lose errors, depending on how many cores there are
            for number, frame in enumerate(container.decode(stream)):
                _check_size(frame.width, frame.height)
                count = number + 1
                if number % every == 0 if left is None else number in left:
                    yield number, convert(frame)
                if left is not None:
                    left.discard(number)
                    if not left:
                        return
    except BadVideo:
        raise
    except av.error.FFmpegError as error:
        where = f"damaged after {count} frames" if count else "no video, or damaged from its start"
        raise BadVideo(f"{where} ({error.strerror})") from error
    except OSError as error:
        empty = path.is_file() and path.stat().st_size == 0
        reason = "the file is empty (0 bytes)" if empty else f"the file cannot be read: {error.strerror or error}"
        raise BadVideo(reason) from error
    except Exception as error:
        raise BadVideo(f"damaged after {count} frames ({' '.join(str(error).split())})") from error
    if count == 0:
        raise BadVideo("it has no frame")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_FRAME_PIXELS:
        raise BadVideo(f"frames of {width} x {height} pixels: more than {MAX_FRAME_PIXELS:,} are not decoded")


def _upright_rgb(frame: av.VideoFrame) -> np.ndarray:
    """(height, width, 3) uint8: a frame as a player shows it."""
    pixels = frame.to_ndarray(format="rgb24")
    side_data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    if side_data is None:
        return pixels
    # libavutil/display.h: x' = a x + c y and y' = b x + d y, in fixed point; turns and flips differ by signs alone
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    if a < 0:
        pixels = pixels[:, ::-1]
    if d < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
