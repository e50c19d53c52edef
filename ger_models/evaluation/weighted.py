"""Several models' predictions and weights -> the predictions of their ensemble."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ger_datasets.errors import UserError, listing

from .joining import join, stacked
from .predictions import Predictions

NAME = "ensemble"


def weighted(members: Sequence[Predictions], weights: Sequence[float], splits: Sequence[str]) -> Predictions:
    """The weighted sum of the members' logits on some splits; the weights are brought to the sum 1.

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
    shares = shares / shares.sum()
    parts = [join(members, split) for split in splits]
    logits = np.concatenate([np.einsum("m,mpc->pc", shares, stacked(joined)) for joined in parts])
    firsts = [joined[0] for joined in parts]
    faces = [first.faces for first in firsts if first.faces is not None]
    groups = [first.groups for first in firsts if first.groups is not None]
    return replace(
        firsts[0],
        image_ids=[image_id for first in firsts for image_id in first.image_ids],
        splits=[split for first in firsts for split in first.splits],
        labels=np.concatenate([first.labels for first in firsts]),
        logits=logits,
        model=NAME,
        faces=np.concatenate(faces) if len(faces) == len(firsts) else None,
        groups=[group for of_split in groups for group in of_split] if len(groups) == len(firsts) else None,
        note="; ".join(dict.fromkeys(filter(None, (member.note for member in members)))),
        model_revision="",
        face_attention=None,
    )


def read_ensemble(path: str | Path) -> dict[str, Any]:
    """What ensemble.py wrote to `ensemble.json`.

    Raises:
        UserError: it cannot be read, or its method is one without weights.
    """
    try:
        ensemble = json.loads(Path(path).read_text(encoding="utf-8"))
        members, weights = ensemble["members"], ensemble["weights"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not an ensemble.json ({reason}); write it with ensemble.py") from error
    if not isinstance(weights, list) or len(weights) != len(members):
        raise UserError(f"{path} has no weight for each of its members: only methods that weigh models can be scored")
    return ensemble
