"""A calibrated model's predictions -> how often their prediction sets hold the truth, how large they are, and what
calibration did to the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ger_datasets.schema import NO_LABEL

from .calibration import SCORES, prediction_sets
from .metrics import compute_metrics
from .metrics.group_emotion.bootstrap import draws, interval, unit_sums, units_of
from .metrics.group_emotion.figures import wilson
from .predictions import Predictions

RESAMPLES, SEED = 2000, 0
PROBABILITY_METRICS = ("log_loss", "ece")  # those that a temperature changes


def coverage_figures(chosen: Predictions) -> dict[str, Any] | None:
    """The figures of a calibrated model on the labelled rows of one split; None if it is not calibrated.

    Returns:
        temperature, coverage (the share that was promised), photos (that it was fitted on), dataset, split.
        fitted_here: whether it was fitted on this very split, where its figures are better than on new photos.
        before, after: `log_loss`, `ece` and their intervals, of the plain and of the calibrated probabilities.
        sets: for each score in `SCORES` what follows, `per_class` for each class: `rows`, `coverage` (the share of
            sets that hold the truth) and `mean_size`, each with `_interval` (95 %; Wilson's for coverage without
            groups, else the bootstrap's); None where there are no rows. `sizes`: how many sets hold 1, 2, ... classes.
    """
    calibration = chosen.calibration
    if calibration is None:
        return None
    known = chosen.take(np.flatnonzero(chosen.labels != NO_LABEL).tolist())
    about = {name: calibration.get(name, "") for name in ("dataset", "split")}
    revisions = {calibration.get("dataset_revision"), chosen.dataset_revision} - {None, ""}
    return {
        **{name: calibration[name] for name in ("temperature", "coverage", "photos")},
        **about,
        "fitted_here": about["split"] in known.splits and len(revisions) < 2,
        "before": _metrics(known, 1.0),
        "after": _metrics(known, calibration["temperature"]),
        "sets": {score: _sets(known, score) for score in SCORES},
    }


def _metrics(known: Predictions, temperature: float) -> dict[str, Any]:
    metrics = compute_metrics(known.labels, known.logits / temperature, known.class_names, groups=known.groups)
    return {f"{name}{end}": metrics[f"{name}{end}"] for name in PROBABILITY_METRICS for end in ("", "_interval")}


def _sets(known: Predictions, score: str) -> dict[str, Any]:
    held = prediction_sets(known.logits, known.calibration or {}, score)  # (rows, classes)
    hits, sizes = held[np.arange(len(held)), known.labels], held.sum(1)
    chosen = [np.ones(len(held), bool), *(known.labels == index for index in range(len(known.class_names)))]
    drawn = _resampled(hits, sizes, chosen, known.groups)
    whole, *classes = [
        _figures(hits[of], sizes[of], drawn[:, place], _grouped(known.groups)) for place, of in enumerate(chosen)
    ]
    return {
        **whole,
        "sizes": np.bincount(sizes, minlength=held.shape[1] + 1)[1:].tolist(),
        "per_class": dict(zip(known.class_names, classes, strict=True)),
    }


def _resampled(
    hits: np.ndarray, sizes: np.ndarray, chosen: Sequence[np.ndarray], groups: Sequence[str] | None
) -> np.ndarray:
    """(coverage and mean size, subsets, resamples), NaN where a resample has none of a subset.

    Args:
        hits: (rows,) bool.
        sizes: (rows,).
        chosen: the subsets' rows, each (rows,) bool.
        groups: of the rows, drawn together; or None.
    """
    unit, units = units_of(groups, len(hits))
    columns = [values * of for values in (np.ones(len(hits)), hits, sizes) for of in chosen]
    statistics = unit_sums(np.stack(columns, 1).astype(np.float64), unit, units)  # (units, 3 * subsets)
    sums = np.concatenate([statistics.T @ weights for weights in draws(units, RESAMPLES, SEED)], axis=1)
    rows, *others = sums.reshape(3, len(chosen), -1)
    with np.errstate(invalid="ignore"):
        return np.stack(others) / np.where(rows > 0, rows, np.nan)


def _grouped(groups: Sequence[str] | None) -> bool:
    return groups is not None and len(set(groups)) < len(groups)


def _figures(hits: np.ndarray, sizes: np.ndarray, drawn: np.ndarray, grouped: bool) -> dict[str, Any]:
    """The figures of a subset; `drawn` (2, resamples) are its coverage and mean size in each resample."""
    if not len(hits):
        empty = dict.fromkeys(("coverage", "coverage_interval", "mean_size", "mean_size_interval"))
        return {"rows": 0, **empty}
    coverage, size = float(hits.mean()), float(sizes.mean())
    return {
        "rows": len(hits),
        "coverage": coverage,
        "coverage_interval": interval(drawn[0], coverage) if grouped else wilson(int(hits.sum()), len(hits)),
        "mean_size": size,
        "mean_size_interval": interval(drawn[1], size),
    }
