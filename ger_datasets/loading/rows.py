"""Rows of a split, read from Arrow a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset


class Rows:
    """The rows of a dataset by the keys of a sampling order; `draw` is how often this epoch has had the row before.

    They are read from Arrow, a batch at a time; images are not decoded: the processor does that.
    """

    def __init__(self, split: Dataset) -> None:
        self.split = split.with_format("arrow")

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: int) -> dict[str, Any]:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[int]) -> list[dict[str, Any]]:
        draws, numbers = np.divmod(keys, len(self.split))
        rows = rows_of(self.split[numbers.tolist()])
        return [{**row, "draw": draw} for row, draw in zip(rows, draws.tolist(), strict=True)]


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of an Arrow table, images as `{"bytes": ..., "path": ...}` and lists of numbers as numpy arrays."""
    columns = [_values(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    kind, size = column.type, 1
    if not pa.types.is_list(kind):
        return column.to_pylist()
    inner = kind.value_type
    if pa.types.is_fixed_size_list(inner):
        size, inner = inner.list_size, inner.value_type
    if not pa.types.is_floating(inner):
        return column.to_pylist()
    lists = [scalar.values for scalar in column]
    if size > 1:
        lists = [None if values is None else values.flatten() for values in lists]
    arrays = [None if values is None else np.array(values) for values in lists]
    return arrays if size == 1 else [None if array is None else array.reshape(-1, size) for array in arrays]
