"""Several models' predictions and how they become one -> the predictions of their ensemble."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ger_datasets.support.errors import UserError, listing

from ..joining import join, stacked
from ..predictions import Predictions
from .methods import ON, Ensemble

NAME = "ensemble"
LARGEST = 1e100  # no weight; sums of larger numbers, and what is none, are none


def weighted(
    members: Sequence[Predictions], weights: Sequence[float], splits: Sequence[str], on: str = "logits"
) -> Predictions:
    """The weighted sum of the members' logits, or probabilities, on some splits; the weights are brought to the sum 1.

    Raises:
        UserError: not one weight for each member, one that is no number from 0, all of them 0, or members that do not
            belong together.
    """
    shares = np.asarray(weights, np.float64)
    if len(shares) != len(members):
        names = listing((member.model for member in members), 20)
        raise UserError(f"one weight for each model is needed: {len(members)} ({names}), found {len(shares)}")
    if not (np.isfinite(shares) & (shares >= 0)).all() or not shares.sum():
        raise UserError(f"weights must be numbers from 0, and not all 0, found {listing(weights, 20)}")
    total = shares.sum()
    if abs(total - 1) > 1e-12:  # weights that were saved stay as they are, to the last digit
        shares = shares / total
    return combined(members, Ensemble("given", on, shares.tolist()), splits)


def described(members: Sequence[Predictions], account: Mapping[str, Any], splits: Sequence[str]) -> Predictions:
    """The predictions of the ensemble that `read_ensemble` has read, on some splits; the members stand in its order.

    Raises:
        UserError: the ensemble does not suit these members, or they do not belong together.
    """
    on = account.get("on", "logits")
    if account["weights"] is not None:
        return weighted(members, account["weights"], splits, on)
    names, intercept = members[0].class_names, account["intercept"]
    if len(intercept) != len(names) or account.get("class_names", list(names)) != list(names):
        raise UserError(
            f"the ensemble was found for {len(intercept)} classes ({listing(account.get('class_names', ()))}), the "
            f"predictions know {listing(names)}: give the predictions that ensemble.py was given"
        )
    matrices = np.array(account["coefficients"], np.float64), np.array(intercept, np.float64)
    return combined(members, Ensemble(account.get("method", ""), on, None, *matrices), splits)


def combined(members: Sequence[Predictions], ensemble: Ensemble, splits: Sequence[str]) -> Predictions:
    """The ensemble's predictions of some splits.

    Raises:
        UserError: the members do not belong together.
    """
    parts = [join(members, split) for split in splits]
    logits = np.concatenate([ensemble.combine(stacked(joined)) for joined in parts])
    firsts = [joined[0] for joined in parts]
    faces = [first.faces for first in firsts if first.faces is not None]
    groups = [first.groups for first in firsts if first.groups is not None]
    return replace(
        firsts[0],
        image_ids=[image_id for first in firsts for image_id in first.image_ids],
        splits=[split for first in firsts for split in first.splits],
        labels=np.concatenate([first.labels for first in firsts]),
        logits=logits,
        model=_name(members),
        faces=np.concatenate(faces) if len(faces) == len(firsts) else None,
        groups=[group for of_split in groups for group in of_split] if len(groups) == len(firsts) else None,
        note="; ".join(dict.fromkeys(filter(None, (member.note for member in members)))),
        model_revision="",
        face_attention=None,
    )


def read_ensemble(path: str | Path) -> dict[str, Any]:
    """What ensemble.py wrote to `ensemble.json`.

    Raises:
        UserError: it cannot be read, or does not say how its members become one.
    """
    try:
        ensemble = json.loads(Path(path).read_text(encoding="utf-8"))
        members, weights, on = ensemble["members"], ensemble["weights"], ensemble.get("on", "logits")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not an ensemble.json ({reason}); write it with ensemble.py") from error
    count = len(members) if isinstance(members, list) else 0
    stacking = ensemble.get("coefficients"), ensemble.get("intercept")
    if not (_are_numbers(weights, count) or (weights is None and _are_matrices(*stacking, count))) or on not in ON:
        raise UserError(
            f"{path} has no weight, or matrix of coefficients, for each of its members, or not on logits or "
            "probabilities; write it again with ensemble.py"
        )
    if not count or (weights is not None and (min(weights) < 0 or not sum(weights))):
        raise UserError(f"weights in {path} must be numbers from 0, and not all 0, found {listing(weights, 20)}")
    if not isinstance(ensemble.get("method", ""), str) or not isinstance(ensemble.get("class_names", []), list):
        raise UserError(f"{path} has a method or class_names that are none; write it again with ensemble.py")
    landscape = ensemble.get("landscape")
    if landscape is not None and not _is_landscape(landscape, count):
        raise UserError(f"{path} holds a landscape that is none; write it again with ensemble.py")
    return {**ensemble, "members": [str(member) for member in members]}


def in_order(members: Sequence[Predictions], names: Sequence[str]) -> list[Predictions]:
    """The models in the order in which an ensemble names its members.

    Raises:
        UserError: these are other models.
    """
    by_name = {member.model: member for member in members}
    if sorted(by_name) != sorted(names):
        raise UserError(
            f"the ensemble is of {listing(names, 20)}, the predictions are of {listing(by_name, 20)}: give the "
            "predictions that ensemble.py was given"
        )
    return [by_name[name] for name in names]


def _name(members: Sequence[Predictions]) -> str:
    """What the ensemble is called; no member is called so."""
    taken = {member.model for member in members}
    return NAME if NAME not in taken else f"{NAME} of {len(members)}"


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(
            isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST
            for value in values
        )
    )


def _are_matrices(coefficients: Any, intercept: Any, members: int) -> bool:
    """Whether each member has a square matrix, of as many rows as the intercept has numbers."""
    classes = len(intercept) if isinstance(intercept, list) else 0
    return (
        _are_numbers(intercept, classes)
        and isinstance(coefficients, list)
        and len(coefficients) == members
        and all(isinstance(matrix, list) and len(matrix) == classes for matrix in coefficients)
        and all(_are_numbers(row, classes) for matrix in coefficients for row in matrix)
    )


def _is_landscape(landscape: Any, members: int) -> bool:
    """Whether it has an accuracy for each of its weightings."""
    if not isinstance(landscape, dict):
        return False
    weightings, accuracy = landscape.get("weights"), landscape.get("accuracy")
    return (
        isinstance(weightings, list)
        and isinstance(accuracy, list)
        and _are_numbers(accuracy, len(weightings))
        and all(_are_numbers(weights, members) and abs(sum(weights) - 1) < 1e-6 for weights in weightings)
    )
