"""An ensemble and its members' predictions -> the ensemble's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ger_datasets.support.errors import UserError, listing

from ..joining import join, stacked
from ..predictions import Predictions
from .ensemble import Ensemble
from .routed import answer_by_route

NAME = "ensemble"  # what the ensemble is called in a report


def in_order(members: Sequence[Predictions], names: Sequence[str]) -> list[Predictions]:
    """The models' predictions in the order of an ensemble's members.

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


def apply(
    ensemble: Ensemble, members: Sequence[Predictions], splits: Sequence[str], name: str = "", note: str | None = None
) -> Predictions:
    """The ensemble's predictions of some splits.

    Args:
        ensemble: how the members are combined.
        members: the models' predictions, in the order of the weights.
        splits: of which photos.
        name: what the ensemble is called. Default: `ensemble`.
        note: default: the members' notes.

    Raises:
        UserError: the members do not belong together, or have other classes than a stacked ensemble.
    """
    classes = list(members[0].class_names)
    if ensemble.intercept and (
        len(ensemble.intercept) != len(classes) or (ensemble.class_names or classes) != classes
    ):
        raise UserError(
            f"the ensemble was found for {len(ensemble.intercept)} classes ({listing(ensemble.class_names)}), the "
            f"predictions know {listing(classes)}: give the predictions that ensemble.py was given"
        )
    if ensemble.routes is not None:
        parts = [answer_by_route(ensemble.routes, members, split) for split in splits]
    else:
        joined = [join(members, split) for split in splits]
        parts = [replace(each[0], logits=ensemble.combine(stacked(each)), routes=None) for each in joined]
    return _concatenated(
        parts,
        model=name or (NAME if NAME not in {member.model for member in members} else f"{NAME} of {len(members)}"),
        note="; ".join(notes(members)) if note is None else note,
        dataset_revision=_only({member.dataset_revision for member in members}),
        only="" if ensemble.routes is not None else _only({member.only for member in members}),
    )


def notes(members: Sequence[Predictions]) -> list[str]:
    """The members' notes, each once; and that they are of several revisions of the dataset, if so."""
    found = list(dict.fromkeys(member.note for member in members if member.note))
    revisions = dict.fromkeys(member.dataset_revision for member in members if member.dataset_revision)
    if len(revisions) > 1:
        found.append(f"The members were predicted on several revisions of the dataset: {', '.join(revisions)}")
    return found


def _concatenated(parts: Sequence[Predictions], **changes: Any) -> Predictions:
    """The rows of several splits as one table."""
    faces = [part.faces for part in parts if part.faces is not None]
    groups = [part.groups for part in parts if part.groups is not None]
    clips = [part.clips for part in parts if part.clips is not None]
    return replace(
        parts[0],
        image_ids=[image_id for part in parts for image_id in part.image_ids],
        splits=[split for part in parts for split in part.splits],
        labels=np.concatenate([part.labels for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        faces=np.concatenate(faces) if len(faces) == len(parts) else None,
        groups=[group for each in groups for group in each] if len(groups) == len(parts) else None,
        clips=[clip for each in clips for clip in each] if len(clips) == len(parts) else None,
        seconds=None,
        model_revision="",
        face_attention=None,
        face_expressions=None,
        calibration=None,  # of a member, not of the whole
        routes=[route for part in parts for route in part.routes or ()] if parts[0].routes else None,
        source="",
        file="",
        **changes,
    )


def _only(values: set[str]) -> str:
    return values.pop() if len(values) == 1 else ""
