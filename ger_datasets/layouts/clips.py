"""Videos -> frames in JPEG files with their times. Videos whose frames are there already are not read again."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from ..photos.reading import JPEG
from ..support.errors import UserError, one_line, printable
from ..videos.decoding import BadVideo, IncompleteVideo, decoded_frames
from ..videos.display import shown_pixels
from ..videos.frames import Frame

logger = logging.getLogger(__name__)

NOTE = "video.json"  # in the folder of a video's frames, written last


@dataclass(frozen=True)
class Clip:
    """The frames that were taken from one video.

    Attributes:
        frames: file and time in seconds of each, in order.
        incomplete: why the video's end is missing; empty if it is not.
    """

    frames: tuple[tuple[Path, float], ...]
    incomplete: str


def frames_at(path: str | Path, per_second: float) -> Iterator[Frame]:
    """The first frame of a video, and the first one at or after each multiple of 1 / `per_second` seconds.

    Args:
        path: the video.
        per_second: frames per second of time. All frames are given where the video has fewer.

    Raises:
        IncompleteVideo: after the frames of the intact part, where the rest is missing or damaged.
        BadVideo: as `decoded_frames`.
        UserError: `per_second` is not above 0.
    """
    if not 0 < per_second < math.inf:
        raise UserError(f"frames_per_second must be more than 0, not {per_second}")
    due = -math.inf

    def wanted(_: int, seconds: float) -> bool:
        nonlocal due
        if seconds < due:
            return False
        due = (math.floor(seconds * per_second + 1e-6) + 1) / per_second - 1e-6  # times are rounded to ticks
        return True

    for number, seconds, pixels in decoded_frames(path, shown_pixels, wanted):
        yield Frame(number, seconds, Image.fromarray(pixels))


def write_clips(
    videos: Mapping[str, Path], place: Path, frames: Callable[[Path], Iterable[Frame]]
) -> tuple[dict[str, Clip], dict[str, str]]:
    """Write the frames of `videos` as `place/NAME/frame_000123.jpg`.

    Each video's folder is written completely or not at all, so that an interrupted run continues where it stopped.

    Args:
        videos: name -> file; a name may contain slashes.
        place: the folder; another one for each way of taking frames.
        frames: gives the frames of a file.

    Returns:
        name -> its frames; and name -> why the video cannot be used.

    Raises:
        UserError: a folder cannot be written.
    """
    pending = [name for name, path in videos.items() if not _is_of(place / name, path)]
    broken: dict[str, str] = {}
    for name in tqdm(pending, unit="video", desc="frames of videos", disable=not pending):
        try:
            _write(videos[name], place / name, frames)
        except BadVideo as reason:
            broken[name] = str(reason)
            folder, slash, _ = name.rpartition("/")
            logger.warning("%s%s%s cannot be used: %s", folder, slash, printable(videos[name].name), reason)
    clips = {}
    for name in videos:
        if name not in broken:
            note = _note(place / name) or {"frames": {}, "incomplete": None}
            files = tuple((place / name / file, seconds) for file, seconds in sorted(note["frames"].items()))
            clips[name] = Clip(files, note["incomplete"] or "")
    return clips, broken


def _note(folder: Path) -> dict[str, Any] | None:
    """What is known of the video whose frames `folder` holds, all of them; None if they are not there."""
    try:
        note = json.loads((folder / NOTE).read_text())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and note.keys() == {"bytes", "incomplete", "frames"} else None


def _is_of(folder: Path, video: Path) -> bool:
    """Whether `folder` holds the frames of this very `video`: all of them, from a file of its size."""
    try:
        note = _note(folder)
        return note is not None and note["bytes"] == video.stat().st_size
    except OSError:
        return False


def _write(video: Path, folder: Path, frames: Callable[[Path], Iterable[Frame]]) -> None:
    """Write the frames of `video` as `folder`, completely or not at all; of an incomplete video those there are."""
    temporary = folder.with_name(f".{uuid.uuid4().hex}.tmp")
    incomplete, times = None, {}
    try:
        temporary.mkdir(parents=True)
        try:
            for number, seconds, image in frames(video):
                name = f"frame_{number:06d}.jpg"
                image.save(temporary / name, **JPEG)
                times[name] = seconds
        except IncompleteVideo as reason:
            incomplete = str(reason)
        note = {"bytes": video.stat().st_size, "incomplete": incomplete, "frames": times}
        (temporary / NOTE).write_text(json.dumps(note))
        if folder.exists() and not _is_of(folder, video):
            shutil.rmtree(folder)  # of an earlier video of this name
        os.rename(temporary, folder)
    except OSError as error:
        if not _is_of(folder, video):  # else another process was faster, with the same frames
            raise UserError(f"cannot write {folder}: {one_line(error)}; choose another place or free it") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
