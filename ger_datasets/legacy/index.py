"""Where the files of the original's intermediate folders lie, by the photo they were made from."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

_NUMBERED = re.compile(r"(.+)_(\d{1,6})", re.DOTALL)


@dataclass(frozen=True)
class File:
    """A file of the original's folders, and which face or photo of its name it is."""

    path: str
    number: int = 0  # of NAME_7.jpg: 7


class Index:
    """The files below a folder by key (their path, see `path_key`) and by name.

    Args:
        folder: the folder.
        suffixes: of the files that count, in lower case.
        numbered: their names end in `_i`, which is not part of the key.
        pruned: real paths of folders that are left out.
    """

    def __init__(
        self, folder: Path, suffixes: Collection[str], numbered: bool = False, pruned: Collection[str] = ()
    ) -> None:
        self.by_key: dict[str, list[File]] = {}
        self.keys_by_name: dict[str, set[str]] = {}
        for parent, folders, names in os.walk(folder):
            folders[:] = sorted(f for f in folders if os.path.realpath(os.path.join(parent, f)) not in pruned)
            above = Path(parent).relative_to(folder).parts
            for name in sorted(names):
                stem, suffix = os.path.splitext(name)
                match = _NUMBERED.fullmatch(stem) if numbered else None
                if suffix.lower() not in suffixes or name.startswith(".") or (numbered and not match):
                    continue
                stem, number = (match[1], int(match[2])) if match else (stem, 0)
                key = path_key((*above, stem))
                self.by_key.setdefault(key, []).append(File(os.path.join(parent, name), number))
                self.keys_by_name.setdefault(stem.lower(), set()).add(key)

    def count(self, name: str) -> int:
        """How many files have this name, in lower case and without suffix."""
        return sum(len(self.by_key[key]) for key in self.keys_by_name.get(name, ()))


def path_key(parts: Iterable[str]) -> str:
    """A path as it is compared: lower case, `validation` as `val`, a folder in a folder of its own name once.

    >>> path_key(["Validation", "Positive", "Positive", "pos_1"])
    'val/positive/pos_1'
    """
    *folders, name = (part.lower() for part in parts)
    folders = ["val" if folder == "validation" else folder for folder in folders]
    once = [folder for i, folder in enumerate(folders) if i == 0 or folder != folders[i - 1]]
    return "/".join([*once, name])
