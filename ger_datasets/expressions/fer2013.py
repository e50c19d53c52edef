"""FER2013's CSV file of pixels (`emotion,pixels,Usage`) and FERPlus' votes on its faces -> labelled faces.

FERPlus (Barsoum et al. 2016, arXiv 1608.01041) has ten votes on each face; the expression with most of them counts.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..photos.reading import MIN_SIDE
from ..support.errors import BadPhoto, UserError, listing, one_line, printable
from .download import Download, LabelledFace, Tree, read_lines, unusable
from .names import CONTEMPT, FER2013_ORDER, expression_of, numbered, split_of

MAX_LINE = 2**22  # bytes; 48 x 48 pixels take 9,000
LABELS = (*FER2013_ORDER, CONTEMPT)
# The columns of votes in fer2013new.csv; the last two mean that a voter does not know, and that there is no face
COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf")
OUTCOMES = {"unknown": "as unknown", "nf": "as no face", "tie": "without a majority"}  # that leave a face out


def is_pixel_table(path: Path) -> bool:
    """Whether the CSV file has FER2013's columns."""
    return {"emotion", "pixels"} <= set(_header(path))


def is_vote_table(path: Path) -> bool:
    """Whether the CSV file has FERPlus' columns."""
    return set(COLUMNS) <= set(_header(path))


@dataclass(frozen=True)
class PixelRow:
    """Reads the pixels of one row of a CSV file, as a grey PNG.

    `line` is the row's line, from 1, which begins at the byte `offset`; `column` is the place of the field of pixels.
    """

    path: Path
    line: int
    offset: int
    column: int
    side: int

    def __call__(self) -> bytes:
        """The bytes of the PNG; BadPhoto, which names the line, if a pixel is not a number from 0 to 255."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                fields = _fields(file.readline(MAX_LINE))
        except OSError as error:
            raise BadPhoto(f"the file cannot be read: {one_line(error)}") from error
        try:
            numbers = bytes(map(int, fields[self.column].split()))  # refuses 256, which uint8 of NumPy 1 takes for 0
            pixels = np.frombuffer(numbers, np.uint8).reshape(self.side, self.side)
        except (ValueError, OverflowError, IndexError) as error:
            raise BadPhoto(f"line {self.line}: pixels must be numbers from 0 to 255") from error
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()


class Vote(NamedTuple):
    """FERPlus' votes on one face: its split and image file in FER2013 (perhaps empty); the expression with most votes,
    empty where there is none; and the column with most votes, or `tie`."""

    split: str
    name: str
    expression: str
    outcome: str


class _Row(NamedTuple):
    line: int  # from 1
    offset: int  # of the line, in bytes
    fields: Mapping[str, str]  # but the pixels
    pixels: int


def read_pixel_table(path: Path, votes: Sequence[Vote] | None, contempt: bool) -> Download:
    """The faces of a CSV file with the columns emotion, pixels and, if there are splits, Usage, in any order.

    Faces are square and all of the size that most of them have. A row with another number of pixels, an unknown
    emotion or Usage becomes a face that cannot be read, so that it goes to quarantine with its line.

    `votes` are FERPlus' of each row, in their order; they take the place of `emotion`, and rows without a vote for an
    expression are left out and counted. `contempt`: whether 7 means contempt, as in CK+ files of this form.

    Raises:
        UserError: the file cannot be read, has no row that can be used, or another number of rows than `votes`.
    """
    columns = _header(path)
    try:
        rows = list(_rows(path, columns))
    except OSError as error:
        raise UserError(f"{printable(path.name)} cannot be read: {one_line(error)}") from error
    if votes is not None and len(votes) != len(rows):
        raise UserError(
            f"{printable(path.name)} has {len(rows):,} rows, but the FERPlus votes beside it {len(votes):,}: they "
            "belong to another copy; remove them, or use the copy that they belong to"
        )
    count = Counter(row.pixels for row in rows).most_common(1)[0][0] if rows else 0
    side = isqrt(count)
    download, reasons = Download(remarks=[] if votes is None else vote_remarks(votes)), list[str]()
    for number, row in enumerate(rows):
        vote = None if votes is None else votes[number]
        if vote is not None and not vote.expression:
            continue
        split, expression, wrong = _label(row, vote, contempt)
        if not wrong and row.pixels != count:
            wrong = f"line {row.line}: {row.pixels:,} pixels where {count:,} are expected"
        reasons += [wrong] if wrong else []
        read = unusable(wrong) if wrong else PixelRow(path, row.line, row.offset, columns.index("pixels"), side)
        stem = f"fer{number:07d}"  # as FERPlus names them
        download.faces.append(LabelledFace(split, expression, stem, path, read))
    square = side * side == count and side >= MIN_SIDE
    if not square:
        reasons = [f"most have {count:,} pixels, which is not a square of {MIN_SIDE} x {MIN_SIDE} or more"]
    if not square or len(reasons) == len(download.faces):
        raise UserError(f"none of the {len(rows):,} rows of {printable(path.name)} can be used: {listing(reasons, 2)}")
    return download


def _rows(path: Path, columns: Sequence[str]) -> Iterator[_Row]:
    """The rows below the header that are not blank."""
    offset = 0
    with path.open("rb") as file:
        for line, content in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            if line > 1 and content.strip():
                fields = dict.fromkeys(columns, "") | dict(zip(columns, _fields(content), strict=False))
                yield _Row(line, offset, fields, len(fields.pop("pixels").split()))
            offset += len(content)


def _label(row: _Row, vote: Vote | None, contempt: bool) -> tuple[str, str, str]:
    """Split, expression and "" of a row, or its split, "" and what is wrong with its label or split."""
    usage, emotion = row.fields.get("usage"), row.fields["emotion"]
    split = "train" if usage is None else split_of(usage)
    if vote is not None:
        expression = vote.expression
    elif emotion.isdecimal():
        known = LABELS if contempt else FER2013_ORDER
        expression = known[int(emotion)] if len(emotion) < 3 and int(emotion) < len(known) else ""
    else:
        expression = expression_of(emotion) or ""
    if split is None:
        return "train", "", f"line {row.line}: Usage is {usage!r}; Training, PublicTest and PrivateTest are known"
    if vote is not None and vote.split != split:
        return split, "", f"line {row.line}: {split} here, but {vote.split} in the FERPlus votes"
    if not expression:
        hint = f"; 7 is {CONTEMPT} with the option contempt" if emotion == "7" else ""
        return split, "", f"line {row.line}: emotion is {emotion!r}; known are {numbered(FER2013_ORDER, 0)}{hint}"
    return split, expression, ""


def read_votes(path: Path) -> list[Vote]:
    """The votes in fer2013new.csv, in its order.

    Raises:
        UserError: the file cannot be read, or a line lacks a known Usage or numbers of votes.
    """
    header, *lines = [[field.strip() for field in _fields(line)] for line in read_lines(path)]
    header = [name.lower() for name in header]
    votes = []
    for number, fields in enumerate(lines, 2):
        row = dict(zip(header, fields, strict=False))
        split, counts = split_of(row.get("usage", "")), [row.get(column, "") for column in COLUMNS]
        if not any(fields):
            continue
        if split is None or not all(count.isdecimal() and len(count) < 4 for count in counts):
            raise UserError(
                f"{printable(path.name)}, line {number}: expected Usage, Image name and {len(COLUMNS)} numbers of "
                "votes; download the file again"
            )
        most = max(map(int, counts))
        winners = [column for column, count in zip(COLUMNS, counts, strict=True) if int(count) == most]
        outcome = winners[0] if len(winners) == 1 else "tie"
        votes.append(Vote(split, row.get("image name", ""), expression_of(outcome) or "", outcome))
    return votes


def vote_remarks(votes: Sequence[Vote]) -> list[str]:
    """How many faces FERPlus' votes leave out, and why."""
    counts = Counter(vote.outcome for vote in votes if not vote.expression)
    reasons = ", ".join(f"{counts[name]:,} {text}" for name, text in OUTCOMES.items() if counts[name])
    labels = "Labels are what most of FERPlus' ten voters chose."
    return [labels, f"FERPlus' votes leave out {counts.total():,} faces: {reasons}."] if reasons else [labels]


