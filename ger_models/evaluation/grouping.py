"""The frames of videos -> one row per video: predictions of groups, such as videos, from those of their photos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError, listing

from .calibration import calibrated
from .predictions import Predictions

SMALLEST = 1e-7  # probability, so that its logarithm is finite


def mean(probabilities: np.ndarray) -> np.ndarray:
    """The mean of the frames' probabilities.

    Args:
        probabilities: (frames, classes).

    Returns:
        (classes,), adding up to 1.
    """
    return probabilities.mean(axis=0)


def median(probabilities: np.ndarray) -> np.ndarray:
    """The median of each class, made to add up to 1: single odd frames do not count.

    (frames, classes) -> (classes,), as `mean`.
    """
    middle = np.median(probabilities, axis=0) + SMALLEST
    return middle / middle.sum()


def majority(probabilities: np.ndarray) -> np.ndarray:
    """The share of frames in which each class is the most probable; ties go by the mean.

    (frames, classes) -> (classes,), as `mean`.

    >>> majority(np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])).round(2)
    array([0.33, 0.67])
    """
    votes = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)
    mixed = votes + 1e-3 / len(probabilities) * probabilities.mean(axis=0)  # less than one vote: it only breaks ties
    return mixed / mixed.sum()


# name -> (frames, classes) probabilities of a group's frames -> (classes,) of the group
GROUP_RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"mean": mean, "median": median, "majority": majority}


def by_group(predictions: Predictions, rule: str = "mean") -> Predictions:
    """One row for each group of each split, whose label is that of all its rows.

    Args:
        predictions: of frames, with groups.
        rule: how the probabilities of a group's rows are combined: a name in `GROUP_RULES`.

    Returns:
        Predictions whose `image_ids` are the groups. Logits are logarithms of the combined probabilities.

    Raises:
        UserError: there are no groups, there is no such rule, or rows of one group have different labels.
    """
    if rule not in GROUP_RULES:
        raise UserError(f"unknown rule {rule!r} for groups: there are {', '.join(GROUP_RULES)}")
    if predictions.groups is None:
        raise UserError(f"the table of {predictions.model} has no column group: write it again with predict.py")
    members: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(predictions.splits, predictions.groups, strict=True)):
        members.setdefault(key, []).append(row)
    labels = [_label(predictions, group, rows) for (_, group), rows in members.items()]
    probabilities = calibrated(predictions.logits, predictions.calibration)
    shares = np.array([GROUP_RULES[rule](probabilities[rows]) for rows in members.values()])
    names = [group for _, group in members]
    unique = len(set(names)) == len(names)
    return Predictions(
        names if unique else [f"{split}/{group}" for split, group in members],
        splits=[split for split, _ in members],
        labels=np.array(labels),
        logits=np.log(np.maximum(shares, SMALLEST)).astype(np.float32),
        model=predictions.model,
        class_names=predictions.class_names,
        note="; ".join(filter(None, (predictions.note, f"each group is scored by the {rule} of its frames"))),
        model_revision=predictions.model_revision,
        dataset_revision=predictions.dataset_revision,
        only=predictions.only,
        file=predictions.file,
    )


def _label(predictions: Predictions, group: str, rows: list[int]) -> int:
    """The label of a group; rows without one do not count."""
    found = sorted({int(label) for label in predictions.labels[rows]} - {NO_LABEL})
    if len(found) > 1:
        names = listing(predictions.class_names[label] for label in found)
        raise UserError(f"the rows of group {group!r} have different labels ({names}): only groups of one label, such "
                        "as labelled videos, can be scored")  # fmt: skip
    return found[0] if found else NO_LABEL
