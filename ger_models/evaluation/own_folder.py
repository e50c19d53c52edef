"""Folders that results are written to again and again: an earlier result is replaced, nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ger_datasets.support.errors import UserError, listing


def check_own(folder: str | Path, files: Sequence[str], what: str, form: str) -> None:
    """Refuse a folder where a result would take the place of somebody else's files.

    Args:
        folder: where the result goes; it may be missing.
        files: what will be written there; the first is JSON whose `format` marks the others as ours.
        what: what the result is called in the message.
        form: that `format`.

    Raises:
        UserError: it is a file, or holds some of `files` without the mark.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder for the {what}")
    there = [name for name in files if (folder / name).exists()]
    if there and not _is_marked(folder / files[0], form):
        raise UserError(
            f"{folder} holds {listing(there)}, not written by this {what}; name another folder or move them away"
        )


def _is_marked(path: Path, form: str) -> bool:
    try:
        with open(path, encoding="utf-8") as handle:
            content = json.load(handle)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == form
