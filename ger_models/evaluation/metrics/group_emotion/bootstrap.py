"""The bootstrap of figures that are functions of weighted sums over photos, all resamples at once.

How often a resample draws each photo is a column of counts. Sums over the photos drawn are then a matrix product, and
an area under a curve is running sums of those columns: no resample is ever written out photo by photo. Photos of one
group (the frames of one video) are drawn together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

CELLS_AT_ONCE = 1 << 20  # of a block of counts: 4 MB, which stay in the cache
INTERVAL = (2.5, 97.5)  # percentiles
LEAST_SPREAD = 1e-5  # of what a part's noise should be; less is rounding, and is not enlarged


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


def interval(values: np.ndarray, figure: float) -> list[float] | None:
    """(resamples,) -> [low, high], of those where the figure is defined; None where it is in none.

    The figure itself lies in it, whatever float32 has rounded.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, INTERVAL).tolist()
    return [min(low, float(figure)), max(high, float(figure))]


def distance_interval(parts: np.ndarray, drawn: np.ndarray, noise: np.ndarray, units: int) -> list[float]:
    """The interval of a sum of distances from 0, such as the calibration error: [low, high], the sum itself in it.

    Noise moves a part that is 0 away from it whichever way it goes, so the sum is too high, and that of a resample
    higher still: percentiles may lie wholly above the figure, and mirroring or shifting them (basic, BCa) does not
    mend it, as a bootstrap of what has a kink does not settle. So the noise is drawn, drawn - parts, and not the sum.
    How far it lifts the sum is then counted as Fang and Santos, "Inference on Directionally Differentiable Functions"
    (2019): a part that stands out of its noise is moved with its sign, any other away from 0. How far it may have
    lowered the sum: all parts with their signs, since with signs that are wrong the sum would be higher yet.
    `benchmarks/bench_intervals.py` measures how often this, and what else there is, covers.

    Args:
        parts: (parts,) with their signs; the figure is the sum of their distances from 0.
        drawn: (resamples, parts) the same of every resample.
        noise: (parts,) the least standard deviation that each part has; where few rows of a part happen to be alike,
            resamples show less.
        units: how many units were drawn.
    """
    figure = float(np.abs(parts).sum())
    shaken = drawn - parts
    spread = np.sqrt((shaken**2).mean(axis=0))  # (parts,)
    enlarged = np.divide(noise, spread, out=np.ones_like(noise), where=spread > LEAST_SPREAD * noise)
    shaken *= np.maximum(1, enlarged)
    signed = shaken * np.where(parts < 0, -1, 1)
    stands_out = np.abs(parts) > np.sqrt(np.log(units)) * np.maximum(spread, noise)
    lifted = np.where(stands_out, signed, np.abs(shaken)).sum(axis=1)  # (resamples,)
    most_lifted, most_lowered = np.percentile(lifted, INTERVAL[1]), -np.percentile(signed.sum(axis=1), INTERVAL[0])
    return [max(0.0, figure - max(0.0, float(most_lifted))), min(1.0, figure + max(0.0, float(most_lowered)))]


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
