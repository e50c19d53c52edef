"""A prediction drawn on its photo."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ger_datasets.support.atomic_files import replacing
from ger_datasets.support.errors import UserError, one_line

from ..configuration_ger import GROUPS
from .face_marks import FaceMark, draw_faces
from .resumable_table import is_unfinished, lock_name

# Okabe and Ito's palette, safe for colour-blind readers; assigned to the classes in turn.
COLOURS = ("#D55E00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#0072B2", "#E69F00")
CLASSLESS_COLOUR = "#CC79A7"  # of expressions that mean no class, such as surprise
PREDICTIONS = "predictions.parquet"  # next to the pictures; also marks a folder of pictures
PICTURE_SIDE = 1600  # pixels; larger photos are reduced, pictures being for looking at
LABELLED_SIDE, MOST_ENLARGED = 1100, 3.0  # pixels; photos with labels are enlarged to it, so that letters can be read
SMALLEST = 10  # pixels, of letters
UNKNOWN = "nothing is known"  # headline if all classes are equally probable


def expression_colour(expression: str, class_names: Sequence[str], groups: Mapping[str, str] = GROUPS) -> str:
    """The colour of the class that an expression means by its own name or by `groups` (expression -> class)."""
    meant = expression if expression in class_names else groups.get(expression)
    return COLOURS[class_names.index(meant) % len(COLOURS)] if meant in class_names else CLASSLESS_COLOUR


def draw_prediction(
    image: Image.Image,
    faces: Sequence[FaceMark],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    note: str = "",
    found: str = "",
) -> Image.Image:
    """The photo with its faces, and below it a band with each class's probability, the predicted class first.

    Args:
        image: the photo, RGB.
        faces: box and label of each face.
        probabilities: (classes,), sum 1.
        class_names: (classes,).
        note: a caveat about the figures; written below them.
        found: description of the faces in the band. Default: the number of faces that are not faint.
    """
    scale = min(1.0, PICTURE_SIDE / max(image.size))
    if any(face.texts for face in faces):
        scale = min(max(scale, LABELLED_SIDE / max(image.size)), MOST_ENLARGED)
    photo = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw_faces(photo, faces, scale)
    count = sum(not face.faint for face in faces)
    found = found or {0: "no face found", 1: "1 face found"}.get(count, f"{count} faces found")
    return _with_band(photo, probabilities, class_names, found, note)


def _with_band(
    photo: Image.Image, probabilities: np.ndarray, class_names: Sequence[str], found: str, note: str
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
    known = not equal(probabilities)
    headline, colour = (class_names[order[0]], COLOURS[order[0] % len(COLOURS)]) if known else (UNKNOWN, "#E6E9EC")
    draw.text((pad, top), headline, font=bold, fill=colour)
    fitting = _fitting(found, size, width - 3 * pad - bold.getlength(headline))
    draw.text((width - pad, top + size // 3), found, font=fitting, fill="#AEB6BF", anchor="ra")
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


def equal(probabilities: np.ndarray) -> bool:
    """Whether all probabilities or logits (classes,) are equal, so that nothing is predicted."""
    return bool(np.ptp(probabilities) < 1e-6)


def _fitting(text: str, size: int, width: float) -> Any:
    """The font of `size` pixels, or the largest smaller one in which `text` fits into `width` pixels."""
    while size > SMALLEST and ImageFont.load_default(size).getlength(text) > width:
        size -= 1
    return ImageFont.load_default(size)


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
    """Create `folder` for pictures; it must be empty or contain pictures of an earlier run.

    Raises:
        UserError: the folder holds something else, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table = folder / PREDICTIONS
        there = any(path.name != lock_name(PREDICTIONS) for path in folder.iterdir())
        foreign = there and not table.exists() and not is_unfinished(table)
    except OSError as error:
        raise UserError(f"{folder} cannot be used for pictures: {one_line(error)}") from error
    if foreign:
        raise UserError(f"{folder} is not empty and its files are not pictures of ours: choose another --output_dir")


def save_pictures(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    probabilities: np.ndarray,
    class_names: Sequence[str],
    note: str = "",
    min_face_score: float = 0.0,
) -> None:
    """A picture for each row, `IMAGE_ID.png` in `folder`.

    Args:
        folder: the output folder.
        rows: with image_id, image, face_boxes and face_scores.
        probabilities: (rows, classes).
        class_names: (classes,).
        note: as in `draw_prediction`.
        min_face_score: boxes of a lower score are drawn thin and grey.
    """
    for row, shares in zip(rows, probabilities, strict=True):
        buffer = io.BytesIO()
        scores = zip(row["face_boxes"], row["face_scores"], strict=True)
        faces = [FaceMark(box, faint=score < min_face_score) for box, score in scores]
        draw_prediction(row["image"], faces, shares, class_names, note).save(buffer, "PNG")
        with replacing(folder / f"{row['image_id']}.png") as file:
            file.write(buffer.getvalue())
