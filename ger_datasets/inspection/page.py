"""The page on a prepared dataset, from an `Inspection`. Everything that comes from the data is escaped."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..schema import features
from ..support.html_page import note, photos, section, table, text, tiles, whole_page
from .contact_sheet import Picture
from .summary import Inspection

MARKER = "group-emotion: a page on a prepared dataset"
FACE_BINS = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 6), (7, 9), (10, 12), (13, 15), (16, 20), (21, None))
# 20: the smallest face that is looked for; 96: the width of an aligned face, below which it is enlarged
SIDE_BINS = ((0, 19), (20, 29), (30, 39), (40, 59), (60, 95), (96, 127), (128, 191), (192, 255), (256, None))
OPEN_ROWS = 12  # longer tables are folded
QUIRKS = re.compile(r"^## [^\n]*quirks[^\n]*\n(.*?)(?=^## |\Z)", re.S | re.M)

STYLE = """
main { max-width: 1080px; }
h3 { font-size: .95rem; font-weight: 600; margin: 0 0 6px; overflow-wrap: anywhere; }
h3 span { color: var(--quiet); font-weight: 400; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 250px), 1fr)); gap: 18px 32px; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: 5px 10px; align-items: center;
  font-size: .9rem; font-variant-numeric: tabular-nums; margin: 0; }
.bars dt { max-width: 9em; overflow-wrap: anywhere; } .bars dd { margin: 0; display: contents; }
.bars svg { display: block; width: 100%; height: 16px; border-radius: 3px; background: var(--track); }
.bars rect { fill: var(--blue); } .bars b { font-weight: 500; text-align: right; }
.bars small { color: var(--quiet); font-size: .85em; display: inline-block; min-width: 3.2em; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; }
.sheet figure { margin: 0; min-width: 0; } .sheet figcaption { font-size: .78rem; line-height: 1.35; margin-top: 4px;
  color: var(--quiet); overflow-wrap: anywhere; } .sheet figcaption b { color: var(--ink); font-weight: 500; }
.sheet img, .sheet .lost { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain;
  border-radius: 6px; background: var(--track); }
.sheet .lost { padding: 10px; font-size: .8rem; overflow: hidden; overflow-wrap: anywhere; }
.quirks { margin: 0; padding-left: 1.2em; overflow-wrap: anywhere; } .quirks li + li { margin-top: 6px; }
summary { cursor: pointer; padding: 4px 0; }
@media (min-width: 700px) { .sheet { grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); } }
"""


def render_page(inspection: Inspection) -> str:
    """The page."""
    dataset = inspection.dataset
    parts = [
        note(dataset.notice),
        _header(inspection),
        _headline(inspection),
        _balance(inspection.labels, inspection.classes),
        _faces(inspection),
        *(_class_sheet(name, pictures, inspection.classes[name]) for name, pictures in inspection.sheet.items()),
        _quirks(dataset.text),
        _quarantine(inspection.quarantined),
        _footer(dataset.terms),
    ]
    return whole_page(f"{dataset.name}: {photos(inspection.photos)}", parts, STYLE, MARKER)


def _header(inspection: Inspection) -> str:
    splits = " · ".join(f"{text(split)} {count:,}" for split, count in inspection.dataset.rows.items())
    return f"""<header>
<p class="quiet" style="margin:0">Prepared dataset</p>
<h1>{text(inspection.dataset.name)}</h1>
<p class="quiet">{splits}</p>
</header>
"""


def _headline(inspection: Inspection) -> str:
    total, faceless = inspection.photos, inspection.faces_per_photo[0]
    shown = [
        ("Photos", f"{total:,}", f"in {len(inspection.labels)} splits"),
        ("Faces", f"{inspection.faces:,}", f"{_ratio(inspection.faces, total):.1f} per photo"),
        ("Without a face", f"{faceless:,}", f"{_ratio(faceless, total):.1%} of the photos"),
        (
            "With a skeleton image",
            f"{inspection.skeletons:,}",
            f"{_ratio(inspection.skeletons, total):.1%} of the photos",
        ),
        ("Quarantined", f"{len(inspection.quarantined):,}", "files that could not be used"),
    ]
    own = [name for name in inspection.dataset.features if name not in features()]
    about = f"Columns of its own: {text(', '.join(own))}." if own else ""
    return section("At a glance", about, tiles(shown))


def _balance(labels: Mapping[str, Counter[str]], classes: Mapping[str, int]) -> str:
    columns = []
    for split, counts in labels.items():
        bars = _bars((name, counts[name]) for name in classes)
        columns.append(f"<div><h3>{text(split)} <span>{photos(counts.total())}</span></h3>\n{bars}</div>\n")
    return section(
        "Photos per class", "Shares are of the split.", f'<div class="columns">\n{"".join(columns)}</div>\n'
    )


def _faces(inspection: Inspection) -> str:
    per_photo = _bars(_binned(inspection.faces_per_photo, FACE_BINS))
    sides = _bars(_binned(inspection.face_sides, SIDE_BINS))
    body = f"""<div class="columns">
