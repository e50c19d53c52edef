"""Every weighting of the grid, against brute force with exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest

from ger_datasets.support.errors import UserError
from ger_models.evaluation.ensemble import simplex
from ger_models.evaluation.ensemble.simplex import search, units_of_step


def compositions(members, units):
    return [parts for parts in product(range(units + 1), repeat=members) if sum(parts) == units]


def exactly_right(scores, labels, parts):
    """How many photos a weighting is right on, in exact arithmetic; the first of equal classes is predicted."""
    right = 0
    for row, label in enumerate(labels):
        sums = [
            sum(part * Fraction(float(score)) for part, score in zip(parts, scores[:, row, index], strict=True))
            for index in range(scores.shape[2])
        ]
        right += sums.index(max(sums)) == label
    return right


def tied(rng, members, rows, classes, kind):
    """Scores of which many are equal, and many weighted sums too."""
    labels = rng.integers(0, classes, rows)
    if kind == "whole":
        return rng.integers(-2, 3, (members, rows, classes)).astype(np.float32), labels
    scores = rng.normal(size=(members, rows, classes)).astype(np.float32)
    if kind == "opposed" and members > 1:  # equal weights of the first two leave nothing
        scores[1] = -scores[0]
    if kind == "far apart":
        scores *= np.float32(10.0) ** rng.integers(-3, 3, scores.shape)
    return scores, labels


@pytest.mark.parametrize("kind", ["whole", "opposed", "far apart"])
@pytest.mark.parametrize(("members", "classes", "units"), [(1, 3, 4), (2, 3, 9), (3, 2, 7), (3, 4, 6), (4, 3, 4)])
def test_every_weighting_is_counted_exactly(rng, monkeypatch, kind, members, classes, units):
    scores, labels = tied(rng, members, 40, classes, kind)
    expected = {parts: exactly_right(scores, labels, parts) for parts in compositions(members, units)}
    for block in (2, 2048):  # descends member by member, or multiplies out at once
        monkeypatch.setattr(simplex, "BLOCK", block)
        found = search(scores, labels, units, keep=True)
        parts, right = found.every
        assert dict(zip(map(tuple, parts.tolist()), right.tolist(), strict=True)) == expected
        best = max(expected.values())
        equal = [parts for parts, count in expected.items() if count == best]
        for each in (found, search(scores, labels, units)):
            assert (each.right, each.ties, each.weightings) == (best, len(equal), len(expected))
            assert each.parts == min(equal, key=lambda parts: (sum(part**2 for part in parts), [-p for p in parts]))


def test_ties_go_to_the_most_even_then_to_the_earlier_members():
    labels = np.array([0, 1])
    sure = np.eye(2, dtype=np.float32)[labels]
    found = search(np.stack([sure] * 3), labels, 4)
    assert (found.right, found.ties) == (2, 15)
    assert found.parts == (2, 1, 1), "of (2,1,1), (1,2,1) and (1,1,2)"
    assert found.weights == [0.5, 0.25, 0.25]
    assert search(np.stack([sure] * 3), labels, 3).parts == (1, 1, 1)
    assert search(np.stack([1 - sure, sure]), labels, 4).parts == (1, 3), "(2,2) ties the classes"


def test_none_is_missed_for_the_want_of_a_float():
    """Sums of steps are seldom 1 in floats: 0.05 * 3 + 0.85 is not."""
    labels = np.array([0, 1, 2])
    scores = np.stack([np.eye(3, dtype=np.float32)[labels]] * 5)
    assert search(scores, labels, 20).weightings == comb(24, 4) == 10_626
    assert search(scores, labels, 20).ties == 10_626


def test_splitting_the_work_changes_nothing(rng, monkeypatch):
    scores, labels = tied(rng, 4, 600, 3, "far apart")
    whole = search(scores, labels, 10)
    monkeypatch.setattr(simplex, "CELLS", 64)
    assert search(scores, labels, 10) == whole
    monkeypatch.setattr(simplex, "BLOCK", 3)
    assert search(scores, labels, 10) == whole


@pytest.mark.parametrize(("step", "units"), [(0.05, 20), (0.02, 50), (0.1, 10), (1, 1), (0.125, 8), (1 / 3, 3)])
def test_steps(step, units):
    assert units_of_step(step) == units


@pytest.mark.parametrize("step", [0.03, 0, -0.1, 2, 0.333, float("nan")])
def test_steps_that_do_not_divide_one(step):
    with pytest.raises(UserError, match="the step must divide 1"):
        units_of_step(step)


def test_a_grid_that_would_take_hours_is_refused():
    with pytest.raises(UserError, match=r"14 members at a step of 1/50 make .* weightings, more than 1,000,000,000"):
        search(np.zeros((14, 2, 3)), np.array([0, 1]), 50)
