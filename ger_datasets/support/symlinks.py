"""Links in a raw folder are followed only if they stay inside it: a download must not read other files."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UserError, printable


def leads_inside(path: str | Path, root: Path) -> bool:
    """Whether `path` is not a link, or links to an existing path inside `root`, a real path."""
    if not os.path.islink(path):
        return True
    return os.path.exists(path) and Path(os.path.realpath(path)).is_relative_to(root)


def inside(folder: Path, root: Path) -> Path:
    """`folder`; UserError if it is a link that leads out of `root`, a real path."""
    if folder.is_symlink() and not Path(os.path.realpath(folder)).is_relative_to(root):
        raise UserError(
            f"{printable(folder)} is a link that leads out of the source folder and is not followed: "
            "give the folder that contains the photos"
        )
    return folder
