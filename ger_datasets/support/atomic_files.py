"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import UserError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary handle on a temporary file beside `path`, which takes its place when the block ends without an error.

    Missing parent folders are made. After an error the old file, if any, is untouched and nothing is left behind.

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
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another place or free it") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, content: str) -> None:
    """`content` as UTF-8 under `path`, whole or not at all; raises as `replacing`."""
    with replacing(path) as file:
        file.write(content.encode())
