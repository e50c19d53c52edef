"""What has been prepared so far and with which settings: the memory of a prepare run that may be stopped anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import write_text


class Manifest:
    """`manifest.json` of a prepared dataset: the settings, and an entry for each shard that is whole.

    Args:
        output: the prepared dataset's folder.
        settings: everything that the rows depend on, as JSON values.

    Raises:
        UserError: the folder was prepared with other settings, or holds files that no prepare run wrote.
    """

    def __init__(self, output: Path, settings: dict[str, Any]) -> None:
        self.path = output / "manifest.json"
        self.settings = settings
        self.shards: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self._resume()
            return
        foreign = [name for name in ("README.md", "data", "quarantine.jsonl") if (output / name).exists()]
        if foreign:
            raise UserError(
                f"{output} holds {', '.join(foreign)}, but no manifest.json to say where they come from: "
                "nothing was overwritten; choose another --output or move them away"
            )

    def _resume(self) -> None:
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            old, self.shards = dict(stored["settings"]), dict(stored["shards"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path} is not a manifest that prepare wrote ({error}); choose another --output"
            ) from error
        differences = [
            f"{name} was {old.get(name)!r} and is now {self.settings.get(name)!r}"
            for name in sorted(old.keys() | self.settings.keys())
            if old.get(name) != self.settings.get(name)
        ]
        if differences:
            raise UserError(
                f"{self.path.parent} was prepared otherwise: {'; '.join(differences)}. "
                "Use the same settings, or choose another --output"
            )

    def add(self, shard: str, entry: dict[str, Any]) -> None:
        """Record that the file of `shard` is whole."""
        self.shards[shard] = entry
        shards = dict(sorted(self.shards.items()))
        write_text(self.path, json.dumps({"settings": self.settings, "shards": shards}, indent=1) + "\n")
