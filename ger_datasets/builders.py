"""The datasets there are, by name. A new one is a folder with `builder.py` and `card.md`, and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .errors import UserError
from .gaf3.builder import Gaf3Builder
from .records import Record
from .sample.builder import SampleBuilder


class Builder(Protocol):
    """A raw download -> records.

    Attributes:
        class_names: the names of the labels 0, 1, ...
        notice: what must stand wherever figures on this dataset appear; empty for real data.
    """

    class_names: Sequence[str]
    notice: str

    def __init__(self, source: Path) -> None: ...

    def records(self) -> list[Record]:
        """Every photo, with image_ids that are unique and the same on every machine; UserError if there are none."""
        ...


BUILDERS: dict[str, type[Builder]] = {"gaf3": Gaf3Builder, "sample": SampleBuilder}


def builder_class(name: str) -> type[Builder]:
    """The builder of the dataset `name`; UserError that lists the datasets there are."""
    if name not in BUILDERS:
        raise UserError(f"unknown dataset {name!r}: there are {', '.join(BUILDERS)}")
    return BUILDERS[name]
