"""RAF-DB (Li et al. 2017, doi 10.1109/CVPR.2017.277): its list of labels and its photos -> labelled faces."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path

from ..support.errors import UserError, printable
from .labelled import Download, LabelledFace, unusable
from .names import RAF_DB_ORDER, numbered, split_of
from .tree import Tree

MAX_BYTES = 64 * 2**20
LIST = re.compile(r"list_par?tition_label.*\.txt", re.IGNORECASE)  # it is distributed with the r left out
LABELS = frozenset("1234567")
ALIGNED = "_aligned"


def is_list(path: Path) -> bool:
    """Whether the file is named as RAF-DB's list."""
    return LIST.fullmatch(path.name) is not None


def read_raf_db(tree: Tree, path: Path, aligned: bool) -> Download:
    """The photos that the list names (`train_00001.jpg 5`), as they are or as `train_00001_aligned.jpg`.

    The split is what the name begins with. A line that cannot be read becomes a face that cannot be read, so that it
    is counted and told.

    Args:
        tree: the raw folder.
        path: the list.
        aligned: whether the aligned picture is taken where both are there, or the photo.

    Raises:
        UserError: the list cannot be read, or none of its photos is there.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{printable(path.name)} has more than {MAX_BYTES:,} bytes: it is no list of labels")
        lines = path.read_text("utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{printable(path.name)} cannot be read: {error.strerror or error}") from error
    by_stem = defaultdict(list)
    for photo in tree.photos:
        by_stem[photo.stem.lower()].append(photo)
    download, missing, aligned_count = Download(), 0, 0
    for number, line in enumerate(lines, 1):
        name, _, label = line.strip().rpartition(" ")
        split = split_of(name.partition("_")[0])
        if split is None or label not in LABELS:
            if line.strip():
                wrong = (
                    f"line {number}: {line.strip()[:60]!r}; expected train_00001.jpg or test_0001.jpg, then a number"
                )
                read = unusable(f"{wrong}: {numbered(RAF_DB_ORDER, 1)}")
                download.faces.append(LabelledFace(split or "train", "", f"line{number:05d}", path, read))
            continue
        stem = os.path.splitext(name.strip().lower())[0]
        photos = by_stem[stem] + by_stem[stem + ALIGNED]
        if photos:
            photo = min(photos, key=lambda photo: (_is_aligned(photo) != aligned, photo))
            aligned_count += _is_aligned(photo)
            expression = RAF_DB_ORDER[int(label) - 1]
            download.faces.append(LabelledFace(split, expression, printable(stem), photo))
        missing += not photos
    taken = sum(bool(face.expression) for face in download.faces)
    if not taken:
        raise UserError(
            f"none of the {len(lines):,} lines of {printable(path.name)} names a photo in {printable(tree.root)} with "
            "an expression from 1 to 7, as in 'train_00001.jpg 5': unpack aligned or original beside it"
        )
    download.remarks.append(f"{aligned_count:,} of {taken:,} pictures are RAF-DB's aligned ones.")
    if missing:
        download.remarks.append(f"{missing:,} photos that RAF-DB's list names are not there.")
    return download


def _is_aligned(photo: Path) -> bool:
    return photo.stem.lower().endswith(ALIGNED) or photo.parent.name.lower() == "aligned"
