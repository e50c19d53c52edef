"""One process at a time: a lock that the system lets go of when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError

try:
    import fcntl
except ImportError:  # Windows, which has no such locks
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"  # the name of the lock of a whole folder


@contextlib.contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Hold a lock on the file `path`, which is made for it and deleted after it, while the block lasts.

    Where the file system or the system has no locks, nothing is held, and nothing is refused.

    Args:
        path: the lock's file; its folder is made when missing.
        doing: what a second process is told that the first is doing, such as `preparing into FOLDER`.

    Raises:
        UserError: another process holds it, or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(
            f"cannot write {path.parent}: {error.strerror or error}; choose another place or free it"
        ) from error
    try:
        if not _taken(handle, path):
            raise UserError(f"another process is {doing}: wait until it has ended, or choose another place")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
    finally:
        os.close(handle)


def _taken(handle: int, path: Path) -> bool:
    """Whether the lock is this process's now."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # the other may have deleted the file between our opening and our locking it
        return os.path.exists(path) and os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)  # others: a file system without locks
