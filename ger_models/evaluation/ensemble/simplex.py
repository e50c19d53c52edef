"""The best of all weightings on a grid, exactly: no weighting is missed, and none is tried by itself.

A weighting gives each member a whole number of units, `units` in all; its score is the members' weighted sum, and its
prediction the highest score, the first of equals, as `argmax`. So a photo is right where its label's margin over every
other class is positive, or at least 0 over a class behind it, and margins are weighted sums too:

- a block of weightings is one matrix product for each wrong class, and a comparison;
- a margin that is positive at the corners of the simplex is positive within: the photos that are right, or wrong,
  under all weightings that begin alike are settled once for all of them, and only the others are multiplied out;
- weightings that begin alike and cannot reach the best found so far are passed over together.

Blocks are multiplied in float32. Where a margin comes so near to 0 that rounding could decide, the weighting is
counted again in float64: there whole numbers times float32 scores are exact, and so are their sums unless the scores
lie more than some 2²⁰ times apart. So ties are ties. Memory is that of one block, whatever the grid.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from math import comb

import numpy as np
from threadpoolctl import ThreadpoolController

from ger_datasets.support.errors import UserError

logger = logging.getLogger(__name__)

MOST_WEIGHTINGS = 10**9  # an hour
MANY_WEIGHTINGS = 10**7  # from here on it is said that it takes a while
BLOCK = 2048  # weightings at once
CELLS = 1 << 17  # photos by weightings at once: 512 kB of margins, which stay in the cache
ROUNDING = 2.0**-22  # four times what one operation on numbers up to 1 may be off in float32


@dataclass(frozen=True)
class Found:
    """The best weighting.

    Attributes:
        parts: (members,) units of each.
        units: their sum.
        right: on how many photos it is right.
        ties: how many weightings are right on as many, it included.
        weightings: how many there are on the grid.
        every: all weightings (weightings, members) and on how many photos each is right (weightings,), where asked.
    """

    parts: tuple[int, ...]
    units: int
    right: int
    ties: int
    weightings: int
    every: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def weights(self) -> list[float]:
        """(members,), of the sum 1."""
        return [part / self.units for part in self.parts]


def units_of_step(step: float) -> int:
    """How many steps make 1.

    Raises:
        UserError: none of them do.
    """
    units = round(1 / step) if 0 < step <= 1 else 0
    if not units or abs(units * step - 1) > 1e-9:
        raise UserError(f"the step must divide 1, as 0.05, 0.02 or 0.125 do; {step} does not")
    return units


def search(scores: np.ndarray, labels: np.ndarray, units: int, keep: bool = False) -> Found:
    """The weighting that is right on the most photos.

    Of weightings that are right on equally many, the most even one wins: that of the least sum of squares; of those,
    the one that gives more to the first member, then to the second, and so on.

    Args:
        scores: (members, rows, classes) logits or probabilities, finite.
        labels: (rows,) the truth, from 0.
        units: the steps from 0 to 1.
        keep: whether to return every weighting and its count; nothing is passed over then.

    Raises:
        UserError: the grid has more than a billion weightings.
    """
    members = len(scores)
    weightings = comb(units + members - 1, members - 1)
    if weightings > MOST_WEIGHTINGS:
        raise UserError(
            f"{members} members at a step of 1/{units} make {weightings:,} weightings, more than "
            f"{MOST_WEIGHTINGS:,}: take a larger step, fewer members, or the method greedy"
        )
    if weightings > MANY_WEIGHTINGS:
        logger.info("trying %s weightings, some %d minutes", f"{weightings:,}", 1 + weightings // MANY_WEIGHTINGS // 2)
    search = _Search(keep)
    with _blas().limit(limits=1):  # threads cost blocks this small more than they gain, on a busy machine tenfold
        search.descend(_settled(_margins(scores, labels, units), units), (), members, units)
    every = (np.concatenate(search.tables), np.concatenate(search.counts)) if keep else None
    return Found(search.parts, units, search.right, search.ties, weightings, every)


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@dataclass(frozen=True)
class _Undecided:
    """The photos that some of the weightings that begin alike are right on, and some wrong.

    Attributes:
        strict: (wrong classes, photos) whether the margin must be positive: over the classes before the label.
        base: (wrong classes, photos) the margins' sum over the members that are weighted already.
        margins: (wrong classes, members to come, photos), scaled by a power of 2 for each photo, so that no weighted
            sum exceeds 1.
    """

    strict: np.ndarray
    base: np.ndarray
    margins: np.ndarray

    @property
    def photos(self) -> int:
        return self.base.shape[1]

    def after(self, part: int) -> _Undecided:
        """The same with the next member at `part` units."""
        return replace(self, base=self.base + part * self.margins[:, 0], margins=self.margins[:, 1:])

    def counted(self, table: np.ndarray, room: _Room) -> np.ndarray:
        """(weightings, members to come) whole numbers as floats -> (weightings,): how many photos each is right on."""
        weights = np.concatenate([table, np.ones((len(table), 1))], axis=1).T  # (members + 1, weightings)
        members = np.concatenate([self.margins, self.base[:, None]], axis=1).transpose(0, 2, 1)
        doubt = ROUNDING * (len(weights) + 3)
        right, perhaps = np.zeros((2, len(table)), np.int64)
        single = weights.astype(np.float32)
        singles = members.astype(np.float32)  # (wrong classes, photos, members + 1)
        most = max(1, min(255, CELLS // len(table)))  # 255: bytes do not overflow
        for start in range(0, self.photos, most):
            chosen = singles[:, start : start + most]
            least, other, passed = room.views(chosen.shape[1], len(table))
            np.matmul(chosen[0], single, out=least)
            for of_class in chosen[1:]:
                np.matmul(of_class, single, out=other)
                np.minimum(least, other, out=least)
            for edge, count in ((doubt, right), (-doubt, perhaps)):
                np.greater(least, np.float32(edge), out=passed)
                count += np.add.reduce(passed.view(np.uint8), axis=0, dtype=np.uint8)
        unsure = np.flatnonzero(right != perhaps)
        for start in range(0, len(unsure), 64):
            places = unsure[start : start + 64]
            sums = members @ weights[:, places]  # (wrong classes, photos, weightings)
            right[places] = np.count_nonzero(_passes(sums, self.strict[..., None]).all(axis=0), axis=0)
        return right


class _Room:
    """Memory for one block, used again and again: two of margins, and which of them pass."""

    def __init__(self) -> None:
        cells = CELLS + BLOCK
        self.parts = np.empty(cells, np.float32), np.empty(cells, np.float32), np.empty(cells, bool)

    def views(self, photos: int, weightings: int) -> tuple[np.ndarray, ...]:
        return tuple(part[: photos * weightings].reshape(photos, weightings) for part in self.parts)


def _passes(margins: np.ndarray, strict: np.ndarray) -> np.ndarray:
    """Where a margin says that the label comes before the other class."""
    return (margins > 0) | ((margins == 0) & ~strict)


@dataclass
class _Search:
    keep: bool
    room: _Room = field(default_factory=_Room)
    right: int = -1
    parts: tuple[int, ...] = ()
    ties: int = 0
    tables: list[np.ndarray] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)

    def descend(self, state: tuple[int, _Undecided], begun: tuple[int, ...], members: int, units: int) -> None:
        """Try all weightings that begin with `begun` and give `units` to the `members` that follow.

        Args:
            state: how many photos all of them are right on, and the photos that are not settled.
        """
        sure, undecided = state
        if not self.keep and sure + undecided.photos < self.right:
            return
        if members <= 2 or comb(units + members - 1, members - 1) <= BLOCK:
            for table in _blocks(members, units):
                self.offer(sure + undecided.counted(table, self.room), table, begun)
            return
        for part in range(units, -1, -1):
            right, rest = _settled(undecided.after(part), units - part)
            self.descend((sure + right, rest), (*begun, part), members - 1, units - part)

    def offer(self, counts: np.ndarray, table: np.ndarray, begun: tuple[int, ...]) -> None:
        """Keep the best of these weightings if it is better than the best so far."""
        if self.keep:
            whole = np.tile(np.array(begun, np.int64), (len(table), 1))
            self.tables.append(np.concatenate([whole, table.astype(np.int64)], axis=1))
            self.counts.append(counts)
        most = int(counts.max())
        if most < self.right:
            return
        equal = table[counts == most].astype(np.int64)
        if most > self.right:
            self.right, self.parts, self.ties = most, (), 0
        self.ties += len(equal)
        equal = equal[(equal**2).sum(axis=1) == (equal**2).sum(axis=1).min()]
        candidates = [(*begun, *map(int, max(equal.tolist())))] + ([self.parts] if self.parts else [])
        self.parts = min(candidates, key=lambda parts: (sum(part**2 for part in parts), [-part for part in parts]))


def _margins(scores: np.ndarray, labels: np.ndarray, units: int) -> _Undecided:
    """(members, rows, classes) scores -> each label's margins over every other class."""
    classes = scores.shape[2]
    rows = np.arange(len(labels))
    wrong = np.array([[other for other in range(classes) if other != label] for label in range(classes)])[labels]
    exact = scores.astype(np.float64)
    margins = np.stack([exact[:, rows, labels] - exact[:, rows, others] for others in wrong.T])
    _, exponent = np.frexp(units * np.abs(margins).max(axis=(0, 1)))
    margins = np.ldexp(margins, -exponent)  # (wrong classes, members, photos)
    return _Undecided(labels > wrong.T, np.zeros(margins[:, 0].shape), margins)


