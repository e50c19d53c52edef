"""EMOTIC's own `Annotations.mat`: nested MATLAB structs -> annotated photos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ..support.errors import UserError, listing
from .annotations import SPLITS, AnnotatedPhoto, Person, tidy_folder
from .mat_reader import Cells, Numbers, Structs, Texts, Value, read_mat

DIMENSIONS = ("valence", "arousal", "dominance")

Struct = dict[str, Value]


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
    photos: dict[str, list[AnnotatedPhoto]] = {}
    names = []
    for name, value in read_mat(path, SPLITS.keys()):
        names.append(name)
        if name in SPLITS:
            position = name
            photos[name] = []
            try:
                for number, struct in enumerate(_structs(value, name), 1):
                    position = f"{name}({number})"
                    photos[name].append(_photo(struct, SPLITS[name]))
            except _WrongField as error:
                raise UserError(f"{path.name}, {position}: {error}; download the file again") from error
    if not photos:
        raise UserError(f"{path.name} holds {listing(names)}: expected the variables {', '.join(SPLITS)}")
    return [photo for name in SPLITS for photo in photos.get(name, ())]


def _photo(struct: Struct, split: str) -> AnnotatedPhoto:
    people = [_person(person) for person in _structs(struct.get("person"), "person")]
    missing = [name for name in ("folder", "filename") if name not in struct]
    if missing:
        raise _WrongField(f"no field {missing[0]}, found {listing(struct)}")
    folder, filename = (_text(struct[name], name) for name in ("folder", "filename"))
    if not filename:
        raise _WrongField("the field filename is empty")
    return AnnotatedPhoto(split, tidy_folder(folder), filename, tuple(people), _sides(struct.get("image_size")))


def _sides(value: Value | None) -> tuple[int, int] | None:
    for struct in _structs(value, "image_size"):
        sides = [_number(struct.get(name), name) for name in ("n_row", "n_col")]
        if all(side >= 1 and math.isfinite(side) for side in sides):
            return int(sides[0]), int(sides[1])
    return None


def _person(struct: Struct) -> Person:
    categories = _structs(struct.get("annotations_categories"), "annotations_categories")
    continuous = _structs(struct.get("annotations_continuous"), "annotations_continuous")
    combined = _structs(struct.get("combined_continuous"), "combined_continuous")
    names = _texts(struct.get("combined_categories"), "combined_categories")
    if not names:
        judged = [_texts(one.get("categories"), "categories") for one in categories]
        names = [name for names_of_one in judged for name in names_of_one]
    ratings = {}
    for name in DIMENSIONS:
        rating = _mean([_number(one.get(name), name) for one in combined])
        if math.isnan(rating):
            rating = _mean([_number(one.get(name), name) for one in continuous])
        ratings[name] = rating
    return Person(
        box=_box(struct.get("body_bbox")),
        categories=tuple(names),
        gender=_text(struct.get("gender"), "gender"),
        age=_text(struct.get("age"), "age"),
        annotators=max(len(categories), len(continuous)),
        **ratings,
    )


def _box(value: Value | None) -> tuple[float, ...]:
    if _is_empty(value):
        return ()
    if not isinstance(value, Numbers) or value.kind != "numbers":
        raise _WrongField(f"the field body_bbox holds {_kind(value)}, expected four numbers")
    return value.first[:5]


def _structs(value: Value | None, name: str) -> Sequence[Struct]:
    """The structs of a struct, an array of structs or a cell of structs; none where there is nothing."""
    if isinstance(value, Structs):
        return value
    return [struct for cell in _cells(value, name, "structs") for struct in _structs(cell, name)]


def _texts(value: Value | None, name: str) -> list[str]:
    """The texts of a char array or a cell of char arrays, without the empty ones."""
    if isinstance(value, Texts):
        return [text for row in value if (text := row.strip())]
    return [text for cell in _cells(value, name, "text") for text in _texts(cell, name)]


def _text(value: Value | None, name: str) -> str:
    texts = _texts(value, name)
    if len(texts) > 1:
        raise _WrongField(f"the field {name} holds {len(texts)} texts, expected one")
    return texts[0] if texts else ""


def _number(value: Value | None, name: str) -> float:
    """The one number of an array; NaN where there is none."""
    if _is_empty(value):
        return math.nan
    if isinstance(value, Numbers) and value.kind == "numbers":
        if value.size != 1:
            raise _WrongField(f"the field {name} holds {value.size} values, expected one number")
        return value.first[0]
    cells = _cells(value, name, "a number")
    if len(cells) != 1:
        raise _WrongField(f"the field {name} holds {len(cells)} values, expected one number")
    return _number(cells[0], name)


def _cells(value: Value | None, name: str, expected: str) -> Sequence[Value]:
    """The values of a cell; none where there is nothing."""
    if _is_empty(value):
        return ()
    if not isinstance(value, Cells):
        raise _WrongField(f"the field {name} holds {_kind(value)}, expected {expected}")
    return value


def _is_empty(value: Value | None) -> bool:
    return value is None or (value.size if isinstance(value, Numbers) else len(value)) == 0


def _kind(value: Value | None) -> str:
    return "nothing" if value is None else value.kind


def _mean(ratings: Sequence[float]) -> float:
    known = [rating for rating in ratings if not math.isnan(rating)]
    return sum(known) / len(known) if known else math.nan
