"""Lists of file names, as text or pickled; what is pickled is read without unpickling anything."""

from __future__ import annotations

import codecs
import csv
import pickletools
import re
from pathlib import Path
from typing import Any

from ..photos.reading import SUFFIXES
from ..support.errors import UserError, one_line

MAX_BYTES = 64 * 2**20

_NAME = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING"}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_LIST = {"PROTO", "FRAME", "MARK", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "STOP"}


def read_name_list(path: Path) -> list[str]:
    """The names in a list of photos' file names, in order and as they stand there.

    The content decides how it is read, not the suffix: as a pickled list of strings, or as text with one name per
    line. Text is UTF-8 or, with a byte order mark, UTF-16; lines end in LF, CRLF or CR. Blank lines, quotes around a
    name and a comma after it are ignored. In a `.csv` the first column counts, and a first row without a photo's name
    is a heading.

    Raises:
        UserError: the file is missing, too large, empty, or holds anything but file names.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path.name} is no list of file names: it has more than {MAX_BYTES:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}") from error
    # protocols 2 and up begin with 0x80; 0 and 1 have no mark, but every pickle ends with a full stop, and no photo's
    # name does
    if content[:1] == b"\x80" or content[-1:] == b".":
        if content[:2] == b"(l":  # protocol 0 is text, in which some transfers turn LF into CRLF
            content = content.replace(b"\r\n", b"\n")
        return _pickled_names(path, content)
    return _text_names(path, content)


def _text_names(path: Path, content: bytes) -> list[str]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what `>` writes in Windows PowerShell
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8-sig", "surrogateescape")  # as file names of other encodings are on Linux
    lines = re.split(r"\r\n|\n|\r", text)
    is_csv = path.suffix.lower() == ".csv"
    if is_csv:
        try:
            lines = [row[0] if row else "" for row in csv.reader(lines)]
        except csv.Error as error:
            raise UserError(f"{path.name} is no table of file names: {error}; write one name per line") from error
    names = [(number, name) for number, line in enumerate(lines, 1) if (name := _unquoted(line))]
    if is_csv and names and not _names_photo(names[0][1]):
        names = names[1:]
    for number, name in names:
        if not _names_photo(name):
            raise UserError(
                f"{path.name} is no list of file names, and nothing in it was executed: line {number} is "
                f"{name[:40]!a}; write one name per line, such as pos_1.jpg"
            )
    if not names:
        raise UserError(f"{path.name} is empty: write one file name per line, or remove it")
    return [name for _, name in names]


def _unquoted(line: str) -> str:
    """The name in a line such as `'neg_1.jpg',`."""
    name = line.strip().removesuffix(",").rstrip()
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name


def _names_photo(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _pickled_names(path: Path, content: bytes) -> list[str]:
    """The strings of a pickled list.

    The pickle is never executed: its opcodes are read one by one, and any that a list of strings has no use for (a
    class, a call, a number, a nested object, ...) refuses the whole file.
    """
    refusal = f"{path.name} is not a pickled list of file names, and nothing in it was executed"
    names: list[str] = []
    remembered: dict[int, str | None] = {}
    latest: str | None = None  # the string on top of the stack; None while the list lies there
    lists = 0
    try:
        argument: Any
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in _NAME:
                latest = argument
                names.append(latest)
            elif opcode.name in _GET and (known := remembered.get(argument)) is not None:
                latest = known
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
        raise UserError(f"{refusal}: {one_line(error)}; make the list anew from its source") from error
    if lists != 1:
        raise UserError(f"{refusal}: it holds {lists} lists instead of one; make the list anew from its source")
    return names
