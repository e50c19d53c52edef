"""Record: one photo of a raw download, before anything has been computed from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .photos.reading import Photo, decode_photo, read_photo
from .schema import NO_LABEL

# Which faces of a photo fill its face columns: all that the detector finds; the largest of them, or the whole picture
# where it finds none; the whole picture, which is a face already, without looking for one.
FACES = ("all", "largest", "whole")


@dataclass(frozen=True)
class Record:
    """One photo of a raw download.

    Attributes:
        image_id: unique in the dataset, the same on every machine; `split/class/stem` for folder datasets.
        path: the photo on this machine; prepared data holds its bytes and image_id, never the path.
        split: `train`, `validation`, `test` or another split's name.
        label: index into the builder's `class_names`, or -1 where the labels are withheld.
        group: what must not be split (the video of a frame); the image_id of a single photo.
        extras: columns that only this dataset has, by name.
        read: gives the bytes of the photo's image file where `path` holds many photos, such as a CSV or Parquet file;
            raises BadPhoto, whose message names the line or row. It is pickled into worker processes, so it opens
            `path` only when it is called. None: `path` is the image file.
        faces: one of `FACES`.

    Raises:
        ValueError: unknown `faces`.

    >>> Record("train/Positive/pos_1", Path("raw/train/Positive/pos_1.jpg"), "train", label=2).group
    'train/Positive/pos_1'
    """

    image_id: str
    path: Path
    split: str
    label: int = NO_LABEL
    group: str = ""
    extras: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[], bytes] | None = None
    faces: str = "all"

    def __post_init__(self) -> None:
        if self.faces not in FACES:
            raise ValueError(f"faces must be one of {', '.join(FACES)}, not {self.faces!r}")
        if not self.group:
            object.__setattr__(self, "group", self.image_id)

    def photo(self) -> Photo:
        """The photo; raises as `photos.read_photo`.

        A whole face is small, and its pixels stay as they are.
        """
        lossless = self.faces == "whole"
        return read_photo(self.path, lossless) if self.read is None else decode_photo(self.read(), lossless)
