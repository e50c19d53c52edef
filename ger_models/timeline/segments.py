"""The group's class probabilities in sampled frames -> stretches of time in which the mood stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .sampling import sample_durations

LEAST_SECONDS = 3.0
# The distance of two means of probabilities below which there is no change, however quiet the curve, unless it lasts
# longer than a segment must: a probability that goes from 0.5 to 0.68 at the cost of another, or one wild frame
LEAST_CHANGE = 0.25
# Of the noise and the logarithm of the number of frames. The information criterion of three classes, two of them free,
# has 1.5; with 3, simulated groups of one mood whose noise lasts up to a second are not cut in five minutes
PENALTY = 3.0
UNSURE = 1.4  # by which the noise of a short video, estimated from few frames, may be larger
NOISE_STEP = 0.5  # seconds between the frames from whose differences the noise is estimated
MANY_BLOCKS = 10  # as long as the shortest segment, from which on the noise is estimated from their means
NOISE_QUANTILE = 0.25  # of the steps between them: three quarters may hold changes
CHANGES = 2.0  # steps that are larger than the longest noise by this are taken for changes
LONGEST_NOISE = 1.0  # seconds in which noise falls to 1/e; what lasts longer counts as mood


@dataclass(frozen=True)
class Segment:
    """A stretch of a video.

    Attributes:
        start: seconds of its first frame.
        end: seconds where the next segment starts, or the video ends.
        first: number of its first sampled frame, counted from 0.
        last: number of its last sampled frame.
        label: number of its most probable class; None where no face is seen.
        probabilities: (classes,) float64, the mean of its frames, each counted by its faces; NaN without faces.
    """

    start: float
    end: float
    first: int
    last: int
    label: int | None
    probabilities: np.ndarray

    @property
    def probability(self) -> float:
        """The mean probability of its class; NaN without one."""
        return float("nan") if self.label is None else float(self.probabilities[self.label])


def find_segments(
    seconds: np.ndarray, probabilities: np.ndarray, faces: np.ndarray, least_seconds: float = LEAST_SECONDS
) -> list[Segment]:
    """Cut a video where the group's mood changes.

    Stretches of at least `least_seconds` without any face are segments of their own. The others are cut so that the
    squared distances of the frames from their segment's mean, plus a penalty for each cut, are smallest (penalised
    least squares; solved exactly by dynamic programming with the pruning of PELT: Killick, Fearnhead and Eckley 2012,
    doi 10.1080/01621459.2012.737745). The penalty is that of the Bayesian information criterion, made larger, for the
    noise in the differences of frames. Give the probabilities as they are predicted: smoothing moves changes.

    Args:
        seconds: (frames,), increasing.
        probabilities: (frames, classes), each row adding up to 1; rows without faces may be anything.
        faces: (frames,): the number of faces in each frame.
        least_seconds: no segment is shorter, unless what it lies between is.

    Returns:
        The segments in the order of time: together the whole video; none where there is no frame.
    """
    seconds, faces = np.asarray(seconds, np.float64), np.asarray(faces, np.float64)
    probabilities = np.where(faces[:, None] > 0, np.asarray(probabilities, np.float64), 0.0)
    edges = np.append(seconds, seconds[-1] + sample_durations(seconds)[-1]) if len(seconds) else seconds
    found: list[Segment] = []
    for start, end, empty in _stretches(edges, faces, least_seconds):
        stretch = slice(start, end)
        known = start + np.flatnonzero(faces[stretch] > 0)
        cuts = [] if empty else _change_points(edges, probabilities, faces, (known, end), least_seconds)
        for first, after in zip([start, *cuts], [*cuts, end], strict=True):
            found.append(_segment(edges, probabilities, faces, first, after))
    return found


def _segment(edges: np.ndarray, probabilities: np.ndarray, faces: np.ndarray, first: int, after: int) -> Segment:
    weights = faces[first:after]
    if not weights.any():
        mean, label = np.full(probabilities.shape[1], np.nan), None
    else:
        mean = weights @ probabilities[first:after] / weights.sum()
        label = int(mean.argmax())
    return Segment(float(edges[first]), float(edges[after]), first, after - 1, label, mean)


def _stretches(edges: np.ndarray, faces: np.ndarray, least_seconds: float) -> Iterator[tuple[int, int, bool]]:
    """(first frame, frame after the last, whether it has no face at all), in the order of time."""
    seen = np.concatenate([[True], faces > 0, [True]])
    starts, ends = np.flatnonzero(seen[:-1] & ~seen[1:]), np.flatnonzero(~seen[:-1] & seen[1:])
    place = 0
    for start, end in zip(starts, ends, strict=True):
        if edges[end] - edges[start] >= least_seconds or end - start == len(faces):
            if start > place:
                yield place, int(start), False
            yield int(start), int(end), True
            place = int(end)
    if place < len(faces):
        yield place, len(faces), False


def _change_points(
    edges: np.ndarray, probabilities: np.ndarray, faces: np.ndarray, stretch: tuple[np.ndarray, int], least: float
) -> list[int]:
    """The numbers of frames at which a stretch is cut: its frames with faces, and the frame after its last."""
    known, end = stretch
    values, weights = probabilities[known], faces[known] / faces[known].mean()
    times = np.append(edges[known], edges[end])  # (known frames + 1,)
    places = optimal_cuts(values, weights, times, least, _penalty(values, weights, times, least))
    return [int(known[place]) for place in places]


def _penalty(values: np.ndarray, weights: np.ndarray, times: np.ndarray, least_seconds: float) -> float:
    """What a cut must gain: by the noise and the length of the video, and no less than a change of `LEAST_CHANGE`."""
    if len(values) < 2:
        return 0.0
    step = float(np.median(np.diff(times)))  # seconds from frame to frame
    frames = max(1, round(least_seconds / step))
    return max(PENALTY * _noise(values, weights, step, frames) * np.log(len(values)), frames / 2 * LEAST_CHANGE**2)


def _noise(values: np.ndarray, weights: np.ndarray, step: float, block: int) -> float:
    """The variance of the noise, all classes together, as it counts in means over many frames.

    Noise lasts: an expression, a turned head. In a video of many blocks as long as the shortest segment, it is
    estimated from the steps between them, unless these are much larger than noise of `LONGEST_NOISE` makes them: then
    they are changes. Otherwise it is estimated from differences of frames that are near each other, few of which hold
    a change, and how long it lasts from differences of two lengths, as of an autoregressive process (Chakar et al.
    2017, doi 10.3150/15-BEJ782).

    Args:
        values: (n, classes).
        weights: (n,), of mean 1.
        step: seconds from one to the next.
        block: frames of the shortest segment.
    """
    lag = max(1, round(NOISE_STEP / step))
    if len(values) <= 2 * lag:
        return 0.0
    near, far = (_difference(values, weights, frames) for frames in (lag, 2 * lag))
    if near == 0:
        return 0.0
    most = np.exp(-lag * step / LONGEST_NOISE)
    if len(values) >= MANY_BLOCKS * block:
        steps = _steps(values, weights, block)
        if steps <= CHANGES * _lasting(near, most, lag):
            return steps
    return UNSURE * _lasting(near, float(np.clip(far / near - 1, 0, most)), lag)


def _lasting(near: float, kept: float, lag: int) -> float:
    """The variance in means of many frames of noise whose variance after `lag` frames is `near`, and correlation
    `kept`."""
    of_frame = kept ** (1 / lag)
    return near / (1 - kept) * (1 + of_frame) / (1 - of_frame)


def _difference(values: np.ndarray, weights: np.ndarray, lag: int) -> float:
    """The noise's variance, as far as it is another one after `lag` frames."""
    return _typical(values[lag:] - values[:-lag], weights[lag:], weights[:-lag], 0.5)


