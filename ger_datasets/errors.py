"""The two kinds of trouble a user's input can make."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend. The message says what was wrong, what was found and what to do, in one line.

    Scripts print it without a traceback and exit with 2.
    """


class BadPhoto(Exception):
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
