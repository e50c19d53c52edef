"""What EMOTIC's annotation files say about a photo and its people, whatever the form of the file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..support.errors import UserError

# The split's name in the files -> ours.
SPLITS = {"train": "train", "val": "validation", "test": "test"}
ARRAY_SPLITS = {**SPLITS, "extra_train": "train"}  # people of train photos that were annotated later

# In the alphabetical order of Kosti et al. 2019, table 1.
CATEGORIES = (
    "Affection",
    "Anger",
    "Annoyance",
    "Anticipation",
    "Aversion",
    "Confidence",
    "Disapproval",
    "Disconnection",
    "Disquietment",
    "Doubt/Confusion",
    "Embarrassment",
    "Engagement",
    "Esteem",
    "Excitement",
    "Fatigue",
    "Fear",
    "Happiness",
    "Pain",
    "Peace",
    "Pleasure",
    "Sadness",
    "Sensitivity",
    "Suffering",
    "Surprise",
    "Sympathy",
    "Yearning",
)

MAX_BYTES = 512 * 2**20  # no annotation of some 34,000 people needs more


@dataclass(frozen=True)
class Person:
    """One annotated person, as the file has it: nothing is clipped or checked yet.

    Attributes:
        box: x1 y1 x2 y2 in pixels of the photo, which it may leave; other than four numbers where the file is wrong;
            None where this form of file has no boxes.
        categories: names of emotion categories; of several annotators, combined.
        valence, arousal, dominance: 1 to 10; of several annotators, combined; NaN where unknown.
        gender, age: the file's words; empty where unknown.
        annotators: how many people judged this one; None where unknown.
    """

    box: tuple[float, ...] | None = None
    categories: tuple[str, ...] = ()
    valence: float = math.nan
    arousal: float = math.nan
    dominance: float = math.nan
    gender: str = ""
    age: str = ""
    annotators: int | None = None


@dataclass(frozen=True)
class AnnotatedPhoto:
    """One photo of an annotation file.

    Attributes:
        split: `train`, `validation` or `test`.
        folder: folder in the original database, with slashes: `mscoco/images`.
        filename: name of the file in it.
        people: the annotated people, in the file's order.
        sides: height and width in pixels, in either order; None where unknown.
        arrays: names of the .npy files that hold the photo, where it was published so.
    """

    split: str
    folder: str
    filename: str
    people: tuple[Person, ...]
    sides: tuple[int, int] | None = None
    arrays: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where the photo lies in the download."""
        return "/".join(name for name in (self.folder, self.filename) if name)


def tidy_folder(folder: str) -> str:
    """`folder` with slashes, without the `emotic` that some files put before it."""
    parts = [part for part in folder.replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(parts[1:] if parts and parts[0].lower() == "emotic" else parts)


def merged(photos: Iterable[AnnotatedPhoto]) -> list[AnnotatedPhoto]:
    """The photos, each once per split, with the people of all its entries."""
    entries: dict[tuple[str, str], AnnotatedPhoto] = {}
    for photo in photos:
        before = entries.setdefault((photo.split, photo.place), photo)
        if before is not photo:
            people, sides = before.people + photo.people, before.sides or photo.sides
            arrays = before.arrays + photo.arrays
            entries[photo.split, photo.place] = replace(before, people=people, sides=sides, arrays=arrays)
    return list(entries.values())


def check_size(path: Path) -> None:
    """UserError if the file `path` is missing, empty or larger than any annotation file is."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from error
    if not 0 < size <= MAX_BYTES:
        raise UserError(f"{path.name} has {size:,} bytes, expected 1 to {MAX_BYTES:,}: download it again")