def read_voted_photos(tree: Tree, votes: Sequence[Vote]) -> Download:
    """The photos in `tree` that FERPlus names, wherever they lie, with its labels and splits.

    Raises:
        UserError: none of the named photos is there, or two have one name.
    """
    named = {vote.name.lower(): vote for vote in votes if vote.name}
    download = Download(remarks=vote_remarks(votes))
    found: dict[str, Path] = {}
    for path in tree.photos:
        name = path.name.lower()
        if name in named and found.setdefault(name, path) != path:
            raise UserError(
                f"{tree.name(found[name])} and {tree.name(path)} have one name in FERPlus: keep one of them"
            )
    if not found:
        raise UserError(
            f"none of the {len(named):,} photos that FERPlus' votes name, such as {next(iter(named), 'none')}, is in "
            f"{printable(tree.root)}: remove the file of votes, or add the photos or FER2013's CSV file"
        )
    for name, path in found.items():
        if expression := named[name].expression:
            stem = printable(os.path.splitext(path.name)[0])
            download.faces.append(LabelledFace(named[name].split, expression, stem, path))
    for count, what in (
        (len(named) - len(found), "photos that FERPlus names are missing."),
        (len(tree.photos) - len(found), "photos that FERPlus does not name were left out."),
    ):
        if count:
            download.remarks.append(f"{count:,} {what}")
    return download


def _header(path: Path) -> list[str]:
    """The names of a CSV file's columns in lower case; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return [name.lower() for name in _fields(file.readline(4096))]
    except OSError:
        return []


def _fields(line: bytes) -> list[str]:
    """The fields of a line, none of which holds a comma or a line break, without blanks and quotes around them."""
    return [field.strip(' \t\r\n"') for field in line.decode("utf-8-sig", "replace").split(",")]
