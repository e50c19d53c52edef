"""Videos, or a camera or stream -> their timelines, a line of text or JSON for each, and the figures of a run."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ger_datasets.support.errors import UserError, listing
from ger_datasets.videos.frames import BadVideo
from ger_datasets.videos.live import LiveSource

from .live import ended_by_signals, live_timeline
from .options import Options
from .output.terminal import LiveLine
from .reading import FrameReader
from .run import Finished, video_timeline

NOWHERE = "none"  # instead of a folder: the timelines are not kept


def answer_videos(
    videos: Mapping[str, Path] | LiveSource,
    output_dir: str,
    reader: FrameReader,
    options: Options,
    batch_size: int = 8,
    seconds: float | None = None,
    as_json: bool = False,
) -> dict[str, Any]:
    """Write the timeline of each video and print a line for it.

    Args:
        videos: name -> file; or a camera or stream.
        output_dir: the folder of the timelines' folders, or `none`: nothing is kept.
        reader: what frames are read with.
        options: of all timelines.
        batch_size: frames per batch; those of a camera or stream are read one by one.
        seconds: when to stop watching a camera or stream; None: at its end, or on Ctrl-C.
        as_json: print lines of JSON, and no progress.

    Returns:
        `videos`, those whose timelines were made, and `failed_videos`, with reasons.

    Raises:
        UserError: an output folder that cannot be written.
    """
    names = [videos.name] if isinstance(videos, LiveSource) else list(videos)
    width, kept = max(map(len, names)), output_dir != NOWHERE
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    values: dict[str, Any]
    with ExitStack() as stack:
        place = Path(output_dir if kept else stack.enter_context(tempfile.TemporaryDirectory()))
        if isinstance(videos, LiveSource):
            results = _watched(videos, place, reader, options, seconds, as_json)
        else:
            results = _made(videos, place, reader, options, batch_size, as_json)
        for name, found in results:
            if isinstance(found, BadVideo):
                failed.append({"file": name, "reason": str(found)})
                text = f"cannot be read: {found}"
                values = {"error": str(found)}
            else:
                text = found.summary
                values = {"label": found.label, "summary": text, "incomplete": found.problem}
                values["folder"] = str(found.folder) if kept else None
                done.append({"file": name, **values})
            print(json.dumps({"video": name, **values}) if as_json else f"{name:{width}}  {text}", flush=True)
    return {"videos": done, "failed_videos": failed}


def check_answered(figures: Mapping[str, Any]) -> None:
    """Raise a UserError if no video could be used."""
    if not figures["videos"]:
        reasons = listing(f"{each['file']}: {each['reason']}" for each in figures["failed_videos"])
        raise UserError(f"no video can be used, of {len(figures['failed_videos'])}: {reasons}")


def _made(
    videos: Mapping[str, Path], place: Path, reader: FrameReader, options: Options, batch_size: int, as_json: bool
) -> Iterator[tuple[str, Finished | BadVideo]]:
    for name, path in videos.items():
        found: Finished | BadVideo
        with tqdm(desc=name, unit="s", mininterval=0.5, disable=as_json) as bar:
            try:
                found = video_timeline(
                    path, place, reader, batch_size=batch_size, progress=lambda seconds: _show(bar, seconds),
                    **asdict(options),
                )  # fmt: skip
            except BadVideo as reason:
                found = reason
        yield name, found


def _show(bar: Any, seconds: float) -> None:
    """Move a progress bar to the seconds of a video."""
    bar.update(round(seconds, 1) - bar.n)


def _watched(
    source: LiveSource, place: Path, reader: FrameReader, options: Options, seconds: float | None, as_json: bool
) -> Iterator[tuple[str, Finished | BadVideo]]:
    found: Finished | BadVideo
    line = None if as_json else LiveLine(reader.class_names, options.smooth, sys.stderr)
    show = None if line is None else line.add
    with ended_by_signals() as stopped:
        try:
            found = live_timeline(source, place, reader, options, seconds, show, stopped)
        except BadVideo as reason:
            found = reason
        finally:
            if line is not None:
                line.end()
    yield source.name, found
