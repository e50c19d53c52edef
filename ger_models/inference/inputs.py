"""The inputs of predict.py (a dataset's splits, photo files or videos) -> parts of rows like a prepared dataset's.

A part is the unit of work: the processes divide the parts among themselves, and an interrupted run resumes at the
first missing part. Parts depend on the inputs, never on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import logging
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
from ger_datasets.videos.frames import BadVideo, IncompleteVideo, video_frames

from ..pipeline_ger import FaceColumns
from ..processing_pixels import decoded

logger = logging.getLogger(__name__)

LEAST_PART, MOST_PART = 16, 256  # photos
PARTS = 64  # as many as make a split's parts neither long to lose nor many to keep
TOGETHER = 16  # photos whose faces are looked for at once, if they have no more than STORED_PIXELS in all

Row = Mapping[str, Any]
Quarantine = list[dict[str, str]]


@dataclass(frozen=True)
class Part:
    """A piece of the work.

    Attributes:
        split: which split its photos belong to; `photos` or `videos` for files.
        rows: makes its rows, each with image_id, label, group and face_scores; what cannot be used goes to the
            quarantine given, as its `file` and `reason`.
        photos: how many photos it has; None: not known in advance.
    """

    split: str
    rows: Callable[[Quarantine], Iterator[Row]]
    photos: int | None


def dataset_parts(splits: Mapping[str, Dataset], batch_size: int) -> list[Part]:
    """The rows of a prepared dataset's splits; each has a group, its own image_id where the dataset has none."""
    return [
        Part(split, partial(_dataset_rows, data, numbers), len(numbers))
        for split, data in splits.items()
        for numbers in _cut(range(len(data)), batch_size)
    ]


def photo_parts(places: Sequence[Path], batch_size: int, faces: FaceColumns) -> tuple[list[Part], str]:
    """Photo files and folders of them, unlabelled, with their faces; and a hash of which files they are.

    A file's image_id is its name, in a folder its path from there; the second of one name gets `-2` after it.

    Raises:
        UserError: a folder has no photo in it.
    """
    files = _files(places, PHOTO_SUFFIXES, "photos")
    parts = [
        Part("photos", partial(_photo_rows, some, faces), len(some)) for some in _cut(list(files.items()), batch_size)
    ]
    return parts, _identity(files)


def video_parts(places: Sequence[Path], every: int | None, faces: FaceColumns) -> tuple[list[Part], str]:
    """The frames of video files and folders of them, a part for each video; and a hash of which files they are.

    A frame's image_id is `VIDEO/frame_000123`, its group the video.

    Args:
        places: files or folders.
        every: see `video_frames`.
        faces: looks for faces.

    Raises:
        UserError: a folder has no video in it.
    """
    files = _files(places, VIDEO_SUFFIXES, "videos")
    parts = [Part("videos", partial(_video_rows, name, path, every, faces), None) for name, path in files.items()]
    return parts, _identity(files)


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
    """A value of a row, its images decoded; OSError where one cannot be."""
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
    name: str, path: Path, every: int | None, faces: FaceColumns, quarantined: Quarantine
) -> Iterator[Row]:
    def photos() -> Iterator[tuple[str, str, Image.Image]]:
        try:
            for number, _, image in video_frames(path, every):
                yield f"{name}/frame_{number:06d}", name, image
        except IncompleteVideo as reason:
            quarantined.append({"file": name, "reason": str(reason)})
            logger.warning("%s can be used in part: %s", name, reason)
        except BadVideo as reason:
            _set_aside(quarantined, name, str(reason))

    return _with_faces(photos(), faces)


def _with_faces(photos: Iterable[tuple[str, str, Image.Image]], faces: FaceColumns) -> Iterator[Row]:
    """(image_id, group, photo) -> rows; faces are looked for in several photos at once, which changes none of them."""
    for together in in_groups(photos, TOGETHER, STORED_PIXELS, lambda photo: photo[2].width * photo[2].height):
        found = faces([image for *_, image in together])
        for (image_id, group, _), columns in zip(together, found, strict=True):
            yield {"image_id": image_id, "label": NO_LABEL, "group": group, **columns}


def _set_aside(quarantined: Quarantine, name: str, reason: str) -> None:
    quarantined.append({"file": name, "reason": reason})
    logger.warning("%s cannot be used: %s", name, reason)


def _files(places: Sequence[Path], suffixes: Collection[str], kind: str) -> dict[str, Path]:
    """Names, no two alike, and the files: those that are named, and those with the `suffixes` in folders named."""
    files: dict[str, Path] = {}
    for place in places:
        if place.is_dir():
            inside, others = files_inside(place, suffixes)
            if others:
                logger.info("%s: left out %s", place, describe_kinds(others))
            if not inside:
                raise UserError(f"no {kind} in {place}: expected files with {listing(sorted(suffixes), 20)}")
            found = [(printable(path.relative_to(place).as_posix()), path) for path in inside]
        else:
            found = [(printable(place.name), place)]
        for name, path in found:
            files[free_name(name, files)] = path
    return files


def files_inside(folder: Path, suffixes: Collection[str]) -> tuple[list[Path], Counter[str]]:
    """The files in a folder and the folders below it, by path.

    Args:
        suffixes: in small letters, with their dots.

    Returns:
        Those with one of the `suffixes`, and how many others there are by suffix; `hidden` are those whose name, or
        whose folder's name, begins with a dot.
    """
    inside: list[Path] = []
    others: Counter[str] = Counter()
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if any(part[0] == "." for part in path.relative_to(folder).parts):
            others["hidden"] += 1
        elif path.suffix.lower() in suffixes:
            inside.append(path)
        else:
            others[printable(path.suffix.lower()) or "without suffix"] += 1
    return inside, others


def describe_kinds(counts: Mapping[str, int]) -> str:
    """Numbers of files by suffix, in words.

    >>> describe_kinds({".txt": 3, "hidden": 1})
    '4 files: 3 .txt, 1 hidden'
    """
    count = sum(counts.values())
    return f"{count} file{'s' * (count != 1)}: {listing(f'{n} {kind}' for kind, n in counts.items())}"


def free_name(name: str, taken: Collection[str]) -> str:
    """`name`, or where it is taken the first of `name-2`, `name-3`, ... that is not."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _identity(files: Mapping[str, Path]) -> str:
    """A hash that changes when a file is another: its name, its size or when it was written."""
    states: list[list[Any]] = []
    for name, path in files.items():
        try:
            state = path.stat()
            states.append([name, state.st_size, state.st_mtime_ns])
        except OSError:  # the reading will say why
            states.append([name, None, None])
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def check_classes(dataset: str, split: Dataset, class_names: Sequence[str]) -> None:
    """Refuse a dataset whose classes are not, in this order, those that a model knows.

    Raises:
        UserError: they differ.
    """
    there = split.features["label"].names
    if list(there) != list(class_names):
        raise UserError(f"{dataset} has the classes {listing(there)}, but the model knows {listing(class_names)}")
