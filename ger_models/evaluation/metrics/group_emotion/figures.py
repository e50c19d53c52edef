"""The figures of one set of predictions with bootstrap intervals, and the table of metrics, from NumPy arrays alone.

`evaluate.load` copies this file, so it needs nothing of this package but `bootstrap.py` beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bootstrap import Ranking, distance_interval, draws, interval, unit_sums, units_of

CONFIDENCE_BINS = 15  # of equal width, as Guo et al., "On Calibration of Modern Neural Networks" (2017)
FACE_BINS = ((0, 0), (1, 1), (2, 4), (5, 9), (10, None))  # as `ger_datasets.schema`
UNKNOWN_FACES = -1


@dataclass(frozen=True, eq=False)
class Sums:
    """Weighted sums over the rows, for many weightings at once: the rows themselves, and each resample of them.

    Attributes:
        confusion: (weightings, classes, classes) rows by reference and prediction.
        log_losses: (weightings,) negative logarithms of the reference's softmax probability.
        excess: (weightings, bins) the prediction's probability, less 1 where it is right, by bins of the probability.
        class_auc: (weightings, classes) area under the ROC curve of each class against the rest; NaN: not defined.
    """

    confusion: np.ndarray
    log_losses: np.ndarray
    excess: np.ndarray
    class_auc: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """(weightings,)."""
        return self.confusion.sum(axis=(-2, -1))

    @property
    def hits(self) -> np.ndarray:
        """(weightings, classes) rows whose prediction is the reference."""
        return np.diagonal(self.confusion, axis1=-2, axis2=-1)

    @property
    def support(self) -> np.ndarray:
        """(weightings, classes) rows of each reference."""
        return self.confusion.sum(axis=-1)

    @property
    def predicted(self) -> np.ndarray:
        """(weightings, classes) rows of each prediction."""
        return self.confusion.sum(axis=-2)

    @property
    def precision(self) -> np.ndarray:
        """(weightings, classes); NaN for a class that is never predicted."""
        return _ratio(self.hits, self.predicted)

    @property
    def recall(self) -> np.ndarray:
        """(weightings, classes); NaN for a class without references."""
        return _ratio(self.hits, self.support)

    @property
    def f1(self) -> np.ndarray:
        """(weightings, classes); NaN for a class that neither occurs nor is predicted."""
        return _ratio(2 * self.hits, self.support + self.predicted)


@dataclass(frozen=True)
class Metric:
    """A row of `METRICS`.

    Attributes:
        function: the weighted sums -> (weightings,), NaN where it is not defined.
        label: what it is called in cards and on pages.
        description: one sentence.
        direction: 1: higher is better; -1: lower is better.
        form: how a value is written, a format specification such as `.1%`.
        hub_type: what it is called in the metadata of model cards; empty: as in `METRICS`.
    """

    function: Callable[[Sums], np.ndarray]
    label: str
    description: str
    direction: int = 1
    form: str = ".1%"
    hub_type: str = ""

    def text(self, value: float) -> str:
        """A value as it is shown.

        >>> METRICS["accuracy"].text(0.1234)
        '12.3%'
        """
        return format(value, self.form)

    def range_text(self, interval: Sequence[float]) -> str:
        """An interval as it is shown.

        >>> METRICS["accuracy"].range_text([0.12, 0.34])
        '12.0–34.0%'
        """
        low, high = map(self.text, interval)
        return f"{low.removesuffix('%')}–{high}"


METRICS = {
    "accuracy": Metric(
        lambda sums: sums.hits.sum(axis=-1) / sums.rows, "Accuracy", "Share of rows whose prediction is the reference."
    ),
    "balanced_accuracy": Metric(
        lambda sums: _mean_of_defined(sums.recall),
        "Balanced accuracy",
        "Mean recall of the classes that occur in the references.",
    ),
    "macro_f1": Metric(
        lambda sums: _mean_of_defined(sums.f1),
        "Macro-F1",
        "Mean F1 of the classes that occur in the references or among the predictions.",
        hub_type="f1",
    ),
    "log_loss": Metric(
        lambda sums: sums.log_losses / sums.rows,
        "Log-loss",
        "Mean negative natural logarithm of the softmax probability of the reference.",
        direction=-1,
        form=".3f",
    ),
    "ece": Metric(
        lambda sums: np.abs(sums.excess / sums.rows[:, None]).sum(axis=1),
        "Expected calibration error",
        "Mean distance, over 15 bins, of the probability given from the share of right rows; too high for few rows.",
        direction=-1,
        hub_type="expected_calibration_error",
    ),
    "auc": Metric(
        lambda sums: _mean_of_defined(sums.class_auc),
        "AUC, one class against the rest",
        "Mean area under the ROC curve of each class against the rest.",
        form=".3f",
        hub_type="roc_auc",
    ),
}


def compute_figures(
    logits: Any,
    references: Any,
    class_names: Sequence[str] | None = None,
    bootstrap_samples: int = 2000,
    seed: int = 0,
    groups: Sequence[str] | np.ndarray | None = None,
    faces: Any = None,
) -> dict[str, Any]:
    """Every figure of one set of predictions: (rows, classes) logits and (rows,) references.

    `group_emotion.py` documents the other arguments and what is returned.

    Raises:
        ValueError: shapes, labels or class names do not fit together, or logits are not finite.
    """
    logits = np.asarray(logits, dtype=np.float64)  # (rows, classes)
    references = np.asarray(references, dtype=np.int64)  # (rows,)
    names = _checked_names(logits, references, class_names)
    rows = len(references)
    faces = np.full(rows, UNKNOWN_FACES) if faces is None else np.asarray(faces, dtype=np.int64)  # (rows,)
    unit, units = units_of(groups, rows)
    if len(faces) != rows or (groups is not None and len(groups) != rows):
        raise ValueError(f"groups and faces must be one for each of the {rows} rows")
    keys = [faces, *logits.T, references] + ([] if unit is None else [unit])
    order = np.lexsort(keys)  # the figures are to the last digit the same whatever the order of the rows
    unit = None if unit is None else unit[order]
    scored = _Scored(logits[order], references[order], faces[order])

    values = scored.figures(np.ones((rows, 1)), scored.statistics)
    blocks = []
    if bootstrap_samples:
        totals = unit_sums(scored.statistics, unit, units)
        for counts in draws(units, bootstrap_samples, seed):
            blocks.append(scored.figures(counts if unit is None else counts[unit], totals, counts))
    values = {name: value[0] for name, value in values.items()}
    drawn = {name: np.concatenate([block[name] for block in blocks]) for name in values if blocks}
    figures = _with_intervals(values, drawn, list(METRICS))
    if drawn:
        noise = np.sqrt((unit_sums(scored.noise, unit, units) ** 2).sum(axis=0)) / rows
        figures["ece_interval"] = distance_interval(values["excess"], drawn["excess"], noise, units)
    return figures | {
        "rows": rows,
        "groups": None if unit is None else units,
        "confusion_matrix": scored.confusion.tolist(),
        "per_class": {
            name: _class_row(index, scored.confusion, values, drawn, grouped=unit is not None)
            for index, name in enumerate(names)
        },
        "reliability": scored.reliability(),
        "by_faces": [
            {"from": low, "to": high, "rows": int(inside.sum())}
            | _with_intervals(
                {"accuracy": values["faces"][index]}, _columns(drawn, "accuracy", "faces", index), ["accuracy"]
            )
            for index, ((low, high), inside) in enumerate(zip(FACE_BINS, scored.face_bins.T, strict=True))
            if inside.any()
        ],
    }


class _Scored:
    """What is known of each row, and the figures as functions of weighted sums of it.

    Args:
        logits: (rows, classes) float64.
        references: (rows,) int64.
        faces: (rows,) int64.
    """

    def __init__(self, logits: np.ndarray, references: np.ndarray, faces: np.ndarray) -> None:
        self.classes = classes = logits.shape[1]
        rows = np.arange(len(references))
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        predicted = logits.argmax(axis=1)
        hits = predicted == references
        self.confidence = probabilities[rows, predicted]
        self.bin = np.minimum((self.confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
        self.hits = hits
        self.rankings = [Ranking(probabilities[:, index], references == index) for index in range(classes)]
        self.face_bins = np.stack(
            [(faces >= low) & (faces <= (np.inf if high is None else high)) for low, high in FACE_BINS], axis=1
        )
        cells = np.eye(classes**2)[references * classes + predicted]  # (rows, classes²)
        self.confusion = cells.sum(axis=0).astype(int).reshape(classes, classes)
        excess = np.zeros((len(rows), CONFIDENCE_BINS))
        excess[rows, self.bin] = self.confidence - hits
        # the standard deviation of `excess` if the probabilities are right, (rows, bins)
        self.noise = np.where(excess != 0, np.sqrt(self.confidence * (1 - self.confidence))[:, None], 0)
        self.statistics = np.concatenate(
            [cells, _log_losses(logits, references)[:, None], excess, self.face_bins, self.face_bins & hits[:, None]],
            axis=1,
        )

    def figures(
        self, weights: np.ndarray, totals: np.ndarray, counts: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """name -> (weightings,) or (weightings, classes or face bins), NaN where it is not defined.

        Args:
            weights: (rows, weightings), how much each row counts.
            totals: (units, columns), the rows' statistics, summed over each unit.
            counts: (units, weightings), how much each unit counts; None: as the rows.
        """
        counts = weights if counts is None else counts
        sums = counts.T @ totals.astype(counts.dtype)  # (weightings, columns)
        cuts = np.cumsum([self.classes**2, 1, CONFIDENCE_BINS, len(FACE_BINS)])
        cells, losses, excess, face_rows, face_hits = np.split(sums.astype(np.float64), cuts, axis=1)
        class_auc = np.stack([ranking.area(weights) for ranking in self.rankings], axis=1)
        totalled = Sums(cells.reshape(-1, self.classes, self.classes), losses[:, 0], excess, class_auc)
        return {name: metric.function(totalled) for name, metric in METRICS.items()} | {
            "excess": excess / totalled.rows[:, None],  # (weightings, bins)
            "precision": totalled.precision,
            "recall": totalled.recall,
            "f1": totalled.f1,
            "class_auc": class_auc,
            "faces": _ratio(face_hits, face_rows),
        }

    def reliability(self) -> list[dict[str, float]]:
        bins = []
        for index in range(CONFIDENCE_BINS):
            inside = self.bin == index
            if inside.any():
                row = {"from": index / CONFIDENCE_BINS, "to": (index + 1) / CONFIDENCE_BINS}
                row["rows"] = int(inside.sum())
                row["confidence"] = float(self.confidence[inside].mean())
                row["accuracy"] = float(self.hits[inside].mean())
                bins.append(row)
        return bins


def _class_row(
    index: int,
    confusion: np.ndarray,
    values: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray],
    grouped: bool,
) -> dict[str, Any]:
    hits, support, predicted = (
        int(n) for n in (confusion[index, index], confusion[index].sum(), confusion[:, index].sum())
    )
    row: dict[str, Any] = {name: float(np.nan_to_num(values[name][index])) for name in ("precision", "recall", "f1")}
    row["auc"] = _number(values["class_auc"][index])
    row |= {"support": support, "predicted": predicted}
    for name, of in (("precision", "precision"), ("recall", "recall"), ("f1", "f1"), ("auc", "class_auc")):
        if drawn:
            defined = np.isfinite(values[of][index])
            row[f"{name}_interval"] = interval(drawn[of][:, index], values[of][index]) if defined else None
    if not (grouped and drawn):
        row["recall_interval"] = wilson(hits, support) if support else None
    return row


def _with_intervals(
    values: Mapping[str, Any], drawn: Mapping[str, np.ndarray], names: Sequence[str]
) -> dict[str, Any]:
    """The figures `names` and, where there are resamples, their intervals."""
    figures: dict[str, Any] = {name: _number(values[name]) for name in names}
    return figures | {f"{name}_interval": interval(drawn[name], values[name]) for name in names if drawn}


def _columns(drawn: Mapping[str, np.ndarray], name: str, of: str, index: int) -> dict[str, np.ndarray]:
    return {name: drawn[of][:, index]} if drawn else {}


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _checked_names(logits: np.ndarray, references: np.ndarray, class_names: Sequence[str] | None) -> list[str]:
    if logits.ndim != 2 or not logits.size:
        raise ValueError(f"logits must be (rows, classes) and not empty, found shape {logits.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite, found NaN or infinity")
    classes = logits.shape[1]
    if references.min() < 0 or references.max() >= classes:
        found = f"{references.min()} to {references.max()}"
        raise ValueError(f"references must lie between 0 and {classes - 1}, found {found}; leave unlabelled rows out")
    names = [str(index) for index in range(classes)] if class_names is None else [str(name) for name in class_names]
    if len(names) != classes or len(set(names)) != classes:
        raise ValueError(f"class_names must be {classes} distinct names, one per logit, found {names}")
    return names


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    out = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """(weightings, classes) -> (weightings,): NaN only where no class is defined."""
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1))


def wilson(hits: int, rows: int) -> list[float]:
    """Wilson's score interval (1927), [low, high], of a share: it has some width even where every row, or none, is a
    hit."""
    from scipy.stats import binomtest  # here: importing it takes half a second

    interval = binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def _log_losses(logits: np.ndarray, references: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(references)), references]  # (rows,)
