"""Pickled lists of file names, read without unpickling anything."""

from __future__ import annotations

import pickletools
from pathlib import Path

from .errors import UserError

MAX_BYTES = 64 * 2**20

_NAME = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING"}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_LIST = {"PROTO", "FRAME", "MARK", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "STOP"}


def read_name_list(path: Path) -> list[str]:
    """The strings of a pickled list, in order.

    The pickle is never executed: its opcodes are read one by one, and any that a list of strings has no use for (a
    class, a call, a number, a nested object, ...) refuses the whole file.

    Raises:
        UserError: the file is missing, too large, no pickle, or more than a list of strings.
    """
    refusal = f"{path.name} is not a pickled list of file names, and nothing in it was executed"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{refusal}: it has more than {MAX_BYTES:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from error

    names: list[str] = []
    remembered: dict[int, str | None] = {}
    latest: str | None = None  # the string on top of the stack; None while the list lies there
    lists = 0
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in _NAME:
                latest = argument
                names.append(latest)
            elif opcode.name in _GET and remembered.get(argument) is not None:
                latest = remembered[argument]
                names.append(latest)
            elif opcode.name in _PUT or opcode.name == "MEMOIZE":
                remembered[len(remembered) if argument is None else argument] = latest
            elif opcode.name in _LIST:
                lists += opcode.name in ("EMPTY_LIST", "LIST")
                latest = None
            else:
                raise UserError(
                    f"{refusal}: it holds the instruction {opcode.name}; make the list anew from its source"
                )
    except ValueError as error:
        raise UserError(f"{refusal}: {error}") from error
    if lists != 1:
        raise UserError(f"{refusal}: it holds {lists} lists instead of one")
    return names
