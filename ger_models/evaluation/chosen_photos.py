"""The photos of a prepared dataset with so many faces: the option `--only` of the scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ger_datasets.support.errors import UserError, listing

from ..combining import parse_route, route_title

if TYPE_CHECKING:
    from datasets import Dataset


def check_only(only: str | None, min_face_score: float | None = None) -> None:
    """Refuse values that `--only` and `--min_face_score` cannot have; None is none given. Raises UserError."""
    if min_face_score is not None and not 0 <= min_face_score <= 1:
        raise UserError(f"--min_face_score must be from 0 to 1, not {min_face_score}")
    if only is not None:
        try:
            parse_route(only)
        except ValueError as error:
            raise UserError(f"--only: {error}") from error


def choose_photos(dataset: str, splits: Mapping[str, Dataset], only: str, min_face_score: float) -> dict[str, Dataset]:
    """Of each split the photos of a route.

    Args:
        dataset: its name, for messages.
        splits: with the column `face_scores`.
        only: the route's name: see `ger_models.combining`.
        min_face_score: a face counts from here on.

    Raises:
        UserError: the number of faces of a photo is not known, or no photo is left.
    """
    chosen = {}
    for name, split in splits.items():
        rows = np.flatnonzero(parse_route(only).holds(face_counts(dataset, name, split, min_face_score)))
        if not len(rows):
            raise UserError(
                f"none of the {len(split):,} photos in the split {name!r} of {dataset} is one of the "
                f"{route_title(only)}: leave --only out"
            )
        chosen[name] = split.select(rows)
    return chosen


def face_counts(dataset: str, name: str, split: Dataset, min_face_score: float) -> np.ndarray:
    """(rows,) how many faces of each photo are at least as sure as `min_face_score`; UserError if not known."""
    if "face_scores" not in split.column_names:
        raise UserError(f"{dataset} has no face_scores, by which faces are counted: make it with scripts/prepare.py")
    scores = split.with_format(None).select_columns(["face_scores"])[:]["face_scores"]
    unknown = [row for row, of_photo in enumerate(scores) if of_photo is None]
    if unknown:
        raise UserError(
            f"{len(unknown):,} of {len(split):,} photos in the split {name!r} of {dataset} have no face_scores "
            f"({listing(map(str, unknown), 3)}): prepare it again"
        )
    return np.array([sum(score >= min_face_score for score in of_photo) for of_photo in scores], np.int64)
