"""Boxes around the faces of a photo, with labels placed to hide as little as possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

FACE_COLOUR, FAINT_COLOUR = "#FFFFFF", "#9AA0A6"
LABEL_SHARE, MIN_LABEL, MAX_LABEL = 0.22, 11, 22  # of a label's letters: height relative to the box's width; pixels
LEAST_LINES = 14  # a box is at least so many of its lines wide, so that small faces are still seen
HIDDEN_LABEL = 4.0  # how much worse it is to hide a label than a face

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FaceMark:
    """Box and label of a face.

    Attributes:
        box_xyxy: x1 y1 x2 y2, pixels of the photo.
        texts: possible labels, the longest first; a shorter one is used if there is no room.
        colour: colour of the box and the label.
        faint: draw a thin grey box, for a detected face that the model did not use.
    """

    box_xyxy: Sequence[float]
    texts: Sequence[str] = ()
    colour: str = FACE_COLOUR
    faint: bool = False


@dataclass(frozen=True)
class Label:
    """A text in a picture.

    Attributes:
        text: the text.
        size: font size, pixels.
        place: x1 y1 x2 y2 of its background, pixels of the picture.
        colour: colour of its background.
    """

    text: str
    size: int
    place: Box
    colour: str


def draw_faces(picture: Image.Image, marks: Sequence[FaceMark], scale: float) -> None:
    """Draw on `picture`, which is the photo enlarged `scale` times."""
    draw = ImageDraw.Draw(picture)
    thickest = max(2, round(min(picture.size) / 320))
    boxes = [_scaled(mark.box_xyxy, scale) for mark in marks]
    for mark, (left, top, right, bottom) in zip(marks, boxes, strict=True):
        if mark.faint:
            draw.rectangle([left, top, right, bottom], outline=FAINT_COLOUR, width=1)
            continue
        line = max(1, min(thickest, round((right - left) / LEAST_LINES)))
        outer = [left - line, top - line, right + line, bottom + line]
        draw.rectangle(outer, outline="black", width=line)  # a dark rim, so that the box shows on any background
        draw.rectangle([left, top, right, bottom], outline=mark.colour, width=line)
    for label in place_labels(marks, boxes, thickest, picture.size):
        draw.rectangle(label.place, fill=label.colour)
        middle = (label.place[0] + label.place[2]) / 2, (label.place[1] + label.place[3]) / 2
        draw.text(middle, label.text, font=label_font(label.size), fill="black", anchor="mm")


def place_labels(
    marks: Sequence[FaceMark], boxes: Sequence[Box], line: int, picture_size: tuple[int, int]
) -> list[Label]:
    """A label for each mark that has texts, the widest faces first, placed to hide as little of other labels and faces
    as possible.

    Args:
        boxes: where the faces are in the picture, x1 y1 x2 y2 in its pixels.
        line: distance between a box and a label outside of it, pixels.
        picture_size: its width and height, pixels.
    """
    labels: list[Label] = []
    for i in sorted(range(len(marks)), key=lambda i: boxes[i][0] - boxes[i][2]):
        placed = [label.place for label in labels]
        others = [box for k, box in enumerate(boxes) if k != i]
        candidates = [
            (HIDDEN_LABEL * overlap(label.place, placed) + overlap(label.place, others), label)
            for label in _candidates(marks[i], boxes[i], line, picture_size)
        ]
        if candidates:
            labels.append(min(candidates, key=lambda candidate: candidate[0])[1])
    return labels


@lru_cache(maxsize=64)
def label_font(size: int) -> Any:
    """Pillow's default font, cached by size."""
    return ImageFont.load_default(size)


def _scaled(box_xyxy: Sequence[float], scale: float) -> Box:
    left, top, right, bottom = (edge * scale for edge in box_xyxy)
    return left, top, right, bottom


def _candidates(mark: FaceMark, box: Box, line: int, picture_size: tuple[int, int]) -> Iterator[Label]:
    """Labels of all texts, in two sizes: below the box, above it or along its lower edge, within the picture."""
    left, top, right, bottom = box
    full = round(min(max(LABEL_SHARE * (right - left), MIN_LABEL), MAX_LABEL))
    for size in dict.fromkeys((full, MIN_LABEL)):
        for text in mark.texts:
            width, height = label_font(size).getlength(text) + 6, size * 1.35
            x = min(max((left + right - width) / 2, 0), max(picture_size[0] - width, 0))
            for y in (bottom + line, top - line - height, bottom - height):
                if 0 <= y <= picture_size[1] - height:
                    yield Label(text, size, (x, y, x + width, y + height), mark.colour)


def overlap(box: Box, others: Sequence[Box]) -> float:
    """Total overlap of `box` with `others`, in pixels."""
    return sum(
        max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
        * max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
        for other in others
    )
