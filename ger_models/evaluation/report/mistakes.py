"""The most confident mistakes as pictures with their face boxes and, where they are known, the faces' attention and
expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ger_datasets.support.html_page import escape

from .charts import percent


@dataclass(frozen=True)
class Picture:
    """A photo for the page.

    Attributes:
        jpeg: the photo, small; empty where it cannot be shown.
        width: of it, pixels.
        height: of it, pixels.
        face_boxes: (faces, 4), x1 y1 x2 y2 in pixels of it, most confident first.
        problem: why it cannot be shown.
        heat_of: the model whose heat map is drawn on it; empty: none is.
        expressions: (faces), the most probable of each face; empty where the dataset does not have them.
    """

    jpeg: bytes
    width: int
    height: int
    face_boxes: Sequence[Sequence[float]]
    problem: str = ""
    expressions: Sequence[str] = ()
    heat_of: str = ""


def mistakes_about(mistakes: Sequence[Mapping[str, Any]], wrong: int, pictures: Mapping[str, Picture]) -> str:
    """The line above the mistakes: how many of the `wrong` answers are shown, and what stands at the faces."""
    if not mistakes:
        return "None to show."
    about = f"{len(mistakes):,} of {wrong:,}, by the softmax probability of the wrong answer."
    if not pictures:
        return about
    if any(mistake.get("face_attention") for mistake in mistakes):
        about += " The numbers at the faces are their shares in the answer."
    if any(pictures[each["image_id"]].expressions for each in mistakes if each["image_id"] in pictures):
        about += " The words at the faces are their expressions, as the dataset has them."
    heat_of = next((picture.heat_of for picture in pictures.values()), "")
    if heat_of:
        about += f" The colours show what raised the probability of the class that {heat_of} predicts."
    return about


def mistake_table(mistakes: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table that stands in place of the pictures."""
    faces = any("faces" in each for each in mistakes)
    rows = []
    for each in mistakes:
        cells = [each["image_id"], each["label"], each["prediction"]]
        cells += [percent(each["probability"]), percent(each["probability_of_label"])]
        rows.append([*cells, *([str(each.get("faces", "–"))] if faces else [])])
    return ["Photo", "True", "Predicted", "Probability", "Of the truth", *(["Faces"] if faces else [])], rows


def faces_found(mistake: Mapping[str, Any]) -> str:
    """The number of faces for a caption; empty where it is not known."""
    count = mistake.get("faces")
    return {None: "", 0: " · no face", 1: " · 1 face"}.get(count, f" · {count} faces")


def drawing(picture: Picture, number: int, attention: Sequence[float], name: str, faces: int | None = None) -> str:
    """SVG of photo `number` of the page with its face boxes, their shares (`attention`) and their expressions; boxes
    after the first `faces`, which did not count, are thin and grey and have neither (None: all count)."""
    counted = len(picture.face_boxes) if faces is None else faces
    unit = max(picture.width, picture.height) / 240  # about a pixel of the page
    marks = []
    for i, box in enumerate(picture.face_boxes):
        x1, y1, x2, y2 = box
        place = f'x="{x1:.1f}" y="{y1:.1f}" width="{max(x2 - x1, 0):.1f}" height="{max(y2 - y1, 0):.1f}"'
        if i >= counted:
            marks.append(f'<rect class="faint" {place} stroke-width="{0.8 * unit:.1f}"/>')
            continue
        share = attention[i] if i < len(attention) else None
        width = 1.6 * unit if share is None else (1.3 + 2.2 * share) * unit
        kind = 'class="face"' if share is None else f'class="seen" fill-opacity="{0.35 * share:.2f}"'
        marks.append(f'<rect class="rim" {place} stroke-width="{width + 1.6 * unit:.1f}"/>')
        marks.append(f'<rect {kind} {place} stroke-width="{width:.1f}"/>')
    for i, box in enumerate(picture.face_boxes[:counted]):
        words = [f"{share:.0%}" for share in attention[i : i + 1]] + [*picture.expressions[i : i + 1]]
        if not words:
            continue
        x1, y1, x2, y2 = box
        size = 10.5 * unit
        y = y1 - 3 * unit if y1 > size * 1.3 else y2 + size
        marks.append(
            f'<text x="{(x1 + x2) / 2:.1f}" y="{min(y, picture.height - 2 * unit):.1f}" text-anchor="middle" '
            f'font-size="{size:.1f}" stroke-width="{2.5 * unit:.1f}">{escape(" ".join(words))}</text>'
        )
    return (
        f'<svg viewBox="0 0 {picture.width} {picture.height}" role="img" aria-label="{escape(name)}">'
        f'<use href="#photo-{number}"/>{"".join(marks)}</svg>'
    )
