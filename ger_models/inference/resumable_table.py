"""The finished parts of a predict run, stored next to the table that it will write.

    .TABLE.parts-HASH/000012.json      the rows of part 12; complete or missing

The hash covers everything that the rows depend on. With another model, model revision, dataset or batch size, the
folder has another name, so results are never mixed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError


@dataclass
class PartRows:
    """A model's predictions for the rows of a part, as in the predictions table; and the photos that were left out."""

    image_ids: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    faces: list[int] = field(default_factory=list)
    logits: list[list[float]] = field(default_factory=list)
    face_attention: list[list[float] | None] = field(default_factory=list)
    face_expressions: list[list[list[float]] | None] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    clips: list[str | None] = field(default_factory=list)
    quarantined: list[dict[str, str]] = field(default_factory=list)


class PartialTable:
    """The parts of a table that are done.

    Args:
        table: the predictions table.
        settings: everything that its rows depend on, as JSON values.
    """

    def __init__(self, table: Path, settings: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        self.folder = table.with_name(f".{table.name}.parts-{digest}")

    def begin(self) -> None:
        """Create the folder, which marks the table as unfinished."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def has(self, number: int) -> bool:
        """Whether the part `number` has been predicted."""
        return self._file(number).exists()

    def add(self, number: int, rows: PartRows) -> None:
        """Write the rows of part `number`; raises UserError if they cannot be written."""
        write_text(self._file(number), json.dumps(asdict(rows)))

    def read(self, number: int) -> PartRows:
        """The rows of part `number`.

        Raises:
            UserError: they are not there or not as they were written.
        """
        path = self._file(number)
        try:
            return PartRows(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{path} cannot be read ({error}): all processes must see one folder; delete it and run again"
            ) from error

    def remove(self, parts: int) -> None:
        """Delete the parts 0 to `parts` - 1, and the folder with them."""
        for number in range(parts):
            self._file(number).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it contains other files
            self.folder.rmdir()

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"


def lock_name(table: str) -> str:
    """File name of a table's lock.

    >>> lock_name("test.parquet")
    '.test.parquet.lock'
    """
    return f".{table}.lock"


def is_unfinished(table: Path) -> bool:
    """Whether an interrupted run has left parts of `table`."""
    return any(table.parent.glob(f".{table.name}.parts-*"))
