"""Registry: the parts of one kind by name, the package's own and those that installed packages add."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from .errors import UserError, listing, one_line

Part = TypeVar("Part")


class Registry(Mapping[str, Part], Generic[Part]):
    """Name -> part. Reading the names imports nothing but the package's own table; a part is loaded on access.

    Args:
        kind: what a part is called in messages, such as `dataset`.
        own: the package's parts, or where one is imported from: `package.module:NAME`.
        group: the entry point group in which other packages name theirs. A name of `own` cannot be replaced.
    """

    def __init__(self, kind: str, own: Mapping[str, Part | str], group: str) -> None:
        self.kind, self.own, self.group = kind, own, group

    @cached_property
    def _added(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group) if entry.name not in self.own}

    def __iter__(self) -> Iterator[str]:
        return iter((*self.own, *self._added))

    def __len__(self) -> int:
        return len(self.own) + len(self._added)

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._added

    def __getitem__(self, name: str) -> Part:
        """The part; UserError if there is none of this name, or the package that adds it cannot be imported."""
        if name in self.own:
            part: Any = self.own[name]
            if isinstance(part, str):
                module, _, attribute = part.partition(":")
                part = getattr(importlib.import_module(module), attribute)
            return part
        if name not in self._added:
            raise UserError(f"unknown {self.kind} {name!r}: choose from {listing(self, len(self))}")
        entry = self._added[name]
        try:
            return entry.load()
        except Exception as error:  # importing another package's module can raise anything
            package = entry.dist.name if entry.dist else "another package"
            raise UserError(
                f"the {self.kind} {name!r} of {package} cannot be loaded from {entry.value}: "
                f"{type(error).__name__}: {one_line(error)}; repair or uninstall that package"
            ) from error
