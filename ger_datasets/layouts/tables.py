"""CSV files with a heading -> rows by column name."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..support.errors import UserError, listing

MAX_BYTES = 512 * 2**20


def read_table(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of the CSV file `path`: its line and its cells, without space around them, by column in lower case.

    Columns are separated by commas, semicolons or tabs, whichever the heading has most of. Empty lines are skipped;
    cells beyond the heading are ignored, and missing ones are absent.

    Args:
        path: the file; UTF-8, with or without a byte order mark.
        required: columns that it must have, in lower case.

    Raises:
        UserError: the file cannot be read, is too large or no CSV, or lacks a column.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path.name} has more than {MAX_BYTES:,} bytes: it is not read")
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            heading = file.readline(100_000)
            separator = max(",;\t", key=heading.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator)
            columns = [name.strip().lower() for name in next(reader, [])]
            missing = [name for name in required if name not in columns]
            if missing:
                raise UserError(f"{path.name} lacks the columns {listing(missing)}, found {listing(columns, 20)}")
            for cells in reader:
                if any(cells):
                    yield reader.line_num, dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    except (OSError, csv.Error) as error:
        raise UserError(f"{path.name} cannot be read as CSV: {error}") from error
