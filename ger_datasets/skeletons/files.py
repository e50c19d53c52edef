"""SkeletonFiles: a folder of OpenPose's files or rendered skeletons -> the `skeleton` column."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ..photos.reading import STORED_PIXELS, open_photo, read_photo
from ..records import Record
from ..support.errors import BadPhoto, UserError, listing, printable
from .drawing import draw_skeletons
from .openpose import confidence_remark, read_poses
from .photo_names import PhotoNames, walk

logger = logging.getLogger(__name__)

# What a skeleton's file is called after the photo's stem; where a photo has several, the first of these is taken.
JOINTS = ("_keypoints.json", ".json", "_pose.yml", "_pose.yaml", ".yml", ".yaml")
PLAIN_PICTURES = (".png", ".jpg", ".jpeg")  # named as a photo is
ENDINGS = (*JOINTS, "_rendered.png", "_rendered.jpg", "_rendered.jpeg", *PLAIN_PICTURES)
LOOKED_AT = 100  # files, for the remark on missing confidences


class SkeletonFiles:
    """Skeletons that lie in files, one for each photo.

    A photo's skeleton lies where the photo does below the raw folder (`train/Negative/neg_1.jpg` ->
    `FOLDER/train/Negative/neg_1_keypoints.json`; folders in any case), or else anywhere in the folder, if one photo
    and one skeleton alone have that name: train and val of GAF 3.0 share many. Other photos have none.

    Joints are taken as pixels of the upright photo: OpenPose reads through OpenCV, which applies EXIF rotation.

    Args:
        folder: holds JSON, YAML or rendered images.
        source_root: the raw folder.
    """

    name = "skeletons"

    def __init__(self, folder: Path, source_root: Path) -> None:
        self.folder, self.source_root = Path(folder), Path(source_root)

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
        stems, photos = {stem for _, stem in self._index}, self._photos.photos
        if photos and not stems & photos.keys():
            raise UserError(
                f"none of the {len(self._index)} skeletons in {self.folder} has the name of a photo in "
                f"{self.source_root}: skeletons of {listing(sorted(stems), 3)}; "
                f"photos {listing(sorted(photos), 3)}"
            )

    def columns(self, record: Record, image: Image.Image) -> Mapping[str, Any]:
        """`{"skeleton": RGB image of the photo's size}`, or None in its place where the photo has no file.

        Raises:
            BadPhoto: the file is broken.
            UserError: the pictures in the folder are the photos themselves.
        """
        name = self._photos.find(record.path)
        if name is None:
            return {"skeleton": None}
        path = self.folder / name
        picture = path.suffix.lower() in PLAIN_PICTURES
        if picture and record.path.exists() and path.samefile(record.path):
            raise UserError(f"the pictures in {self.folder} are the photos, not skeletons; give another folder")
        try:
            if not picture:
                poses, scale = read_poses(path), reduction(record.path, image.size)
                people = poses.in_pixels(image.size, (scale, scale))
                return {"skeleton": draw_skeletons(people, image.size, poses.layout)}
            skeleton = read_photo(path).image
        except BadPhoto as error:
            name, reason = printable(path.relative_to(self.folder)), str(error).removeprefix("skeleton: ")
            raise BadPhoto(f"skeleton: {name}: {reason}") from error
        if skeleton.size != image.size:
            skeleton = skeleton.resize(image.size, Image.Resampling.BILINEAR)
        return {"skeleton": skeleton}

    def remarks(self) -> list[str]:
        """That the files have no confidences, where the first of them have none."""
        names = [name for name in sorted(self._index.values()) if name.lower().endswith(JOINTS)][:LOOKED_AT]
        without = 0
        for name in names:
            with contextlib.suppress(BadPhoto):
                without += not read_poses(self.folder / name).confident
        return confidence_remark(without, f"the first {len(names)} skeleton files")

    @cached_property
    def _photos(self) -> PhotoNames[str]:
        return PhotoNames(self._index, self.source_root, self.folder)

    @cached_property
    def _index(self) -> dict[tuple[str, str], str]:
        """(folder in lower case, stem) -> file, relative to the folder; of several the first in `ENDINGS`."""
        # pictures beside the photos and named like them are photos
        photos_inside = self.source_root.resolve().is_relative_to(self.folder.resolve())
        ranks: dict[tuple[str, str], int] = {}
        index: dict[tuple[str, str], str] = {}
        for place, name in walk(self.folder):
            rank, ending = next(
                ((i, end) for i, end in enumerate(ENDINGS) if name.lower().endswith(end)), (len(ENDINGS), "")
            )
            if not ending or (photos_inside and ending in PLAIN_PICTURES):
                continue
            key = place.lower(), name[: -len(ending)]
            if rank < ranks.get(key, len(ENDINGS)):
                ranks[key], index[key] = rank, os.path.join(place, name)
        return index


def reduction(photo: Path, size: tuple[int, int]) -> float:
    """Pixels of the stored photo per pixel of the file, along a side: below 1 for photos that are stored reduced."""
    pixels = size[0] * size[1]
    if pixels < 0.9 * STORED_PIXELS:  # smaller photos are never reduced, and their files need not be opened
        return 1.0
    try:
        with open_photo(photo) as original:
            return min(1.0, (pixels / (original.width * original.height)) ** 0.5)  # whichever way it is turned
    except BadPhoto:
        return 1.0
