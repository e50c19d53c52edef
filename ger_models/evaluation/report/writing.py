"""Predictions of one or several models on one or several splits -> a folder with a report.

    report.json             every number below, for programs
    report.html             the page: one file, no network, readable on a phone, light and dark
    card.md                 the figures for a model card, with the metadata that the Hub shows
    confusion_matrix.png    two figures of the first result for a README, a model card or a slide
    recall.png

`page.py` lays the page out and `card.py` the card; this file computes the content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.atomic_files import replacing
from ger_datasets.support.errors import UserError
from ger_datasets.support.locks import LOCK, alone

from ..comparison import compare
from ..coverage import coverage_figures
from ..ensemble.routed import by_route
from ..joining import join
from ..metrics import compute_metrics
from ..own_folder import check_own
from ..predictions import UNKNOWN_FACES, Predictions
from .card import render_card
from .mistakes import Picture
from .page import render_page
from .plots import plot_confusion_matrix, plot_recall

FORMAT = "group-emotion report"
VERSION = 2
FILES = ("report.json", "report.html", "card.md", "confusion_matrix.png", "recall.png")
SELECTION_NOTE = "{model} was chosen on {split}: its figures there are higher than on new photos"


def write_report(
    folder: str | Path,
    predictions: Predictions | Sequence[Predictions],
    split: str | Sequence[str],
    note: str | None = None,
    most_mistakes: int = 20,
    ensemble: Mapping[str, Any] | None = None,
    dataset: str = "",
    show: Callable[[Sequence[str]], Mapping[str, Picture]] | None = None,
) -> dict[str, Any]:
    """Score `predictions` on `split` and write the report into `folder`, in place of an earlier report.

    Args:
        folder: made if missing; files of other names in it are left alone.
        predictions: of one model or several, the one that matters most first.
        split: the split to score, or several; rows without a label are left out and counted.
        note: shown above everything else; default: the notes that the predictions carry.
        most_mistakes: how many of the most confident mistakes of each result to list.
        ensemble: how one of `predictions` was made of others: see `make_report`.
        dataset: what the card calls the dataset.
        show: answers image_ids with photos for the page; None: the mistakes are listed in a table.

    Returns:
        What report.json holds: see `make_report`.

    Raises:
        UserError: there is no such split, none of its rows has a label, the models were given other photos, the folder
            holds files of the report's names that are not a report of ours, another process writes one there, or it
            cannot be written.
    """
    folder = Path(folder)
    check_own(folder, FILES, "report", FORMAT)
    report = make_report(predictions, split, note, most_mistakes, ensemble)
    metrics, title = report["metrics"], f"{report['model']} on {report['split']}"
    results = [report, *report["others"]]
    mistaken = dict.fromkeys(mistake["image_id"] for result in results for mistake in result["mistakes"])
    pictures = show(list(mistaken)) if show else {}
    contents = {
        "report.json": (json.dumps(report, indent=2) + "\n").encode(),  # first: it marks the other files as ours
        "confusion_matrix.png": plot_confusion_matrix(
            metrics["confusion_matrix"], report["class_names"], title, report["note"]
        ),
        "recall.png": plot_recall(metrics["per_class"], title, report["note"]),
        "card.md": render_card(report, dataset).encode(errors="replace"),
        "report.html": render_page(report, pictures).encode(errors="replace"),
    }
    with alone(folder / LOCK, f"writing into {folder}"):
        for name, content in contents.items():
            with replacing(folder / name) as handle:
                handle.write(content)
    return report


def make_report(
    predictions: Predictions | Sequence[Predictions],
    split: str | Sequence[str],
    note: str | None = None,
    most_mistakes: int = 20,
    ensemble: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report as plain numbers, lists and dicts.

    Args:
        ensemble: how the first model was made of others: `members` and `weights` or `routes`, and as far as known
            `method`, `select` (the split that chose the weights), `selection_on_report` (whether it was reported on
            that split) and `landscape`: the `weights` of all weightings, the `accuracy` of each and the `split` it is
            of. The others: as `write_report`.

    Returns:
        format, version: the marker of these files.
        note: what must be known before believing any of it; every choice on a scored split stands here too.
        ensemble: as given, or None.
        comparisons: what `comparison.compare` returns for each two models on a split, `models` and `split` with it;
            the earlier of the two is the second: what it has gained.
        agreement: for each split `models`, the shares of photos on which two `agree` (models, models), and how many
            photos are `both_wrong` (models, models).
        others: all results but the first, each with the keys that follow; here they stand for the first result, the
            first model on the first split:
        model, split, class_names, note, model_revision, dataset_revision.
        selection_on_report: whether the model was chosen on this very split.
        metrics: what `compute_metrics` returns, `rows` and `unlabelled` among it.
        baselines: `chance`, the accuracy of guessing all classes equally often; `majority` and `majority_class`, the
            accuracy of always answering the scored rows' most frequent class.
        only: the route whose photos alone were scored, such as `faces`; empty: no photo was left out.
        by_route: of a routed ensemble, the figures of each route's photos: see `routed.by_route`.
        calibration: of a calibrated model, what `coverage.coverage_figures` returns; else None.
        by_faces: for photos with so many faces, their `rows`, `accuracy` and `accuracy_interval`; empty where no
            number is known.
        mistakes: the most confident first: image_id, label, prediction, its softmax `probability`, that of the true
            class, and where known `faces` and `face_attention`, the shares of the most confident faces.

    Raises:
        UserError: there is no such split, none of its rows has a label, the models were given other photos, or
            `most_mistakes` is negative.
    """
    if most_mistakes < 0:
        raise UserError(f"most_mistakes must be at least 0, found {most_mistakes}")
    models = [predictions] if isinstance(predictions, Predictions) else list(predictions)
    splits = [split] if isinstance(split, str) else list(dict.fromkeys(split))
    joined = {name: join(models, name) for name in splits}
    results = [_result(chosen, name, most_mistakes) for name in splits for chosen in joined[name]]
    marks = []
    for result in results:
        result["selection_on_report"] = result["model"] == models[0].model and _chosen_on(result["split"], ensemble)
        if result["selection_on_report"]:
            marks.append(SELECTION_NOTE.format(model=result["model"], split=result["split"]))
            result["note"] = "; ".join(filter(None, (marks[-1], result["note"])))
    notes = dict.fromkeys([*marks, *filter(None, (chosen.remarks for chosen in models))])
    first, *others = results
    return {
        "format": FORMAT,
        "version": VERSION,
        **first,
        "note": "; ".join(notes if note is None else filter(None, [*marks, note])),
        "ensemble": dict(ensemble) if ensemble else None,
        "comparisons": [
            _compared(second, first, name) for name in splits for first, second in combinations(joined[name], 2)
        ],
        "agreement": [_agreement(joined[name], name) for name in splits if len(models) > 1],
        "others": others,
    }


