"""Lists of file names, as text or pickled; what is pickled is read without unpickling anything."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path
from typing import NoReturn

from ..photos.reading import SUFFIXES
from ..support.errors import UserError
from .pickles import Meaning, interpret

MAX_BYTES = 64 * 2**20


def read_name_list(path: Path) -> list[str]:
    """The names in a list of photos' file names, in order and as they stand there.

    The content decides how it is read, not the suffix: as a pickled list of strings, or as text with one name per
    line. Text is UTF-8 or, with a byte order mark, UTF-16; blank lines are passed over. In a `.csv` the first column
    counts, and a first row without a photo's name is a heading.

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
            raise UserError(f"{path.name} is no table of file names: {error}; write one name per line") from error
    names = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
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


def _names_photo(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES


def _pickled_names(path: Path, content: bytes) -> list[str]:
    """The strings of a pickled list; UserError if the pickle holds anything else."""
    refusal = f"{path.name} is not a pickled list of file names, and nothing in it was executed"

    def refused(instruction: str) -> UserError:
        found = f"it holds the instruction {instruction}" if instruction else "it is too long"
        return UserError(f"{refusal}: {found}; make the list anew from its source")

    def refuse(*_: object) -> NoReturn:
        raise UserError(f"{refusal}: it holds a class or a function; make the list anew from its source")

    try:
        names = interpret(io.BytesIO(content), Meaning(refuse, refuse, refuse, refused, MAX_BYTES))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(f"{refusal}: it is damaged; make the list anew from its source") from error
    if type(names) is not list or not all(type(name) is str for name in names):
        raise UserError(f"{refusal}: it holds other values than names; make the list anew from its source")
    return names