<div><h3>Faces per photo <span>{photos(inspection.photos)}</span></h3>
{per_photo}</div>
<div><h3>Face size, pixels <span>{inspection.faces:,} faces</span></h3>
{sides}</div></div>
"""
    about = "The size is the side of a square as large as the box; aligned faces are 96 wide, smaller ones enlarged."
    return section("Faces found", about, body)


def _class_sheet(name: str, pictures: Sequence[Picture], total: int) -> str:
    figures = "".join(_figure(picture) for picture in pictures)
    about = f"{len(pictures)} of {photos(total)}, with the boxes, landmarks and skeletons that were found."
    return section(text(name), about, f'<div class="sheet">\n{figures}</div>\n')


def _figure(picture: Picture) -> str:
    found = {0: "no face", 1: "1 face"}.get(picture.faces, f"{picture.faces} faces")
    if picture.problem:
        shown = f'<div class="lost">cannot be shown: {text(picture.problem)}</div>'
    else:
        content = base64.b64encode(picture.jpeg).decode()
        shown = f'<img alt="{text(picture.image_id)}, {found}" src="data:image/jpeg;base64,{content}">'
    caption = f"<b>{found}</b> · {text(picture.split)}<br>{text(picture.image_id)}"
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>\n"


def _quirks(card: str) -> str:
    """The bullets under the card's heading on quirks: remarks and near-duplicates."""
    match = QUIRKS.search(card)
    bullets = re.findall(r"^- (.*?)(?=\n- |\n\s*\n|\Z)", match[1], re.S | re.M) if match else []
    if not bullets:
        return ""
    items = "".join(f"<li>{_prose(bullet)}</li>\n" for bullet in bullets)
    return section("Known quirks of this copy", "From the dataset's card.", f'<ul class="quirks">\n{items}</ul>\n')


def _quarantine(lines: Sequence[Mapping[str, str]]) -> str:
    if not lines:
        return section("Quarantine", "Every photo could be used.", "")
    rows = [[text(line[name]) for name in ("file", "reason", "image_id")] for line in lines]
    body = table(("File", "Reason", "Would have been"), rows, names=3, kind="stack")
    if len(lines) > OPEN_ROWS:
        body = f"<details><summary>All {len(lines):,} files</summary>\n{body}</details>\n"
    return section("Quarantine", f"{photos(len(lines))} could not be used and are not in the dataset.", body)


def _footer(terms: str) -> str:
    said = f" The card says of them: {_prose(terms)}" if terms else ""
    return f"""<footer class="quiet">
<p>This page holds photos of the dataset: what its terms say of the photos holds for the page.{said}</p>
</footer>
"""


def _bars(counts: Iterable[tuple[str, int]]) -> str:
    """Counts as bars, the longest over the whole width, with their shares of the sum."""
    counts = list(counts)
    most, total = max((count for _, count in counts), default=0), sum(count for _, count in counts)
    lines = "".join(
        f"<dt>{text(name)}</dt><dd>"
        f'<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{100 * _ratio(count, most):.2f}" height="1"/></svg>'
        f"<b>{count:,} <small>{_ratio(count, total):.1%}</small></b></dd>\n"
        for name, count in counts
    )
    return f'<dl class="bars">\n{lines}</dl>\n'


def _binned(counts: Mapping[int, int], bins: Sequence[tuple[int, int | None]]) -> list[tuple[str, int]]:
    """The counts of whole numbers within each bin, both ends inclusive; empty bins at the far end are left out."""
    binned = []
    for low, high in bins:
        name = f"{low} and more" if high is None else f"{low}" if low == high else f"{low}–{high}"
        binned.append(
            (name, sum(n for value, n in counts.items() if low <= value and (high is None or value <= high)))
        )
    while binned and not binned[-1][1]:
        binned.pop()
    return binned


def _prose(markdown: str) -> str:
    """A line of the card as HTML: `code` is set as such, and nothing else is looked at."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", text(" ".join(markdown.split())))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
