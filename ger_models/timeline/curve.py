"""The group's class probabilities in sampled frames -> a smooth curve over time with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ger_datasets.support.errors import UserError

Z_SCORE = 1.645  # of the normal distribution: the band holds 90 %


@dataclass(frozen=True)
class Curve:
    """The group over time.

    Attributes:
        seconds: (frames,) float64, increasing.
        probabilities: (frames, classes) float64, each row adding up to 1; NaN where no face is near in the scene.
        lower: (frames, classes) float64: below this is the true share in one case of twenty; 0 where nothing is known.
        upper: (frames, classes) float64: above this, in another one; 1 where nothing is known.
        faces: (frames,) float64: how many faces the group has around each moment, a mean over the window.
    """

    seconds: np.ndarray
    probabilities: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    faces: np.ndarray


def group_curve(
    seconds: np.ndarray,
    probabilities: np.ndarray,
    faces: np.ndarray,
    window: float = 2.0,
    method: str = "exponential",
    cuts: Sequence[int] | np.ndarray = (),
) -> Curve:
    """Smooth a group's class probabilities over time; never across a cut.

    A frame counts by its number of faces; one without faces counts nothing, and takes its value from those around.
    The band is Wilson's interval (1927) for a share among as many people as there are faces: frames of the same
    people add no certainty, so that smoothing does not narrow it, and few faces widen it.

    Args:
        seconds: (frames,), increasing.
        probabilities: (frames, classes), each row adding up to 1; rows without faces may be anything.
        faces: (frames,): the number of faces in each frame, 0 or more.
        window: width in seconds, half of it on either side; 0: the curve is not smoothed.
        method: a name in `SMOOTHINGS`.
        cuts: the numbers of frames that begin a new scene.

    Raises:
        UserError: an unknown method, or a negative window.
        ValueError: the arrays do not fit together, or the seconds do not increase.
    """
    if method not in SMOOTHINGS:
        raise UserError(f"unknown smoothing {method!r}: there are {', '.join(SMOOTHINGS)}")
    if not 0 <= window < np.inf:
        raise UserError(f"the smoothing window must be 0 or more seconds, not {window}")
    seconds, faces = np.asarray(seconds, np.float64), np.asarray(faces, np.float64)
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.shape[0] != len(seconds) or faces.shape != seconds.shape or np.any(np.diff(seconds) <= 0):
        raise ValueError(
            f"seconds {seconds.shape}, probabilities {probabilities.shape} and faces {faces.shape} must be of the "
            "same frames, in the order of time"
        )
    probabilities = np.where(faces[:, None] > 0, probabilities, 0.0)
    smooth, around = np.empty_like(probabilities), np.empty_like(faces)
    for start, end in scenes(len(seconds), cuts):
        scene = slice(start, end)
        arguments = (seconds[scene], probabilities[scene], faces[scene])
        smooth[scene], around[scene] = SMOOTHINGS[method](*arguments, window) if window else _unsmoothed(*arguments)
    lower, upper = wilson_band(smooth, around)
    return Curve(seconds, smooth, lower, upper, around)


def scenes(frames: int, cuts: Sequence[int] | np.ndarray) -> Iterator[tuple[int, int]]:
    """(first frame, frame after the last) of each scene.

    >>> list(scenes(10, [4, 7]))
    [(0, 4), (4, 7), (7, 10)]
    """
    edges = [0, *sorted({int(cut) for cut in cuts if 0 < cut < frames}), frames]
    return ((start, end) for start, end in pairwise(edges) if start < end)


def wilson_band(shares: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of shares (frames, classes) among so many people (frames,); 0 to 1 where there are none."""
    squared = Z_SCORE**2
    known = (people > 0)[:, None] & ~np.isnan(shares)
    count = np.where(people > 0, people, 1.0)[:, None]
    share = np.where(known, shares, 0.5)
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    half = Z_SCORE / (1 + squared / count) * np.sqrt(share * (1 - share) / count + squared / (4 * count**2))
    return np.where(known, np.maximum(middle - half, 0), 0.0), np.where(known, np.minimum(middle + half, 1), 1.0)


def _unsmoothed(seconds: np.ndarray, probabilities: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(faces[:, None] > 0, probabilities, np.nan), faces.copy()


def _exponential(
    seconds: np.ndarray, probabilities: np.ndarray, faces: np.ndarray, window: float
) -> tuple[np.ndarray, np.ndarray]:
    """The mean with weights that fall to 1/e in half a window on either side, in two passes over the frames."""
    values = np.column_stack([probabilities * faces[:, None], faces, np.ones(len(faces))])  # (frames, classes + 2)
    decays = np.exp(-np.diff(seconds) / (window / 2))
    forward, backward = values.copy(), values.copy()
    for i, decay in enumerate(decays):
        forward[i + 1] += decay * forward[i]
    for i in range(len(decays) - 1, -1, -1):
        backward[i] += decays[i] * backward[i + 1]
    sums = forward + backward - values  # each frame's own value is in both
    return _mean(sums[:, :-2], sums[:, -2]), sums[:, -2] / sums[:, -1]


def _median(
    seconds: np.ndarray, probabilities: np.ndarray, faces: np.ndarray, window: float
) -> tuple[np.ndarray, np.ndarray]:
    """The median of each class, each frame counted by its faces, over half a window on either side; made to add up
    to 1."""
    smooth, around = np.empty_like(probabilities), np.empty_like(faces)
    starts = np.searchsorted(seconds, seconds - window / 2, "left")
    ends = np.searchsorted(seconds, seconds + window / 2, "right")
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        weights = faces[start:end]
        around[i] = weights.mean()
        smooth[i] = [weighted_median(column, weights) for column in probabilities[start:end].T]
    return _mean(smooth, smooth.sum(axis=1)), around


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value in the middle of (n,) values with (n,) weights; between two, their mean; NaN without weights.

    >>> weighted_median(np.array([0.1, 0.9, 0.5]), np.array([1.0, 1.0, 5.0]))
    0.5
    """
    order = np.argsort(values)
    order = order[weights[order] > 0]
    if not len(order):
        return float("nan")
    sums = np.cumsum(weights[order])
    low = np.searchsorted(sums, sums[-1] / 2, "left")
    high = np.searchsorted(sums, sums[-1] / 2, "right")
    return float(values[order[[low, min(high, len(order) - 1)]]].mean())


def _mean(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(frames, classes) / (frames, 1); NaN where the weight is 0."""
    known = (weights > 0)[:, None]
    return np.where(known, sums / np.where(known, weights[:, None], 1.0), np.nan)


# name -> (seconds, probabilities, faces, window) of one scene -> smooth probabilities, mean number of faces
SMOOTHINGS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {"exponential": _exponential, "median": _median}
