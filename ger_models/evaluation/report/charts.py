"""Figures of the report's page as inline SVG and HTML: bars with intervals, reliability, weights, the triangle of all
weightings, agreement. Colours are the page's variables, so that one figure serves light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from ger_datasets.support.html_page import escape as text

CELL_LEAST, CELL_MOST = 0.05, 0.8  # of the hue in a cell, so that the same ink is readable on every cell
TRIANGLE_MOST = 5151  # weightings, a step of 0.01; more are not drawn


def percent(share: float) -> str:
    """A share of one for people.

    >>> percent(0.1234)
    '12.3%'
    """
    return f"{share:.1%}"


def percent_range(interval: Sequence[float]) -> str:
    """An interval for people.

    >>> percent_range((0.12, 0.34))
    '12.0–34.0%'
    """
    low, high = interval
    return f"{low * 100:.1f}–{high:.1%}"


def bar(share: float, interval: Sequence[float] | None = None) -> str:
    """A share from 0 to 1 as a bar, with its interval as a bracket."""
    bracket = ""
    if interval is not None:
        low, high = interval
        bracket = f'<u style="left:{low:.2%};right:{1 - high:.2%}"></u>'
    return f'<span class="bar"><i style="width:{share:.2%}"></i>{bracket}</span>'


def share_cell(share: float, interval: Sequence[float] | None = None) -> str:
    """The same with the number and the range above it."""
    shown_range = f"<small>{percent_range(interval)}</small>" if interval is not None else ""
    return f"{percent(share)}{shown_range}{bar(share, interval)}"


def confusion_table(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Counts, and shares of the row, which set the colour."""
    rows = []
    for index, (name, counts) in enumerate(zip(names, confusion, strict=True)):
        total, cells = sum(counts), []
        for column, count in enumerate(counts):
            share = count / total if total else 0.0
            under = f"{share:.0%}" if total else "–"
            cells.append(_cell(f"{count:,}<small>{under}</small>", share, hit=column == index))
        rows.append((name, cells))
    return _heat(names, rows, corner=("True", "Predicted"), least=64)


def agreement_table(agreement: Mapping[str, Any]) -> str:
    """For each two models the share of photos on which they say the same, and on how many both are wrong."""
    names, rows = agreement["models"], []
    for i, name in enumerate(names):
        cells = []
        for j in range(len(names)):
            share, wrong = agreement["agree"][i][j], agreement["both_wrong"][i][j]
            about = f"{wrong:,} wrong" if i == j else f"{wrong:,} both wrong"
            shown = f"{'–' if i == j else f'{share:.0%}'}<small>{about}</small>"
            cells.append(_cell(shown, 0.0 if i == j else share, hit=False))
        rows.append((name, cells))
    return _heat(names, rows, least=80, kind="small")


def _cell(shown: str, share: float, hit: bool) -> str:
    mark = ' class="hit"' if hit else ""
    return f'<td{mark} style="--share:{CELL_LEAST + (CELL_MOST - CELL_LEAST) * share:.3f}">{shown}</td>'


def _heat(
    names: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    corner: tuple[str, str] | None = None,
    least: int = 64,
    kind: str = "",
) -> str:
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in names)
    body = "".join(f'<tr><th scope="row">{text(name)}</th>{"".join(cells)}</tr>\n' for name, cells in rows)
    above, beside = "", ""
    if corner:
        beside = corner[0]
        above = f'<tr><th></th><th class="axis" colspan="{len(names)}">{corner[1]}</th></tr>\n'
    return f"""<div class="wide"><table class="heat {kind}" style="--least:{least * (len(names) + 1)}px">
<thead>{above}<tr><th class="axis" style="text-align:right">{beside}</th>{heads}</tr></thead>
<tbody>
{body}</tbody></table></div>
"""


