"""Probabilities that can be trusted, from one split with labels: a temperature, and thresholds for prediction sets.

A prediction set holds each class that cannot be ruled out: over new photos like those of the split it holds the truth
at least as often as `coverage` says (split-conformal prediction; Vovk et al. 2005, Angelopoulos and Bates 2021,
arXiv 2107.07511). Arrays only: nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError

TEMPERATURES = (0.05, 20.0)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number that logits (rows, classes) are divided by for the lowest log-loss on labels (rows,).

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """

    def loss(log_temperature: float) -> float:
        chances = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(chances[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded").x))


def lac_scores(probabilities: np.ndarray) -> np.ndarray:
    """(rows, classes): how unusual each class would be, 1 minus its probability (Sadinle et al. 2019)."""
    return 1 - probabilities


def aps_scores(probabilities: np.ndarray) -> np.ndarray:
    """(rows, classes): the summed probability of the classes down to this one, most probable first (Romano et al.
    2020, without randomisation: sets are a little larger than they need be)."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    running = np.cumsum(np.take_along_axis(probabilities, order, 1), axis=1)
    scores = np.empty_like(running)
    np.put_along_axis(scores, order, running, 1)
    return scores


SCORES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"lac": lac_scores, "aps": aps_scores}


def calibrate(logits: np.ndarray, labels: np.ndarray, coverage: float = 0.9) -> dict[str, Any]:
    """What `prediction_sets` needs, JSON: `temperature`, `coverage`, `photos` and a threshold for each of `SCORES`.

    The temperature is fitted on every second photo and the thresholds on the others, so that the guarantee holds.

    Args:
        logits: (photos, classes).
        labels: (photos,), -1 where there is none.
        coverage: share of photos whose set must hold the truth, above 0 and below 1.

    Raises:
        UserError: too few photos for this coverage, or a coverage that is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise UserError(f"the coverage must be above 0 and below 1, not {coverage}")
    known = labels != NO_LABEL
    logits, labels = np.asarray(logits, np.float64)[known], labels[known]
    fitting, holding = slice(0, None, 2), slice(1, None, 2)
    count = len(labels[holding])
    least = math.ceil(coverage / (1 - coverage) - 1e-9)  # (count + 1) * coverage must not be above count
    if count < least:
        raise UserError(
            f"{len(labels)} labelled photos are too few for a coverage of {coverage}: at least {2 * least} are needed "
            "(half of them fit the temperature); use a larger split or a lower --coverage"
        )
    temperature = fit_temperature(logits[fitting], labels[fitting])
    probabilities = softmax(logits[holding] / temperature, axis=1)
    rank = math.ceil((count + 1) * coverage - 1e-9)
    thresholds = {}
    for name, score in SCORES.items():
        of_truth = score(probabilities)[np.arange(count), labels[holding]]
        thresholds[name] = float(np.sort(of_truth)[rank - 1])
    return {"temperature": temperature, "coverage": coverage, "photos": len(labels), **thresholds}


def prediction_sets(logits: np.ndarray, calibration: Mapping[str, Any], score: str = "lac") -> np.ndarray:
    """(photos, classes) bool: which classes each set holds; the most probable class always.

    Args:
        logits: (photos, classes), before the temperature.
        calibration: what `calibrate` returned.
        score: a name in `SCORES`.
    """
    probabilities = softmax(np.asarray(logits, np.float64) / calibration["temperature"], axis=1)
    held = SCORES[score](probabilities) <= calibration[score]
    held[np.arange(len(held)), probabilities.argmax(1)] = True
    return held
