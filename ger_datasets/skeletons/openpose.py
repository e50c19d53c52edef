"""Files of OpenPose, and of tools that write MS COCO's keypoints, one for each photo -> people's joints."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..support.errors import BadPhoto
from .drawing import COCO_17, COCO_18, LAYOUTS, MIN_CONFIDENCE, WHOLE_BODIES, Layout

MAX_BYTES = 8 * 2**20  # 500 people with faces and hands are 2 MB
MAX_PEOPLE = 500  # in one photo; OpenPose itself stops at 127
PEOPLE_KEYS: tuple[str, ...] = (
    "pose_keypoints_2d",
    "pose_keypoints",
    "body_parts",
)  # body_parts: OpenPose 1.0, whose JSON is 0.1
YAML_SUFFIXES = (".yml", ".yaml")
# OpenCV's FileStorage, in which OpenPose 1.0 wrote a matrix of people x joints x 3
_MATRIX = re.compile(
    r"pose_0:\s*!!opencv-nd-matrix\s+sizes:\s*\[([^\[\]]*)\]\s+dt:\s*\w{1,3}\s+data:\s*\[([^\[\]]*)\]"
)


@dataclass(frozen=True)
class Poses:
    """The people of one photo.

    Attributes:
        people: (people, joints, 3) float64: x, y and confidence, as they stand in the file.
        layout: what the joints are.
        relative: None where x and y are pixels; else the range of the photo's sides: (0, 1) or (-1, 1).
        confident: whether the file has confidences; without them each is 1.
    """

    people: np.ndarray
    layout: Layout
    relative: tuple[int, int] | None = None
    confident: bool = True

    def in_pixels(self, size: tuple[int, int], scale: tuple[float, float] = (1, 1)) -> np.ndarray:
        """The people with x, y in pixels of a photo of this size; `scale`: its pixels per pixel of the file."""
        people = self.people.copy()
        if self.relative is None:
            people[..., :2] *= scale
        else:
            low, high = self.relative
            hidden = people[..., 2] <= MIN_CONFIDENCE
            people[..., :2] = (people[..., :2] - low) / (high - low) * (np.array(size) - 1)
            people[hidden] = 0
        return people


def read_poses(path: Path) -> Poses:
    """The people of one photo.

    Read are OpenPose's `{"people": [{"pose_keypoints_2d": [x, y, c, ...]}]}`, older `pose_keypoints` and `body_parts`,
    its YAML (`pose_0`), and MS COCO's results `[{"keypoints": [x, y, c, ...]}]`. See `poses_of` for the numbers.
    Hands and faces beside the body are ignored.

    Raises:
        BadPhoto: the file cannot be read or is something else. The message starts with `skeleton:` and holds no path.
    """
    content = _content(path)
    return poses_of(_matrix_rows(content) if path.suffix.lower() in YAML_SUFFIXES else _people(_json(content)))


def poses_of(rows: Sequence[Any]) -> Poses:
    """The numbers of each person, x y c or x y for every joint -> their joints.

    45 numbers are MPI-15, 51 COCO-17, 54 COCO-18, 75 BODY_25; 30, 34, 36 and 50 the same without confidences, which
    are then 1. Of 135 joints (BODY_135) and 133 (COCO-WholeBody) the first 17 are drawn. People without any numbers
    (OpenPose's `--body 0`) are left out. If no joint is beyond 1, coordinates are shares of the photo's sides.

    Raises:
        BadPhoto: other numbers, or too many people.
    """
    if len(rows) > MAX_PEOPLE:
        raise BadPhoto(f"skeleton: {len(rows):,} people; at most {MAX_PEOPLE} are drawn")
    numbers = [row for row in map(_numbers, rows) if row]
    sizes = sorted({len(row) for row in numbers})
    kinds = {joints * values: (joints, values) for joints in (*LAYOUTS, *WHOLE_BODIES) for values in (3, 2)}
    if len(sizes) > 1 or any(size not in kinds for size in sizes):
        known = ", ".join(f"{3 * joints} ({layout.name})" for joints, layout in LAYOUTS.items())
        raise BadPhoto(f"skeleton: people of {' and '.join(map(str, sizes))} numbers; expected one of {known}")
    joints, values = kinds[sizes[0]] if sizes else (COCO_18.joints, 3)
    try:
        people = np.array(numbers, np.float64).reshape(-1, joints, values)
    except OverflowError as error:
        raise BadPhoto("skeleton: a coordinate is too large for a number") from error
    if values == 2:
        people = np.concatenate([people, people.any(2, keepdims=True)], axis=2)
    layout = LAYOUTS.get(joints, COCO_17)
    people = people[:, : layout.joints]
    return Poses(people, layout, _range(people), values == 3)


def confidence_remark(without: int, things: str) -> list[str]:
    """The sentence for the card on joints without confidences; none where all have them.

    Args:
        without: how many have none.
        things: of what.
    """
    return [f"Joints without confidences count as certain: {without} of {things}."] if without else []


def _range(people: np.ndarray) -> tuple[int, int] | None:
    seen = people[people[..., 2] > MIN_CONFIDENCE][:, :2]
    if len(seen) <= 2 or not (np.abs(seen) <= 1).all():
        return None
    return (-1, 1) if (seen < 0).any() else (0, 1)  # OpenPose's keypoint_scale 4 and 3


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadPhoto(f"skeleton: the file has {size:,} bytes; at most {MAX_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise BadPhoto(f"skeleton: the file cannot be read: {error.strerror or type(error).__name__}") from error


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadPhoto(f"skeleton: not JSON: {error}") from error


def _people(content: Any) -> list[Any]:
    """The people's lists of numbers, unchecked."""
    if isinstance(content, dict) and isinstance(content.get("people"), list):
        people, keys = content["people"], PEOPLE_KEYS
    elif isinstance(content, list):
        people, keys = content, ("keypoints",)
        photos = {str(person.get("image_id")) for person in people if isinstance(person, dict)}
        if len(photos) > 1:
            raise BadPhoto(f"skeleton: people of {len(photos)} photos in one file; expected one file for each photo")
    else:
        raise BadPhoto("skeleton: neither OpenPose's JSON (an object with people) nor MS COCO's (a list of people)")
    return list(_rows(people, keys))


def _rows(people: Iterable[Any], keys: Sequence[str]) -> Iterable[Any]:
    for person in people:
        key = next((key for key in keys if key in person), None) if isinstance(person, dict) else None
        if key is None:
            raise BadPhoto(f"skeleton: a person without {' or '.join(keys)}")
        yield person[key]


def _matrix_rows(content: bytes) -> list[list[float]]:
    """The rows of OpenPose's YAML file."""
    match = _MATRIX.search(content.decode("utf-8", "replace"))
    if match is None:
        raise BadPhoto("skeleton: no matrix pose_0 in the YAML file, as OpenPose writes it")
    try:
        sizes = [int(side) for side in match[1].split(",")] if match[1].strip() else []
        data = [float(number.lower().replace(".nan", "nan").replace(".inf", "inf")) for number in match[2].split(",")
                if number.strip()]  # fmt: skip
    except ValueError as error:
        raise BadPhoto(f"skeleton: the YAML file holds something else than numbers ({error})") from error
    if not data:
        return []
    if len(sizes) != 3 or min(sizes) < 1 or math.prod(sizes) != len(data):
        raise BadPhoto(f"skeleton: the matrix pose_0 has {len(data)} numbers for sizes {match[1].strip()[:60]}")
    width = sizes[1] * sizes[2]
    return [data[start : start + width] for start in range(0, len(data), width)]


def _numbers(row: Any) -> list[float]:
    if not isinstance(row, list) or not all(type(value) in (int, float) for value in row):  # True is an int, too
        raise BadPhoto("skeleton: keypoints must be a list of numbers")
    return row
