"""RAF-DB (Li et al. 2017, doi 10.1109/CVPR.2017.277): its list of labels and its photos -> labelled faces."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

from ..support.errors import UserError, printable
from .download import Download, LabelledFace, Tree, read_lines, unusable
from .names import RAF_DB_ORDER, numbered, split_of

LIST = re.compile(r"list_par?tition_label.*\.txt", re.IGNORECASE)  # it is distributed with the r left out
LABELS = frozenset("1234567")
ALIGNED = "_aligned"


def is_list(path: Path) -> bool:
    """Whether the file is named as RAF-DB's list."""
    return LIST.fullmatch(path.name) is not None


def read_raf_db(tree: Tree, path: Path, aligned: bool) -> Download:
    """The photos that the list names (`train_00001.jpg 5`), as they are or as `train_00001_aligned.jpg`.

    The split is what the name begins with. A line that cannot be read becomes a face that cannot be read, so that it
    goes to quarantine.
    Where both are there, the aligned picture is taken, or with `aligned` False the photo.

    Raises:
        UserError: the list cannot be read, or none of its photos is there.
    """
    by_stem = defaultdict(list)
    for photo in tree.photos:
        by_stem[photo.stem.lower()].append(photo)
    download, taken = Download(), list[Path]()
    missing = 0
    lines = [line.decode("utf-8-sig", "replace").strip() for line in read_lines(path)]
    for number, line in enumerate(lines, 1):
        name, _, label = line.rpartition(" ")
        split = split_of(name.partition("_")[0])
        if split is None or label not in LABELS:
            if line:
                wrong = f"line {number}: {line[:60]!r}; expected train_00001.jpg or test_0001.jpg, then a number"
                read = unusable(f"{wrong}: {numbered(RAF_DB_ORDER, 1)}")
                download.faces.append(LabelledFace(split or "train", "", f"line{number:05d}", path, read))
            continue
        stem = os.path.splitext(name.strip().lower())[0]
        photos = by_stem[stem] + by_stem[stem + ALIGNED]
        missing += not photos
        if photos:
            taken.append(min(photos, key=lambda photo: (_is_aligned(photo) != aligned, photo)))
            expression = RAF_DB_ORDER[int(label) - 1]
            download.faces.append(LabelledFace(split, expression, printable(stem), taken[-1]))
    if not taken:
        raise UserError(
            f"none of the {len(lines):,} lines of {printable(path.name)} names a photo in {printable(tree.root)} with "
            "an expression from 1 to 7, as in 'train_00001.jpg 5': unpack aligned or original beside it"
        )
    aligned_count = sum(map(_is_aligned, taken))
    download.remarks.append(f"{aligned_count:,} of {len(taken):,} pictures are RAF-DB's aligned ones.")
    if missing:
        download.remarks.append(f"{missing:,} photos that RAF-DB's list names are missing.")
    return download


def _is_aligned(photo: Path) -> bool:
    return photo.stem.lower().endswith(ALIGNED) or photo.parent.name.lower() == "aligned"
