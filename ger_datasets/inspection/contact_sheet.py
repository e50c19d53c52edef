"""A few photos of a prepared dataset as small pictures, with what was found in them drawn on.

The choice is the same on every run: of each class, the photos whose image_ids have the smallest hashes, taken from the
splits in turn. Image bytes are read for these photos alone, one row group at a time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageChops, ImageDraw

from ..photos.reading import decode_photo
from ..support.errors import BadPhoto, UserError, one_line

PICTURE_SIDE = 360  # pixels; shown at about half of it, sharp on a phone
JPEG: dict[str, Any] = {"format": "JPEG", "quality": 80}
BOX_COLOUR, LANDMARK_COLOUR, RIM_COLOUR = "#FFFFFF", "#F0E442", "#000000"
COLUMNS = ("image_id", "image", "face_boxes", "face_landmarks", "skeleton")


@dataclass(frozen=True, order=True)
class Place:
    """Where a photo lies. Places order by a hash of the image_id."""

    digest: bytes
    image_id: str
    split: str
    file: Path
    row_group: int
    row: int


@dataclass(frozen=True)
class Picture:
    """A photo of the sheet: its JPEG, or why it has none."""

    image_id: str
    split: str
    faces: int
    jpeg: bytes
    problem: str = ""


class Candidates:
    """The places of each label and split that may come onto the sheet; no more than `most` of each are kept."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: dict[int, dict[str, list[Place]]] = {}

    def add(self, split: str, file: Path, row_group: int, image_ids: Sequence[str], labels: Sequence[int]) -> None:
        """Consider all photos of a row group."""
        for row, (image_id, label) in enumerate(zip(image_ids, labels, strict=True)):
            place = Place(hashlib.sha256(image_id.encode()).digest(), image_id, split, file, row_group, row)
            self.kept.setdefault(label, {}).setdefault(split, []).append(place)
        for by_split in self.kept.values():
            by_split[split] = sorted(by_split.get(split, []))[: self.most]

    def choose(self, label: int, most: int) -> list[Place]:
        """At most `most` photos with this label, from the splits in turn, split by split."""
        by_split = self.kept.get(label, {})
        taken = dict.fromkeys(by_split, 0)
        for _ in range(most):
            open_splits = [split for split, places in by_split.items() if taken[split] < len(places)]
            if open_splits:
                taken[min(open_splits, key=taken.__getitem__)] += 1
        return [place for split, places in by_split.items() for place in places[: taken[split]]]


def draw_pictures(places: Sequence[Place]) -> dict[Place, Picture]:
    """The pictures of these photos; a photo that cannot be decoded has a problem instead of a picture.

    Raises:
        UserError: a Parquet file cannot be read.
    """
    pictures = {}
    for file, number in sorted({(place.file, place.row_group) for place in places}):
        try:
            with pq.ParquetFile(file) as parquet:
                table = parquet.read_row_group(number, columns=list(COLUMNS))
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{file} cannot be read: {one_line(error)}; prepare it again") from error
        for place in places:
            if (place.file, place.row_group) == (file, number):
                row = table.slice(place.row, 1).to_pylist()[0]
                pictures[place] = _picture(place, row)
    return pictures


def _picture(place: Place, row: Mapping[str, Any]) -> Picture:
    boxes, landmarks = row["face_boxes"] or [], row["face_landmarks"] or []
    try:
        image = decode_photo((row["image"] or {}).get("bytes") or b"").image
        skeleton = row["skeleton"] and decode_photo(row["skeleton"]["bytes"] or b"").image
    except BadPhoto as problem:
        return Picture(place.image_id, place.split, len(boxes), b"", str(problem))
    buffer = io.BytesIO()
    draw_findings(image, boxes, landmarks, skeleton).save(buffer, **JPEG)
    return Picture(place.image_id, place.split, len(boxes), buffer.getvalue())


def draw_findings(
    image: Image.Image,
    face_boxes: Sequence[Sequence[float]],
    face_landmarks: Sequence[Sequence[float]],
    skeleton: Image.Image | None,
) -> Image.Image:
    """The photo, small, with its faces' boxes and landmarks and its skeletons.

    Args:
        image: the photo, RGB.
        face_boxes: (faces, 4), x1 y1 x2 y2, pixels of `image`.
        face_landmarks: (faces, 10), x1 y1 ... x5 y5, pixels of `image`.
        skeleton: limbs on black, of any size; laid over the photo as light.
    """
    scale = min(1.0, PICTURE_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    picture = image.resize(size, Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC)
    if skeleton is not None:
        picture = ImageChops.screen(picture, skeleton.resize(size))
    draw = ImageDraw.Draw(picture)
    for box in face_boxes:
        corners = [edge * scale for edge in box]
        draw.rectangle([corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1], outline=RIM_COLOUR)
        draw.rectangle(corners, outline=BOX_COLOUR)
    for points, box in zip(face_landmarks, face_boxes, strict=False):
        radius = 1.6 if (box[2] - box[0]) * scale >= 24 else 0.8
        for x, y in np.asarray(points, float).reshape(-1, 2) * scale:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=LANDMARK_COLOUR)
    return picture
