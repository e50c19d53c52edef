"""The frames of videos or clips -> one row for each: predictions of groups from those of their photos."""

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


# what rows can be scored together by: column of the table -> the attribute that holds it
COLUMNS = {"group": "groups", "clip": "clips"}


def by_group(predictions: Predictions, rule: str = "mean", column: str = "group") -> Predictions:
    """One row for each group, or each clip, of each split, whose label is that of all its rows.

    Args:
        predictions: of frames, with groups or clips.
        rule: how the probabilities of a group's rows are combined: a name in `GROUP_RULES`.
        column: a name in `COLUMNS`.

    Returns:
        Predictions whose `image_ids` are the groups or clips. Logits are logarithms of the combined probabilities.
        The groups of clips stay theirs: clips of one video are drawn together for intervals.

    Raises:
        UserError: there is no such column or rule, or rows of one group have different labels.
    """
    if rule not in GROUP_RULES:
        raise UserError(f"unknown rule {rule!r} for groups: there are {', '.join(GROUP_RULES)}")
    if column not in COLUMNS:
        raise UserError(f"rows are scored together by {' or '.join(COLUMNS)}, not by {column!r}")
    values = getattr(predictions, COLUMNS[column])
    if values is None:
        raise UserError(f"the table of {predictions.model} has no column {column}: predict.py writes it where the "
                        "dataset has it")  # fmt: skip
    members: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(predictions.splits, values, strict=True)):
        members.setdefault(key, []).append(row)
    labels = [_label(predictions, column, name, rows) for (_, name), rows in members.items()]
    whole = predictions.groups if column != "group" else None
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
        note="; ".join(filter(None, (predictions.note, f"each {column} is scored by the {rule} of its frames"))),
        model_revision=predictions.model_revision,
        dataset_revision=predictions.dataset_revision,
        only=predictions.only,
        groups=None if whole is None else [whole[rows[0]] for rows in members.values()],
        file=predictions.file,
    )


def _label(predictions: Predictions, column: str, name: str, rows: list[int]) -> int:
    """The label of a group or clip; rows without one do not count."""
    found = sorted({int(label) for label in predictions.labels[rows]} - {NO_LABEL})
    if len(found) > 1:
        names = listing(predictions.class_names[label] for label in found)
        instead = "; score its clips with --by clip" if column == "group" and predictions.clips is not None else ""
        raise UserError(f"the rows of {column} {name!r} have different labels ({names}): only groups of one label, "
                        f"such as labelled videos, can be scored{instead}")  # fmt: skip
    return found[0] if found else NO_LABEL