def reliability_chart(bins: Sequence[Mapping[str, Any]]) -> str:
    """Of photos whose answer was given such a probability, the share that was right; and how many there are."""
    left, top, side, strip = 40, 12, 300, 44  # pixels of the drawing
    base = top + side
    under = base + 20 + strip
    most = max(each["rows"] for each in bins)
    total = sum(each["rows"] for each in bins)
    lines = []
    for tenth in range(0, 11, 2):
        x, y, name = left + side * tenth / 10, base - side * tenth / 10, f"{tenth * 10}"
        lines.append(f'<path class="grid" d="M{left} {y:.1f}H{left + side}"/>')
        lines.append(f'<text x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
        lines.append(f'<text x="{x:.1f}" y="{under + 16}" text-anchor="middle">{name}</text>')
    for each in bins:
        x, width = left + side * each["from"], side * (each["to"] - each["from"])
        height, count = side * each["accuracy"], strip * each["rows"] / most
        told = (
            f"{each['rows']:,} photos given {each['confidence']:.1%} on average: {each['accuracy']:.1%} of them right"
        )
        lines.append(
            f'<g><title>{told}</title><rect class="fill" fill-opacity=".28" x="{x + 0.75:.1f}" '
            f'y="{base - height:.1f}" width="{width - 1.5:.1f}" height="{height:.1f}"/>'
            f'<rect class="fill" fill-opacity=".55" x="{x + 0.75:.1f}" y="{under - count:.1f}" '
            f'width="{width - 1.5:.1f}" height="{count:.1f}"/>'
            f'<circle class="dot" cx="{left + side * each["confidence"]:.1f}" cy="{base - height:.1f}" '
            f'r="{3 + 6 * sqrt(each["rows"] / total):.1f}"/></g>'
        )
    ideal = f'<path class="ideal" fill="none" d="M{left} {base}L{left + side} {top}"/>'
    return f"""<svg class="chart" viewBox="0 0 {left + side + 12} {under + 38}" role="img"
aria-label="Share of right answers by the probability given, in {len(bins)} bins">
{"".join(lines)}{ideal}
<path class="grid" d="M{left} {under}H{left + side}"/>
<text x="{left + 6}" y="{top + 14}">Right, %</text>
<text x="{left + 6}" y="{under - strip + 4}">Photos</text>
<text x="{left + side / 2}" y="{under + 34}" text-anchor="middle">Probability given, %</text>
</svg>
"""


def weight_bars(members: Sequence[str], weights: Sequence[float]) -> str:
    """The members of an ensemble and the sizes of their weights, the largest over the whole width."""
    most = max(*map(abs, weights), 1e-12)
    lines = "".join(
        f"<dt>{text(name)}</dt><dd>{bar(abs(weight) / most)}<b>{weight:.3g}</b></dd>\n"
        for name, weight in zip(members, weights, strict=True)
    )
    return f'<dl class="weights">\n{lines}</dl>\n'


def weight_triangle(
    members: Sequence[str],
    weightings: Sequence[Sequence[float]],
    accuracies: Sequence[float],
    chosen: Sequence[float],
) -> str:
    """All weightings of three members: a point's nearness to a corner is that member's weight.

    Args:
        members: their three names.
        weightings: (points, 3), each of sum 1, on a regular grid.
        accuracies: (points) of each weighting.
        chosen: (3) the weighting that was taken.
    """
    left, top, side = 30.0, 30.0, 300.0  # pixels of the drawing
    height = side * sqrt(3) / 2

    def place(weights: Sequence[float]) -> tuple[float, float]:
        first, _, third = weights  # the first on top, the second left, the third right
        return left + side * (third + first / 2), top + height * (1 - first)

    steps = round(1 / min(weight for weights in weightings for weight in weights if weight > 1e-9))
    low, high = min(accuracies), max(accuracies)
    spread = max(high - low, 1e-12)
    radius = side / steps / sqrt(3)
    corners = [(0, -1), (0.866, -0.5), (0.866, 0.5), (0, 1), (-0.866, 0.5), (-0.866, -0.5)]
    hexagon = "M" + "L".join(f"{x * radius:.2f} {y * radius:.2f}" for x, y in corners) + "Z"
    cells = []
    for weights, accuracy in zip(weightings, accuracies, strict=True):
        x, y = place(weights)
        strength = 0.06 + 0.94 * ((accuracy - low) / spread) ** 2  # squared: the top is what is looked for
        about = " · ".join(f"{weight:.3g}" for weight in weights)
        cells.append(
            f'<use class="fill" href="#hexagon" x="{x:.1f}" y="{y:.1f}" fill-opacity="{strength:.2f}">'
            f"<title>{about}: {accuracy:.2%}</title></use>"
        )
    best = max(range(len(accuracies)), key=accuracies.__getitem__)
    (bx, by), (cx, cy) = place(weightings[best]), place(chosen)
    mark = max(radius, 6.5)
    diamond = f"M{bx:.1f} {by - mark - 2:.1f}l{mark + 2:.1f} {mark + 2:.1f}l{-mark - 2:.1f} {mark + 2:.1f}"
    diamond += f"l{-mark - 2:.1f} {-mark - 2:.1f}Z"
    circle = f'cx="{cx:.1f}" cy="{cy:.1f}" r="{mark:.1f}"'
    names = [text(name if len(name) <= 24 else name[:23] + "…") for name in members]
    base = top + height
    shades = "".join(
        f'<rect class="fill" x="{left + 100 + 10 * i}" y="{base + 42:.1f}" width="10" height="10" '
        f'fill-opacity="{0.06 + 0.94 * (i / 9) ** 2:.2f}"/>'
        for i in range(10)
    )
    return f"""<svg class="chart" viewBox="0 0 {left * 2 + side:.0f} {base + 62:.0f}" role="img"
aria-label="Accuracy of {len(accuracies)} weightings of three models">
<defs><path id="hexagon" d="{hexagon}"/></defs>
{"".join(cells)}
<path class="rim" d="{diamond}"/><path class="best" d="{diamond}"><title>the best</title></path>
<circle class="rim" {circle}/><circle class="chosen" {circle}><title>the chosen one</title></circle>
<text class="strong" x="{left + side / 2:.0f}" y="14" text-anchor="middle">{names[0]}</text>
<text class="strong" x="0" y="{base + 24:.1f}">{names[1]}</text>
<text class="strong" x="{left * 2 + side:.0f}" y="{base + 24:.1f}" text-anchor="end">{names[2]}</text>
<text x="{left + 94}" y="{base + 51:.1f}" text-anchor="end">{low:.1%}</text>{shades}
<text x="{left + 206}" y="{base + 51:.1f}">{high:.1%}</text>
</svg>
"""
