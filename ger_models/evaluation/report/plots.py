"""Figures for the report, README files and model cards, as PNG bytes. Nothing here touches pyplot's global state.

One hue in several strengths (the blue of Okabe and Ito's palette), with the numbers written out: readable in grey and
by colour-blind eyes.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, INK, QUIET, TRACK, WARNING = "#0072B2", "#1b1f24", "#5b6570", "#f1f4f6", "#8a4b00"
SHADES = LinearSegmentedColormap.from_list("shades", ["#f7fafc", "#9cc9e3", BLUE])
DARK_CELL = 0.9  # from this share on, white reads better on SHADES than ink does
LONGEST_NAME = 18
DOTS_PER_INCH = 200


def plot_confusion_matrix(
    confusion: Sequence[Sequence[int]], class_names: Sequence[str], title: str = "", note: str = ""
) -> bytes:
    """The confusion matrix: in every cell the count, and its share of the row, which also sets the colour.

    Args:
        confusion: (classes, classes) counts; rows are the truth, columns the predictions.
        class_names: (classes).
        title: one line above the figure.
        note: what must be known before believing it; below the figure, so that it travels along.

    Returns:
        A PNG.
    """
    counts = np.asarray(confusion)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    classes = len(class_names)
    labels = [_short(name) for name in class_names]
    margin = 0.62 + 0.075 * max(len(label) for label in labels)  # inches
    cell = 1.15 if classes <= 4 else max(0.62, 4.6 / classes)
    figure = Figure(figsize=(cell * classes + margin, cell * classes + 1.0), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
    size = 12.5 if classes <= 4 else 8
    for row in range(classes):
        for column in range(classes):
            share, count = shares[row, column], counts[row, column]
            color = "white" if share >= DARK_CELL else INK
            weight = "bold" if row == column else "normal"
            place: dict[str, Any] = {"ha": "center", "color": color, "parse_math": False}
            axes.text(column, row - 0.03, f"{count:,}", va="bottom", fontsize=size, fontweight=weight, **place)
            under = f"{share:.0%}" if support[row, 0] else "–"
            axes.text(column, row + 0.07, under, va="top", fontsize=size * 0.72, **place)
    slanted = classes > 4 or max(len(label) for label in labels) * 0.09 > cell
    slant = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    _name_ticks(axes.xaxis, labels, **slant)
    _name_ticks(axes.yaxis, labels)
    axes.set_xlabel("Predicted", color=QUIET, fontsize=10, labelpad=8)
    axes.set_ylabel("True", color=QUIET, fontsize=10, labelpad=8)
    axes.set_xticks(np.arange(classes - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(classes - 1) + 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color="white", linewidth=2.5)
    axes.spines[:].set_visible(False)
    _entitle(figure, title, note)
    return _png(figure)


def plot_recall(per_class: Mapping[str, Mapping[str, Any]], title: str = "", note: str = "") -> bytes:
    """Recall of every class as a bar with its 95 % interval, and where guessing would land.

    Args:
        per_class: name -> `recall`, `support` and, if known, `recall_interval`, as `compute_metrics` returns them.
        title: one line above the figure.
        note: what must be known before believing it; below the figure, so that it travels along.

    Returns:
        A PNG.
    """
    names, rows = list(per_class), list(per_class.values())
    places = np.arange(len(names))
    figure = Figure(figsize=(5.6, 0.62 * len(names) + 1.15), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.barh(places, [1.0] * len(names), height=0.56, color=TRACK)
    axes.barh(places, [row["recall"] for row in rows], height=0.56, color=BLUE)
    for place, row in enumerate(rows):
        interval = row.get("recall_interval")
        if interval:
            # a white line under the dark one keeps it visible on the bar and off it
            for color, width in (("white", 3.6), (INK, 1.5)):
                line: dict[str, Any] = {
                    "color": color,
                    "linewidth": width,
                    "marker": "|",
                    "markersize": 8,
                    "markeredgewidth": width,
                }
                axes.plot(interval, [place, place], clip_on=False, solid_capstyle="butt", **line)
        text = f"{row['recall']:.1%}" if row["support"] else "no photos"
        axes.text(1.025, place, text, va="center", fontsize=10.5, fontweight="bold", color=INK)
    chance = 1 / len(names)
    axes.plot([chance, chance], [-0.45, len(names) - 0.5], color=QUIET, linewidth=1, linestyle=(0, (3, 3)))
    axes.text(max(chance, 0.08), -0.5, f"guess {chance:.0%}", ha="center", va="bottom", fontsize=8.5, color=QUIET)
    labels = [f"{_short(name)}\nn = {row['support']:,}" for name, row in per_class.items()]
    _name_ticks(axes.yaxis, labels)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100%"])
    axes.tick_params(axis="x", colors=QUIET, labelsize=8.5, length=0)
    axes.set_xlim(0, 1.17)
    axes.set_ylim(len(names) - 0.5, -0.8)
    axes.set_xlabel("Recall, with 95% interval", color=QUIET, fontsize=9, x=0.43)
    axes.spines[:].set_visible(False)
    _entitle(figure, title, note)
    return _png(figure)


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _name_ticks(axis: Any, labels: Sequence[str], **text: Any) -> None:
    """Class names as tick labels, taken literally: a name with dollar signs is not mathematics."""
    axis.set_ticks(range(len(labels)))
    axis.set_ticklabels(labels, color=INK, fontsize=10.5, parse_math=False, **text)
    axis.set_tick_params(length=0)


def _entitle(figure: Figure, title: str, note: str) -> None:
    width = figure.get_figwidth()  # inches
    if title:
        most = int(width * 10)  # about ten letters of this size to the inch
        shown = title if len(title) <= most else title[: most - 1] + "…"
        figure.suptitle(shown, color=INK, fontsize=11, fontweight="bold", parse_math=False)
    if note:
        lines = textwrap.fill(textwrap.shorten(note, 300, placeholder=" …"), int(width * 12))
        figure.supxlabel(lines, color=WARNING, fontsize=9, fontweight="bold", parse_math=False)


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)  # inches of white around
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
