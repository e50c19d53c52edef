"""Photos of a prepared dataset, by image_id, small enough for a page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from PIL import Image

from ger_datasets.loading.splits import load_splits
from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.errors import one_line

from ..joining import photo_name
from .mistakes import Picture

PICTURE_SIDE = 480  # pixels; shown at about half of it, sharp on a phone
JPEG = {"format": "JPEG", "quality": 80}


class Draw(Protocol):
    """Rows of a dataset -> their RGB photos with heat maps.

    Attributes:
        columns: what a row must have.
    """

    columns: Sequence[str]

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Image.Image]:
        """The photos, one for each row."""
        ...


def read_pictures(
    dataset: str, splits: Sequence[str], image_ids: Sequence[str], draw: Draw | None = None, heat_of: str = ""
) -> dict[str, Picture]:
    """The photos with their faces; an image_id that is a file name stands for the one photo of that name.

    Args:
        dataset: a folder that prepare.py wrote, or a dataset repository on the Hub.
        splits: where to look.
        image_ids: of which photos; those that are not in the dataset are left out.
        draw: draws the heat maps; None: the photos stay as they are.
        heat_of: the model whose heat maps `draw` adds.

    Raises:
        UserError: there is no such dataset or split.
    """
    wanted, by_name = set(image_ids), {photo_name(image_id): image_id for image_id in image_ids}
    pictures: dict[str, Picture] = {}
    columns = dict.fromkeys(["image", "face_boxes", "face_expressions", *(draw.columns if draw is not None else ())])
    for data in load_splits(dataset, list(columns), splits).values():
        there = data["image_id"][:]
        whole = bool(wanted & set(there))
        for row, image_id in enumerate(there):
            asked = image_id if whole else by_name.get(photo_name(image_id))
            if asked in wanted and asked not in pictures:
                pictures[asked] = replace(_picture(data, row, draw), heat_of=heat_of)
    return {image_id: pictures[image_id] for image_id in image_ids if image_id in pictures}


def _picture(data: Sequence, row: int, draw: Draw | None) -> Picture:
    try:
        photo = data[row]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises
        return Picture(b"", 1, 1, (), f"damaged: {one_line(error)}")
    image = photo["image"].convert("RGB")
    if draw is not None:
        (image,) = draw([{**photo, "image": image}])
    scale = min(1.0, PICTURE_SIDE / max(image.size))
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    buffer = io.BytesIO()
    small.save(buffer, **JPEG)
    boxes = [[edge * scale for edge in box] for box in photo.get("face_boxes") or ()]
    expressions = [EXPRESSIONS[shares.index(max(shares))] for shares in photo.get("face_expressions") or ()]
    return Picture(buffer.getvalue(), small.width, small.height, boxes, expressions=expressions)
