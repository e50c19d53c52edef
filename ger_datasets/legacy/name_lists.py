"""Lists of file names, as text or pickled; what is pickled is read without unpickling anything."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..photos.reading import SUFFIXES
from ..support.errors import UserError, one_line
from .pickles import Machine, Meaning, Step, interpret

MAX_BYTES = 64 * 2**20


def _push(machine: Machine, value: Any) -> None:
    machine.stack.append(value)


def _put(machine: Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


# opcodes of protocols 0 and 1, and of long strings, which arrays do not need
STEPS: Mapping[str, Step] = {
    **dict.fromkeys(("UNICODE", "STRING", "BINUNICODE8"), _push),
    "LIST": lambda machine, _: _push(machine, machine.marked()),
    "PUT": _put,
    "GET": lambda machine, index: _push(machine, machine.memo[index]),
}


def read_name_list(path: Path) -> list[str]:
    """The names in a list of photos' file names, in order and unchanged.

    The content decides how it is read, not the suffix: as a pickled list of strings, or as text with one name per
    line. Text is UTF-8 or, with a byte order mark, UTF-16; blank lines are passed over. In a `.csv` the first column
    counts, and a first row without a photo's name is a heading.

    Raises:
        UserError: the file is missing, too large, empty, or holds anything but file names.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path.name} is not a list of file names: it has more than {MAX_BYTES:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from error
    # protocols 2 and up begin with 0x80; 0 and 1 have no mark, but every pickle ends with a full stop, and no photo's
    # name does
    if content[:1] == b"\x80" or content[-1:] == b".":
        return _pickled_names(path, content)
    return _text_names(path, content)


def _text_names(path: Path, content: bytes) -> list[str]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what `>` writes in Windows PowerShell
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8-sig", "surrogateescape")  # as file names of other encodings are on Linux
    lines = text.replace("\r\n", "\n").split("\n")
    is_csv = path.suffix.lower() == ".csv"
    if is_csv:
        try:
            lines = [row[0] if row else "" for row in csv.reader(lines)]
        except csv.Error as error:
            raise UserError(f"{path.name} is not a table of file names: {error}; write one name per line") from error
    names = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if is_csv and names and not _names_photo(names[0][1]):
        names = names[1:]
    for number, name in names:
        if not _names_photo(name):
            raise UserError(
                f"{path.name} is not a list of file names, and nothing in it was executed: line {number} is "
                f"{name[:40]!a}; write one name per line, such as pos_1.jpg"
            )
    if not names:
        raise UserError(f"{path.name} is empty: write one file name per line, or remove it")
    return [name for _, name in names]


def _names_photo(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _pickled_names(path: Path, content: bytes) -> list[str]:
    """The strings of a pickled list; a pickle of anything else is refused, and none is executed."""
    refusal = f"{path.name} is not a pickled list of file names, and nothing in it was executed"
    advice = "write the list again from its source"

    def refused(opcode: str) -> UserError:
        return UserError(f"{refusal}: it holds the instruction {opcode}; {advice}")

    def refuse_names(*_: Any) -> Any:
        raise UserError(f"{refusal}: it names a class or function; {advice}")

    meaning = Meaning(refuse_names, refuse_names, refuse_names, refused, MAX_BYTES, STEPS)
    try:
        names = interpret(io.BytesIO(content), meaning)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{refusal}: {one_line(error)}; {advice}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{refusal}: it holds other values than strings in one list; {advice}")
    return names
