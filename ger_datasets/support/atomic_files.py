"""Atomic writing: a file is written completely or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import UserError, one_line


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary handle on a temporary file beside `path`; it replaces `path` when the block ends without error.

    Missing parent folders are created. After an error an existing file is unchanged and no temporary file remains.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as handle:
            yield handle
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {one_line(error)}; choose another place or free it") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, content: str) -> None:
    """Write `content` as UTF-8 to `path` atomically; raises as `replacing`."""
    with replacing(path) as file:
        file.write(content.encode())
