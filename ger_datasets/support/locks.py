"""One process at a time: a lock file that the system releases when its process ends, however it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import UserError, one_line

LOCK = ".lock"  # the name of the lock of a whole folder


@contextlib.contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Hold a lock on the file `path` while the block runs; the file is created for it and deleted after it.

    Args:
        path: the lock file; its folder is created when missing.
        doing: what the process that holds the lock is doing, for the message of a second process, such as
            `preparing into FOLDER`.

    Raises:
        UserError: another process holds the lock, or the file cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise UserError(f"another process is {doing}: wait until it has ended, or choose another place") from error
    except OSError as error:
        raise UserError(f"cannot write {path.parent}: {one_line(error)}; choose another place or free it") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()
