"""JSON of OpenPose and of tools that write MS COCO's keypoints -> people's joints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..support.errors import BadPhoto
from .drawing import COCO_18, LAYOUTS, MIN_CONFIDENCE, Layout

MAX_BYTES = 8 * 2**20  # 500 people with faces and hands are 2 MB
MAX_PEOPLE = 500  # in one photo; OpenPose itself stops at 127


def read_poses(path: Path) -> tuple[np.ndarray, Layout]:
    """The people of one photo.

    Read are OpenPose's `{"people": [{"pose_keypoints_2d": [x, y, c, ...]}]}`, older `pose_keypoints`, and MS COCO's
    results `[{"keypoints": [x, y, c, ...]}]`; 51 numbers are COCO-17, 54 COCO-18, 75 BODY_25. People without any
    numbers (OpenPose's `--body 0`) are left out.

    Returns:
        (people, joints, 3) float64: x, y in pixels and confidence, as they stand in the file; and their layout.

    Raises:
        BadPhoto: the file cannot be read or is something else. The message starts with `skeleton:` and holds no path.
    """
    rows = [row for row in map(_numbers, _people(_content(path))) if row]
    sizes = sorted({len(row) for row in rows})
    if len(sizes) > 1 or any(size % 3 or size // 3 not in LAYOUTS for size in sizes):
        known = ", ".join(f"{3 * joints} ({layout.name})" for joints, layout in LAYOUTS.items())
        raise BadPhoto(f"skeleton: people of {' and '.join(map(str, sizes))} numbers; expected one of {known}")
    layout = LAYOUTS[sizes[0] // 3] if sizes else COCO_18
    try:
        people = np.array(rows, np.float64).reshape(-1, layout.joints, 3)
    except OverflowError as error:
        raise BadPhoto("skeleton: a coordinate is too large for a number") from error

    seen = people[people[..., 2] > MIN_CONFIDENCE]
    if len(seen) > 2 and (np.abs(seen[:, :2]) <= 1).all():
        raise BadPhoto(
            "skeleton: coordinates are shares of the photo; run OpenPose with --keypoint_scale 0 for pixels"
        )
    return people, layout


def _content(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadPhoto(f"skeleton: the file has {size:,} bytes; at most {MAX_BYTES:,} are read")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise BadPhoto(f"skeleton: the file cannot be read: {error.strerror or type(error).__name__}") from error
    except (ValueError, RecursionError) as error:
        raise BadPhoto(f"skeleton: not JSON: {error}") from error


def _people(content: Any) -> list[Any]:
    """The people's lists of numbers, unchecked."""
    if isinstance(content, dict) and isinstance(content.get("people"), list):
        people = content["people"]
        keys: tuple[str, ...] = ("pose_keypoints_2d", "pose_keypoints")
    elif isinstance(content, list):
        people, keys = content, ("keypoints",)
        photos = {str(person.get("image_id")) for person in people if isinstance(person, dict)}
        if len(photos) > 1:
            raise BadPhoto(f"skeleton: people of {len(photos)} photos in one file; expected one file for each photo")
    else:
        raise BadPhoto("skeleton: neither OpenPose's JSON (an object with people) nor MS COCO's (a list of people)")
    if len(people) > MAX_PEOPLE:
        raise BadPhoto(f"skeleton: {len(people):,} people; at most {MAX_PEOPLE} are drawn")
    found = []
    for person in people:
        key = next((key for key in keys if key in person), None) if isinstance(person, dict) else None
        if key is None:
            raise BadPhoto(f"skeleton: a person without {' or '.join(keys)}")
        found.append(person[key])
    return found


def _numbers(row: Any) -> list[float]:
    if not isinstance(row, list) or not all(type(value) in (int, float) for value in row):  # True is an int, too
        raise BadPhoto("skeleton: keypoints must be a list of numbers")
    return row
