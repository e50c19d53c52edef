"""Links in a raw folder are followed only where they stay in it: a download must not reach the files of its user."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UserError, printable


def leads_inside(path: str | Path, root: Path) -> bool:
    """Whether `path` is no link, or one to something that there is inside `root`, a real path."""
    if not os.path.islink(path):
        return True
    return os.path.exists(path) and Path(os.path.realpath(path)).is_relative_to(root)


def inside(folder: Path, root: Path) -> Path:
    """`folder`, unless it is a link that leads out of `root`, a real path: then UserError."""
    if folder.is_symlink() and not Path(os.path.realpath(folder)).is_relative_to(root):
        raise UserError(
            f"{printable(folder)} is a link that leads out of the source folder and is not followed: "
            "give the folder that holds the photos themselves"
        )
    return folder
