"""Predictions of one model on one split -> a folder that a person opens: report.json, report.html and two figures.

    report.json             every number below, for programs
    report.html             the page: one file, no network, readable on a phone, light and dark
    confusion_matrix.png    the same two figures for a README, a model card or a slide
    recall.png

`page.py` lays the page out; this file decides what is said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ger_datasets.errors import UserError, listing
from ger_datasets.files import replacing
from ger_datasets.schema import NO_LABEL

from .metrics import compute_metrics
from .page import render_page
from .plots import plot_confusion_matrix, plot_recall
from .predictions import UNKNOWN_FACES, Predictions

FORMAT = "group-emotion report"
VERSION = 1
FILES = ("report.json", "report.html", "confusion_matrix.png", "recall.png")
FACE_BINS = ((0, 0), (1, 1), (2, 4), (5, 9), (10, None))  # from, to; both inclusive


def write_report(
    folder: str | Path,
    predictions: Predictions,
    split: str,
    note: str | None = None,
    most_mistakes: int = 20,
) -> dict[str, Any]:
    """Score `predictions` on `split` and write the report into `folder`, in place of an earlier report.

    Args:
        folder: made if missing; files of other names in it are left alone.
        predictions: one model's, on one or more splits.
        split: the split to score; its rows without a label are left out and counted.
        note: shown above everything else; default: the note that the predictions carry.
        most_mistakes: how many of the most confident mistakes to list.

    Returns:
        What report.json holds: see `make_report`.

    Raises:
        UserError: there is no such split, none of its rows has a label, the folder holds files of the report's names
            that are not a report of ours, or it cannot be written.
    """
    folder = Path(folder)
    _check_ours(folder)
    report = make_report(predictions, split, note, most_mistakes)
    metrics, title = report["metrics"], f"{report['model']} on {split}"
    contents = {
        "report.json": (json.dumps(report, indent=2) + "\n").encode(),  # first: it marks the other files as ours
        "confusion_matrix.png": plot_confusion_matrix(
            metrics["confusion_matrix"], report["class_names"], title, report["note"]
        ),
        "recall.png": plot_recall(metrics["per_class"], title, report["note"]),
        "report.html": render_page(report).encode(errors="replace"),
    }
    for name, content in contents.items():
        with replacing(folder / name) as handle:
            handle.write(content)
    return report


def make_report(
    predictions: Predictions, split: str, note: str | None = None, most_mistakes: int = 20
) -> dict[str, Any]:
    """The report as plain numbers, lists and dicts.

    Returns:
        format, version: the marker of these files.
        model, split, class_names, note.
        metrics: what `compute_metrics` returns, `rows` and `unlabelled` among it.
        baselines: `chance`, the accuracy of guessing all classes equally often; `majority` and `majority_class`, the
            accuracy of always answering the scored rows' most frequent class.
        by_faces: for photos with so many faces, their `rows` and `accuracy`; empty where no number is known.
        mistakes: the most confident first: image_id, label, prediction, its softmax `probability`, that of the true
            class, and `faces` where known.

    Raises:
        UserError: there is no such split, none of its rows has a label, or `most_mistakes` is negative.
    """
    if most_mistakes < 0:
        raise UserError(f"most_mistakes must be at least 0, found {most_mistakes}")
    chosen = predictions.select(split)
    names = chosen.class_names
    metrics = compute_metrics(chosen.labels, chosen.logits, names)
    support = [row["support"] for row in metrics["per_class"].values()]
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": chosen.model,
        "split": split,
        "class_names": list(names),
        "note": chosen.note if note is None else note,
        "metrics": metrics,
        "baselines": {
            "chance": 1 / len(names),
            "majority": max(support) / metrics["rows"],
            "majority_class": names[int(np.argmax(support))],
        },
        "by_faces": _by_faces(chosen),
        "mistakes": _mistakes(chosen, most_mistakes),
    }


def _by_faces(chosen: Predictions) -> list[dict[str, Any]]:
    if chosen.faces is None:
        return []
    correct = chosen.logits.argmax(axis=1) == chosen.labels  # (rows,)
    bins = []
    for low, high in FACE_BINS:
        inside = (chosen.labels != NO_LABEL) & (chosen.faces != UNKNOWN_FACES) & (chosen.faces >= low)
        if high is not None:
            inside &= chosen.faces <= high
        if inside.any():
            bins.append(
                {"from": low, "to": high, "rows": int(inside.sum()), "accuracy": float(correct[inside].mean())}
            )
    return bins


def _mistakes(chosen: Predictions, most: int) -> list[dict[str, Any]]:
    probabilities = _softmax(chosen.logits)  # (rows, classes)
    predicted = chosen.logits.argmax(axis=1)  # (rows,)
    wrong = np.flatnonzero((predicted != chosen.labels) & (chosen.labels != NO_LABEL))
    wrong = sorted(wrong, key=lambda row: (-probabilities[row, predicted[row]], chosen.image_ids[row]))
    mistakes = []
    for row in wrong[:most]:
        mistake = {
            "image_id": chosen.image_ids[row],
            "label": chosen.class_names[chosen.labels[row]],
            "prediction": chosen.class_names[predicted[row]],
            "probability": float(probabilities[row, predicted[row]]),
            "probability_of_label": float(probabilities[row, chosen.labels[row]]),
        }
        if chosen.faces is not None and chosen.faces[row] != UNKNOWN_FACES:
            mistake["faces"] = int(chosen.faces[row])
        mistakes.append(mistake)
    return mistakes


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def _check_ours(folder: Path) -> None:
    """Refuse a folder where the report would take the place of somebody else's files."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder for the report")
    there = [name for name in FILES if (folder / name).exists()]
    if there and not _is_report(folder / "report.json"):
        raise UserError(
            f"{folder} holds {listing(there)}, not written by this report; name another folder or move them away"
        )


def _is_report(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8") as handle:
            content = json.load(handle)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT
