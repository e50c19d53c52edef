"""The two kinds of trouble a user's input can make, and how what a user's files hold is shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

MOST_CHARACTERS = 1500  # of a message: other libraries repeat whole files in theirs

# Control characters, those that turn the direction of text, and what stands for bytes that are no UTF-8: in a name
# they could forge lines of a log, move a terminal's cursor, or stop the message from being written at all.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text: str) -> str:
    """`text` in one line that any file and any terminal can hold: what cannot be shown becomes `\\n` or `\\xNN`."""

    def escape(match: re.Match[str]) -> str:
        code = ord(match[0])
        # how Python holds a file name's byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(match[0])[1:-1]

    return _UNSHOWN.sub(escape, text)


class OneLine(Exception):
    """An error whose message is one line, of a length that can be read, whatever went into it."""

    def __init__(self, message: object = "") -> None:
        text = escaped(" ".join(line.strip() for line in str(message).splitlines() if line.strip()))
        if len(text) > MOST_CHARACTERS:
            text = f"{text[: MOST_CHARACTERS - 300]} ... {text[-300:]}"
        super().__init__(text)


class UserError(OneLine):
    """An error that the user can correct. The message says what was wrong, what was found and what to do, in one line.

    Scripts print it without a traceback and exit with 2.
    """


class BadPhoto(OneLine):
    """One photo that cannot be used. The message is the reason, without the file's path; the run goes on."""


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
    """A file name as one line of text that any file can hold; see `escaped`."""
    return escaped(os.fspath(name))


def one_line(error: BaseException) -> str:
    """What went wrong, in one line of at most 300 letters: of an OSError the reason without the path, of an error
    without a message its type.

    >>> one_line(FileNotFoundError(2, "No such file or directory", "a.txt")), one_line(KeyError())
    ('No such file or directory', 'KeyError')
    """
    reason = error.strerror if isinstance(error, OSError) else ""
    return " ".join((reason or str(error)).split())[:300] or type(error).__name__
