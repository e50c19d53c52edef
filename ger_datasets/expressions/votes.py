"""FERPlus (Barsoum et al. 2016, arXiv 1608.01041): ten votes on each of FER2013's faces -> the expression that won."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..support.errors import UserError, printable
from .labelled import Download, LabelledFace, stem_of
from .names import expression_of, split_of
from .tree import Tree

MAX_BYTES = 64 * 2**20
# The columns of votes in fer2013new.csv: nobody knows, and no face
NOTHING = ("unknown", "nf")
COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", *NOTHING)


@dataclass(frozen=True)
class Vote:
    """What FERPlus says of one face.

    Attributes:
        split: where FER2013 has it.
        name: the name of its image file, such as fer0000000.png; empty where FERPlus has none.
        expression: what most voted for; empty where that is no expression, or two have as many votes.
        outcome: the column that won, or `tie`.
    """

    split: str
    name: str
    expression: str
    outcome: str


def is_vote_table(path: Path) -> bool:
    """Whether the CSV file has FERPlus' columns."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return set(COLUMNS) <= {name.strip().lower() for name in file.readline(4096).split(",")}
    except OSError:
        return False


def read_votes(path: Path) -> list[Vote]:
    """The votes in fer2013new.csv, in its order.

    Raises:
        UserError: the file cannot be read, or a line has no known Usage or votes that are no numbers.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{printable(path.name)} has more than {MAX_BYTES:,} bytes: it is no table of votes")
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip().lower() for name in next(reader, [])]
            return [
                _vote(dict(zip(header, row, strict=False)), f"{printable(path.name)}, line {reader.line_num}")
                for row in reader
                if row
            ]
    except (OSError, csv.Error) as error:
        raise UserError(f"{printable(path.name)} cannot be read as CSV: {error}") from error


def _vote(row: dict[str, str], where: str) -> Vote:
    split = split_of(row.get("usage", ""))
    counts = [row.get(column, "").strip() for column in COLUMNS]
    if split is None or not all(count.isdecimal() and len(count) < 4 for count in counts):
        raise UserError(f"{where}: expected Usage, Image name and {len(COLUMNS)} numbers of votes; get the file anew")
    votes = dict(zip(COLUMNS, map(int, counts), strict=True))
    most = max(votes.values())
    winners = [column for column, count in votes.items() if count == most]
    outcome = winners[0] if len(winners) == 1 else "tie"
    return Vote(split, row.get("image name", "").strip(), expression_of(outcome) or "", outcome)


def vote_remarks(votes: Sequence[Vote]) -> list[str]:
    """How many faces FERPlus' votes leave out, and why."""
    counts = Counter(vote.outcome for vote in votes if not vote.expression)
    told = ", ".join(f"{counts[name]:,} {text}" for name, text in (
        ("unknown", "as unknown"), ("nf", "as no face"), ("tie", "without a majority"),
    ) if counts[name])  # fmt: skip
    labels = "Labels are what most of FERPlus' ten voters chose."
    return [labels, f"FERPlus' votes leave out {counts.total():,} faces: {told}."] if told else [labels]


def read_voted_photos(tree: Tree, votes: Sequence[Vote]) -> Download:
    """The photos in `tree` that FERPlus names, wherever they lie, with its labels and splits.

    Raises:
        UserError: none of the named photos is there, or two are of one name.
    """
    named = {vote.name.lower(): vote for vote in votes if vote.name}
    download = Download(remarks=vote_remarks(votes))
    there: dict[str, Path] = {}
    for path in tree.photos:
        name = path.name.lower()
        if name in named and there.setdefault(name, path) != path:
            raise UserError(
                f"{printable(there[name].relative_to(tree.root))} and {printable(path.relative_to(tree.root))} are "
                "both the photo that FERPlus' votes name so: keep one of them"
            )
    if not there:
        raise UserError(
            f"none of the {len(named):,} photos that FERPlus' votes name, such as {next(iter(named), 'none')}, is in "
            f"{printable(tree.root)}: take the file of votes away, or add the photos or FER2013's CSV file"
        )
    for name, path in there.items():
        vote = named[name]
        if vote.expression:
            download.faces.append(LabelledFace(vote.split, vote.expression, stem_of(path), path))
    missing, extra = len(named) - len(there), len(tree.photos) - len(there)
    if missing:
        download.remarks.append(f"{missing:,} photos that FERPlus names are not there.")
    if extra:
        download.remarks.append(f"{extra:,} photos that FERPlus does not name were left out.")
    return download
