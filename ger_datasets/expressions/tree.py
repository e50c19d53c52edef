"""A raw folder -> the files in it, of which the forms of a download take what they know."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..photos.reading import SUFFIXES
from ..support.errors import UserError, printable
from ..support.symlinks import leads_inside


@dataclass
class Tree:
    """The files of a raw folder, sorted by path; hidden ones are not in it.

    Attributes:
        root: the folder.
        photos: files named as images.
        others: the other files.
        links: links that lead out of the folder, or to folders; they are not followed.
    """

    root: Path
    photos: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)

    def words(self, path: Path) -> tuple[str, ...]:
        """The names of the folders between the root and the file `path`."""
        return path.relative_to(self.root).parts[:-1]


def read_tree(root: Path) -> Tree:
    """The files in the folder `root` and the folders in it.

    Raises:
        UserError: there is no such folder, or one in it cannot be listed.
    """
    if not root.is_dir():
        raise UserError(f"no folder {printable(root)}: give the folder that holds the faces")
    tree, real = Tree(root), Path(os.path.realpath(root))
    for folder, folders, files in os.walk(root, onerror=_unlisted):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        place = Path(folder)
        tree.links += [place / name for name in folders if (place / name).is_symlink()]
        for name in sorted(files):
            path = place / name
            if _hidden(name):
                continue
            if not leads_inside(path, real):
                tree.links.append(path)
            elif os.path.splitext(name)[1].lower() in SUFFIXES:
                tree.photos.append(path)
            else:
                tree.others.append(path)
    return tree


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _unlisted(error: OSError) -> None:
    raise UserError(f"{printable(error.filename)} cannot be listed: {error.strerror}") from error
