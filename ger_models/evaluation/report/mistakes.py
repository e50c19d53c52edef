"""The most confident mistakes as pictures with their face boxes and, where they are known, the faces' attention and
expressions."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ger_datasets.support.html_page import section, table, text

from .charts import percent

STYLE = """
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 230px), 1fr)); gap: 18px; }
@media (max-width: 560px) { .mistakes { grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px; } }
.mistakes figure { margin: 0; min-width: 0; }
.mistakes svg, .mistakes .lost { display: block; width: 100%; aspect-ratio: 4 / 3; border-radius: 8px;
  background: var(--track); }
.mistakes .lost { padding: 12px; font-size: .85rem; color: var(--quiet); overflow: hidden; overflow-wrap: anywhere; }
.mistakes figcaption { font-size: .85rem; margin-top: 6px; overflow-wrap: anywhere; }
.mistakes figcaption b { font-weight: 600; } .mistakes figcaption small { display: block; color: var(--quiet);
  font-size: .92em; }
.mistakes rect { fill: none; } .mistakes .rim { stroke: #000; stroke-opacity: .65; }
.mistakes .face { stroke: #fff; } .mistakes .seen { stroke: #f0e442; fill: #f0e442; }
.mistakes text { fill: #fff; stroke: #000; stroke-opacity: .8; paint-order: stroke; font-weight: 600;
  font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True)
class Picture:
    """A photo for the page.

    Attributes:
        jpeg: the photo, small; empty where it cannot be shown.
        width: of it, pixels.
        height: of it, pixels.
        face_boxes: (faces, 4), x1 y1 x2 y2 in pixels of it, most confident first.
        problem: why it cannot be shown.
        expressions: (faces), the most probable of each face; empty where the dataset does not have them.
    """

    jpeg: bytes
    width: int
    height: int
    face_boxes: Sequence[Sequence[float]]
    problem: str = ""
    expressions: Sequence[str] = ()


def picture_store(pictures: Mapping[str, Picture]) -> str:
    """Every photo once, however many results show it."""
    images = "".join(
        f'<image id="{_name(number)}" width="{picture.width}" height="{picture.height}" '
        f'href="data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode()}"/>\n'
        for number, picture in enumerate(pictures.values())
        if not picture.problem
    )
    hidden = 'width="0" height="0" style="position:absolute" aria-hidden="true"'
    return f"<svg {hidden}><defs>\n{images}</defs></svg>\n" if images else ""


def mistakes_section(mistakes: Sequence[Mapping[str, Any]], wrong: int, pictures: Mapping[str, Picture]) -> str:
    """The section on one result's mistakes: a sheet of pictures where there are any, else a table."""
    title = "Most confident mistakes"
    if not mistakes:
        return section(title, "None to show.", "")
    about = f"{len(mistakes):,} of {wrong:,}, by the softmax probability of the wrong answer."
    if not pictures:
        return section(title, about, _table(mistakes))
    if any(mistake.get("face_attention") for mistake in mistakes):
        about += " The numbers at the faces are their shares in the answer."
    shown = [pictures[mistake["image_id"]] for mistake in mistakes if mistake["image_id"] in pictures]
    if any(picture.expressions for picture in shown):
        about += " The words at the faces are their expressions, as the dataset has them."
    numbers = {image_id: number for number, image_id in enumerate(pictures)}
    figures = "".join(
        _figure(mistake, pictures.get(mistake["image_id"]), numbers.get(mistake["image_id"], -1))
        for mistake in mistakes
    )
    return section(title, about, f'<div class="mistakes">\n{figures}</div>\n')


def _table(mistakes: Sequence[Mapping[str, Any]]) -> str:
    faces = any("faces" in each for each in mistakes)
    rows = []
    for each in mistakes:
        cells = [text(each["image_id"]), text(each["label"]), text(each["prediction"])]
        cells += [percent(each["probability"]), percent(each["probability_of_label"])]
        rows.append((*cells, *([str(each.get("faces", "–"))] if faces else [])))
    heads = ("Photo", "True", "Predicted", "Probability", "Of the truth", *(["Faces"] if faces else []))
    return table(heads, rows, names=3, kind="stack")


def _figure(mistake: Mapping[str, Any], picture: Picture | None, number: int) -> str:
    found = {None: "", 0: " · no face", 1: " · 1 face"}.get(mistake.get("faces"), f" · {mistake.get('faces')} faces")
    if picture is None or picture.problem:
        reason = picture.problem if picture else "not in the dataset"
        shown = f'<div class="lost">cannot be shown: {text(reason)}</div>'
    else:
        shown = _drawing(picture, number, mistake.get("face_attention") or (), mistake["image_id"])
    return f"""<figure>{shown}<figcaption><b>{text(mistake["prediction"])}</b> {percent(mistake["probability"])},
truly <b>{text(mistake["label"])}</b> {percent(mistake["probability_of_label"])}
<small>{text(mistake["image_id"])}{found}</small></figcaption></figure>
"""


def _drawing(picture: Picture, number: int, attention: Sequence[float], name: str) -> str:
    unit = max(picture.width, picture.height) / 240  # about a pixel of the page
    marks = []
    for i, box in enumerate(picture.face_boxes):
        x1, y1, x2, y2 = box
        place = f'x="{x1:.1f}" y="{y1:.1f}" width="{max(x2 - x1, 0):.1f}" height="{max(y2 - y1, 0):.1f}"'
        share = attention[i] if i < len(attention) else None
        width = 1.6 * unit if share is None else (1.3 + 2.2 * share) * unit
        kind = 'class="face"' if share is None else f'class="seen" fill-opacity="{0.35 * share:.2f}"'
        marks.append(f'<rect class="rim" {place} stroke-width="{width + 1.6 * unit:.1f}"/>')
        marks.append(f'<rect {kind} {place} stroke-width="{width:.1f}"/>')
    for i, box in enumerate(picture.face_boxes):
        words = [f"{share:.0%}" for share in attention[i : i + 1]] + [*picture.expressions[i : i + 1]]
        if not words:
            continue
        x1, y1, x2, y2 = box
        size = 10.5 * unit
        y = y1 - 3 * unit if y1 > size * 1.3 else y2 + size
        marks.append(
            f'<text x="{(x1 + x2) / 2:.1f}" y="{min(y, picture.height - 2 * unit):.1f}" text-anchor="middle" '
            f'font-size="{size:.1f}" stroke-width="{2.5 * unit:.1f}">{text(" ".join(words))}</text>'
        )
    return (
        f'<svg viewBox="0 0 {picture.width} {picture.height}" role="img" aria-label="{text(name)}">'
        f'<use href="#{_name(number)}"/>{"".join(marks)}</svg>'
    )


def _name(number: int) -> str:
    return f"photo-{number}"
