"""Two-column label files (`neg_1.jpg Negative`, `12_3,1`) -> the label of each photo or clip by its name."""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..support.errors import UserError, listing, one_line, printable

Label = TypeVar("Label", int, float)

MAX_BYTES = 64 * 2**20
SUFFIXES = ("", ".txt", ".csv", ".tsv")
HEADINGS = frozenset({"label", "labels", "class", "emotion", "sentiment", "target", "intensity", "happiness"})
SHORT = 3  # letters of a class name that stand for it: neg, neu, pos


def read_label_file(path: Path) -> list[tuple[str, str]]:
    """The rows (name, label) of a text file with two columns, separated by tabs, semicolons, commas or spaces.

    Text is UTF-8 or, with a byte order mark, UTF-16. Blank lines are skipped, and so is a heading such as
    `Vid_name Label`.

    Raises:
        UserError: the file cannot be read, is too large or empty, or a line does not have two columns.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path.name} has more than {MAX_BYTES:,} bytes: it is not a label file")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {one_line(error)}") from error
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16", "replace") if utf16 else content.decode("utf-8-sig", "surrogateescape")
    rows = []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if not line.strip():
            continue
        cells = _cells(line)
        if len(cells) != 2 or not all(cells):
            raise UserError(
                f"{path.name}, line {number}: {line.strip()[:60]!a} does not have two columns, name and label"
            )
        rows.append((cells[0], cells[1]))
    if rows and rows[0][1].lower() in HEADINGS:
        rows = rows[1:]
    if not rows:
        raise UserError(f"{path.name} has no labels: write one line per file, such as `neg_1.jpg Negative`")
    return rows


def _cells(line: str) -> list[str]:
    separator = next((character for character in "\t;," if character in line), None)
    if separator is None:
        return line.rsplit(None, 1)
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
    except csv.Error:
        return []


def labels_by_name(
    rows: Sequence[tuple[str, str]],
    class_names: Sequence[str],
    file: str,
    numbers: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Name in lower case, without folders -> index into `class_names`.

    Args:
        rows: what `read_label_file` returned.
        class_names: the classes. A label is one of their names in any letter case, or its first three letters.
        file: the file's name, for messages.
        numbers: what numbers in place of names mean. None: the first three letters of the files' names tell
            (`neg_1.jpg 3`), and numbers without them are refused, because copies number the classes differently.

    Raises:
        UserError: an unknown label, or a name with two labels.
    """
    meanings = {name.lower(): index for index, name in enumerate(class_names)}
    short = [name[:SHORT].lower() for name in class_names]
    if len(set(short)) == len(short):
        meanings |= {name: index for index, name in enumerate(short)}
    labels = {label.lower() for _, label in rows}
    if numbers is None and all(_is_number(label) for label in labels):
        meanings |= _numbers_by_name(rows, short, file)
    else:
        meanings |= numbers or {}
    unknown = Counter(label for _, label in rows if label.lower() not in meanings)
    if unknown:
        counted = (f"{printable(label[:40])} ({count} lines)" for label, count in sorted(unknown.items()))
        raise UserError(
            f"{file}: unknown label {listing(counted, 3)}; the labels are "
            f"{listing([*class_names, *(numbers or ())], 20)}"
        )
    found: dict[str, int] = {}
    for name, label in rows:
        key, index = base_name(name), meanings[label.lower()]
        if found.setdefault(key, index) != index:
            raise UserError(f"{file}: {printable(name)} has two different labels: remove one of its lines")
    return found


def base_name(name: str) -> str:
    """`Val\\Positive\\POS_1.jpg` -> `pos_1.jpg`."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].lower()


def label_of(file_name: str, labels: Mapping[str, Label]) -> Label | None:
    """The label of a file by its name, or by its name without suffix; None if it has none."""
    name = file_name.lower()
    return labels.get(name, labels.get(os.path.splitext(name)[0]))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(\.0*)?", text) is not None


def _numbers_by_name(rows: Sequence[tuple[str, str]], short: Sequence[str], file: str) -> dict[str, int]:
    """Number -> class, where the beginnings of the files' names tell."""
    classes: dict[str, set[int]] = {}
    for name, label in rows:
        beginning = base_name(name)[:SHORT]
        classes.setdefault(label, set()).add(short.index(beginning) if beginning in short else -1)
    meanings = {label: next(iter(indices)) for label, indices in classes.items() if len(indices) == 1}
    if len(meanings) < len(classes) or -1 in meanings.values() or len(set(meanings.values())) < len(meanings):
        raise UserError(
            f"{file}: the labels are numbers ({listing(sorted(classes), 5)}) whose classes the files' names do not "
            "tell: write the names of the classes instead"
        )
    return meanings
