"""Probabilities that can be trusted, from one split with labels: a temperature, and thresholds for prediction sets.

A prediction set holds each class that cannot be ruled out: over new photos like those of the split it holds the truth
at least as often as `coverage` says (split-conformal prediction; Vovk et al. 2005, Angelopoulos and Bates 2021,
arXiv 2107.07511). Arrays only: nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError

TEMPERATURES = (0.05, 20.0)
SET_SCORE = "lac"  # the score in `SCORES` of the sets in answers and tables: on average they are the smallest
TIE = 1e-9  # of probabilities; classes that are as probable as the most probable one are in the set too
# field of a calibration -> its least and its highest value
NUMBERS = {
    "temperature": (0.001, 1000),
    "coverage": (0.0, 1.0),
    "photos": (1, 10**12),
    "lac": (0, 1),
    "aps": (0, 1.001),
}


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number that logits (rows, classes) are divided by for the lowest log-loss on labels (rows,).

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """

    from scipy.optimize import minimize_scalar  # here: importing it takes a quarter of a second

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
    """(photos, classes) bool: which classes each set holds; the most probable class always, and those equal to it.

    Args:
        logits: (photos, classes), before the temperature.
        calibration: what `calibrate` returned.
        score: a name in `SCORES`.
    """
    probabilities = softmax(np.asarray(logits, np.float64) / calibration["temperature"], axis=1)
    held = SCORES[score](probabilities) <= calibration[score]
    return held | (probabilities >= probabilities.max(1, keepdims=True) - TIE)


def calibrated(logits: np.ndarray, calibration: Mapping[str, Any] | None) -> np.ndarray:
    """Probabilities (photos, classes) of logits (photos, classes), float64; without a calibration the softmax."""
    return softmax(np.asarray(logits, np.float64) / (calibration["temperature"] if calibration else 1.0), axis=1)


def named_sets(logits: np.ndarray, calibration: Mapping[str, Any], class_names: Sequence[str]) -> list[list[str]]:
    """(photos): the classes in the prediction set (`SET_SCORE`) of each row of logits (photos, classes), the most
    probable first."""
    held = prediction_sets(logits, calibration, SET_SCORE)
    order = np.argsort(-np.asarray(logits), axis=1, kind="stable")
    return [
        [class_names[index] for index in best if of_photo[index]] for best, of_photo in zip(order, held, strict=True)
    ]


def checked_calibration(value: Any, class_names: Sequence[str]) -> dict[str, Any] | None:
    """A `calibration` as a checkpoint's configuration or a predictions table holds it, or None for None.

    Args:
        value: what `calibrate` returned, with `class_names`, and `dataset`, `dataset_revision` and `split` where they
            are known.
        class_names: of the model's logits, in order.

    Raises:
        ValueError: a field is missing or has a value that it cannot have; or it was fitted for other classes.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError(f"calibration must be a mapping, not {value!r}")
    for name, (least, most) in NUMBERS.items():
        number = value.get(name)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not least <= number <= most:
            raise ValueError(f"calibration.{name} must be a number from {least} to {most}, not {number!r}")
    for name in ("dataset", "dataset_revision", "split"):
        if not isinstance(value.get(name, ""), str):
            raise ValueError(f"calibration.{name} must be a text, not {value[name]!r}")
    if value.get("class_names") != list(class_names):
        raise ValueError(
            f"calibration.class_names must be the model's classes, {', '.join(class_names)}, not "
            f"{value.get('class_names')!r}"
        )
    return dict(value)


def calibration_of(config: Any) -> dict[str, Any] | None:
    """The calibration in a checkpoint's configuration; None where it has none.

    Raises:
        UserError: it is invalid: see `checked_calibration`.
    """
    try:
        names = [config.id2label[i] for i in range(config.num_labels)]
        return checked_calibration(getattr(config, "calibration", None), names)
    except ValueError as error:
        raise UserError(f"the model's configuration is invalid: {error}; run scripts/calibrate.py again") from error
