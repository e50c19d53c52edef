"""The two errors that a user's input can cause, and text from a user's files made safe to print."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

MOST_CHARACTERS = 1500  # of a message: messages of other libraries can contain whole files

# Control characters, characters that change the text direction, and surrogates (bytes that are not UTF-8). In a name
# they could forge lines of a log, move a terminal's cursor, or make the message impossible to write.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text: str) -> str:
    """`text` in one line that is safe for any file and terminal: unsafe characters become `\\n` or `\\xNN`."""

    def escape(match: re.Match[str]) -> str:
        code = ord(match[0])
        # how Python represents a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(match[0])[1:-1]

    return _UNSHOWN.sub(escape, text)


class OneLine(Exception):
    """An error whose message is one line of limited length."""

    def __init__(self, message: object = "") -> None:
        text = escaped(" ".join(line.strip() for line in str(message).splitlines() if line.strip()))
        if len(text) > MOST_CHARACTERS:
            text = f"{text[: MOST_CHARACTERS - 300]} ... {text[-300:]}"
        super().__init__(text)


class UserError(OneLine):
    """A user error. The message says in one line what was wrong, what was found and what to do.

    Scripts print it without a traceback and exit with 2.
    """


class BadPhoto(OneLine):
    """One photo that cannot be used. The message is the reason, without the file's path; the run continues."""


def listing(names: Iterable[object], most: int = 8) -> str:
    """The first `most` of `names` for an error message.

    >>> listing(["a", "b", "c", "d"], most=2)
    'a, b and 2 more'
    >>> listing([])
    'nothing'
    """
    words = [str(name) for name in names]
    if not words:
        return "nothing"
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")


def printable(name: str | Path) -> str:
    """A file name as one line of text; see `escaped`."""
    return escaped(os.fspath(name))


def one_line(error: BaseException) -> str:
    """An error's message without line breaks, of at most 300 characters."""
    return " ".join(str(error).split())[:300]
