"""What has been prepared so far and with which settings: the memory of a prepare run that may be stopped anywhere.

    OUTPUT/manifest.json            the settings
    OUTPUT/manifest/SHARD.json      one entry for each shard that is whole

An entry is a file of its own, so that many processes on many machines can work on one folder without a lock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import write_text

FOREIGN = ("README.md", "data", "manifest", "quarantine.jsonl")


class Manifest:
    """The manifest of a prepared dataset.

    Args:
        output: the prepared dataset's folder.
        settings: everything that the rows depend on, as JSON values.
        addable: settings that may change from None to a value: their columns are then added to the shards there are.

    Raises:
        UserError: the folder was prepared with other settings, or holds files that no prepare run wrote.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], addable: Collection[str] = ()) -> None:
        self.folder = output / "manifest"
        self.settings = json.loads(json.dumps(settings))
        path = output / "manifest.json"
        if path.exists():
            self._check(_read(path, ("settings",))["settings"], output, addable)
        else:
            foreign = [name for name in FOREIGN if (output / name).exists()]
            if foreign:
                raise UserError(
                    f"{output} holds {', '.join(foreign)}, but no manifest.json to say where they come from: "
                    "nothing was overwritten; choose another --output or move them away"
                )
        write_text(path, json.dumps({"settings": self.settings}, indent=1) + "\n")

    def _check(self, old: Mapping[str, Any], output: Path, addable: Collection[str]) -> None:
        new = self.settings
        differences = [
            f"{name} was {old.get(name)!r} and is now {new.get(name)!r}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name) and not (name in addable and old.get(name) is None)
        ]
        if differences:
            raise UserError(
                f"{output} was prepared otherwise: {'; '.join(differences)}. "
                "Use the same settings, or choose another --output"
            )

    def entry(self, shard: str) -> dict[str, Any] | None:
        """The entry of `shard`, or None while it is not whole.

        Raises:
            UserError: the entry is there but no prepare run wrote it so.
        """
        path = self.folder / f"{shard}.json"
        return _read(path, ("rows", "bytes", "quarantined")) if path.exists() else None

    def add(self, shard: str, entry: Mapping[str, Any]) -> None:
        """Record that the file of `shard` is whole."""
        write_text(self.folder / f"{shard}.json", json.dumps(entry, indent=1) + "\n")


def _read(path: Path, needed: Collection[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a manifest that prepare wrote ({error}); choose another --output") from error
    if not isinstance(content, dict) or not all(name in content for name in needed):
        raise UserError(
            f"{path} is not a manifest that prepare wrote: it lacks {', '.join(needed)}; choose another --output"
        )
    return content