def _steps(values: np.ndarray, weights: np.ndarray, block: int) -> float:
    """The noise's variance in means of `block` frames, by the differences of such means that follow each other."""
    sums, masses = _cumulated(values * weights[:, None]), _cumulated(weights)
    mass = masses[block:] - masses[:-block]
    means = (sums[block:] - sums[:-block]) / mass[:, None]
    return _typical(means[block:] - means[:-block], mass[block:], mass[:-block], NOISE_QUANTILE)


def _typical(differences: np.ndarray, weights: np.ndarray, others: np.ndarray, quantile: float) -> float:
    """The variance of values of weight 1 whose `differences` (n, classes) these are, from a quantile of their squares.

    Squared normal noise in two dimensions is exponentially distributed, which relates its quantiles to its mean.
    """
    squares = np.square(differences).sum(axis=1) / (1 / weights + 1 / others)
    return float(np.quantile(squares, quantile) / -np.log(1 - quantile))


def optimal_cuts(
    values: np.ndarray, weights: np.ndarray, times: np.ndarray, least_seconds: float, penalty: float
) -> list[int]:
    """Where to cut a sequence for the smallest sum of squared distances from the segments' means plus penalties.

    Args:
        values: (n, d).
        weights: (n,), above 0, of the values in means and sums.
        times: (n + 1,): when each value begins, and when the last one ends.
        least_seconds: no segment is shorter.
        penalty: of each cut.

    Returns:
        the sorted numbers of the values that begin a segment, the first left out.
    """
    count = len(values)
    sums = _cumulated(values * weights[:, None])
    squares, masses = _cumulated(weights * np.square(values).sum(axis=1)), _cumulated(weights)
    best = np.full(count + 1, np.inf)  # best[i]: of the first i values
    best[0], before = -penalty, np.zeros(count + 1, np.int64)
    candidates, entered = np.zeros(0, np.int64), 0  # where the last segment may begin
    leaves = np.zeros(0)  # (candidates,): when each stops being one
    for end in range(1, count + 1):
        while entered < end and times[end] - times[entered] >= least_seconds:
            if np.isfinite(best[entered]):
                candidates, leaves = np.append(candidates, entered), np.append(leaves, np.inf)
            entered += 1
        if not len(candidates):
            continue
        spread = np.square(sums[end] - sums[candidates]).sum(axis=1) / (masses[end] - masses[candidates])
        costs = best[candidates] + squares[end] - squares[candidates] - spread
        choice = int(costs.argmin())
        best[end], before[end] = costs[choice] + penalty, candidates[choice]
        # PELT: from the moment on that a segment may begin here and end, to begin here is better than there
        leaves = np.where(costs > best[end], np.minimum(leaves, times[end] + least_seconds), leaves)
        stays = leaves > times[end]
        candidates, leaves = candidates[stays], leaves[stays]
    if not np.isfinite(best[count]):
        return []
    cuts, place = [], int(before[count])
    while place:
        cuts.append(place)
        place = int(before[place])
    return cuts[::-1]


def _cumulated(values: np.ndarray) -> np.ndarray:
    """(n, ...) -> (n + 1, ...): the sums of the first 0, 1, ... values."""
    return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
