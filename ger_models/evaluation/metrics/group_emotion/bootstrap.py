"""The percentile bootstrap of figures that are functions of weighted sums over photos, all resamples at once.

How often a resample draws each photo is a column of counts. Sums over the photos drawn are then a matrix product, and
an area under a curve is running sums of those columns: no resample is ever written out photo by photo. Photos of one
group (the frames of one video) are drawn together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

CELLS_AT_ONCE = 1 << 20  # of a block of counts: 4 MB, which stay in the cache
INTERVAL = (2.5, 97.5)  # percentiles


def draws(units: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each resample draws each unit, in blocks: (units, resamples of the block) float32.

    Each of the `samples` resamples draws `units` times with replacement.
    """
    generator = np.random.default_rng(seed)
    most = max(1, CELLS_AT_ONCE // units)
    for start in range(0, samples, most):
        block = min(most, samples - start)
        cells = generator.integers(0, units, (block, units))  # which unit is drawn
        cells *= block
        cells += np.arange(block)[:, None]
        yield np.bincount(cells.ravel(), minlength=units * block).reshape(units, block).astype(np.float32)


def units_of(groups: Sequence[str] | np.ndarray | None, rows: int) -> tuple[np.ndarray | None, int]:
    """Which unit each row is drawn with, and how many units there are; None where every row is drawn alone.

    Args:
        groups: (rows,) names, or None.
        rows: how many rows there are.
    """
    if groups is None:
        return None, rows
    names, unit = np.unique(np.asarray(groups, dtype=str), return_inverse=True)  # sorted: the rows' order is all one
    return (None, rows) if len(names) == rows else (unit.reshape(-1), len(names))


def unit_sums(statistics: np.ndarray, unit: np.ndarray | None, units: int) -> np.ndarray:
    """(rows, columns) -> (units, columns): the sums over the rows of each unit."""
    if unit is None:
        return statistics
    sums = np.zeros((units, statistics.shape[1]), statistics.dtype)
    np.add.at(sums, unit, statistics)
    return sums


def interval(values: np.ndarray) -> list[float] | None:
    """(resamples,) -> [low, high], of those where the figure is defined; None where it is in none."""
    values = values[np.isfinite(values)]
    return np.percentile(values, INTERVAL).tolist() if len(values) else None


class Ranking:
    """The area under the ROC curve of one class against the others, for many weightings of the rows at once.

    Args:
        scores: (rows,), higher for rows that are held to be of the class.
        belongs: (rows,) bool, the truth.
    """

    def __init__(self, scores: np.ndarray, belongs: np.ndarray) -> None:
        self.others = np.flatnonzero(~belongs)[np.argsort(scores[~belongs], kind="stable")]
        self.members = np.flatnonzero(belongs)[np.argsort(scores[belongs], kind="stable")]
        self.below = np.searchsorted(scores[self.others], scores[self.members], "left")
        self.upto = np.searchsorted(scores[self.others], scores[self.members], "right")

    def area(self, weights: np.ndarray) -> np.ndarray:
        """(rows, weightings) -> (weightings,): NaN where the class or the others have no weight.

        The share of pairs of a member and another in which the member scores higher; a tie counts half.
        """
        running = np.zeros((len(self.others) + 1, weights.shape[1]), weights.dtype)
        np.cumsum(weights[self.others], axis=0, out=running[1:])
        members = weights[self.members]
        won = np.einsum("rw,rw->w", members, running[self.below] + running[self.upto]) / 2
        pairs = members.sum(axis=0) * running[-1]
        return np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
