"""The revision of a dataset: an identifier that differs between datasets of the same name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import datasets

from ..support.errors import UserError, one_line
from ..support.hub_connection import read_from_hub

PARQUET_TAIL = 8  # bytes: the length of the footer, then PAR1
REVISION_LENGTH = 16  # hexadecimal digits


def dataset_revision(dataset: str) -> str:
    """The commit of a dataset on the Hub; of a folder, a hash of its Parquet files' names, sizes and footers.

    A footer holds the schema and, for every column, its size, place and range: reading it costs the same whatever the
    size of the photos.

    Raises:
        UserError: a file, or the Hub, cannot be read.
    """
    if not Path(dataset).is_dir():
        return read_from_hub(dataset, lambda: str(datasets.load_dataset_builder(dataset).hash))
    digest = hashlib.sha256()
    for path in sorted(Path(dataset).rglob("*.parquet")):
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - PARQUET_TAIL))
                length = int.from_bytes(file.read(4), "little")
                file.seek(max(0, size - PARQUET_TAIL - length))
                digest.update(f"{path.relative_to(dataset).as_posix()} {size} ".encode() + file.read())
        except OSError as error:
            raise UserError(f"{path} cannot be read: {one_line(error)}; prepare it again") from error
    return digest.hexdigest()[:REVISION_LENGTH]
