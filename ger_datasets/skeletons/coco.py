"""CocoSkeletons: MS COCO's keypoints of a whole dataset, in one JSON file -> the `skeleton` column."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ..records import Record
from ..support.errors import BadPhoto, UserError, listing, one_line, printable
from .drawing import MAX_COORDINATE, draw_skeletons
from .files import reduction
from .openpose import confidence_remark, poses_of
from .photo_names import PhotoNames

MAX_BYTES = 512 * 2**20  # the keypoints of MS COCO's 118,000 training photos are 230 MB


@dataclass
class CocoPhoto:
    """One entry of `images` with its people.

    Attributes:
        name: the photo's file name as it stands there.
        size: width and height that coordinates refer to, pixels; None where the file does not say.
        rows: the numbers of each person.
    """

    name: str
    size: tuple[float, float] | None
    rows: list[Any] = field(default_factory=list)


class CocoSkeletons:
    """The people of many photos in a file `{"images": [...], "annotations": [...]}`.

    A photo belongs to the entry of `images` whose `file_name` is its path below the raw folder, or else its name, if
    nothing else has it. A joint of visibility 0 is hidden; 1 and 2 are drawn.

    Args:
        file: the JSON file.
        source_root: the raw folder.
    """

    name = "skeletons"

    def __init__(self, file: Path, source_root: Path) -> None:
        self.file, self.source_root = Path(file), Path(source_root)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The kind of source, and a digest of the file."""
        digest = hashlib.sha256()
        with open(self.file, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
        return {"kind": "coco", "file_sha256": digest.hexdigest()}

    def check(self) -> None:
        """Raises UserError if the file is no such file, or names no photo of the raw folder."""
        stems, photos = {stem for _, stem in self._photos.index}, self._photos.photos
        if photos and not stems & photos.keys():
            raise UserError(
                f"none of the {len(stems)} images in {self.file} has the name of a photo in {self.source_root}: "
                f"images {listing(map(printable, sorted(stems)), 3)}; photos {listing(sorted(photos), 3)}"
            )

    def columns(self, record: Record, image: Image.Image) -> Mapping[str, Any]:
        """`{"skeleton": RGB image of the photo's size}`, or None in its place where the file does not name the photo.

        Raises:
            BadPhoto: the photo's people have wrong numbers.
        """
        photo = self._photos.find(record.path)
        if photo is None:
            return {"skeleton": None}
        poses = poses_of(photo.rows)
        scale = (reduction(record.path, image.size),) * 2
        if photo.size is not None:
            scale = image.width / photo.size[0], image.height / photo.size[1]
        return {"skeleton": draw_skeletons(poses.in_pixels(image.size, scale), image.size, poses.layout)}

    def remarks(self) -> list[str]:
        """That people have no confidences, where some have none."""
        photos, without = [photo for photo in self._photos.index.values() if photo.rows], 0
        for photo in photos:
            with contextlib.suppress(BadPhoto):
                without += not poses_of(photo.rows).confident
        return confidence_remark(without, f"{len(photos)} photos with people")

    @cached_property
    def _photos(self) -> PhotoNames[CocoPhoto]:
        index: dict[tuple[str, str], CocoPhoto] = {}
        for photo in self._read().values():
            path = photo.name.replace("\\", "/").lstrip("/")
            folder, _, name = path.rpartition("/")
            index[folder.lower(), name.rpartition(".")[0] or name] = photo
        return PhotoNames(index, self.source_root, self.file.parent)

    def _read(self) -> dict[Any, CocoPhoto]:
        """The photos by their number in the file."""
        try:
            if self.file.stat().st_size > MAX_BYTES:
                raise UserError(f"{self.file} has more than {MAX_BYTES:,} bytes: it is not read")
            content = json.loads(self.file.read_bytes())
            images, people = content["images"], content["annotations"]
            photos = {entry["id"]: CocoPhoto(str(entry["file_name"]), _size(entry)) for entry in images}
            for person in people:
                if "keypoints" in person and person["image_id"] in photos:
                    photos[person["image_id"]].rows.append(person["keypoints"])
        except OSError as error:
            raise UserError(f"{self.file} cannot be read: {one_line(error)}") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{self.file} is not a file of MS COCO's keypoints, an object with images and annotations: "
                f"{type(error).__name__} {one_line(error)}"
            ) from error
        if not any(photo.rows for photo in photos.values()):
            raise UserError(f"{self.file} has no keypoints: expected annotations with image_id and keypoints")
        return photos


def _size(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    width: Any = entry.get("width")
    height: Any = entry.get("height")
    if not all(type(side) in (int, float) and 1 <= side <= MAX_COORDINATE for side in (width, height)):
        return None
    return float(width), float(height)
