"""Two models compared: by hand, against plain resampling, and with photos that belong together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ger_datasets.support.errors import UserError
from ger_models.evaluation.comparison import compare, mcnemar

NAMES = ("Negative", "Neutral", "Positive")


def answers(predicted):
    return np.eye(3, dtype=np.float32)[predicted]


def test_by_hand():
    labels = [0, 1, 2, 0, 1, 2, -1]
    told = compare(labels, answers([0, 1, 2, 1, 2, 0, 0]), answers([0, 1, 0, 0, 1, 0, 0]))
    assert told["rows"] == 6
    assert told["accuracy"] == [0.5, pytest.approx(4 / 6)]
    assert told["difference"] == pytest.approx(1 / 6)
    counts = ("both_right", "only_first_right", "only_second_right", "both_wrong")
    assert [told[name] for name in counts] == [2, 1, 2, 1]
    assert told["mcnemar_exact"] == 1
    assert json.loads(json.dumps(told, allow_nan=False)) == told


@pytest.mark.parametrize(
    ("first", "second", "exact", "mid_p"),
    [
        (6, 0, 2 / 2**6, 1 / 2**6),
        (1, 5, 14 / 2**6, 8 / 2**6),  # 2 * (1 + 6) / 64, less the 6 / 64 of the split itself
        (3, 3, 1, 1 - 20 / 2**7),
        (0, 0, 1, 1),
    ],
)
def test_mcnemar_by_hand(first, second, exact, mid_p):
    assert mcnemar(first, second, mid_p=False) == pytest.approx(exact)
    assert mcnemar(first, second, mid_p=True) == pytest.approx(mid_p)
    assert mcnemar(second, first, mid_p=False) == pytest.approx(exact)


def test_the_interval_is_paired():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 400)
    first = np.where(generator.random(400) < 0.7, labels, (labels + 1) % 3)
    second = np.where(generator.random(400) < 0.1, labels, first)  # mends a tenth, breaks nothing
    told = compare(labels, answers(first), answers(second))
    gain = (second == labels).astype(float) - (first == labels)
    slow = [gain[rows].mean() for rows in np.random.default_rng(1).integers(0, 400, (2000, 400))]
    assert told["difference_interval"] == pytest.approx(np.percentile(slow, [2.5, 97.5]), abs=0.004)
    assert told["difference_interval"][0] > 0
    order = generator.permutation(400)
    assert compare(labels[order], answers(first[order]), answers(second[order])) == told
    same = compare(labels, answers(first), answers(first))
    assert (same["difference"], same["difference_interval"], same["mcnemar_mid_p"]) == (0, [0, 0], 1)


def test_groups_widen_the_interval():
    labels = np.zeros(40, int)
    first, second = answers(np.repeat([0, 1] * 2, 10)), answers(np.repeat([0, 0, 1, 1], 10))
    videos = np.repeat(["a", "b", "c", "d"], 10)
    alone, together = compare(labels, first, second), compare(labels, first, second, groups=videos)
    assert together["difference"] == alone["difference"] == 0
    assert np.diff(together["difference_interval"])[0] > 2 * np.diff(alone["difference_interval"])[0]


def test_refusals():
    with pytest.raises(UserError, match="none of the 1 rows has a label"):
        compare([-1], answers([0]), answers([0]))
    with pytest.raises(ValueError, match="for the same labels"):
        compare([0], answers([0]), answers([0, 1]))
