"""Files of a model that take their places together, when all are whole; and a disk that has no room for them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from ger_datasets.support.errors import UserError

DISK_ERRORS = (OSError, RuntimeError, SafetensorError)  # what writing fails with
UNFINISHED = ".model.tmp"


def disk_reason(error: BaseException) -> str:
    """What is wrong with the disk, as far as `error` is about it; empty otherwise.

    torch and safetensors tell a full disk in errors of their own.
    """
    told = " ".join(str(error).split())[:150]
    if isinstance(error, OSError):
        return error.strerror or told
    words = ("no space", "os error", "writing file", "unexpected pos", "iostream", "i/o error")
    return told if any(word in told.lower() for word in words) else ""


@contextlib.contextmanager
def disk_told(place: Path) -> Iterator[None]:
    """What goes wrong with the disk under `place` as a UserError."""
    try:
        yield
    except DISK_ERRORS as error:
        reason = disk_reason(error)
        if not reason:
            raise
        raise UserError(f"cannot write {place}: {reason}; choose another place or free it") from error


def put_files(folder: Path, write: Callable[[Path], None]) -> None:
    """What `write` writes into an empty folder takes its place in `folder`, file by file, when it lies on the disk.

    After an error nothing of it is left, and what was there is as it was.
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
    """Wait until `path`, a file or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
