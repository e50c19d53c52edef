"""The curves of a training run as a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .plots import BLUE, DOTS_PER_INCH, INK, QUIET, TRACK, _entitle, _png

ORANGE = "#D55E00"  # of Okabe and Ito's palette, beside BLUE


def plot_curves(history: Sequence[Mapping[str, Any]], best_epoch: int, title: str = "", note: str = "") -> bytes:
    """Loss and accuracy of training and validation over the epochs, the best epoch marked.

    Args:
        history: one entry for each epoch, with `epoch`, `loss`, `accuracy`, `validation_log_loss` and
            `validation_accuracy`.
        best_epoch: the one whose weights were kept.
        title: one line above the figure.
        note: what must be known before believing it; below the figure, so that it travels along.

    Returns:
        A PNG.
    """
    figure = Figure(figsize=(8.4, 3.6), dpi=DOTS_PER_INCH, layout="constrained")
    epochs = [entry["epoch"] for entry in history]
    panels = (
        ("Loss", "loss", "validation_log_loss"),
        ("Accuracy", "accuracy", "validation_accuracy"),
    )
    for axes, (name, trained, validated) in zip(figure.subplots(1, 2), panels, strict=True):
        for key, color, label, dash in ((trained, ORANGE, "train", (4, 2)), (validated, BLUE, "validation", ())):
            values = [entry[key] for entry in history]
            style = {"color": color, "linewidth": 1.8, "dashes": dash} if dash else {"color": color, "linewidth": 1.8}
            axes.plot(epochs, values, label=label, marker="o", markersize=3.2, **style)
        axes.axvline(best_epoch, color=QUIET, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
        best = next(entry[validated] for entry in history if entry["epoch"] == best_epoch)
        axes.plot([best_epoch], [best], marker="o", markersize=8, markerfacecolor="none", color=INK)
        early = best_epoch <= (epochs[0] + epochs[-1]) / 2
        axes.annotate(
            f"epoch {best_epoch}: {best:.3f}",
            (best_epoch, 0.03),  # at the foot of the line, where no curve runs
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            xytext=(6 if early else -6, 0),
            ha="left" if early else "right",
            fontsize=9,
            color=INK,
        )
        axes.set_title(name, fontsize=10.5, color=INK, loc="left")
        axes.set_xlabel("Epoch", color=QUIET, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(colors=QUIET, labelsize=8.5, length=0)
        axes.grid(color=TRACK, linewidth=1.2)
        axes.set_axisbelow(True)
        axes.margins(y=0.16)
        axes.spines[:].set_visible(False)
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    figure.axes[1].set_ylim(0, 1.05)
    _entitle(figure, title, note)
    return _png(figure)
