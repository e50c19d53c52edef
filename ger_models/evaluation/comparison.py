"""Two models on the same photos: how far apart they are, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError

from .metrics.group_emotion.bootstrap import draws, interval, unit_sums, units_of


def compare(
    labels: np.ndarray | Sequence[int],
    first: np.ndarray,
    second: np.ndarray,
    bootstrap_samples: int = 2000,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The accuracies of two models on the same photos, their difference and whether it could be chance.

    Args:
        labels: (rows) the truth; rows with -1 are left out.
        first, second: (rows, classes) the logits of the two.
        bootstrap_samples: resamples behind the interval of the difference; each draws the same photos for both.
        seed: of the resamples.
        groups: (rows) what must be drawn together; None: every row is drawn alone.

    Returns:
        rows: how many were compared.
        accuracy: [first, second].
        difference: the second's accuracy minus the first's.
        difference_interval: [low, high], 95 % percentile bootstrap interval, paired.
        both_right, only_first_right, only_second_right, both_wrong: counts.
        mcnemar_exact, mcnemar_mid_p: two-sided p-values of McNemar's test on the photos that one alone is right on:
            the exact binomial one, and the mid-p one, which is less conservative (Fagerland, Lydersen, Laake, 2013).
            Both take the rows to be independent; where there are groups, believe the interval.

    Raises:
        UserError: no row has a label.
        ValueError: the shapes do not fit together.
    """
    labels, first, second = np.asarray(labels), np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.ndim != 2 or len(labels) != len(first):
        raise ValueError(
            f"logits of two models must be (rows, classes) for the same labels, found {first.shape}, {second.shape} "
            f"and {len(labels)} labels"
        )
    known = labels != NO_LABEL
    if not known.any():
        raise UserError(
            f"none of the {len(labels)} rows has a label, so nothing can be compared; use a labelled split"
        )
    hits = np.stack([each.argmax(axis=1) == labels for each in (first, second)])[:, known]  # (2, rows)
    rows = hits.shape[1]
    gain = hits[1].astype(np.float32) - hits[0]
    unit, units = units_of(None if groups is None else np.asarray(groups, dtype=str)[known], rows)
    # in an order that depends on what is drawn, not on where it stands
    order = np.argsort(gain, kind="stable") if unit is None else slice(None)
    sums = unit_sums(np.stack([gain, np.ones_like(gain)], axis=1)[order], unit, units)  # (units, 2)
    gained, drawn = np.concatenate(
        [sums.T @ counts for counts in draws(units, bootstrap_samples, seed)], axis=1, dtype=np.float64
    )
    only = [int(np.count_nonzero(hits[i] & ~hits[1 - i])) for i in range(2)]
    accuracy = [float(each.mean()) for each in hits]
    difference = (only[1] - only[0]) / rows
    return {
        "rows": rows,
        "accuracy": accuracy,
        "difference": difference,
        "difference_interval": interval(gained / drawn, difference),
        "both_right": int(np.count_nonzero(hits.all(axis=0))),
        "only_first_right": only[0],
        "only_second_right": only[1],
        "both_wrong": int(np.count_nonzero(~hits.any(axis=0))),
        "mcnemar_exact": mcnemar(only[0], only[1], mid_p=False),
        "mcnemar_mid_p": mcnemar(only[0], only[1], mid_p=True),
    }


def mcnemar(only_first: int, only_second: int, mid_p: bool) -> float:
    """Two-sided p-value of McNemar's test: how likely so unequal a split is, were both equally likely to be right.

    >>> mcnemar(only_first=0, only_second=5, mid_p=False)
    0.0625
    >>> mcnemar(only_first=3, only_second=3, mid_p=False)
    1.0

    Args:
        only_first: photos that only the first model has right.
        only_second: photos that only the second has right.
        mid_p: half the weight of the split that was seen (Fagerland et al. 2013): less cautious, and closer to the
            level that is asked for.
    """
    fewer, trials = min(only_first, only_second), only_first + only_second
    tail = float(binom.cdf(fewer, trials, 0.5))
    share = float(binom.pmf(fewer, trials, 0.5))
    if not trials:
        return 1.0
    if only_first == only_second:
        return 1 - share / 2 if mid_p else 1.0
    return min(1.0, 2 * tail - (share if mid_p else 0))
