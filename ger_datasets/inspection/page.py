"""An Inspection in, the HTML page about the prepared dataset out."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..schema import FACE_COUNT_BINS, Bin, binned, features
from ..support.html_page import Markup, escape, render
from .contact_sheet import Picture
from .summary import Inspection

TEMPLATE = Path(__file__).with_name("templates") / "inspection.html"
MARKER = "group-emotion: a page on a prepared dataset"
# 20: the smallest face the detector looks for; 96: the width of an aligned face, below which it is enlarged
SIDE_BINS = ((0, 19), (20, 29), (30, 39), (40, 59), (60, 95), (96, 127), (128, 191), (192, 255), (256, None))
OPEN_ROWS = 12  # longer tables are collapsed
QUIRKS = re.compile(r"^## [^\n]*quirks[^\n]*\n(.*?)(?=^## |\Z)", re.S | re.M)


def render_page(inspection: Inspection) -> str:
    """The page."""
    dataset, total, faceless = inspection.dataset, inspection.photos, inspection.faces_per_photo[0]
    skeletons = inspection.skeletons
    headline = [
        ("Photos", f"{total:,}", f"in {len(inspection.labels)} splits"),
        ("Faces", f"{inspection.faces:,}", f"{_ratio(inspection.faces, total):.1f} per photo"),
        ("Without a face", f"{faceless:,}", f"{_ratio(faceless, total):.1%} of the photos"),
        ("With a skeleton image", f"{skeletons:,}", f"{_ratio(skeletons, total):.1%} of the photos"),
        ("Quarantined", f"{len(inspection.quarantined):,}", "files that could not be used"),
    ]

    def per_class(counts: Counter[str]) -> list[tuple[str, int]]:
        return [(name, counts[name]) for name in inspection.classes]

    return render(
        TEMPLATE,
        marker=MARKER,
        inspection=inspection,
        dataset=dataset,
        headline=headline,
        own_columns=[name for name in dataset.features if name not in features()],
        per_class=per_class,
        scaled=_scaled,
        faces_per_photo=_binned(inspection.faces_per_photo, FACE_COUNT_BINS),
        face_sides=_binned(inspection.face_sides, SIDE_BINS),
        pictures={name: [_shown(picture) for picture in sheet] for name, sheet in inspection.sheet.items()},
        quirks=[_prose(quirk) for quirk in _quirks(dataset.text)],
        quarantined=[[line[name] for name in ("file", "reason", "image_id")] for line in inspection.quarantined],
        open_rows=OPEN_ROWS,
        terms=_prose(dataset.terms),
    )


def _shown(picture: Picture) -> tuple[Picture, str, str]:
    """A picture, its number of faces in words, and its JPEG as base64."""
    found = {0: "no face", 1: "1 face"}.get(picture.faces, f"{picture.faces} faces")
    return picture, found, base64.b64encode(picture.jpeg).decode()


def _quirks(card: str) -> list[str]:
    """The bullets under the card's heading on quirks: remarks and near-duplicates."""
    match = QUIRKS.search(card)
    return re.findall(r"^- (.*?)(?=\n- |\n\s*\n|\Z)", match[1], re.S | re.M) if match else []


def _scaled(counts: Iterable[tuple[str, int]]) -> list[tuple[str, int, float, float]]:
    """Counts with the lengths of their bars, in percent of the longest, and their shares of the sum."""
    counts = list(counts)
    most, total = max((count for _, count in counts), default=0), sum(count for _, count in counts)
    return [(name, count, 100 * _ratio(count, most), _ratio(count, total)) for name, count in counts]


def _binned(counts: Mapping[int, int], bins: Sequence[Bin]) -> list[tuple[str, int]]:
    """The counts within each bin; empty bins at the far end are left out."""
    rows = binned(counts, bins)
    while rows and not rows[-1][1]:
        rows.pop()
    return rows


def _prose(markdown: str) -> Markup:
    """A paragraph of the card as HTML: `code` is formatted, everything else is plain text."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(" ".join(markdown.split())))))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
