"""SkeletonFiles: a folder of OpenPose JSON or rendered skeletons -> the `skeleton` column."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ..photos.reading import STORED_PIXELS, SUFFIXES, open_photo, read_photo
from ..records import Record
from ..support.errors import BadPhoto, UserError, listing, printable
from .drawing import draw_skeletons
from .openpose import read_poses

logger = logging.getLogger(__name__)

# What a skeleton's file is called after the photo's stem; where a photo has several, the first of these is taken.
ENDINGS = ("_keypoints.json", ".json", "_rendered.png", "_rendered.jpg", "_rendered.jpeg", ".png", ".jpg", ".jpeg")
PLAIN_PICTURES = ENDINGS[5:]  # named as a photo is


class SkeletonFiles:
    """Skeletons that lie in files, one for each photo.

    A photo's skeleton lies where the photo does below the raw folder (`train/Negative/neg_1.jpg` ->
    `FOLDER/train/Negative/neg_1_keypoints.json`; folders in any case), or else anywhere in the folder, if one photo
    and one skeleton alone have that name: train and val of GAF 3.0 share many. Other photos have none.

    Joints are taken as pixels of the upright photo: OpenPose reads through OpenCV, which applies EXIF rotation.

    Args:
        folder: holds JSON or rendered images.
        source_root: the raw folder.
    """

    name = "skeletons"

    def __init__(self, folder: Path, source_root: Path) -> None:
        self.folder, self.source_root = Path(folder), Path(source_root)
        self._warned = False

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The kind of source, and the files' number and a digest of their names."""
        names = sorted(printable(Path(name).as_posix()) for name in self._index.values())
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return {"kind": "files", "files": len(names), "files_sha256": digest}

    def check(self) -> None:
        """Raises UserError if the folder holds no skeleton, or none that bears the name of a photo."""
        if not self._index:
            raise UserError(
                f"no skeletons in {self.folder}: expected STEM{ENDINGS[0]}, STEM.json, STEM_rendered.png or STEM.png, "
                f"found {listing(sorted(path.name for path in self.folder.iterdir()))}"
            )
        stems = {stem for _, stem in self._index}
        if self._photo_names and not stems & self._photo_names.keys():
            raise UserError(
                f"none of the {len(self._index)} skeletons in {self.folder} has the name of a photo in "
                f"{self.source_root}: skeletons of {listing(sorted(stems), 3)}; "
                f"photos {listing(sorted(self._photo_names), 3)}"
            )

    def columns(self, record: Record, image: Image.Image) -> Mapping[str, Any]:
        """`{"skeleton": RGB image of the photo's size}`, or None in its place where the photo has no file.

        Raises:
            BadPhoto: the file is broken.
            UserError: the pictures in the folder are the photos themselves.
        """
        path = self._find(record.path)
        if path is None:
            return {"skeleton": None}
        picture = path.suffix.lower() != ".json"
        if picture and record.path.exists() and path.samefile(record.path):
            raise UserError(f"the pictures in {self.folder} are the photos, not skeletons; give another folder")
        try:
            if not picture:
                people, layout = read_poses(path)
                people[..., :2] *= _reduction(record.path, image.size)
                return {"skeleton": draw_skeletons(people, image.size, layout)}
            skeleton = read_photo(path).image
        except BadPhoto as error:
            name, reason = printable(path.relative_to(self.folder)), str(error).removeprefix("skeleton: ")
            raise BadPhoto(f"skeleton: {name}: {reason}") from error
        if skeleton.size != image.size:
            skeleton = skeleton.resize(image.size, Image.Resampling.BILINEAR)
        return {"skeleton": skeleton}

    def _find(self, photo: Path) -> Path | None:
        """The skeleton's file of the photo at `photo`."""
        relative = os.path.relpath(photo, self.source_root)
        name = self._index.get((os.path.dirname(relative).lower(), photo.stem))
        if name is None and photo.stem in self._names:
            if self._names[photo.stem] is not None and self._photo_names[photo.stem] <= 1:
                name = self._names[photo.stem]
            elif not self._warned:
                self._warned = True
                logger.warning(
                    "%d names in %s stand for several photos or skeletons and are not used by name alone: "
                    "lay the skeletons out as the photos are, such as train/Negative/neg_1_keypoints.json",
                    sum(n is None or self._photo_names[stem] > 1 for stem, n in self._names.items()),
                    self.folder,
                )
        return None if name is None else self.folder / name

    @cached_property
    def _index(self) -> dict[tuple[str, str], str]:
        """(folder in lower case, stem) -> file, relative to the folder; of several the first in `ENDINGS`."""
        # pictures beside the photos and named like them are photos
        photos_inside = self.source_root.resolve().is_relative_to(self.folder.resolve())
        ranks: dict[tuple[str, str], int] = {}
        index: dict[tuple[str, str], str] = {}
        for place, name in _walk(self.folder):
            rank, ending = next(
                ((i, end) for i, end in enumerate(ENDINGS) if name.lower().endswith(end)), (len(ENDINGS), "")
            )
            if not ending or (photos_inside and ending in PLAIN_PICTURES):
                continue
            key = place.lower(), name[: -len(ending)]
            if rank < ranks.get(key, len(ENDINGS)):
                ranks[key], index[key] = rank, os.path.join(place, name)
        return index

    @cached_property
    def _names(self) -> dict[str, str | None]:
        """Stem -> its file, or None where several folders have one."""
        names: dict[str, str | None] = {}
        for (_, stem), name in self._index.items():
            names[stem] = None if stem in names else name
        return names

    @cached_property
    def _photo_names(self) -> Counter[str]:
        """Stem -> how many photos of the raw folder have it; skeletons kept inside the raw folder do not count."""
        inside = os.path.join(os.path.relpath(self.folder, self.source_root), "")
        return Counter(
            Path(name).stem
            for place, name in _walk(self.source_root)
            if Path(name).suffix.lower() in SUFFIXES and not os.path.join(place, "").startswith(inside)
        )


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    """(folder relative to `folder`, file name) of every file below it, sorted; links are followed, but not in circles.

    Hidden files and the folder that macOS adds to archives are left out. The relative folder of `folder` is empty.
    """
    visited = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        visited.add(os.path.realpath(place))
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and name != "__MACOSX" and os.path.realpath(os.path.join(place, name)) not in visited
        )
        relative = os.path.relpath(place, folder)
        for name in sorted(names):
            if not name.startswith("."):
                yield "" if relative == "." else relative, name


def _reduction(photo: Path, size: tuple[int, int]) -> float:
    """Pixels of the stored photo per pixel of the file, along a side: below 1 for photos that are stored reduced."""
    pixels = size[0] * size[1]
    if pixels < 0.9 * STORED_PIXELS:  # smaller photos are never reduced, and their files need not be opened
        return 1.0
    try:
        with open_photo(photo) as original:
            return min(1.0, (pixels / (original.width * original.height)) ** 0.5)  # whichever way it is turned
    except BadPhoto:
        return 1.0
