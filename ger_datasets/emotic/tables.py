"""EMOTIC's annotations as others pass them on, one row per person: CSV files, or npz files with the valence alone."""

from __future__ import annotations

import csv
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..support.errors import UserError, listing, one_line
from .annotations import MAX_BYTES, AnnotatedPhoto, Person, check_size, tidy_folder

REQUIRED_COLUMNS = {"folder": "Folder", "filename": "Filename", "continuouslabels": "Continuous_Labels"}
ARRAYS = ("image", "folder", "valence")

# Numbers that no word character precedes: the digits in np.float64(5.0) are those in the brackets.
_NUMBER = re.compile(r"(?<![\w.])(?:[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|nan)(?!\w)", re.IGNORECASE)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_NOTHING = ("", "nan", "none", "[]")


def read_csv(path: Path, split: str) -> list[AnnotatedPhoto]:
    """The photos of a CSV file with one row per person, one photo per row.

    Columns: Folder, Filename, Image Size, BBox, Categorical_Labels, Continuous_Labels (valence, arousal, dominance),
    Gender, Age; lists are written as Python writes them and are taken apart as text, never executed.

    Raises:
        UserError: the file is missing, too large or no CSV, lacks a column, or a row has no file name or not three
            continuous labels.
    """
    return [_photo(row, split, where) for row, where in csv_rows(path, REQUIRED_COLUMNS)]


def csv_rows(path: Path, required: Mapping[str, str]) -> Iterator[tuple[dict[str, str], str]]:
    """The rows of a CSV file, by column, and where each stands, for messages. Column names become small letters only.

    Args:
        path: the file.
        required: columns that must be there -> what the message calls them.

    Raises:
        UserError: the file is missing, too large or no CSV, or lacks a column.
    """
    check_size(path)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            header = [re.sub(r"[^a-z]", "", name.lower()) for name in next(reader, [])]
            missing = [name for column, name in required.items() if column not in header]
            if missing:
                raise UserError(f"{path.name} lacks the columns {listing(missing)}, found {listing(header, 20)}")
            for cells in reader:
                if cells:
                    yield dict(zip(header, cells, strict=False)), f"{path.name}, line {reader.line_num}"
    except (OSError, csv.Error) as error:
        raise UserError(f"{path.name} cannot be read as CSV: {error}") from error


def _photo(row: dict[str, str], split: str, where: str) -> AnnotatedPhoto:
    filename = row.get("filename", "").strip()
    if not filename:
        raise UserError(f"{where}: no file name; remove the row or download the file again")
    written = row.get("continuouslabels", "")
    ratings = _numbers(written)
    if written.strip().lower() not in _NOTHING and len(ratings) != 3:
        raise UserError(f"{where}: Continuous_Labels is {written[:60]!r}, expected valence, arousal and dominance")
    valence, arousal, dominance = ratings or [math.nan] * 3
    sides = _numbers(row.get("imagesize", ""))
    person = Person(
        box=tuple(_numbers(row["bbox"])) if "bbox" in row else None,
        categories=tuple(_names(row.get("categoricallabels", ""))),
        valence=valence,
        arousal=arousal,
        dominance=dominance,
        gender=_word(row.get("gender", "")),
        age=_word(row.get("age", "")),
    )
    known = len(sides) >= 2 and all(math.isfinite(side) and side >= 1 for side in sides[:2])
    folder = tidy_folder(row.get("folder", "").strip())
    return AnnotatedPhoto(split, folder, filename, (person,), (int(sides[0]), int(sides[1])) if known else None)


def _numbers(text: str) -> list[float]:
    return [] if text.strip().lower() in _NOTHING else [float(number) for number in _NUMBER.findall(text)]


def _names(text: str) -> list[str]:
    quoted = [single or double for single, double in _QUOTED.findall(text)]
    names = quoted or text.strip(" []").split(",")
    return [name.strip() for name in names if name.strip().lower() not in _NOTHING]


def _word(text: str) -> str:
    return "" if text.strip().lower() in _NOTHING else text.strip()


def read_npz(path: Path, split: str) -> list[AnnotatedPhoto]:
    """The photos of an npz file with the arrays image, folder and valence, one entry per person; one photo per entry.

    Raises:
        UserError: the file is missing, too large or no npz file, lacks an array, or holds Python objects, which would
            have to be unpickled.
    """
    check_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise UserError(f"{path.name} unpacks to {size:,} bytes; at most {MAX_BYTES:,} are read")
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file.files]
            if missing:
                raise UserError(f"{path.name} lacks the arrays {listing(missing)}, found {listing(file.files)}")
            images, folders, valences = (_array(file, name, path) for name in ARRAYS)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path.name} cannot be read as an npz file: {one_line(error)}") from error
    if not len(images) == len(folders) == len(valences):
        lengths = f"{len(images)}, {len(folders)} and {len(valences)}"
        raise UserError(f"{path.name}: {', '.join(ARRAYS)} have {lengths} entries, expected as many in each")
    if not all(images):
        raise UserError(f"{path.name}: an entry of image is empty, expected file names")
    return [
        AnnotatedPhoto(split, tidy_folder(folder), image, (Person(valence=valence),))
        for image, folder, valence in zip(images, folders, valences, strict=True)
    ]


def _array(file: np.lib.npyio.NpzFile, name: str, path: Path) -> Sequence:
    """The array `name`, flat, as texts or, of valence, numbers."""
    try:
        array = file[name].ravel()
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise UserError(
            f"{path.name}: the array {name} holds Python objects, and nothing in it was executed; "
            "save it again as an array of plain text or numbers"
        ) from error
    kinds = "iuf" if name == "valence" else "US"
    if array.dtype.kind not in kinds:
        expected = "numbers" if name == "valence" else "text"
        raise UserError(f"{path.name}: the array {name} has the type {array.dtype}, expected {expected}")
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    return array.astype(np.float64).tolist() if name == "valence" else [text.strip() for text in array.tolist()]
