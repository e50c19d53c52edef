"""The inputs of predict.py (a dataset's splits, photo files or videos) -> parts of rows like a prepared dataset's.

A part is the unit of work: the processes divide the parts among themselves, and an interrupted run resumes at the
first missing part. Parts depend on the inputs, never on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from PIL import Image

from ger_datasets.loading.rows import Rows
from ger_datasets.photos.reading import STORED_PIXELS, in_groups, read_photo
from ger_datasets.photos.reading import SUFFIXES as PHOTO_SUFFIXES
from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import BadPhoto, UserError, listing, printable
from ger_datasets.videos.frames import SUFFIXES as VIDEO_SUFFIXES
from ger_datasets.videos.frames import BadVideo, Frame, IncompleteVideo, video_frames

from ..pipeline_ger import FaceColumns
from ..processing_pixels import decoded

logger = logging.getLogger(__name__)

LEAST_PART, MOST_PART = 16, 256  # photos
PARTS = 64  # a compromise between lost work after an interruption and the number of files
TOGETHER = 16  # photos per detector batch, if they have at most STORED_PIXELS in total

Row = Mapping[str, Any]
Quarantine = list[dict[str, str]]
LeftOut = dict[str, Counter[str]]


@dataclass(frozen=True)
class Part:
    """A piece of the work.

    Attributes:
        split: which split its photos belong to; `photos` or `videos` for files.
        rows: returns its rows, each with image_id, label, group and face_scores; photos that cannot be used are added
            to the given quarantine with `file` and `reason`.
        photos: number of photos; None: not known in advance.
    """

    split: str
    rows: Callable[[Quarantine], Iterator[Row]]
    photos: int | None


def dataset_parts(splits: Mapping[str, Dataset], batch_size: int) -> list[Part]:
    """The rows of a prepared dataset's splits; if the dataset has no groups, a row's group is its image_id."""
    return [
        Part(split, partial(_dataset_rows, data, numbers), len(numbers))
        for split, data in splits.items()
        for numbers in _cut(range(len(data)), batch_size)
    ]


def photo_parts(places: Sequence[Path], batch_size: int, faces: FaceColumns) -> tuple[list[Part], str, LeftOut]:
    """Photo files and folders, unlabelled, with their faces; a hash that identifies the files; and what else the
    folders contain: folder -> suffix -> number of files.

    A file's image_id is its name, or its path relative to the given folder; duplicate names get a suffix (`-2`).

    Raises:
        UserError: a folder has no photo in it.
    """
    files, left_out = _files(places, PHOTO_SUFFIXES, "photos")
    parts = [
        Part("photos", partial(_photo_rows, some, faces), len(some)) for some in _cut(list(files.items()), batch_size)
    ]
    return parts, _identity(files), left_out


def video_parts(
    places: Sequence[Path],
    every: int | None,
    faces: FaceColumns,
    sample: Callable[[Path], Iterator[Frame]] | None = None,
) -> tuple[list[Part], str, LeftOut]:
    """The frames of video files and folders, one part per video; otherwise as `photo_parts`.

    A frame's image_id is `VIDEO/frame_000123`, its group the video, its `seconds` when it is shown.

    Args:
        places: files or folders.
        every: see `video_frames`.
        faces: the face detector.
        sample: gives the frames of a video instead of `video_frames`.

    Raises:
        UserError: a folder has no video in it.
    """
    files, left_out = video_files(places)
    sample = sample or partial(video_frames, every=every)
    parts = [Part("videos", partial(_video_rows, name, path, sample, faces), None) for name, path in files.items()]
    return parts, _identity(files), left_out


def video_files(places: Sequence[Path]) -> tuple[dict[str, Path], LeftOut]:
    """Name -> file of the given videos, and of those in the given folders; and what else the folders contain.

    Raises:
        UserError: a folder has no video in it.
    """
    return _files(places, VIDEO_SUFFIXES, "videos")


def _cut(things: Sequence[Any], batch_size: int) -> list[Sequence[Any]]:
    size = max(batch_size, LEAST_PART, min(MOST_PART, -(-len(things) // PARTS)))
    return [things[start : start + size] for start in range(0, len(things), size)]


def _dataset_rows(data: Dataset, numbers: Sequence[int], quarantined: Quarantine) -> Iterator[Row]:
    rows = Rows(data)
    for number in numbers:
        row = rows[number]
        try:
            if row.get("image", row) is None:
                raise OSError("it has no image")
            opened = {name: _decoded(value) for name, value in row.items()}
        except OSError as error:
            _set_aside(quarantined, row["image_id"], str(error))
        else:
            yield {"group": row["image_id"], **opened}


def _decoded(value: Any) -> Any:
    """A value of a row with decoded images; raises OSError if decoding fails."""
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        return decoded(value)
    return value


def _photo_rows(files: Sequence[tuple[str, Path]], faces: FaceColumns, quarantined: Quarantine) -> Iterator[Row]:
    def photos() -> Iterator[tuple[str, str, Image.Image]]:
        for name, path in files:
            try:
                yield name, name, read_photo(path).image
            except BadPhoto as reason:
                _set_aside(quarantined, name, str(reason))

    return _with_faces(photos(), faces)


def _video_rows(
    name: str, path: Path, sample: Callable[[Path], Iterator[Frame]], faces: FaceColumns, quarantined: Quarantine
) -> Iterator[Row]:
    times: dict[str, float] = {}  # of the frames whose faces are being looked for

    def photos() -> Iterator[tuple[str, str, Image.Image]]:
        try:
            for number, seconds, image in sample(path):
                image_id = f"{name}/frame_{number:06d}"
                times[image_id] = seconds
                yield image_id, name, image
        except IncompleteVideo as reason:
            quarantined.append({"file": name, "reason": str(reason)})
            logger.warning("%s can be used in part: %s", name, reason)
        except BadVideo as reason:
            _set_aside(quarantined, name, str(reason))

    for row in _with_faces(photos(), faces):
        yield {**row, "seconds": times.pop(row["image_id"])}


def _with_faces(photos: Iterable[tuple[str, str, Image.Image]], faces: FaceColumns) -> Iterator[Row]:
    """(image_id, group, photo) -> rows; faces are detected in batches, which does not change the results."""
    for together in in_groups(photos, TOGETHER, STORED_PIXELS, lambda photo: photo[2].width * photo[2].height):
        found = faces([image for *_, image in together])
        for (image_id, group, _), columns in zip(together, found, strict=True):
            yield {"image_id": image_id, "label": NO_LABEL, "group": group, **columns}


def _set_aside(quarantined: Quarantine, name: str, reason: str) -> None:
    quarantined.append({"file": name, "reason": reason})
    logger.warning("%s cannot be used: %s", name, reason)


def _files(places: Sequence[Path], suffixes: Collection[str], kind: str) -> tuple[dict[str, Path], LeftOut]:
    """Unique names -> files: the given files, and those with the `suffixes` in the given folders; and what else the
    folders contain.
    """
    files: dict[str, Path] = {}
    left_out: LeftOut = {}
    for place in places:
        if place.is_dir():
            inside, others = files_inside(place, suffixes)
            rest = f"; found {describe_kinds(others)}" if others else ""
            if not inside:
                raise UserError(f"no {kind} in {place}: expected files with {listing(sorted(suffixes), 20)}{rest}")
            if others:
                logger.warning("%s: left out %s", place, describe_kinds(others))
                left_out[printable(place)] = others
            found = [(printable(path.relative_to(place).as_posix()), path) for path in inside]
        else:
            found = [(printable(place.name), place)]
        for name, path in found:
            files[free_name(name, files)] = path
    return files, left_out


def files_inside(folder: Path, suffixes: Collection[str]) -> tuple[list[Path], Counter[str]]:
    """The files in a folder and the folders below it, by path.

    Args:
        suffixes: lower case, with the dot.

    Returns:
        The files with one of the `suffixes`, and the number of others by suffix; `hidden` are files whose name or
        folder begins with a dot. Links to folders are not followed, and counted as such.
    """
    paths: list[Path] = []
    inside: list[Path] = []
    others: Counter[str] = Counter()
    unreadable: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unreadable.append):
        others["links to folders"] += sum(os.path.islink(os.path.join(place, name)) for name in folders)
        paths += (Path(place, name) for name in names)
    for path in sorted(paths):
        if any(part[0] == "." for part in path.relative_to(folder).parts):
            others["hidden"] += 1
        elif not path.is_file():
            others["broken links or no files"] += 1
        elif path.suffix.lower() in suffixes:
            inside.append(path)
        else:
            others[printable(path.suffix.lower()) or "without suffix"] += 1
    others["unreadable folders"] += len(unreadable)
    return inside, +others


def describe_kinds(counts: Mapping[str, int]) -> str:
    """Numbers of files by suffix, in words.

    >>> describe_kinds({".txt": 3, "hidden": 1})
    '4 files: 3 .txt, 1 hidden'
    """
    count = sum(counts.values())
    return f"{count} file{'s' * (count != 1)}: {listing(f'{n} {kind}' for kind, n in counts.items())}"


def free_name(name: str, taken: Collection[str]) -> str:
    """`name`, or the first of `name-2`, `name-3`, ... that is not taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _identity(files: Mapping[str, Path]) -> str:
    """A hash of the files' names, sizes and modification times."""
    states: list[list[Any]] = []
    for name, path in files.items():
        try:
            state = path.stat()
            states.append([name, state.st_size, state.st_mtime_ns])
        except OSError:  # reading it will report the reason
            states.append([name, None, None])
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def check_classes(dataset: str, split: Dataset, class_names: Sequence[str]) -> None:
    """Refuse a dataset with classes that the model does not know. Classes are matched by name: their order may differ.

    Raises:
        UserError: the model does not know a class.
    """
    there = split.features["label"].names
    if not set(there) <= set(class_names):
        raise UserError(f"{dataset} has the classes {listing(there)}, but the model knows {listing(class_names)}")
