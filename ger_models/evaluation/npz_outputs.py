"""The original system's outputs, `.npz` archives of one or more models -> predictions, nothing in them unpickled.

| array | shape | meaning |
|---|---|---|
| `output_SPLIT_modelK` | (rows, classes), floats; axes of length 1 between them are dropped | model K's scores |
| `output_SPLIT_model` | likewise | those of the only model, which has no number |
| `label_SPLIT`, or `label_SPLIT_modelK` | (rows,), (rows, 1), or one-hot (rows, classes) | the truth; may be missing |
| `filename_SPLIT`, or `filename_SPLIT_modelK` | (rows,) strings | the photos' names; may be missing |

The split `valid` is the package's `validation`. Rows whose archive holds no names get the ids of `position_ids`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ger_datasets.legacy.npz import read_named_arrays
from ger_datasets.schema import CLASS_NAMES, NO_LABEL
from ger_datasets.support.errors import BadPhoto, UserError, listing

from .predictions import Predictions, position_ids

MAX_BYTES = 1 << 28  # of all arrays; the original's six models on GAF 3.0 have 2 MB
SPLITS = {"valid": "validation", "val": "validation"}  # the original's names -> the package's
# model, model1, model_1, model6_2, model6_2A
_MODEL = re.compile(r"output_(?P<split>.+)_(?P<model>model(?:_?(?P<number>\d+)\w*)?)")  # model, model1, model6_2
_NAME = re.compile(r"(output|label|labels|filename|filenames)_.+")


def read_npz_outputs(path: str | Path, class_names: Sequence[str] | None = None) -> list[Predictions]:
    """The models of one archive, in the order of their numbers, each with all its splits.

    Args:
        path: the archive.
        class_names: (classes), which the archive does not hold; None: Negative, Neutral, Positive, the original's
            order, where there are three classes, else their numbers.

    Raises:
        UserError: it cannot be read, or holds other arrays than the table above describes; the message says which.
    """
    path = Path(path)
    try:
        arrays = read_named_arrays(path, MAX_BYTES, _NAME)
    except BadPhoto as error:
        raise UserError(f"{path} cannot be read: {error}; name an archive that np.savez wrote") from error
    found: dict[tuple[int, str], dict[str, str]] = {}  # (number, name) of the model -> split -> array
    for name in arrays:
        match = _MODEL.fullmatch(name)
        if match:
            found.setdefault((int(match["number"] or 0), match["model"]), {})[match["split"]] = name
    if not found:
        raise UserError(
            f"{path} holds no outputs: there are the arrays {listing(map(ascii, arrays))}; outputs are called "
            "output_test_model1, their labels label_test"
        )
    try:
        return [
            replace(_predictions(arrays, model, splits, class_names), source=str(path.resolve()))
            for (_, model), splits in sorted(found.items(), key=lambda item: item[0])
        ]
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


@dataclass
class _Part:
    """What the archive holds of one model and split."""

    split: str
    logits: np.ndarray
    labels: np.ndarray
    ids: list[str]


def _predictions(
    arrays: Mapping[str, np.ndarray], model: str, splits: Mapping[str, str], class_names: Sequence[str] | None
) -> Predictions:
    parts = [_part(arrays, model, split, name) for split, name in splits.items()]
    classes = parts[0].logits.shape[1]
    if class_names is None:
        class_names = CLASS_NAMES if classes == len(CLASS_NAMES) else [str(index) for index in range(classes)]
    for part in parts:
        if part.logits.shape[1] != len(class_names):
            raise UserError(
                f"the {part.split} outputs of {model} have {part.logits.shape[1]} numbers per row, but there are "
                f"{len(class_names)} classes: {listing(class_names)}"
            )
    ids = [image_id for part in parts for image_id in part.ids]
    if len(set(ids)) < len(ids):  # file names may recur in another split, though not in the same
        ids = [f"{part.split}/{image_id}" for part in parts for image_id in part.ids]
    return Predictions(
        image_ids=ids,
        splits=[part.split for part in parts for _ in part.ids],
        labels=np.concatenate([part.labels for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        model=model,
        class_names=class_names,
    )


def _part(arrays: Mapping[str, np.ndarray], model: str, split: str, name: str) -> _Part:
    logits = _scores(arrays[name], name)
    rows = len(logits)
    ours = SPLITS.get(split, split)
    label = _beside(arrays, ("label", "labels"), split, model)
    labels = np.full(rows, NO_LABEL) if label is None else _labels(arrays[label], label)
    filename = _beside(arrays, ("filename", "filenames"), split, model)
    ids = position_ids(rows, ours) if filename is None else _strings(arrays[filename], filename)
    for what, column in ((label, labels), (filename, ids)):
        if len(column) != rows:
            raise UserError(f"{what} must have one entry per row of {name}: {rows} rows, {len(column)} entries")
    return _Part(ours, logits, labels, ids)


def _beside(arrays: Mapping[str, np.ndarray], kinds: Sequence[str], split: str, model: str) -> str | None:
    """The name of the array that goes with a model's outputs on a split: its own before everybody's."""
    names = [f"{kind}_{split}{end}" for end in (f"_{model}", "") for kind in kinds]
    return next((name for name in names if name in arrays), None)


def _scores(array: np.ndarray, name: str) -> np.ndarray:
    """(rows, classes) float32."""
    inner = [side for side in array.shape[1:] if side != 1]
    if array.dtype.kind not in "fiu" or len(inner) != 1:
        raise UserError(f"{name} must be numbers of shape (rows, classes), found {array.dtype} of shape {array.shape}")
    return array.reshape(len(array), *inner).astype(np.float32)


def _labels(array: np.ndarray, name: str) -> np.ndarray:
    """(rows,) int64, from numbers or rows of one-hot."""
    if array.dtype.kind not in "biuf" or array.ndim == 0 or not np.isfinite(array).all():
        raise UserError(f"{name} must be whole numbers, one for each row, found {array.dtype} of shape {array.shape}")
    flat = array.reshape(len(array), -1)  # (rows, 1 or classes)
    if flat.shape[1] > 1:
        if not (np.isin(flat, (0, 1)).all() and (flat.sum(axis=1) == 1).all()):
            raise UserError(f"{name} of shape {array.shape} must hold one 1 in each row, and 0 elsewhere")
        return flat.argmax(axis=1)
    numbers = flat.reshape(-1).astype(np.int64)
    if (numbers != flat.reshape(-1)).any():
        raise UserError(f"{name} must be whole numbers, found {listing(flat[numbers != flat.reshape(-1)][:, 0], 3)}")
    return numbers


def _strings(array: np.ndarray, name: str) -> list[str]:
    values = array.reshape(-1).tolist()
    try:
        values = [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError as error:
        raise UserError(f"{name} holds file names that are not UTF-8: {error}") from error
    if not all(isinstance(value, str) for value in values):
        raise UserError(f"{name} must be the photos' file names, found {array.dtype} of shape {array.shape}")
    return values
