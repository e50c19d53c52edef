"""Writing model files all together or not at all, and reporting disk errors."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from safetensors import SafetensorError
from transformers.utils import CONFIG_NAME

from ger_datasets.support.errors import UserError, one_line

DISK_ERRORS = (OSError, RuntimeError, SafetensorError)  # what writing fails with
UNFINISHED, COMPLETE = ".model.tmp", ".model.new"  # folders of new files: being written; ready to be moved
NAMES = ".names"  # in the latter: the names of all new files


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
    """Let `write` fill an empty folder; once all its files are synced to disk, move them into `folder`.

    After an error of `write`, nothing new is left and the earlier files are unchanged. A process that is killed at any
    moment leaves the earlier files, the new ones, or a folder without config.json, which nobody loads by mistake;
    the next call, or `finish_files`, completes it.
    """
    finish_files(folder)
    made = folder / UNFINISHED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        write(made)
        for path in sorted(made.iterdir()):
            to_disk(path)
        (made / NAMES).write_text("\n".join(path.name for path in made.iterdir()), encoding="utf-8")
        to_disk(made / NAMES)
        os.replace(made, folder / COMPLETE)  # from here on the new files are the ones to have
    finally:
        shutil.rmtree(made, ignore_errors=True)
    finish_files(folder)


def finish_files(folder: Path) -> None:
    """Complete what a `put_files` that was killed has begun to move into `folder`; nothing to do otherwise."""
    made = folder / COMPLETE
    if (made / NAMES).exists():
        names = (made / NAMES).read_text(encoding="utf-8").split("\n")
        new = [path for path in made.iterdir() if path.name != NAMES]
        # weights in another number of files would be loaded in place of the new ones
        stale = [path for path in folder.glob("model*.safetensors*") if path.name not in names]
        config, new_config = folder / CONFIG_NAME, made / CONFIG_NAME
        if config.exists() and (stale or len(_changed(new, folder)) > 1):
            if not new_config.exists():  # it stays, and comes back last
                shutil.copy2(config, new_config)
                to_disk(new_config)
            config.unlink()
            to_disk(folder)
        for path in new:
            if path != new_config:
                os.replace(path, folder / path.name)
        for path in stale:
            path.unlink()
        to_disk(folder)
        if new_config.exists():
            os.replace(new_config, config)
            to_disk(folder)
    shutil.rmtree(made, ignore_errors=True)


def _changed(new: Sequence[Path], folder: Path) -> list[Path]:
    """Those of the files `new` that `folder` does not have with the same content."""
    return [
        path
        for path in new
        if not (folder / path.name).exists() or not filecmp.cmp(path, folder / path.name, shallow=False)
    ]


def to_disk(path: Path) -> None:
    """Sync `path`, a file or a folder, to disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