def _settled(photos: _Undecided, units: int) -> tuple[int, _Undecided]:
    """How many photos are right wherever `units` go, and those that are neither right nor wrong everywhere."""
    corners = photos.base[:, None] + units * photos.margins  # (wrong classes, members, photos)
    passed = _passes(corners, photos.strict[:, None])
    # row by row: NumPy's own reductions of short axes are many times slower
    everywhere = reduce(np.logical_and, (corner for of_class in passed for corner in of_class))
    somewhere = reduce(np.logical_and, (reduce(np.logical_or, of_class) for of_class in passed))
    unsettled = np.flatnonzero(somewhere & ~everywhere)
    rest = _Undecided(photos.strict[:, unsettled], photos.base[:, unsettled], photos.margins[:, :, unsettled])
    return int(np.count_nonzero(everywhere)), rest


def _blocks(members: int, units: int) -> Iterator[np.ndarray]:
    """All ways to give `units` to `members`, in blocks (weightings, members) of whole numbers as floats."""
    table = _table(members, units)
    for start in range(0, len(table), BLOCK):
        yield table[start : start + BLOCK]


@lru_cache(maxsize=4096)
def _table(members: int, units: int) -> np.ndarray:
    """All of them, the largest first part first: (weightings, members)."""
    if members == 1:
        return np.array([[float(units)]])
    rows = []
    for part in range(units, -1, -1):
        rest = _table(members - 1, units - part)
        rows.append(np.concatenate([np.full((len(rest), 1), float(part)), rest], axis=1))
    return np.concatenate(rows)
