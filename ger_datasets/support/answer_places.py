"""Where answers may be written, checked before anything is loaded, and cells that spreadsheets show as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import UserError

FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets calculate begins so (OWASP, CSV injection)
FOLDER = "answers"  # default folder of the pictures
UNFINISHED = ".unfinished.json"  # in a folder of pictures until its run has ended: what the run was asked for


def partial_csv(path: Path) -> Path:
    """The table while it is written."""
    return path.with_name(f"{path.name}.partial")


def is_continued(folder: Path, run: Mapping[str, Any]) -> bool:
    """Whether `folder` holds the answers of an interrupted run that was asked for the same, as JSON values."""
    try:
        return bool(json.loads((folder / UNFINISHED).read_text(encoding="utf-8")) == run)
    except (OSError, ValueError):
        return False


def check_csv(path: Path, finishing: bool = False, continued: bool = False) -> None:
    """Refuse a table that would be written over a file, or into a folder that is not there.

    Args:
        finishing: whether the table is written already and gets its name now.
        continued: whether an interrupted run is continued, which may have made the table, or a part of it.

    Raises:
        UserError: it is refused.
    """
    if path.exists() and not continued:
        kept = f"; the answers are in {partial_csv(path).name}" if finishing else ""
        raise UserError(f"{path} exists already: choose another --csv{kept}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"there is no folder {path.parent} for --csv {path.name}: make it first")
    if not finishing and not continued and partial_csv(path).exists():
        raise UserError(
            f"{partial_csv(path)} holds the answers of an interrupted run: move it, or choose another --csv"
        )


def check_output_dir(text: str) -> None:
    """Refuse a folder for pictures that has no name, holds something, or is a file; raises UserError."""
    path = Path(text)
    if not text.strip():
        raise UserError("--output_dir is empty: name a new folder, or none for no pictures")
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"{path} is not empty: choose another --output_dir, or none for no pictures")
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} cannot be made: it is a file; choose another --output_dir, or none")


def spreadsheet_safe(value: object) -> object:
    """A value that spreadsheets show as it is: text that they would calculate, such as a file name, gets a `'` before.

    >>> spreadsheet_safe("=1+1.jpg"), spreadsheet_safe("party.jpg"), spreadsheet_safe(-1)
    ("'=1+1.jpg", 'party.jpg', -1)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
