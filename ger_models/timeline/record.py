"""The frames of a video that have been read, in one file that grows by a batch at a time and outlives interruptions.

A line of JSON each: the settings; the frames; at last, once the video has ended, why it is not whole (or "").
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.errors import UserError, one_line

from .reading import FrameReading

LENGTH = 5  # digits after the point of probabilities and distances


@dataclass(frozen=True)
class ReadFrame:
    """A frame and what was read off it.

    Attributes:
        number: of the frame in the video, counted from 0 as frames are shown.
        seconds: when it is shown.
        size: width and height, pixels.
        distance: how much the scene differs from that of the sampled frame before; see `cuts.scene_distance`.
        reading: what was read off it.
    """

    number: int
    seconds: float
    size: tuple[int, int]
    distance: float
    reading: FrameReading


class Record:
    """The file of a video's frames. Opening it drops what an interruption has left of a batch's last line.

    Args:
        path: the file; its folder exists.
        settings: what the frames depend on; a file with others is begun anew.

    Attributes:
        count: how many frames there are.
        last: (number, seconds) of the last of them; None where there is none.
        problem: why the video is not whole, once it has ended; None before.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.count = path, 0
        self.last: tuple[int, float] | None = None
        self.problem: str | None = None
        header, keep = json.dumps({"settings": settings}, sort_keys=True), 0
        try:
            if path.exists():
                keep = self._survey(header)
            with open(path, "r+b" if path.exists() else "x+b") as file:
                file.truncate(keep)
                if not keep:
                    file.write(header.encode() + b"\n")
        except OSError as error:
            raise self._refused(error) from error

    def _survey(self, header: str) -> int:
        """Length in bytes of what can be kept."""
        keep = 0
        with open(self.path, "rb") as file:
            if file.readline() != header.encode() + b"\n":
                return 0
            keep = file.tell()
            for line in file:
                values = _parsed(line)
                if values is None:
                    break
                if "problem" in values:
                    self.problem = values["problem"]
                else:
                    self.count, self.last = self.count + 1, (values["number"], values["seconds"])
                keep += len(line)
        return keep

    def add(self, frames: Sequence[ReadFrame]) -> None:
        """Append frames, in the order of time; raises UserError if they cannot be written."""
        self._append([_line(frame) for frame in frames])
        self.count += len(frames)
        if frames:
            self.last = frames[-1].number, frames[-1].seconds

    def end(self, problem: str) -> None:
        """Note that the video has ended, and why it is not whole; raises UserError if it cannot be written."""
        self._append([{"problem": problem}])
        self.problem = problem

    def distances(self) -> np.ndarray:
        """(frames - 1,): of the scene of each frame from that before."""
        return np.array([values["distance"] for values in self._lines()][1:], np.float64)

    def frames(self) -> Iterator[ReadFrame]:
        """The frames, one at a time."""
        return map(_frame, self._lines())

    def _lines(self) -> Iterator[dict[str, Any]]:
        with open(self.path, "rb") as file:
            file.readline()
            for line in file:
                values = json.loads(line)
                if "number" in values:
                    yield values

    def _append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        try:
            with open(self.path, "ab") as file:
                file.write("".join(json.dumps(values) + "\n" for values in lines).encode())
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> UserError:
        return UserError(f"cannot write {self.path}: {one_line(error)}; choose another place or free it")


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The values of a whole line; None of one that was cut."""
    try:
        values = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return values if isinstance(values, dict) and ("problem" in values or "number" in values) else None


def _line(frame: ReadFrame) -> dict[str, Any]:
    reading = frame.reading
    embeddings = reading.embeddings.astype(np.float16)
    return {
        "number": frame.number,
        "seconds": frame.seconds,
        "size": frame.size,
        "distance": round(frame.distance, LENGTH),
        "probabilities": np.round(reading.probabilities.astype(float), LENGTH + 3).tolist(),
        "boxes": np.round(reading.boxes.astype(float), 1).tolist(),
        "hidden_boxes": np.round(reading.hidden_boxes.astype(float), 1).tolist(),
        "expressions": np.round(reading.expressions.astype(float), LENGTH).tolist(),
        "embeddings": base64.b64encode(embeddings.tobytes()).decode(),
    }


def _frame(values: Mapping[str, Any]) -> ReadFrame:
    boxes = np.array(values["boxes"], np.float32).reshape(-1, 4)
    faces = len(boxes)
    embeddings = np.frombuffer(base64.b64decode(values["embeddings"]), np.float16).astype(np.float32)
    reading = FrameReading(
        np.array(values["probabilities"]),
        boxes,
        np.array(values["expressions"], np.float32).reshape(faces, len(EXPRESSIONS)),
        embeddings.reshape(faces, -1) if faces else np.zeros((0, 1), np.float32),
        np.array(values["hidden_boxes"], np.float32).reshape(-1, 4),
    )
    width, height = values["size"]
    return ReadFrame(values["number"], values["seconds"], (width, height), values["distance"], reading)
