"""Figures for group-level emotion recognition, from logits and labels, as a metric of the evaluate library.

`evaluate.load` copies this file and those that it imports from beside it, and imports the copies, so they need nothing
of this package. Its parser misreads `import a, b`: one such import per line.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

# evaluate copies the files that this one imports, and figures.py needs bootstrap.py
from .bootstrap import INTERVAL
from .figures import METRICS, compute_figures

__all__ = ["INTERVAL", "GroupEmotion"]

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
{metrics}
        Each of these is None where it is not defined.
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
""".replace("{metrics}", "\n".join(f"    {name}: {metric.description}" for name, metric in METRICS.items()))


class GroupEmotion(evaluate.Metric):
    """The metric as the evaluate library loads it; `_INPUTS_DESCRIPTION` documents its inputs and outputs."""

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
        return compute_figures(logits, references, class_names, bootstrap_samples, seed, groups, faces)
