"""Writing model files all together or not at all, and reporting disk errors."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from ger_datasets.support.errors import UserError, one_line

DISK_ERRORS = (OSError, RuntimeError, SafetensorError)  # what writing fails with
UNFINISHED = ".model.tmp"


def disk_reason(error: BaseException) -> str:
    """The reason if `error` is a disk error; empty otherwise.

    torch and safetensors report a full disk with errors of their own.
    """
    reason = one_line(error)
    if isinstance(error, OSError):
        return reason
    words = ("no space", "os error", "writing file", "unexpected pos", "iostream", "i/o error")
    return reason if any(word in reason.lower() for word in words) else ""


@contextlib.contextmanager
def disk_errors(place: Path, message: Callable[[str], str] | None = None) -> Iterator[None]:
    """Raise disk errors as UserErrors that name `place`.

    Args:
        message: the reason -> what the error says; None: that `place` cannot be written.
    """
    try:
        yield
    except DISK_ERRORS as error:
        reason = disk_reason(error)
        if not reason:
            raise
        text = (
            f"cannot write {place}: {reason}; choose another place or free it" if message is None else message(reason)
        )
        raise UserError(text) from error


def put_files(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill an empty folder; once all its files are synced to disk, move them into `folder` one by one.

    After an error, nothing new is left and the earlier files are unchanged.
    """
    made = folder / UNFINISHED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        write(made)
        for path in sorted(made.iterdir()):
            to_disk(path)
        for path in sorted(made.iterdir()):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Sync `path`, a file or a folder, to disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
