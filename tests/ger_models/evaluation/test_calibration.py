"""Calibration: the temperature is found again, and prediction sets hold the truth as often as they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm

from ger_datasets.support.errors import UserError
from ger_models.evaluation.calibration import SCORES, aps_scores, calibrate, fit_temperature, prediction_sets


def simulated(photos: int, seed: int, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax at temperature `sharpness` is the truth's distribution."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (photos, 3))
    chances = softmax(logits, axis=1)
    labels = (rng.random(photos)[:, None] > chances.cumsum(1)).sum(1)
    return logits * sharpness, np.minimum(labels, 2)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_again(sharpness: float) -> None:
    assert fit_temperature(*simulated(20_000, 0, sharpness)) == pytest.approx(sharpness, rel=0.05)


@pytest.mark.parametrize("score", SCORES)
def test_coverage_over_200_repetitions(score: str) -> None:
    """Split-conformal sets hold the truth of new photos with the promised probability, at least."""
    repetitions, photos, coverage = 200, 200, 0.9
    held = []
    for seed in range(repetitions):
        calibration = calibrate(*simulated(photos, seed, 2.0), coverage)
        logits, labels = simulated(500, 10_000 + seed, 2.0)
        held.append(prediction_sets(logits, calibration, score)[np.arange(len(labels)), labels].mean())
    mean, error = np.mean(held), np.std(held, ddof=1) / repetitions**0.5
    margin = norm.ppf(0.9995) * error
    assert mean >= coverage - margin
    if score == "lac":  # exact: at most 1 / (n + 1) above, n = 100 photos behind each threshold
        assert mean <= coverage + 1 / 101 + margin


def test_aps_scores_by_hand() -> None:
    np.testing.assert_allclose(aps_scores(np.array([[0.2, 0.5, 0.3]])), [[1.0, 0.5, 0.8]])


def test_certain_photos_have_small_sets_and_none_is_empty() -> None:
    calibration = calibrate(*simulated(400, 0))
    sets = prediction_sets(np.array([[9.0, 0, 0], [0.1, 0.05, 0.0]]), calibration)
    assert sets[0].tolist() == [True, False, False]
    assert sets[1].sum() >= 2
    assert prediction_sets(np.array([[0.1, 0.0, 0.0]]), {**calibration, "lac": 0.0}).sum() == 1
    assert prediction_sets(np.zeros((1, 3)), {**calibration, "lac": 0.0}).all(), "equal classes are not told apart"


def test_too_few_photos() -> None:
    with pytest.raises(UserError, match=r"5 labelled photos are too few.*at least 18"):
        calibrate(*simulated(5, 0))
    logits, labels = simulated(18, 0)
    assert calibrate(logits, labels)["photos"] == 18
    labels[:2] = -1
    with pytest.raises(UserError, match="16 labelled photos"):
        calibrate(logits, labels)
    with pytest.raises(UserError, match="above 0 and below 1"):
        calibrate(*simulated(50, 0), 1.0)
