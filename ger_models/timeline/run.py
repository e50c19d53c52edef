"""A video -> a folder with its timeline: tables, a page, and a video if it is asked for. Interrupted runs continue.

    OUTPUT_DIR/VIDEO_STEM/timeline.csv segments.csv people.csv timeline.json timeline.html [timeline.mp4]
    OUTPUT_DIR/VIDEO_STEM/.unfinished/      the frames that have been read, while there are more to read

A second video of the same stem gets the folder VIDEO_STEM-2. A folder that holds the finished timeline of the same
video, made with the same settings, is left as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ger_datasets.detectors import DEFAULT_DETECTOR
from ger_datasets.photos.reading import in_groups
from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import printable
from ger_datasets.support.locks import alone
from ger_datasets.videos.frames import BadVideo, Frame, IncompleteVideo

from ..pipeline_ger import BATCH_PIXELS
from ..starter import STARTER_NAME
from .cuts import scene_distance, scene_signature
from .options import Options
from .output.page import TIMELINE_HTML, write_page
from .output.pictures import Pictures
from .output.rendering import TIMELINE_MP4, render_video
from .output.tables import TIMELINE_JSON, timeline_values, write_json, write_tables
from .reading import FrameReader
from .record import ReadFrame, Record
from .results import Timeline, make_timeline
from .sampling import sampled_frames

UNFINISHED, FRAMES = ".unfinished", "frames.jsonl"
LOCK = ".timeline-{}.lock"


@dataclass(frozen=True)
class Finished:
    """A video's timeline that has been written.

    Attributes:
        folder: where it is.
        summary: in a few words: `Positive 0.61 over 42 s: 3 segments, 7 people`.
        label: the class of the whole video; None without faces.
        problem: why the video is not whole; empty where it is.
    """

    folder: Path
    summary: str
    label: str | None
    problem: str


def video_timeline(
    path: str | Path,
    output_dir: str | Path,
    model: str | FrameReader = STARTER_NAME,
    fps: float = 2.0,
    smooth: float = 2.0,
    method: str = "exponential",
    blur_faces: bool = False,
    render: bool = False,
    detector: str = DEFAULT_DETECTOR,
    device: str = "cpu",
    batch_size: int = 8,
    progress: Callable[[float], None] | None = None,
    until: float | None = None,
    within: float | None = None,
) -> Finished:
    """Read a video and write its timeline into a folder of its own in `output_dir`.

    Frames are decoded by a thread of their own and go through detection and model in batches; memory does not grow
    with the length of the video, but for a few numbers per face. After an interruption the same call continues.

    Args:
        path: the video.
        output_dir: made when missing; nothing in it is overwritten.
        model: a checkpoint, a Hub repository, `starter`, or what has been loaded of them (then `detector` and
            `device` do not matter).
        fps: see `Options`; so for `smooth`, `method`, `blur_faces` and `render`.
        detector: a name in `ger_datasets.detectors.DETECTORS`.
        device: where detector and model run.
        batch_size: frames per batch; fewer if they are large.
        progress: called after each batch with the seconds of the video that have been read.
        until: the second of the video at which reading stops; None: at its end.
        within: the seconds of time that reading may take, and rendering again; None: as many as they need. A video
            that is cut short by one of the two is an incomplete one.

    Raises:
        BadVideo: no frame of the video can be used; no folder is left. Of an incomplete one the intact part is used.
        UserError: wrong options, an unusable model, or a folder that cannot be written.
    """
    path, options = Path(path), Options(fps, smooth, method, blur_faces, render)
    reader = FrameReader(model, detector, device) if isinstance(model, str) else model
    settings = {"video": _identity(path), **asdict(options), "until": until, **reader.settings}
    with alone(Path(output_dir) / LOCK.format(path.stem), f"writing the timeline of {printable(path.name)}"):
        folder, finished = video_folder(Path(output_dir), path.stem or "video", settings)
        if finished is not None:
            return finished
        work = folder / UNFINISHED
        record = Record(work / FRAMES, settings)
        pictures = Pictures(work, blur_faces)
        try:
            if record.problem is None:
                start = 0.0 if record.last is None else record.last[1]
                frames = sampled_frames(path, fps, start=start, until=until, within=within)
                _read(frames, reader, record, pictures, batch_size, progress)
        except BadVideo:
            shutil.rmtree(work)
            folder.rmdir()
            raise
        timeline = make_timeline(record, reader.class_names, smooth, method)
        if render:
            hidden = (frame.reading.hidden_boxes for frame in record.frames()) if blur_faces else None
            render_video(folder / TIMELINE_MP4, path, fps, timeline, hidden, within)
        return write_timeline(folder, timeline, pictures, path.name, reader.note, settings)


def write_timeline(
    folder: Path, timeline: Timeline, pictures: Pictures, video: str, note: str, settings: dict[str, Any]
) -> Finished:
    """Write tables, page and JSON of a timeline into `folder`, and delete what is unfinished there.

    Args:
        folder: of the video.
        timeline: of all its frames.
        pictures: of some of them.
        video: what the page calls the video.
        note: what to know before believing the answers; may be empty.
        settings: what the timeline was made with, as JSON values.

    Raises:
        UserError: they cannot be written.
    """
    about = {"video": video, "note": note, "settings": settings, "summary": timeline.summary()}
    write_tables(folder, timeline)
    write_page(folder / TIMELINE_HTML, timeline, pictures.read(), about)
    write_json(folder, timeline_values(timeline, about))  # last: it marks the folder as finished
    shutil.rmtree(folder / UNFINISHED)
    return Finished(folder, timeline.summary(), timeline.label, timeline.problem)


def _read(
    frames: Iterator[Frame],
    reader: FrameReader,
    record: Record,
    pictures: Pictures,
    batch_size: int,
    progress: Callable[[float], None] | None,
) -> None:
    """Read the frames that `record` lacks: `frames` begin with its last one."""
    before, last = None, record.last
    kept = _Intact(frames)
    for batch in in_groups(kept, batch_size, BATCH_PIXELS, lambda frame: frame.image.width * frame.image.height):
        if last is not None and batch[0].number == last[0]:
            before = scene_signature(batch.pop(0).image)  # it has been read by the interrupted run
        before, _ = read_batch(batch, before, reader, record, pictures)
        if progress is not None and record.last is not None:
            progress(record.last[1])
    record.end(kept.problem)


def read_batch(
    batch: Sequence[Frame], before: np.ndarray | None, reader: FrameReader, record: Record, pictures: Pictures
) -> tuple[np.ndarray | None, list[ReadFrame]]:
    """Read frames, and add them to the record and the pictures.

    Args:
        before: (parts, colours), the scene's signature in the frame before them; None: there is none.

    Returns:
        That of the last of them, and what was read.
    """
    new: list[ReadFrame] = []
    for frame, reading in zip(batch, reader.read([frame.image for frame in batch]), strict=True):
        now = scene_signature(frame.image)
        distance = 0.0 if before is None else scene_distance(before, now)
        before = now
        pictures.offer(record.count + len(new), frame.image, reading.hidden_boxes)
        new.append(ReadFrame(frame.number, frame.seconds, frame.image.size, distance, reading))
    record.add(new)
    return before, new


class _Intact(Iterator[Frame]):
    """The frames of the intact part of a video; then, in `problem`, why it is not whole."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames, self.problem = frames, ""

    def __next__(self) -> Frame:
        try:
            return next(self._frames)
        except IncompleteVideo as reason:
            self.problem = str(reason)
            raise StopIteration from reason


def _identity(path: Path) -> list[Any]:
    """What tells the file from others: its place, size and time of change."""
    try:
        state = path.stat()
    except OSError:  # reading it reports the reason
        return [path.name, None, None]
    return [str(path.resolve()), state.st_size, state.st_mtime_ns]


def video_folder(output_dir: Path, stem: str, settings: dict[str, Any]) -> tuple[Path, Finished | None]:
    """The folder of the video, made with what it belongs to; and what is there if it is finished.

    The first of STEM, STEM-2, ... that is new, or holds what the same settings have made of the same video.

    Raises:
        UserError: it cannot be written.
    """
    for number in count(1):
        folder = output_dir / (stem if number == 1 else f"{stem}-{number}")
        values = _there(folder / TIMELINE_JSON)
        if values is not None and values.get("settings") == settings:
            return folder, Finished(folder, values["summary"], values["label"], values["incomplete"])
        work = folder / UNFINISHED
        if work.is_dir() and _there(work / "settings.json") == settings:
            return folder, None
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            write_text(work / "settings.json", json.dumps(settings))
            return folder, None
    raise AssertionError("there is always another number")


def _there(path: Path) -> Any:
    """The values of a JSON file; None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
