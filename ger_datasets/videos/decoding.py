"""A video file of any kind -> its frames as they are shown, each with its number and its time, one at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from ..photos.reading import MAX_SIDE_RATIO, MIN_SIDE
from ..support.errors import OneLine
from .animations import FORMATS, animation_frames, is_animation_format, missing_bytes
from .completeness import Ends, why_not_opened
from .deinterlacing import deinterlaced
from .display import DisplayMatrix, View, shown_size
from .times import Clock

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".vob", ".mts", ".m2ts", ".wmv"}
    | {".flv", ".ogv", ".gif", ".webp"}
)
# FFmpeg's demuxers that are tried, whatever the suffix. Playlists (HLS, concat, ...) open other files and addresses.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg"
# Before PyAV 19 a tag that is no UTF-8 stops the reading of a video; from 19 on it does not, and this is not known.
TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
MAX_FRAME_PIXELS = 8192 * 4320  # 8K; a larger frame is no photo of people but a way to fill the memory

Made = TypeVar("Made")
Source = Iterator[tuple[float, av.VideoFrame, View]]  # with the seconds at which each frame is shown


class BadVideo(OneLine):
    """One video that cannot be used. The message is the reason, without the file's path; the others go on."""


class IncompleteVideo(BadVideo):
    """A video whose end is missing or damaged. All intact frames have been given before this is raised."""


def decoded_frames(
    path: str | Path,
    convert: Callable[[av.VideoFrame, View], Made],
    wanted: Callable[[int, float], bool] = lambda number, seconds: True,
) -> Iterator[tuple[int, float, Made]]:
    """The frames of a video in the order in which they are shown, deinterlaced, one at a time.

    Args:
        path: the video.
        convert: makes the result of a frame and of how it is shown, such as `display.shown_pixels`.
        wanted: whether a frame, by its number and its seconds, is converted and given.

    Yields:
        its number, counted from 0 as frames are shown; the seconds at which it is shown, from the start of the file's
        own time, larger for every next frame; what `convert` made of it.

    Raises:
        IncompleteVideo: after all intact frames, where the file ends early or is damaged from there on, or where
            damaged frames were left out in between.
        BadVideo: the file is no video, has no intact frame, or its frames are too large or too small.
    """
    path, count, lost = Path(path), 0, 0
    try:
        # An open file, not its name: FFmpeg takes names with a colon for addresses, and wants them in UTF-8.
        with open(path, "rb") as file:
            for seconds, frame, view in _animation(file) if is_animation_format(file) else _stream(file):
                check_size(*view.size)
                if frame.is_corrupt:
                    lost += 1
                elif wanted(count, seconds):
                    yield count, seconds, convert(frame, view)
                count += 1
    except IncompleteVideo as reason:
        if count == lost:
            raise BadVideo(f"{reason}, and no frame could be read") from reason
        raise IncompleteVideo(f"{reason}; the frames before are used") from reason
    except BadVideo:
        raise
    except av.error.FFmpegError as error:
        raise _damaged(path, count - lost, error.strerror or type(error).__name__) from error
    except OSError as error:
        empty = path.is_file() and path.stat().st_size == 0
        unread = f"the file cannot be read: {error.strerror or error}"
        raise BadVideo("the file is empty (0 bytes)" if empty else unread) from error
    except Exception as error:
        raise _damaged(path, count - lost, " ".join(str(error).split())) from error
    if count == lost:
        raise BadVideo("it has no frame" if not count else "all its frames are damaged")
    if lost:
        raise IncompleteVideo(f"{lost} of {count} frames are damaged and were left out")


def _damaged(path: Path, intact: int, reason: str) -> BadVideo:
    if intact:
        return IncompleteVideo(f"damaged after {intact} frames ({reason})")
    with open(path, "rb") as file:
        index = why_not_opened(file)
    return BadVideo(index or f"no video, or damaged from its start ({reason})")


