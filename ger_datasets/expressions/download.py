"""What the readers of all forms share: the files of a raw folder in, labelled faces out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..photos.reading import SUFFIXES
from ..support.errors import BadPhoto, UserError, one_line, printable
from ..support.symlinks import leads_inside

MAX_BYTES = 64 * 2**20  # of a file of labels


@dataclass(frozen=True)
class LabelledFace:
    """One picture.

    `expression` is a key of `names.ALIASES`, or empty where the label cannot be read, and `read` raises why; `stem`
    follows the split in its image_id; `path` is the image file, or the file that holds many; `read` as `Record.read`;
    `person` is who it is, where the file's name says so.
    """

    split: str
    expression: str
    stem: str
    path: Path
    read: Callable[[], bytes] | None = None
    person: str = ""


@dataclass
class Download:
    """The faces of a download, in an order that is the same on every machine, and remarks for the card."""

    faces: list[LabelledFace] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass
class Tree:
    """The files of a raw folder that are not hidden, sorted by path: photos, others, and links out of the folder or to
    folders, which are not followed."""

    root: Path
    photos: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)

    def folders(self, path: Path) -> tuple[str, ...]:
        """The names of the folders between the root and the file `path`."""
        return path.relative_to(self.root).parts[:-1]

    def name(self, path: Path) -> str:
        """`path` below the root, for a message."""
        return printable(path.relative_to(self.root))


def read_tree(root: Path) -> Tree:
    """The files in the folder `root` and the folders in it; UserError if one of them cannot be listed."""
    if not root.is_dir():
        raise UserError(f"no folder {printable(root)}: give the folder that holds the faces")
    tree, real = Tree(root), Path(os.path.realpath(root))
    for folder, folders, files in os.walk(root, onerror=_unlisted):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        tree.links += [Path(folder, name) for name in folders if Path(folder, name).is_symlink()]
        for path in (Path(folder, name) for name in sorted(files) if not _hidden(name)):
            if not leads_inside(path, real):
                tree.links.append(path)
            else:
                is_photo = os.path.splitext(path.name)[1].lower() in SUFFIXES
                (tree.photos if is_photo else tree.others).append(path)
    return tree


def read_lines(path: Path) -> list[bytes]:
    """The lines of a file of labels; UserError if it cannot be read or is too large to be one."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{printable(path.name)} has more than {MAX_BYTES:,} bytes: it is not a file of labels")
        return path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{printable(path.name)} cannot be read: {one_line(error)}") from error


def unusable(reason: str) -> Callable[[], bytes]:
    """A `read` for a picture that is known to be unusable: it raises BadPhoto with `reason`."""
    return partial(_raise, reason)


def _raise(reason: str) -> bytes:
    raise BadPhoto(reason)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _unlisted(error: OSError) -> None:
    raise UserError(f"{printable(error.filename)} cannot be listed: {one_line(error)}") from error
