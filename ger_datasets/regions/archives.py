"""RegionArchives: an npz file for each photo, with regions and their features -> two columns."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..legacy.npz import read_named_arrays
from ..records import Record
from ..skeletons.files import reduction
from ..skeletons.photo_names import PhotoNames, walk
from ..support.errors import BadPhoto, UserError, listing, printable

SUFFIX = ".npz"
ARRAYS = re.compile("features|boxes")
MAX_BYTES = 64 * 2**20  # of one file: 8,000 regions of 2,048 numbers
MAX_REGIONS = 10_000


class RegionArchives:
    """Fills `region_boxes` and `region_features` from files of other pipelines, such as object detectors.

    Each file holds `features` (regions, d) and `boxes` (regions, 4): x1 y1 x2 y2 in pixels of the upright photo, or,
    if no coordinate is above 1, as shares of its sides. A photo may have no regions. A photo's file is found by its
    path below the raw folder or, where nothing else has it, its name. Photos without a file have None in both columns.

    Args:
        folder: holds the files.
        source_root: the raw folder.
    """

    name = "regions"

    def __init__(self, folder: Path, source_root: Path) -> None:
        self.folder, self.source_root = Path(folder), Path(source_root)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The number of files, a digest of their names, and d."""
        names = sorted(printable(Path(name).as_posix()) for name in self._files.index.values())
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return {"files": len(names), "files_sha256": digest, "numbers": self._numbers}

    def check(self) -> None:
        """Raises UserError if the folder holds no such files, or none that has the name of a photo."""
        if not self.folder.is_dir():
            raise UserError(f"no folder {self.folder}: give the one that holds NAME.npz for each photo")
        if not self._files.index:
            found = listing(sorted(printable(path.name) for path in self.folder.iterdir()))
            raise UserError(f"no feature archives in {self.folder}: expected NAME.npz for each photo, found {found}")
        stems, photos = {stem for _, stem in self._files.index}, self._files.photos
        if photos and not stems & photos.keys():
            raise UserError(
                f"none of the {len(stems)} feature archives in {self.folder} has the name of a photo in "
                f"{self.source_root}: archives {listing(sorted(stems), 3)}; photos {listing(sorted(photos), 3)}"
            )

    def columns(self, record: Record, image: Image.Image) -> Mapping[str, Any]:
        """The two columns of one photo.

        Raises:
            BadPhoto: the file is damaged, lacks an array, or its arrays do not fit together.
        """
        name = self._files.find(record.path)
        if name is None:
            return {"region_boxes": None, "region_features": None}
        try:
            boxes, features = _read(self.folder / name)
            if len(features) and features.shape[1] != self._numbers:
                raise BadPhoto(f"features of {features.shape[1]} numbers, where other files have {self._numbers}")
        except BadPhoto as error:
            raise BadPhoto(f"regions: {printable(name)}: {error}") from error
        size = np.array([*image.size, *image.size], np.float64)
        shares = len(boxes) > 0 and boxes.max() <= 1
        boxes = np.clip(boxes * (size if shares else reduction(record.path, image.size)), 0, size)
        return {"region_boxes": boxes.tolist(), "region_features": features.tolist()}

    @cached_property
    def _files(self) -> PhotoNames[str]:
        index = {}
        for place, name in walk(self.folder):
            if name.lower().endswith(SUFFIX):
                index[place.lower(), name[: -len(SUFFIX)]] = os.path.join(place, name)
        return PhotoNames(index, self.source_root, self.folder)

    @cached_property
    def _numbers(self) -> int:
        """How many numbers describe a region, by the first file that has any."""
        for _, name in sorted(self._files.index.items()):
            try:
                _, features = _read(self.folder / name)
            except BadPhoto:
                continue
            if len(features):
                return int(features.shape[1])
        return 0


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(regions, 4) float64 boxes and (regions, d) float32 features of one file."""
    arrays = read_named_arrays(path, MAX_BYTES, ARRAYS)
    missing = [name for name in ("features", "boxes") if name not in arrays]
    if missing:
        raise BadPhoto(f"no array {listing(missing)} in it")
    boxes, features = arrays["boxes"], arrays["features"]
    for name, array in (("boxes", boxes), ("features", features)):
        if array.dtype.kind not in "fiu":
            raise BadPhoto(f"{name} holds {array.dtype}, expected numbers")
    if not boxes.size and not features.size:
        return np.zeros((0, 4)), np.zeros((0, 0), np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or features.ndim != 2 or len(boxes) != len(features):
        raise BadPhoto(f"boxes of shape {boxes.shape} and features of shape {features.shape} do not fit together")
    if len(boxes) > MAX_REGIONS:
        raise BadPhoto(f"{len(boxes):,} regions; at most {MAX_REGIONS:,} are read")
    boxes = boxes.astype(np.float64)
    with np.errstate(over="ignore"):
        features = features.astype(np.float32)
    if not np.isfinite(boxes).all() or not np.isfinite(features).all():
        raise BadPhoto("boxes or features are not finite")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise BadPhoto("boxes whose x2 y2 lie before x1 y1; expected x1 y1 x2 y2")
    return boxes, features
