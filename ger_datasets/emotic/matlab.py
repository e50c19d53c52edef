"""EMOTIC's own `Annotations.mat`: nested MATLAB structs -> annotated photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..support.errors import UserError, listing
from .annotations import SPLITS, AnnotatedPhoto, Person, tidy_folder
from .mat_integrity import check_mat

DIMENSIONS = ("valence", "arousal", "dominance")


class _WrongField(ValueError):
    """A field that does not hold what it should; the message names it."""


def read_matlab(path: Path) -> list[AnnotatedPhoto]:
    """The photos of the MATLAB file `path` (version 7 or older), in the file's order.

    Its variables `train`, `val` and `test` are arrays of structs: filename, folder, image_size (n_row, n_col) and
    person, an array of structs: body_bbox, annotations_categories.categories, annotations_continuous (valence,
    arousal, dominance), gender, age. In `val` and `test` the annotations are arrays over several annotators, and
    combined_categories and combined_continuous say what became of them.

    Raises:
        UserError: the file is missing, too large or not a MATLAB file, has none of the variables, or a field of
            the wrong kind.
    """
    check_mat(path)
    from scipy.io import loadmat, whosmat

    try:
        contents = loadmat(path, appendmat=False, variable_names=list(SPLITS))
        names = [name for name, *_ in whosmat(path, appendmat=False)]
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path.name} cannot be read as a MATLAB file ({reason}): download it again") from error
    if not any(name in contents for name in SPLITS):
        raise UserError(f"{path.name} holds {listing(names)}: expected the variables {', '.join(SPLITS)}")

    photos = []
    for name, split in SPLITS.items():
        position = name
        try:
            for number, struct in enumerate(_structs(_plain(contents.get(name), name), name), 1):
                position = f"{name}({number})"
                photos.append(_photo(struct, split))
        except _WrongField as error:
            raise UserError(f"{path.name}, {position}: {error}; download the file again") from error
    return photos


def _photo(struct: np.void, split: str) -> AnnotatedPhoto:
    people = [_person(person) for person in _structs(_field(struct, "person"), "person")]
    folder, filename = (_text(_field(struct, name, required=True), name) for name in ("folder", "filename"))
    if not filename:
        raise _WrongField("the field filename is empty")
    return AnnotatedPhoto(split, tidy_folder(folder), filename, tuple(people), _sides(_field(struct, "image_size")))


def _sides(value: Any) -> tuple[int, int] | None:
    for struct in _structs(value, "image_size"):
        sides = [_number(_field(struct, name), name) for name in ("n_row", "n_col")]
        if all(side >= 1 and math.isfinite(side) for side in sides):
            return int(sides[0]), int(sides[1])
    return None


def _person(struct: np.void) -> Person:
    categories = _structs(_field(struct, "annotations_categories"), "annotations_categories")
    continuous = _structs(_field(struct, "annotations_continuous"), "annotations_continuous")
    combined = _structs(_field(struct, "combined_continuous"), "combined_continuous")
    names = _texts(_field(struct, "combined_categories"), "combined_categories")
    if not names:
        judged = [_texts(_field(one, "categories"), "categories") for one in categories]
        names = [name for names_of_one in judged for name in names_of_one]
    ratings = {}
    for name in DIMENSIONS:
        rating = _mean([_number(_field(one, name), name) for one in combined])
        if math.isnan(rating):
            rating = _mean([_number(_field(one, name), name) for one in continuous])
        ratings[name] = rating
    return Person(
        box=_box(_field(struct, "body_bbox")),
        categories=tuple(names),
        gender=_text(_field(struct, "gender"), "gender"),
        age=_text(_field(struct, "age"), "age"),
        annotators=max(len(categories), len(continuous)),
        **ratings,
    )


def _box(value: Any) -> tuple[float, ...]:
    array = np.zeros(0) if value is None else np.asarray(value)
    if array.size and array.dtype.kind not in "iuf":
        raise _WrongField(f"the field body_bbox holds {_kind(array)}, expected four numbers")
    return tuple(float(number) for number in array.ravel()[:5])


def _field(struct: np.void, name: str, required: bool = False) -> Any:
    """The field `name`; None where the struct has no such field."""
    names = struct.dtype.names or ()
    if name in names:
        return _plain(struct[name], name)
    if required:
        raise _WrongField(f"no field {name}, found {listing(names)}")
    return None


def _plain(value: Any, name: str) -> np.ndarray | None:
    """`value`, unless it is one of those MATLAB types for which scipy has a class of its own."""
    if value is not None and type(value) is not np.ndarray:
        raise _WrongField(f"the field {name} holds a {type(value).__name__}, expected a struct, a cell or an array")
    return value


def _structs(value: Any, name: str) -> list[np.void]:
    """The structs of a struct, an array of structs or a cell of structs; none where there is nothing."""
    if value is None or value.size == 0:
        return []
    if value.dtype.names:
        return list(value.ravel())
    return [struct for cell in _cells(value, name, "structs") for struct in _structs(cell, name)]


def _texts(value: Any, name: str) -> list[str]:
    """The texts of a char array or a cell of char arrays, without the empty ones."""
    if value is None or value.size == 0:
        return []
    if value.dtype.kind == "U":
        return [text for item in value.ravel() if (text := str(item).strip())]
    return [text for cell in _cells(value, name, "text") for text in _texts(cell, name)]


def _text(value: Any, name: str) -> str:
    texts = _texts(value, name)
    if len(texts) > 1:
        raise _WrongField(f"the field {name} holds {len(texts)} texts, expected one")
    return texts[0] if texts else ""


def _number(value: Any, name: str) -> float:
    """The one number of an array; NaN where there is none."""
    if value is None or value.size == 0:
        return math.nan
    if value.size != 1:
        raise _WrongField(f"the field {name} holds {value.size} values, expected one number")
    if value.dtype.kind in "iuf":
        return float(value.ravel()[0])
    (cell,) = _cells(value, name, "a number")
    return _number(cell, name)


def _cells(array: np.ndarray, name: str, expected: str) -> list[np.ndarray]:
    cells = list(array.ravel()) if array.dtype == object else []
    if not cells or not all(type(cell) is np.ndarray for cell in cells):
        raise _WrongField(f"the field {name} holds {_kind(array)}, expected {expected}")
    return cells


def _kind(array: np.ndarray) -> str:
    kinds = {"U": "text", "b": "a truth value", "i": "numbers", "u": "numbers", "f": "numbers", "c": "complex numbers"}
    return kinds.get(array.dtype.kind, "structs" if array.dtype.names else "objects")


def _mean(ratings: Sequence[float]) -> float:
    known = [rating for rating in ratings if not math.isnan(rating)]
    return sum(known) / len(known) if known else math.nan
