"""Whether a prepared dataset can train a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset
from transformers import PreTrainedConfig

from ger_datasets.loading.stream import Stream
from ger_datasets.preparation.column_sources import ADDED_BY
from ger_datasets.schema import FACE_FEATURE_DIM
from ger_datasets.support.errors import UserError, listing

from ..configuration_ger import NO_LABEL


def scene_dim(split: Dataset | Stream, column: str = "scene_feature") -> int:
    """Length of the scene features in `split`; 0 where it has none."""
    if column not in split.column_names:
        return 0
    filled = next((feature for feature in split[column] if feature is not None), ())
    return len(filled)


def face_dim(split: Dataset | Stream, column: str) -> int | None:
    """Length of the face features in a column; None where there is no such column of vectors for faces."""
    found = split.features.get(column) if column in split.column_names else None
    length = getattr(getattr(found, "feature", None), "length", -1)
    return length if length > 0 else None


def check_trainable(dataset: str, splits: Mapping[str, Dataset | Stream], columns: Sequence[str]) -> None:
    """Refuse datasets that cannot train a model that reads `columns`.

    Raises:
        UserError: a column is missing or empty, or labels are withheld or name no class.
    """
    for name, split in splits.items():
        missing = [column for column in columns if column not in split.column_names]
        if missing:
            raise UserError(
                f"{dataset} has no {listing(missing)}, which this model reads: make it with scripts/prepare.py"
            )
        for column in columns:
            if _is_empty(split, column):
                raise UserError(
                    f"the column {column} of {dataset} is empty in the split {name!r}: fill it with "
                    f"scripts/prepare.py {ADDED_BY.get(column, '')}".rstrip()
                )
        labels = np.array([NO_LABEL if label is None else label for label in split["label"]])
        classes = len(split.features["label"].names)
        wrong = np.flatnonzero((labels >= classes) | ((labels < 0) & (labels != NO_LABEL))).tolist()
        if wrong:
            ids = split["image_id"]
            raise UserError(
                f"{len(wrong)} of {len(split)} photos in the split {name!r} of {dataset} have a label that is none of "
                f"the {classes} classes: {listing((f'{ids[i]} has {labels[i]}' for i in wrong), 3)}; prepare it again"
            )
        withheld = int((labels == NO_LABEL).sum())
        if withheld:
            raise UserError(f"{withheld} of {len(split)} photos in the split {name!r} of {dataset} have no label")


def check_widths(dataset: str, split: Dataset | Stream, config: PreTrainedConfig) -> None:
    """Refuse a fusion model that expects features of another length than the dataset's.

    Raises:
        UserError: it does.
    """
    expected = {}
    if getattr(config, "faces", "") == "features":
        expected["face_dim"] = face_dim(split, config.face_column) or FACE_FEATURE_DIM
    if getattr(config, "scene", "") == "feature":
        expected["scene_dim"] = scene_dim(split, config.scene_column)
    for field, length in expected.items():
        if getattr(config, field) != length:
            raise UserError(
                f"{field} must be {length}, the length of the features in {dataset}, not {getattr(config, field)}"
            )


def _is_empty(split: Dataset | Stream, column: str) -> bool:
    if isinstance(split, Stream):
        return split.is_empty(column)
    empty = split.data.column(column).is_null().to_numpy()  # of all rows, those that were left out included
    chosen = getattr(split, "_indices", None)
    return bool((empty if chosen is None else empty[chosen.column(0).to_numpy()]).all())
