"""Labels and logits -> figures. A metric is a row of `METRICS`; `evaluate.load` opens `group_emotion/` too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError

from .group_emotion.figures import METRICS, Metric, Sums, compute_figures

__all__ = ["METRICS", "Metric", "Sums", "compute_metrics"]


def compute_metrics(
    labels: np.ndarray | Sequence[int],
    logits: np.ndarray | Sequence[Sequence[float]],
    class_names: Sequence[str],
    bootstrap_samples: int = 2000,
    seed: int = 0,
    groups: Sequence[str] | np.ndarray | None = None,
    faces: np.ndarray | Sequence[int] | None = None,
) -> dict[str, Any]:
    """Every figure of one set of predictions, ready for JSON: plain numbers, lists and dicts.

    Args:
        labels: (rows) index into `class_names`; rows with -1 are left out of every figure and counted.
        logits: (rows, classes), unnormalised scores.
        class_names: (classes).
        bootstrap_samples: resamples behind the 95 % intervals; 0 turns them off, and their keys are missing.
        seed: of the resamples.
        groups: (rows) what must be drawn together, such as the video of a frame; None: every row is drawn alone.
        faces: (rows) how many faces each photo has, -1 where it is not known; None: `by_faces` is empty.

    Returns:
        What `metrics/group_emotion/group_emotion.py` documents under Returns, and `unlabelled`: how many rows were
        left out.

    Raises:
        UserError: no row has a label, or logits are not finite.
        ValueError: shapes or labels do not fit together.
    """
    labels, logits = np.asarray(labels, dtype=np.int64), np.asarray(logits, dtype=np.float32)
    if labels.ndim != 1 or logits.ndim != 2 or len(labels) != len(logits):
        raise ValueError(f"labels must be (rows) and logits (rows, classes), found {labels.shape} and {logits.shape}")
    for name, column in (("groups", groups), ("faces", faces)):
        if column is not None and len(column) != len(labels):
            raise ValueError(f"{name} must be one for each of the {len(labels)} rows, found {len(column)}")
    known = labels != NO_LABEL
    if not known.any():
        raise UserError(f"none of the {len(labels)} rows has a label, so nothing can be scored; use a labelled split")
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{np.count_nonzero(~finite)} of {len(logits)} rows of logits hold NaN or infinity; the model has "
            "diverged: try a lower learning rate or full precision"
        )
    figures = compute_figures(
        logits[known],
        labels[known],
        class_names,
        bootstrap_samples,
        seed,
        None if groups is None else np.asarray(groups, dtype=str)[known],
        None if faces is None else np.asarray(faces)[known],
    )
    return {**figures, "unlabelled": int(np.count_nonzero(~known))}
