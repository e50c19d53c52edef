"""A camera or a stream -> its timeline, watched while it is made: until it ends, or Ctrl-C.

OUTPUT_DIR/NAME/      as of a video, without an mp4; NAME-2 for the next time
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ger_datasets.support.locks import alone
from ger_datasets.videos.frames import BadVideo
from ger_datasets.videos.live import LiveFrames, LiveSource

from .options import Options
from .output.pictures import Pictures
from .reading import FrameReader
from .record import ReadFrame, Record
from .results import make_timeline
from .run import FRAMES, LOCK, UNFINISHED, Finished, read_batch, video_folder, write_timeline

logger = logging.getLogger(__name__)


def live_timeline(
    source: LiveSource,
    output_dir: str | Path,
    reader: FrameReader,
    options: Options,
    seconds: float | None = None,
    show: Callable[[ReadFrame], None] | None = None,
    stopped: threading.Event | None = None,
) -> Finished:
    """Watch a camera or stream, and write the timeline of what was seen into a folder of its own in `output_dir`.

    Args:
        source: the camera or stream.
        output_dir: made when missing; nothing in it is overwritten.
        reader: what frames are read with. Those that come while it is busy are skipped.
        options: of the timeline; `render` must be off, as a stream cannot be read a second time.
        seconds: when to stop; None: at the end of the stream, or when `stopped` is set.
        show: called with each frame that has been read.
        stopped: may be set at any time to end.

    Raises:
        BadVideo: no picture came; no folder is left. Where they stop coming, the timeline says so.
        UserError: a folder that cannot be written.
    """
    started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    settings = {"video": [source.name, started, seconds], **asdict(options), **reader.settings}
    output_dir = Path(output_dir)
    with alone(output_dir / LOCK.format(source.stem), f"watching {source.name}"):
        frames = LiveFrames(source, options.fps, seconds, stopped)
        with closing(frames):
            first = next(frames, None)  # before a folder is made
            if first is None:
                raise BadVideo("stopped before the first picture came")
            folder, _ = video_folder(output_dir, source.stem, settings)
            record = Record(folder / UNFINISHED / FRAMES, settings)
            pictures = Pictures(folder / UNFINISHED, options.blur_faces)
            before: np.ndarray | None = None
            for frame in chain([first], frames):
                before, (read,) = read_batch([frame], before, reader, record, pictures)
                if show is not None:
                    show(read)
        record.end(frames.problem)
        if frames.skipped:
            taken = f"{frames.skipped} of {frames.skipped + record.count} frames came too fast and were skipped"
            logger.info("%s; a smaller --fps skips none", taken)
        timeline = make_timeline(record, reader.class_names, options.smooth, options.method)
        return write_timeline(folder, timeline, pictures, source.name, reader.note, settings)


@contextmanager
def ended_by_signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, in the main thread; a second one acts as usual."""
    stopped = threading.Event()
    before: dict[int, Any] = {}

    def stop(number: int, _: object) -> None:
        stopped.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield stopped
    finally:
        restore()
