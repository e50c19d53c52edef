"""The datasets there are, by name. A new one is a folder with `builder.py` and `card.md`, and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from .emotic.builder import EmoticBuilder
from .expressions.builder import ExpressionsBuilder
from .gaf3.builder import Gaf3Builder
from .group_scene.builder import GroupSceneBuilder
from .records import Record
from .sample.builder import SampleBuilder
from .support.errors import UserError


class Builder(Protocol):
    """A raw download -> records.

    All but the two methods may be plain class attributes.
    """

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the labels 0, 1, ..."""
        ...

    @property
    def extra_features(self) -> Mapping[str, Any]:
        """The columns that only this dataset has, as `datasets` features; `Record.extras` fills them."""
        ...

    @property
    def notice(self) -> str:
        """What must stand wherever figures on this dataset appear; empty for real data."""
        ...

    @property
    def license(self) -> str:
        """The Hub's identifier of the photos' licence; "other" where card.md tells the terms."""
        ...

    def __init__(self, source: Path) -> None:
        """`source`: the raw folder. Options of the dataset's own are keyword arguments with defaults after it."""

    def records(self) -> list[Record]:
        """Every photo, with image_ids that are unique and the same on every machine; UserError if there are none."""
        ...

    def remarks(self) -> list[str]:
        """What a reader of the card should know about this download: counts that differ from the published ones,
        files left out. One sentence each, without paths of this machine; asked for after `records`."""
        ...


BUILDERS: dict[str, type[Builder]] = {
    "gaf3": Gaf3Builder,
    "sample": SampleBuilder,
    "emotic": EmoticBuilder,
    "group_scene": GroupSceneBuilder,
    "expressions": ExpressionsBuilder,
}


def builder_class(name: str) -> type[Builder]:
    """The builder of the dataset `name`; UserError that lists the datasets there are."""
    if name not in BUILDERS:
        raise UserError(f"unknown dataset {name!r}: there are {', '.join(BUILDERS)}")
    return BUILDERS[name]
