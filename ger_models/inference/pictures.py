"""A prediction drawn on its photo."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ger_datasets.support.atomic_files import replacing
from ger_datasets.support.errors import UserError

from .resumable_table import is_unfinished, lock_name

# Okabe and Ito's colours, told apart by people with any colour vision; classes take them in turn.
COLOURS = ("#D55E00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#0072B2", "#E69F00")
PREDICTIONS = "predictions.parquet"  # beside the pictures; also the sign that a folder of pictures is ours
FACE_COLOUR = "#FFFFFF"
PICTURE_SIDE = 1600  # pixels; larger photos are reduced, pictures being for looking at


def draw_prediction(
    image: Image.Image,
    face_boxes: Sequence[Sequence[float]],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    note: str = "",
) -> Image.Image:
    """The photo with its face boxes, above a band with each class's probability; the predicted class stands first.

    Args:
        image: the photo, RGB.
        face_boxes: (faces, 4), x1 y1 x2 y2, pixels of `image`.
        probabilities: (classes,), sum 1.
        class_names: (classes,).
        note: what a reader must know before believing the figures; written below them.
    """
    scale = min(1.0, PICTURE_SIDE / max(image.size))
    photo = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw = ImageDraw.Draw(photo)
    line = max(2, round(min(photo.size) / 220))
    for box in face_boxes:
        corners = [edge * scale for edge in box]
        outer = [corners[0] - line, corners[1] - line, corners[2] + line, corners[3] + line]
        draw.rectangle(outer, outline="black", width=line)  # a dark rim, so that the box shows on any background
        draw.rectangle(corners, outline=FACE_COLOUR, width=line)
    return _with_band(photo, probabilities, class_names, len(face_boxes), note)


def _with_band(
    photo: Image.Image, probabilities: np.ndarray, class_names: Sequence[str], faces: int, note: str
) -> Image.Image:
    width = max(photo.width, 420)
    size = min(26, max(16, width // 36))
    font, bold = ImageFont.load_default(size), ImageFont.load_default(round(size * 1.35))
    row = round(size * 1.6)
    small = ImageFont.load_default(round(size * 0.75))
    lines = _wrapped(note, small, width - 2 * size)
    band = round(size * 2.6) + row * len(class_names) + size * len(lines)
    picture = Image.new("RGB", (width, photo.height + band), "#15181C")
    picture.paste(photo, ((width - photo.width) // 2, 0))
    draw = ImageDraw.Draw(picture)

    pad, top = size, photo.height + size // 2
    order = np.argsort(-probabilities, kind="stable")
    found = {0: "no face found", 1: "1 face found"}.get(faces, f"{faces} faces found")
    draw.text((pad, top), class_names[order[0]], font=bold, fill=COLOURS[order[0] % len(COLOURS)])
    draw.text((width - pad, top + size // 3), found, font=font, fill="#AEB6BF", anchor="ra")
    names_width = max(draw.textlength(name, font=font) for name in class_names)
    numbers_width = draw.textlength("100 %", font=font)
    left, right = pad * 2 + names_width, width - pad * 2 - numbers_width
    for i, index in enumerate(order):
        y = top + size * 2 + i * row
        colour = COLOURS[index % len(COLOURS)]
        draw.text((pad, y), class_names[index], font=font, fill="#E6E9EC")
        draw.rectangle([left, y + size * 0.2, right, y + size], fill="#2A3036")
        draw.rectangle([left, y + size * 0.2, left + (right - left) * probabilities[index], y + size], fill=colour)
        share = f"{100 * probabilities[index]:.0f} %"
        draw.text((width - pad, y), share, font=font, fill="#E6E9EC", anchor="ra")
    for i, line in enumerate(lines):
        y = top + size * 2 + len(class_names) * row + i * size
        draw.text((pad, y), line, font=small, fill="#F0E442")
    return picture


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    """`text` in lines of at most `width` pixels."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def make_picture_folder(folder: Path) -> None:
    """Make `folder` for pictures; one that holds anything is refused, unless it holds earlier pictures of ours.

    Raises:
        UserError: the folder holds something else, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table = folder / PREDICTIONS
        there = any(path.name != lock_name(PREDICTIONS) for path in folder.iterdir())
        foreign = there and not table.exists() and not is_unfinished(table)
    except OSError as error:
        raise UserError(f"{folder} cannot be used for pictures: {error.strerror}") from error
    if foreign:
        raise UserError(f"{folder} is not empty and its files are not pictures of ours: choose another --output_dir")


def save_pictures(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    note: str = "",
) -> None:
    """A picture for each row, `IMAGE_ID.png` in `folder`.

    Args:
        folder: where they go.
        rows: with image_id, image and face_boxes.
        probabilities: (rows, classes).
        class_names: (classes,).
        note: as in `draw_prediction`.
    """
    for row, shares in zip(rows, probabilities, strict=True):
        buffer = io.BytesIO()
        draw_prediction(row["image"], row["face_boxes"], shares, class_names, note).save(buffer, "PNG")
        with replacing(folder / f"{row['image_id']}.png") as file:
            file.write(buffer.getvalue())
