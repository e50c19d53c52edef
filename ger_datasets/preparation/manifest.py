"""What has been prepared so far and with which settings: the memory of a prepare run that may be interrupted anywhere.

    OUTPUT/manifest.json            the settings
    OUTPUT/manifest/SHARD.json      one entry for each shard that is whole

An entry is a file of its own, so that many processes on many machines can work on one folder without a lock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from ..support.atomic_files import write_text
from ..support.errors import UserError
from .column_sources import SOURCES

FOREIGN = ("README.md", "data", "manifest", "quarantine.jsonl")
ELSEWHERE = "choose another --output"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**60


def _are_counts(value: Any) -> bool:
    """A dict of counts by a number, such as of photos by their label."""
    return isinstance(value, dict) and all(
        name.removeprefix("-").isdecimal() and len(name) < 10 and _is_count(count) for name, count in value.items()
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _are_lines(value: Any) -> bool:
    return isinstance(value, list) and all(map(_are_texts, value))


def _are_hashes(value: Any) -> bool:
    return isinstance(value, dict) and all(
        digest is None or (type(digest) is int and 0 <= digest < 2**64) for digest in value.values()
    )


# what a shard's entry must hold, and its check
ENTRY: Mapping[str, Callable[[Any], bool]] = {
    "split": lambda value: isinstance(value, str),
    "rows": _is_count,
    "bytes": _is_count,
    "labels": _are_counts,
    "faces": _are_counts,
    "quarantined": _are_lines,
    "hashes": _are_hashes,
}
# the settings of sources, of which entries of earlier versions lack some
OPTIONS = tuple(source.option for source in SOURCES.values() if source.later)


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
            old = _read(path, ("settings",))["settings"]
            if not isinstance(old, dict):
                raise UserError(f"{path} is not a manifest that prepare wrote: its settings are none; {ELSEWHERE}")
            self._check(old, output, addable)
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
                f"{output} was prepared with other settings: {'; '.join(differences)}. "
                "Use the same settings, or choose another --output"
            )

    def entry(self, shard: str) -> dict[str, Any] | None:
        """The entry of `shard`, or None while it is not whole.

        Raises:
            UserError: the entry is there but no prepare run wrote it so.
        """
        path = self.folder / f"{shard}.json"
        if not path.exists():
            return None
        entry = _read(path, ENTRY)
        wrong = [name for name, is_valid in ENTRY.items() if not is_valid(entry[name])]
        wrong += [name for name in OPTIONS if not isinstance(entry.get(name), (dict, NoneType))]
        if not shard.startswith(f"{entry['split']}-"):
            wrong.append("split")
        if wrong:
            raise UserError(
                f"{path} is not a manifest that prepare wrote: {', '.join(wrong)} cannot be right; {ELSEWHERE}"
            )
        return entry

    def add(self, shard: str, entry: Mapping[str, Any]) -> None:
        """Record that the file of `shard` is whole."""
        write_text(self.folder / f"{shard}.json", json.dumps(entry, indent=1) + "\n")


def _read(path: Path, needed: Collection[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a manifest that prepare wrote ({error}); {ELSEWHERE}") from error
    if not isinstance(content, dict) or not all(name in content for name in needed):
        raise UserError(
            f"{path} is not a manifest that prepare wrote: it lacks some of {', '.join(needed)}; {ELSEWHERE}"
        )
    return content
