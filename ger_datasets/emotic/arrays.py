"""EMOTIC as published in arrays: CSV files with one row per person, one .npy file per photo, never unpickled."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..photos.reading import MAX_PIXELS, STORED_PIXELS
from ..support.errors import BadPhoto, UserError, one_line
from .annotations import CATEGORIES, AnnotatedPhoto, Person, tidy_folder
from .boxes import PhotoFrame
from .tables import csv_rows

REQUIRED_COLUMNS = {"arrname": "Arr_name", "valence": "Valence", "arousal": "Arousal", "dominance": "Dominance"}
BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
COLUMN_OF_CATEGORY = {re.sub(r"[^a-z]", "", name.lower()): name for name in CATEGORIES}
COLUMN_OF_CATEGORY |= {"doubt": "Doubt/Confusion", "disquitement": "Disquietment"}  # other spellings


def read_array_csv(path: Path, split: str) -> list[AnnotatedPhoto]:
    """The photos of `annot_arrs_SPLIT.csv`, one photo per row of one person.

    Columns: Arr_name (the photo's .npy file), Folder, Filename, Width, Height (of the original photo), X_min, Y_min,
    X_max, Y_max (in its pixels), a column with 1 or 0 for each category, Valence, Arousal, Dominance, Gender, Age. The
    cropped people (Crop_name) are not read: their boxes say where they are.

    Raises:
        UserError: the file is missing, too large or not CSV, lacks a column, or a row names no array.
    """
    return [
        _photo({column: cell.strip() for column, cell in row.items()}, split, where)
        for row, where in csv_rows(path, REQUIRED_COLUMNS)
    ]


def _photo(row: Mapping[str, str], split: str, where: str) -> AnnotatedPhoto:
    array = row.get("arrname", "")
    if not array or "/" in array or "\\" in array:
        raise UserError(f"{where}: Arr_name is {array[:60]!r}, expected the name of a .npy file")
    box = tuple(_number(row[name]) for name in BOX_COLUMNS) if all(name in row for name in BOX_COLUMNS) else None
    person = Person(
        box=box,
        categories=tuple(name for column, name in COLUMN_OF_CATEGORY.items() if _number(row.get(column, "")) > 0),
        valence=_number(row.get("valence", "")),
        arousal=_number(row.get("arousal", "")),
        dominance=_number(row.get("dominance", "")),
        gender=_word(row.get("gender", "")),
        age=_word(row.get("age", "")),
    )
    height, width = (_number(row.get(name, "")) for name in ("height", "width"))
    sides = (int(height), int(width)) if 1 <= height < math.inf and 1 <= width < math.inf else None
    filename = row.get("filename") or Path(array).stem
    return AnnotatedPhoto(split, tidy_folder(row.get("folder", "")), filename, (person,), sides, (array,))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _word(text: str) -> str:
    return "" if text.lower() in ("", "nan", "none") else text


def open_array(path: Path) -> np.ndarray:
    """The photo in the file `path`: (height, width, 3) or (height, width) uint8, mapped, not read.

    Raises:
        BadPhoto: the file is missing, damaged, no such array, or holds Python objects, which are never unpickled. The
            message holds no path.
    """
    try:
        with np.errstate(all="ignore"):  # of a wrong shape, which is refused
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise BadPhoto(f"the array cannot be read: {one_line(error)}") from error
    except Exception as error:  # NumPy raises several kinds on damaged headers
        raise BadPhoto(f"damaged, or not a plain array ({one_line(error)})") from error
    shape: tuple[int, ...] = getattr(array, "shape", ())
    is_photo = len(shape) in (2, 3) and shape[2:] in ((), (3,)) and min(shape) > 0
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or not is_photo:
        kind = f"{array.dtype} of shape {shape}" if isinstance(array, np.ndarray) else "an archive"
        raise BadPhoto(f"not a photo: {kind[:80]}, expected uint8 of shape (height, width, 3)")
    if shape[0] * shape[1] > MAX_PIXELS:
        raise BadPhoto(f"more than {MAX_PIXELS:,} pixels: not read")
    return array


def array_png(path: Path) -> bytes:
    """The photo in the .npy file `path` as PNG; raises as `open_array`."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(open_array(path))).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def array_frame(path: Path) -> PhotoFrame:
    """The frame of the photo in the .npy file `path`; 0 x 0 and not `stored_so` if it cannot be read."""
    try:
        array = open_array(path)
    except BadPhoto:
        return PhotoFrame(0, 0, False)
    height, width = array.shape[0], array.shape[1]
    return PhotoFrame(width, height, width * height <= STORED_PIXELS)


def with_boxes_of(photo: AnnotatedPhoto, frame: PhotoFrame) -> AnnotatedPhoto:
    """`photo` with boxes in pixels of its array, which is often a reduced copy of the photo that was annotated.

    Boxes of a photo whose size is not known are kept only if all lie within the array.
    """
    boxes = [person.box for person in photo.people if person.box is not None]
    if photo.sides is not None:
        height, width = photo.sides
        scales = (frame.width / width, frame.height / height) * 2
    elif all(box[2] <= frame.width and box[3] <= frame.height for box in boxes):
        scales = (1.0,) * 4
    else:
        scales = (math.nan,) * 4
    people = tuple(
        person
        if person.box is None
        else replace(person, box=tuple(x * scale for x, scale in zip(person.box, scales, strict=True)))
        for person in photo.people
    )
    return replace(photo, people=people, sides=None)
