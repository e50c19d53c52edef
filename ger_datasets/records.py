"""Record: one photo of a raw download, before anything has been computed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .schema import NO_LABEL


@dataclass(frozen=True)
class Record:
    """One photo of a raw download.

    Attributes:
        image_id: unique in the dataset, the same on every machine; `split/class/stem` for folder datasets.
        path: where the photo lies on this machine. It never leaves it: prepared data holds bytes and image_id only.
        split: `train`, `validation`, `test` or another split's name.
        label: index into the builder's `class_names`, or -1 where the labels are withheld.
        group: what must not straddle two splits (the video of a frame); the image_id where photos stand alone.
        extras: columns that only this dataset has, by name.

    >>> Record("train/Positive/pos_1", Path("raw/train/Positive/pos_1.jpg"), "train", label=2).group
    'train/Positive/pos_1'
    """

    image_id: str
    path: Path
    split: str
    label: int = NO_LABEL
    group: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.image_id)