def _result(chosen: Predictions, split: str, most_mistakes: int) -> dict[str, Any]:
    names = chosen.class_names
    metrics = compute_metrics(chosen.labels, chosen.logits, names, groups=chosen.groups, faces=chosen.faces)
    by_faces = metrics.pop("by_faces")
    support = [row["support"] for row in metrics["per_class"].values()]
    return {
        "model": chosen.model,
        "split": split,
        "class_names": list(names),
        "note": chosen.remarks,
        "only": chosen.only,
        "model_revision": chosen.model_revision,
        "dataset_revision": chosen.dataset_revision,
        "metrics": metrics,
        "baselines": {
            "chance": 1 / len(names),
            "majority": max(support) / metrics["rows"],
            "majority_class": names[int(np.argmax(support))],
        },
        "calibration": coverage_figures(chosen),
        "by_faces": by_faces,
        "by_route": by_route(chosen),
        "mistakes": _mistakes(chosen, most_mistakes),
    }


def _chosen_on(split: str, ensemble: Mapping[str, Any] | None) -> bool:
    """Whether the ensemble's weights were chosen on `split`; where no split is named, its own mark is believed."""
    if not ensemble:
        return False
    return ensemble["select"] == split if ensemble.get("select") else bool(ensemble.get("selection_on_report"))


def _compared(first: Predictions, second: Predictions, split: str) -> dict[str, Any]:
    """The second's accuracy minus the first's, and so on."""
    result = compare(first.labels, first.logits, second.logits, groups=first.groups)
    return {"split": split, "models": [first.model, second.model], **result}


def _agreement(joined: Sequence[Predictions], split: str) -> dict[str, Any]:
    known = joined[0].labels != NO_LABEL
    labels = joined[0].labels[known]
    predicted = np.stack([chosen.logits.argmax(axis=1)[known] for chosen in joined])  # (models, photos)
    same = (predicted[:, None] == predicted).mean(axis=2)  # (models, models)
    wrong = predicted != labels
    both = (wrong[:, None] & wrong).sum(axis=2)
    return {
        "split": split,
        "models": [chosen.model for chosen in joined],
        "agree": same.tolist(),
        "both_wrong": both.tolist(),
    }


def _mistakes(chosen: Predictions, most: int) -> list[dict[str, Any]]:
    probabilities = softmax(chosen.logits.astype(np.float64), axis=1)  # (rows, classes)
    predicted = chosen.logits.argmax(axis=1)  # (rows,)
    found = np.flatnonzero((predicted != chosen.labels) & (chosen.labels != NO_LABEL)).tolist()
    wrong = sorted(found, key=lambda row: (-probabilities[row, predicted[row]], chosen.image_ids[row]))
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
        shares = None if chosen.face_attention is None else chosen.face_attention[row]
        if shares is not None:
            mistake["face_attention"] = [round(share, 4) for share in shares]
        mistakes.append(mistake)
    return mistakes
