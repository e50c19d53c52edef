"""LabelledFace: one picture of a download with its expression, whichever form the download has."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..support.errors import BadPhoto, printable


@dataclass(frozen=True)
class LabelledFace:
    """One picture.

    Attributes:
        split: `train`, `validation` or `test`.
        expression: a key of `names.ALIASES`; empty where the label cannot be read, and `read` raises why.
        stem: what follows the split in its image_id.
        path: the image file, or the file that holds many.
        read: as `Record.read`.
        person: who it is, where the file's name tells.
    """

    split: str
    expression: str
    stem: str
    path: Path
    read: Callable[[], bytes] | None = None
    person: str = ""


@dataclass
class Download:
    """What a download holds.

    Attributes:
        faces: its pictures, in an order that is the same on every machine.
        remarks: what a reader of the card should know of it, one sentence each.
    """

    faces: list[LabelledFace] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def stem_of(path: Path) -> str:
    """The name of a file without its suffix, as one line of text."""
    return printable(os.path.splitext(path.name)[0])


def unusable(reason: str) -> Callable[[], bytes]:
    """A `read` for a picture that is known to be unusable: it raises BadPhoto with `reason`."""
    return partial(_raise, reason)


def _raise(reason: str) -> bytes:
    raise BadPhoto(reason)
