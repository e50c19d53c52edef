"""Figures for group-level emotion recognition, from logits and labels, with bootstrap intervals.

`evaluate.load` copies this file alone and imports the copy, so it needs nothing of this package. Its parser
misreads `import a, b`: one such import per line.
"""

import datasets
import evaluate
import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

NORMAL_QUANTILE = 1.959964  # of 0.975: the two-sided 95 % interval

_DESCRIPTION = """\
Accuracy, balanced accuracy (unweighted average recall), macro-F1, log-loss, per-class precision, recall, F1 and
support, and the confusion matrix of a classifier of group emotion, with 95 % percentile bootstrap intervals.
"""

_INPUTS_DESCRIPTION = """
Args:
    logits: (rows, classes), unnormalised scores. The highest is the prediction; the first of equals wins.
    references: (rows), the true class's index, 0 to classes - 1. Leave rows without a label out.
    class_names: the names to report classes by, in the order of the logits; default "0", "1", ...
    bootstrap_samples: how many times the rows are drawn again, with replacement; 0 turns the intervals off.
    seed: of the draws. The intervals do not depend on the order of the rows.

Returns:
    accuracy: share of rows whose prediction is the reference.
    balanced_accuracy: mean recall of the classes that occur in the references.
    macro_f1: mean F1 of the classes that occur in the references or among the predictions.
    accuracy_interval, balanced_accuracy_interval, macro_f1_interval: [low, high], 95 % percentile bootstrap intervals;
        missing when bootstrap_samples is 0.
    log_loss: mean negative natural logarithm of the softmax probability of the reference.
    rows: how many rows were scored.
    confusion_matrix: (classes, classes) counts; rows are references, columns predictions.
    per_class: name -> precision, recall, f1, support (rows with this reference), predicted (rows predicted so), and
        recall_interval, Wilson's 95 % score interval, None without a reference. A ratio whose divisor is 0 is 0.

Examples:
    >>> metric = evaluate.load("ger_models/evaluation/metrics/group_emotion")
    >>> metric.compute(logits=[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], references=[0, 2])["accuracy"]
    0.5
"""


class GroupEmotion(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS_DESCRIPTION,
            features=datasets.Features(
                {"logits": datasets.List(datasets.Value("float32")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, logits, references, class_names=None, bootstrap_samples=2000, seed=0):
        logits = np.asarray(logits, dtype=np.float64)  # (rows, classes)
        references = np.asarray(references, dtype=np.int64)  # (rows,)
        names = _checked_names(logits, references, class_names)
        predicted = logits.argmax(axis=1)  # (rows,)
        confusion = confusion_matrix(references, predicted, labels=range(len(names)))
        figures = {name: float(value) for name, value in _headline(confusion).items()}
        if bootstrap_samples:
            drawn = _headline(_resampled(confusion, bootstrap_samples, seed))
            figures.update({f"{name}_interval": _percentiles(values) for name, values in drawn.items()})
        figures["log_loss"] = _log_loss(logits, references)
        figures["rows"] = len(references)
        figures["confusion_matrix"] = confusion.tolist()
        columns = precision_recall_fscore_support(references, predicted, labels=range(len(names)), zero_division=0)
        figures["per_class"] = {}
        for index, (name, precision, recall, f1, support) in enumerate(zip(names, *columns, strict=True)):
            row = {"precision": float(precision), "recall": float(recall), "f1": float(f1), "support": int(support)}
            row["predicted"] = int(confusion[:, index].sum())
            row["recall_interval"] = _wilson(int(confusion[index, index]), int(support)) if support else None
            figures["per_class"][name] = row
        return figures


def _checked_names(logits, references, class_names):
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


def _recall(confusions):
    """(..., classes, classes) counts -> (..., classes), NaN for a class without references."""
    return _ratio(np.diagonal(confusions, axis1=-2, axis2=-1), confusions.sum(axis=-1))


def _headline(confusions):
    """(..., classes, classes) counts -> name -> (...). One formula for the figure and for every resample of it."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)  # (..., classes)
    occurrences = confusions.sum(axis=-1) + confusions.sum(axis=-2)  # 0: neither referred to nor predicted
    return {
        "accuracy": hits.sum(axis=-1) / confusions.sum(axis=(-2, -1)),
        "balanced_accuracy": np.nanmean(_recall(confusions), axis=-1),
        "macro_f1": np.nanmean(_ratio(2 * hits, occurrences), axis=-1),
    }


def _ratio(numerator, denominator):
    out = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def _resampled(confusion, samples, seed):
    """Confusion matrices of `samples` draws of all rows with replacement: (samples, classes, classes).

    Drawing rows and counting their cells is drawing the cells' counts from a multinomial distribution.
    """
    rows = confusion.sum()
    counts = np.random.default_rng(seed).multinomial(rows, confusion.ravel() / rows, size=samples)
    return counts.reshape(samples, *confusion.shape)


def _percentiles(drawn):
    """(samples) -> [low, high]."""
    return np.percentile(drawn, [2.5, 97.5]).tolist()


def _wilson(hits, rows):
    """Wilson's score interval (1927) of a share: of some width even where every row, or none, is a hit."""
    square = NORMAL_QUANTILE**2
    middle = (hits + square / 2) / (rows + square)
    half = NORMAL_QUANTILE / (rows + square) * (hits * (rows - hits) / rows + square / 4) ** 0.5
    low = 0.0 if hits == 0 else middle - half  # exactly so; the formula leaves 1e-17
    high = 1.0 if hits == rows else middle + half
    return [low, high]


def _log_loss(logits, references):
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(references)), references]  # (rows,)
    return float(np.sort(losses).mean())  # sorted: the same sum whatever the order of the rows
