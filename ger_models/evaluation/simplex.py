"""The best of all weightings on a grid, exactly: no weighting is missed, and none is tried by itself.

A weighting gives each member a whole number of units, `units` in all; its score is the members' weighted sum, and its
prediction the highest score, the first of equals, as `argmax`. So a photo is right where its label's margin over every
other class is positive, or at least 0 over a class behind it, and margins are weighted sums too:

- a block of weightings is one matrix product for each wrong class, and a comparison;
- a margin that is positive at the corners of the simplex is positive within: the photos that are right, or wrong,
  under all weightings that begin alike are settled once for all of them, and only the others are multiplied out;
- weightings that begin alike and cannot reach the best found so far are passed over together.

Everything is float64. Whole numbers times float32 scores are exact there, and so are their sums unless the scores lie
more than some 2²⁰ times apart: ties are ties. Memory is that of one block, whatever the grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import comb

import numpy as np

from ger_datasets.errors import UserError

MOST_WEIGHTINGS = 10**9  # some minutes
BLOCK = 2048  # weightings at once
CELLS = 1 << 16  # photos by weightings at once: 512 kB of margins for each wrong class, which stay in the cache


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
    search = _Search(keep)
    search.descend(_settled(_by_label(scores, labels), units), (), members, units)
    every = (np.concatenate(search.tables), np.concatenate(search.counts)) if keep else None
    return Found(search.parts, units, search.right, search.ties, weightings, every)


@dataclass(frozen=True)
class _Undecided:
    """The photos that some of the weightings that begin alike are right on, and some wrong.

    Attributes:
        strict: of how many of the wrong classes the margin must be positive: those before the label.
        base: (wrong classes, photos) the margins' sum over the members that are weighted already.
        margins: (wrong classes, members to come, photos).
    """

    strict: int
    base: np.ndarray
    margins: np.ndarray

    @property
    def photos(self) -> int:
        return self.base.shape[1]

    def after(self, part: int) -> _Undecided:
        """The same with the next member at `part` units."""
        return replace(self, base=self.base + part * self.margins[:, 0], margins=self.margins[:, 1:])

    def counted(self, table: np.ndarray) -> np.ndarray:
        """(weightings, members to come) whole numbers as floats -> (weightings,): how many photos each is right on."""
        ones = np.ones((1, len(table)))
        weights = np.concatenate([table.T, ones])  # (members + 1, weightings)
        members = np.concatenate([self.margins, self.base[:, None]], axis=1)  # (wrong classes, members + 1, photos)
        right = np.zeros(len(table), np.int64)
        most = max(1, min(255, CELLS // len(table)))  # 255: bytes do not overflow
        for start in range(0, self.photos, most):
            chosen = members[:, :, start : start + most]
            hits = None
            for classes, passes in ((chosen[: self.strict], np.greater), (chosen[self.strict :], np.greater_equal)):
                if not len(classes):
                    continue
                least = classes[0].T @ weights  # (photos, weightings)
                for other in classes[1:]:
                    np.minimum(least, other.T @ weights, out=least)
                passed = passes(least, 0)
                hits = passed if hits is None else np.logical_and(hits, passed, out=hits)
            right += np.add.reduce(hits.view(np.uint8), axis=0, dtype=np.uint8)
        return right


@dataclass
class _Search:
    keep: bool
    right: int = -1
    parts: tuple[int, ...] = ()
    ties: int = 0
    tables: list[np.ndarray] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)

    def descend(self, state: tuple[int, list[_Undecided]], begun: tuple[int, ...], members: int, units: int) -> None:
        """Try all weightings that begin with `begun` and give `units` to the `members` that follow.

        Args:
            state: how many photos all of them are right on, and the photos that are not settled.
        """
        sure, undecided = state
        if not self.keep and sure + sum(each.photos for each in undecided) < self.right:
            return
        if members <= 2 or comb(units + members - 1, members - 1) <= BLOCK:
            for table in _blocks(members, units):
                counts = np.full(len(table), sure)
                for each in undecided:
                    counts += each.counted(table)
                self.offer(counts, table, begun)
            return
        for part in range(units, -1, -1):
            right, rest = _settled([each.after(part) for each in undecided], units - part)
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


def _by_label(scores: np.ndarray, labels: np.ndarray) -> list[_Undecided]:
    """The photos of each label: (members, rows, classes) -> their label's margins over each other class."""
    classes = scores.shape[2]
    photos = []
    for label in range(classes):
        of_label = scores[:, labels == label].astype(np.float64)  # (members, photos, classes)
        others = [other for other in range(classes) if other != label]
        margins = np.ascontiguousarray((of_label[:, :, [label]] - of_label[:, :, others]).transpose(2, 0, 1))
        photos.append(_Undecided(label, np.zeros(margins[:, 0].shape), margins))
    return photos


def _settled(photos: list[_Undecided], units: int) -> tuple[int, list[_Undecided]]:
    """How many photos are right wherever `units` go, and those that are neither right nor wrong everywhere."""
    right, rest = 0, []
    for each in photos:
        corners = each.base[:, None] + units * each.margins  # (wrong classes, members, photos)
        passed = np.empty(corners.shape, bool)
        np.greater(corners[: each.strict], 0, out=passed[: each.strict])
        np.greater_equal(corners[each.strict :], 0, out=passed[each.strict :])
        everywhere = passed.all(axis=(0, 1))
        open_ = np.flatnonzero(passed.any(axis=1).all(axis=0) & ~everywhere)
        right += int(everywhere.sum())
        if len(open_):
            rest.append(replace(each, base=each.base[:, open_], margins=each.margins[:, :, open_]))
    return right, rest


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
