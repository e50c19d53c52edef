"""A CSV file with a face's pixels in each row, as FER2013's (`emotion,pixels,Usage`) -> labelled faces."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path

import numpy as np
from PIL import Image

from ..photos.reading import MIN_SIDE
from ..support.errors import BadPhoto, UserError, listing, printable
from .labelled import Download, LabelledFace, unusable
from .names import CONTEMPT, FER2013_ORDER, expression_of, numbered, split_of
from .votes import Vote, vote_remarks

MAX_LINE = 2**22  # bytes; 48 x 48 pixels take 9,000
LABELS = (*FER2013_ORDER, CONTEMPT)


@dataclass(frozen=True)
class PixelRow:
    """Reads the pixels of one row of a CSV file, as a grey PNG.

    Attributes:
        path: the file.
        line: the row's line, from 1.
        offset: where the line begins, in bytes.
        column: which of its fields holds the pixels.
        side: width and height of the face.
    """

    path: Path
    line: int
    offset: int
    column: int
    side: int

    def __call__(self) -> bytes:
        """The face as the bytes of a PNG.

        Raises:
            BadPhoto: the file cannot be read, or a pixel is no number from 0 to 255; the message names the line.
        """
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                fields = _fields(file.readline(MAX_LINE))
        except OSError as error:
            raise BadPhoto(f"the file cannot be read: {error.strerror or type(error).__name__}") from error
        try:
            pixels = np.array(fields[self.column].split(), dtype=np.uint8).reshape(self.side, self.side)
        except (ValueError, OverflowError, IndexError) as error:
            raise BadPhoto(f"line {self.line}: pixels that are no numbers from 0 to 255") from error
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()


@dataclass(frozen=True)
class _Row:
    """A row that has been looked at: its line (from 1) and offset, fields but the pixels, and how many pixels."""

    line: int
    offset: int
    fields: Mapping[str, str]
    pixels: int


def pixel_columns(path: Path) -> list[str] | None:
    """The names of a CSV file's columns in lower case if `emotion` and `pixels` are among them, else None."""
    try:
        with path.open("rb") as file:
            columns = [name.lower() for name in _fields(file.readline(4096))]
    except OSError:
        return None
    return columns if {"emotion", "pixels"} <= set(columns) else None


def read_pixel_table(path: Path, votes: Sequence[Vote] | None, contempt: bool) -> Download:
    """The faces of a CSV file with the columns emotion, pixels and, if there are splits, Usage, in any order.

    Faces are square and all of the size that most of them have. A row with another number of pixels, an unknown
    emotion or Usage becomes a face that cannot be read, so that it is counted and its line is told.

    Args:
        path: the file.
        votes: what FERPlus says of each row, in their order; it takes the place of `emotion`. Rows without a vote
            for an expression are left out and counted.
        contempt: whether 7 means contempt, as in CK+ files of this form.

    Raises:
        UserError: the file cannot be read, has no row that can be used, or another number of rows than `votes`.
    """
    columns = pixel_columns(path) or []
    try:
        rows = list(_rows(path, columns))
    except OSError as error:
        raise UserError(f"{printable(path.name)} cannot be read: {error.strerror or error}") from error
    if votes is not None and len(votes) != len(rows):
        raise UserError(
            f"{printable(path.name)} has {len(rows):,} rows, but the FERPlus votes beside it {len(votes):,}: they are "
            "of another copy; take them away, or give the copy that they belong to"
        )
    count = Counter(row.pixels for row in rows).most_common(1)[0][0] if rows else 0
    side = isqrt(count)
    download = Download()
    for number, row in enumerate(rows):
        vote = None if votes is None else votes[number]
        if vote is None or vote.expression:
            face = _face(path, number, row, vote, contempt)
            if face.read is None:
                read = PixelRow(path, row.line, row.offset, columns.index("pixels"), side)
                wrong = f"line {row.line}: {row.pixels:,} pixels where {count:,} are expected"
                face = replace(face, read=read if row.pixels == count else unusable(wrong))
            download.faces.append(face)
    square = side * side == count and side >= MIN_SIDE
    usable = [face for face in download.faces if isinstance(face.read, PixelRow)]
    if not square:
        found = f"most have {count:,} pixels, which is no square of {MIN_SIDE} x {MIN_SIDE} or more"
    else:
        found = listing((_reason(face) for face in download.faces), 2)
    if not square or not usable:
        raise UserError(f"none of the {len(rows):,} rows of {printable(path.name)} can be used: {found}")
    if votes is not None:
        download.remarks += vote_remarks(votes)
    return download


def _reason(face: LabelledFace) -> str:
    try:
        return str(face.read and face.read())
    except BadPhoto as reason:
        return str(reason)


def _rows(path: Path, columns: Sequence[str]) -> Iterator[_Row]:
    """The rows below the header, of which blank lines are none."""
    offset = 0
    with path.open("rb") as file:
        for line, content in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
            if line > 1 and content.strip():
                fields = dict.fromkeys(columns, "") | dict(zip(columns, _fields(content), strict=False))
                yield _Row(line, offset, fields, len(fields.pop("pixels").split()))
            offset += len(content)


def _face(path: Path, number: int, row: _Row, vote: Vote | None, contempt: bool) -> LabelledFace:
    """The face of a row; `read` tells what is wrong with its label or split, and is None if nothing is."""
    usage, emotion = row.fields.get("usage"), row.fields.get("emotion", "")
    split, wrong = split_of(usage) if usage is not None else "train", ""
    expression = _expression(emotion, contempt) if vote is None else vote.expression
    if split is None:
        wrong = f"line {row.line}: Usage is {usage!r}; Training, PublicTest and PrivateTest are known"
    elif vote is not None and vote.split != split:
        wrong = f"line {row.line}: {split} here, but {vote.split} in the FERPlus votes"
    elif not expression:
        wrong = f"line {row.line}: emotion is {emotion!r}; known are {numbered(FER2013_ORDER, 0)}" + (
            f"; 7 is {CONTEMPT} where contempt is asked for" if emotion == "7" else ""
        )
    stem = f"fer{number:07d}"  # as FERPlus names them
    return LabelledFace(split or "train", "" if wrong else expression, stem, path, unusable(wrong) if wrong else None)


def _expression(emotion: str, contempt: bool) -> str:
    known = LABELS if contempt else FER2013_ORDER
    if emotion.isdecimal() and len(emotion) < 3:
        return known[int(emotion)] if int(emotion) < len(known) else ""
    return expression_of(emotion) or ""


def _fields(line: bytes) -> list[str]:
    """The fields of a line, none of which holds a comma or a line break, without blanks and quotes around them."""
    return [field.strip(' \t\r\n"') for field in line.decode("utf-8-sig", "replace").split(",")]