def check_size(width: int, height: int) -> None:
    """Refuse frames that are too large or too small; the least size is that of photos, as which they can be stored.

    Raises:
        BadVideo: they are.
    """
    if width * height > MAX_FRAME_PIXELS:
        raise BadVideo(f"frames of {width} x {height} pixels: more than {MAX_FRAME_PIXELS:,} are not decoded")
    if min(width, height) < MIN_SIDE:
        raise BadVideo(f"frames of {width} x {height} pixels: a side below {MIN_SIDE} shows nothing")
    if max(width, height) > MAX_SIDE_RATIO * min(width, height):
        raise BadVideo(f"frames of {width} x {height} pixels: a strip, not a photo")


def _animation(file: BinaryIO) -> Source:
    """The frames of a GIF or WebP file."""
    incomplete = missing_bytes(file)
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own size warning comes earlier than our limit
        try:
            image = Image.open(file, formats=FORMATS)
        except OSError as error:  # Pillow's, of the content
            reason = "its end is missing" if incomplete else " ".join(str(error).split())
            raise BadVideo(f"damaged from its start ({reason})") from error
        check_size(*image.size)
        if not getattr(image, "is_animated", False):
            raise BadVideo("a still picture, not a video: give it as a photo")
        for seconds, shown in animation_frames(image):
            yield seconds, av.VideoFrame.from_ndarray(np.asarray(shown), format="rgb24"), View(shown.size)
    if incomplete:
        raise IncompleteVideo("incomplete: the end of the file is missing")


def _stream(file: BinaryIO) -> Source:
    """The frames of the best video stream of a file that FFmpeg reads."""
    with av.open(file, options={"format_whitelist": CONTAINERS}, **TAGS) as container:
        stream = container.streams.best("video")
        if stream is None or stream.disposition & Disposition.attached_pic:  # the cover of a sound file
            if container.streams.audio:
                raise BadVideo("it has no video, only sound")
            raise BadVideo((not len(container.streams) and why_not_opened(file)) or "it has no video")
        if stream.codec_context is None:
            raise BadVideo("its video is in a codec that FFmpeg does not know")
        _check_coded_size(stream)
        stream.thread_type = "SLICE"  # threads over frames lose errors, depending on how many cores there are
        clock, ends = Clock(container, stream), Ends(container, stream)
        matrix, errors = DisplayMatrix(), list[av.error.FFmpegError]()
        aspect = stream.sample_aspect_ratio
        timed = ((clock.seconds(frame), frame) for frame in _intact(container, stream, (clock, ends), errors))
        for seconds, frame in deinterlaced(timed):
            yield seconds, frame, View(shown_size(frame, aspect), matrix.of(frame))
        if errors:
            raise errors[0]
        if ends.shortfall(clock.longest_gap):
            raise IncompleteVideo(f"incomplete: it ends after {ends.actual:.2f} of {ends.declared:.2f} s")


def _check_coded_size(stream: av.VideoStream) -> None:
    if stream.width and stream.height:  # not known of some damaged files
        check_size(stream.width, stream.height)


def _intact(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    observers: tuple[Clock, Ends],
    errors: list[av.error.FFmpegError],
) -> Iterator[av.VideoFrame]:
    """The decoded frames of `stream` up to the first error, which is added to `errors`.

    A packet that the end of the file has cut in two, or that was damaged on its way, is left out where the decoder
    refuses it.
    """
    clock, ends = observers
    try:
        for packet in container.demux():
            ends.see(packet)
            if packet.stream_index != stream.index:
                continue
            clock.see(packet)
            try:
                yield from packet.decode()  # type: ignore[misc]
            except av.error.InvalidDataError:
                if not packet.is_corrupt:
                    raise
    except av.error.FFmpegError as error:
        errors.append(error)
        with suppress(av.error.FFmpegError):
            yield from stream.codec_context.decode(None)  # intact frames that wait for their turn
