"""Parquet files with an image and a label in each row -> labelled faces; images are read when they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Features

from ..prepared import ODD_NOTES
from ..support.errors import BadPhoto, UserError, listing, printable
from .download import Download, LabelledFace, unusable
from .names import FER2013_ORDER, expression_of, known_names, numbered, split_of

# What a column may be called, in lower case; `split` and `name` may be missing
COLUMNS = {
    "image": ("image", "img"),
    "label": ("label", "labels", "emotion", "expression"),
    "split": ("split", "usage"),
    "name": ("name", "file_name", "filename", "image_id"),
}
MOST_BYTES = 128 * 2**20  # of images that a process keeps in memory
_cache: OrderedDict[tuple[Path, int, str, int], pa.ChunkedArray] = OrderedDict()  # of this process, the oldest first


@dataclass(frozen=True)
class ImageRow:
    """Reads the image of one row of a Parquet file from a column of bytes, or of structs with `bytes`.

    `row` is the row's place in its row `group`; `number` that in the file, from 1.
    """

    path: Path
    column: str
    group: int
    row: int
    number: int

    def __call__(self) -> bytes:
        """The bytes of the image file; BadPhoto, which names the row, if they cannot be read or there are none."""
        try:
            value = _images(self.path, self.column, self.group)[self.row].as_py()
        except (OSError, pa.ArrowException, IndexError) as error:
            raise BadPhoto(f"row {self.number} cannot be read: {error}") from error
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes) or not content:
            raise BadPhoto(f"row {self.number}: no bytes of an image")
        return content


def _images(path: Path, column: str, group: int) -> pa.ChunkedArray:
    """The images of one row group. Those used last stay in memory, up to `MOST_BYTES`, or one group."""
    key = (path, path.stat().st_mtime_ns, column, group)
    if key not in _cache:
        with pq.ParquetFile(path) as file:
            _cache[key] = file.read_row_group(group, columns=[column])[column]
        while len(_cache) > 1 and sum(images.nbytes for images in _cache.values()) > MOST_BYTES:
            _cache.popitem(last=False)
    _cache.move_to_end(key)
    return _cache[key]


def read_parquet(paths: Sequence[Path]) -> Download:
    """The rows of Parquet files with the columns image and label, and perhaps split and name.

    Labels are names, or numbers: those of the ClassLabel that `datasets` has stored, or else FER2013's. Without a
    column `split` the file's name gives it, as in `train-00000-of-00001.parquet`; otherwise all is train.

    Raises:
        UserError: a file cannot be read, lacks a column, or has a label or split of an unknown name.
    """
    download = Download()
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                columns = _columns(path, file.schema_arrow)
                names = _label_names(file.schema_arrow, columns["label"])
                image = columns.pop("image")
                table = file.read(columns=list(columns.values()))
                sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{printable(path.name)} cannot be read: {error}") from error
        values = {role: table[name].to_pylist() for role, name in columns.items()}
        places = [(group, row) for group, size in enumerate(sizes) for row in range(size)]
        default = split_of(path.stem.split("-")[0]) or "train"
        for number, (group, row) in enumerate(places, 1):
            value = {role: column[number - 1] for role, column in values.items()}
            split = split_of(str(value["split"])) if "split" in value else default
            if split is None:
                found = f"unknown split {value['split']!r} in {printable(path.name)}"
                raise UserError(f"{found}: train, validation and test are known")
            stem = printable(Path(str(value.get("name") or "")).stem or f"{path.stem}-{number:07d}")
            expression = _expression(path, value["label"], names)
            wrong = f"row {number}: label {value['label']!r}; known are {numbered(names, 0)}"
            read = ImageRow(path, image, group, row, number) if expression else unusable(wrong)
            download.faces.append(LabelledFace(split, expression, stem, path, read))
    return download


def _columns(path: Path, schema: pa.Schema) -> dict[str, str]:
    """Role -> the name of its column."""
    present = {name.lower(): name for name in schema.names}
    named = {role: [present[alias] for alias in aliases if alias in present] for role, aliases in COLUMNS.items()}
    missing = [role for role in ("image", "label") if not named[role]]
    if missing:
        raise UserError(f"{printable(path.name)} lacks the columns {listing(missing)}, found {listing(schema.names)}")
    return {role: names[0] for role, names in named.items() if names}


def _label_names(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """What the numbers of the column mean, as `datasets` has stored it; FER2013's order where it has not."""
    try:
        feature: Any = Features.from_arrow_schema(schema).get(column)
    except ODD_NOTES:
        feature = None
    return tuple(feature.names) if isinstance(feature, ClassLabel) else FER2013_ORDER


def _expression(path: Path, label: Any, names: Sequence[str]) -> str:
    """The expression of a label; empty where it is missing or a number without a name."""
    if isinstance(label, int):
        label = names[label] if 0 <= label < len(names) else None
    expression = "" if label is None else expression_of(str(label))
    if expression is None:
        raise UserError(f"unknown class {label!r} in {printable(path.name)}: the classes are {known_names()}")
    return expression
