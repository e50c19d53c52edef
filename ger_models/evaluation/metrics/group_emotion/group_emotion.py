"""Figures for group-level emotion recognition, from logits and labels, with bootstrap intervals.

`evaluate.load` copies this file and `bootstrap.py` beside it and imports the copies, so they need nothing of this
package. Its parser misreads `import a, b`: one such import per line.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from .bootstrap import Ranking, distance_interval, draws, interval, unit_sums, units_of

NORMAL_QUANTILE = 1.959964  # of 0.975: the two-sided 95 % interval
CONFIDENCE_BINS = 15  # of equal width, as Guo et al., "On Calibration of Modern Neural Networks" (2017)
FACE_BINS = ((0, 0), (1, 1), (2, 4), (5, 9), (10, None))  # from, to; both inclusive
UNKNOWN_FACES = -1

_DESCRIPTION = """\
Accuracy, balanced accuracy (unweighted average recall), macro-F1, log-loss, calibration error, area under the ROC
curve, per-class precision, recall, F1 and area, the confusion matrix, and accuracy by number of faces of a classifier
of group emotion, with 95 % bootstrap intervals.
"""

_INPUTS_DESCRIPTION = """
Args:
    logits: (rows, classes), unnormalised scores. The highest is the prediction; the first of equals wins.
    references: (rows), the true class's index, 0 to classes - 1. Leave rows without a label out.
    class_names: the names to report classes by, in the order of the logits; default "0", "1", ...
    bootstrap_samples: how many times the rows are drawn again, with replacement; 0 turns the intervals off.
    seed: of the draws. The intervals do not depend on the order of the rows.
    groups: (rows) names; rows of one group, such as the frames of one video, are drawn together. Default: each alone.
    faces: (rows) how many faces the photo has, -1 where it is not known. Default: not known of any.

Returns:
    accuracy: share of rows whose prediction is the reference.
    balanced_accuracy: mean recall of the classes that occur in the references.
    macro_f1: mean F1 of the classes that occur in the references or among the predictions.
    log_loss: mean negative natural logarithm of the softmax probability of the reference.
    ece: expected calibration error: over 15 equal bins of the prediction's softmax probability, the mean distance of
        its mean from the share of right rows, weighted by rows. It is too high where rows are few: of a model whose
        probabilities are right, some 0.10 on 90 rows and 0.03 on 1,000.
    auc: area under the ROC curve of the softmax probability of a class, one class against the rest, mean over the
        classes of which there are rows and others; None where there is no such class.
    NAME_interval, for each of these: [low, high], 95 % percentile bootstrap interval, of ece that of
        `bootstrap.distance_interval`; the figure lies in it. All intervals of this kind are missing when
        bootstrap_samples is 0. Resamples in which the figure is not defined are passed over.
    rows: how many rows were scored.
    groups: how many groups were drawn; None where each row was drawn alone.
    confusion_matrix: (classes, classes) counts; rows are references, columns predictions.
    per_class: name -> precision, recall, f1, auc, precision_interval, f1_interval, auc_interval, support (rows with
        this reference), predicted (rows predicted so), and recall_interval: Wilson's 95 % score interval, None without
        a reference; with groups, and unless bootstrap_samples is 0, the bootstrap's. A ratio whose divisor is 0 is 0,
        and its interval None.
    reliability: the bins of `ece` that hold rows: from, to, rows, confidence (mean probability), accuracy.
    by_faces: for photos with so many faces, the faceless first: from, to (None: and more), rows, accuracy,
        accuracy_interval; empty where no number is known.

Examples:
    >>> import evaluate
    >>> metric = evaluate.load("ger_models/evaluation/metrics/group_emotion")
    >>> metric.compute(logits=[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], references=[0, 2])["accuracy"]
    0.5
"""

HEADLINE = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece", "auc")


class GroupEmotion(evaluate.Metric):
    """The metric as the evaluate library loads it; `_INPUTS_DESCRIPTION` tells what comes in and goes out."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS_DESCRIPTION,
            features=datasets.Features(
                {"logits": datasets.List(datasets.Value("float32")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(
        self,
        logits: Any,
        references: Any,
        class_names: Sequence[str] | None = None,
        bootstrap_samples: int = 2000,
        seed: int = 0,
        groups: Sequence[str] | None = None,
        faces: Any = None,
    ) -> dict[str, Any]:
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
        figures = _told(values, drawn, HEADLINE)
        if drawn:
            noise = np.sqrt((unit_sums(scored.noise, unit, units) ** 2).sum(axis=0)) / rows
            figures["ece_interval"] = distance_interval(values["excess"], drawn["excess"], noise, units)
        figures["rows"] = rows
        figures["groups"] = None if unit is None else units
        confusion = scored.confusion
        figures["confusion_matrix"] = confusion.tolist()
        figures["per_class"] = {
            name: _class_row(index, confusion, values, drawn, grouped=unit is not None)
            for index, name in enumerate(names)
        }
        figures["reliability"] = scored.reliability()
        figures["by_faces"] = [
            {"from": low, "to": high, "rows": int(inside.sum())}
            | _told({"accuracy": values["faces"][index]}, _columns(drawn, "accuracy", "faces", index), ["accuracy"])
            for index, ((low, high), inside) in enumerate(zip(FACE_BINS, scored.face_bins.T, strict=True))
            if inside.any()
        ]
        return figures


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
        confusions = cells.reshape(-1, self.classes, self.classes)
        drawn = confusions.sum(axis=(-2, -1))
        hits = np.diagonal(confusions, axis1=-2, axis2=-1)  # (weightings, classes)
        support, predicted = confusions.sum(axis=-1), confusions.sum(axis=-2)
        figures = {
            "accuracy": hits.sum(axis=-1) / drawn,
            "log_loss": losses[:, 0] / drawn,
            "excess": excess / drawn[:, None],  # (weightings, bins)
            "precision": _ratio(hits, predicted),
            "recall": _ratio(hits, support),
            "f1": _ratio(2 * hits, support + predicted),  # 0 / 0: neither referred to nor predicted
            "class_auc": np.stack([ranking.area(weights) for ranking in self.rankings], axis=1),
            "faces": _ratio(face_hits, face_rows),
        }
        figures["ece"] = np.abs(figures["excess"]).sum(axis=1)
        for name, of in (("balanced_accuracy", "recall"), ("macro_f1", "f1"), ("auc", "class_auc")):
            figures[name] = _mean_of_defined(figures[of])
        return figures

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
        row["recall_interval"] = _wilson(hits, support) if support else None
    return row


def _told(values: Mapping[str, Any], drawn: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, Any]:
    """The figures `names` and, where there were draws, their intervals."""
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


def _wilson(hits: int, rows: int) -> list[float]:
    """Wilson's score interval (1927) of a share: of some width even where every row, or none, is a hit."""
    square = NORMAL_QUANTILE**2
    middle = (hits + square / 2) / (rows + square)
    half = NORMAL_QUANTILE / (rows + square) * (hits * (rows - hits) / rows + square / 4) ** 0.5
    low = 0.0 if hits == 0 else middle - half  # exactly so; the formula leaves 1e-17
    high = 1.0 if hits == rows else middle + half
    return [low, high]


def _log_losses(logits: np.ndarray, references: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(references)), references]  # (rows,)
