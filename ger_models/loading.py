"""Prepared datasets -> the splits and columns that a model learns from or predicts on."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import Accelerator, PartialState
from datasets import Dataset
from huggingface_hub.errors import HTTPError

from ger_datasets.prepared import ODD_NOTES
from ger_datasets.support.errors import UserError, listing
from ger_datasets.support.hub_connection import read_from_hub

from .configuration_ger import NO_LABEL
from .streams import Stream


def load_splits(
    dataset: str,
    columns: Sequence[str],
    splits: Sequence[str],
    accelerator: Accelerator | PartialState | None = None,
    streaming: bool = False,
) -> dict[str, Any]:
    """Splits of a prepared dataset with `image_id`, `label` and those of `columns` that it has; nothing else is read.

    Args:
        dataset: a folder that prepare.py wrote, or a dataset repository on the Hub.
        accelerator: of many processes the first fills the cache, and the others wait for it.
        streaming: `Stream`s instead of `Dataset`s: no cache is filled, and rows are read when they are needed.

    Raises:
        UserError: no such dataset, no such split (the message lists what there is), or a split without rows.
    """
    if is_missing_folder(dataset):
        raise UserError(f"no folder {dataset}: prepare a dataset first (scripts/prepare.py --output {dataset})")
    datasets.disable_progress_bars()
    wanted = dict.fromkeys(["image_id", "label", *columns])
    try:
        with accelerator.main_process_first() if accelerator and not streaming else contextlib.nullcontext():
            have, loaded, empty = read_from_hub(dataset, lambda: _load(dataset, list(wanted), splits, streaming))
    except (FileNotFoundError, ConnectionError) as error:
        raise UserError(
            f"no prepared dataset in {dataset}: run scripts/prepare.py first ({one_line(error)})"
        ) from error
    except (*ODD_NOTES, OSError, pa.ArrowException, HTTPError, datasets.exceptions.DatasetsError) as error:
        raise UserError(f"the dataset {dataset} cannot be read: {one_line(error.__cause__ or error)}") from error
    missing = [column for column in ("image_id", "label") if column not in have]
    if missing:
        raise UserError(
            f"{dataset} has no column {listing(missing)}: it is not a dataset that scripts/prepare.py made"
        )
    for split in splits:
        if split not in loaded:
            raise UserError(f"{dataset} has no split {split!r}: there are {listing(loaded)}")
        if split in empty:
            raise UserError(f"the split {split!r} of {dataset} is empty")
    return {split: loaded[split] for split in splits}


def _load(
    dataset: str, wanted: Sequence[str], splits: Sequence[str], streaming: bool
) -> tuple[list[str], dict[str, Any], list[str]]:
    """Those of the columns `wanted` that there are, all splits, and which of `splits` are empty."""
    builder = datasets.load_dataset_builder(dataset)
    have = [column for column in wanted if column in (builder.info.features or wanted)]
    # named by file, a folder's cache goes by their paths and times; by itself it goes by the folder's name alone
    files = {split: list(paths) for split, paths in (builder.config.data_files or {}).items()}
    # and the files count, not what the card says of them
    local = bool(files) and Path(dataset).is_dir()
    named = {"data_files": files, "verification_mode": "no_checks"} if local else {}
    if local:
        _check_files(dataset, files, have)
    if streaming:
        streams = datasets.load_dataset(dataset, columns=have, streaming=True)
        loaded: dict[str, Any] = {split: Stream(rows, files[split], have) for split, rows in streams.items()}
    else:
        loaded = datasets.load_dataset(dataset, columns=have, **named)
    return have, loaded, [split for split in splits if split in loaded and not len(loaded[split])]


def _check_files(dataset: str, files: Mapping[str, Sequence[str]], columns: Sequence[str]) -> None:
    """UserError if the Parquet files of a split hold no rows, or lack a column that those of others have."""
    for split, paths in files.items():
        footers = [pq.read_metadata(path) for path in paths if path.endswith(".parquet")]
        if footers and not sum(footer.num_rows for footer in footers):
            raise UserError(f"the split {split!r} of {dataset} is empty: prepare it again")
        for footer in footers:
            missing = [column for column in columns if column not in footer.schema.to_arrow_schema().names]
            if missing:
                raise UserError(f"{dataset} has no {listing(missing)} in its split {split!r}: prepare it again")


def is_missing_folder(name: str) -> bool:
    """Whether `name` can only mean a folder on this machine, and there is none: the Hub need not be asked."""
    if Path(name).is_dir():
        return False
    repository = name.count("/") == 1 and not name.startswith((".", "/", "~", "ger_datasets/"))
    return not repository or Path(name).parent.is_dir()


def public_name(path: str) -> str:
    """What a dataset or model is called in files that travel: its repository, or its folder's name, not the path.

    >>> public_name("team/gaf3")
    'team/gaf3'
    """
    return Path(path).resolve().name if Path(path).is_dir() else path


def one_line(error: BaseException) -> str:
    """An error's message without line breaks, of at most 300 letters."""
    return " ".join(str(error).split())[:300]


def scene_dim(split: Dataset | Stream) -> int:
    """Length of the scene features in `split`; 0 where it has none."""
    if "scene_feature" not in split.column_names:
        return 0
    filled = next((feature for feature in split["scene_feature"] if feature is not None), ())
    return len(filled)


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
        makes = {"skeleton": "--skeletons", "scene_feature": "--scene_model"}
        for column in columns:
            if _is_empty(split, column):
                raise UserError(
                    f"the column {column} of {dataset} is empty in the split {name!r}: fill it with "
                    f"scripts/prepare.py {makes.get(column, '')}".rstrip()
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


def _is_empty(split: Dataset | Stream, column: str) -> bool:
    if isinstance(split, Stream):
        return split.is_empty(column)
    return split.data.column(column).null_count == len(split)


def check_classes(dataset: str, split: Dataset, class_names: Sequence[str]) -> None:
    """Refuse a dataset whose classes are not, in this order, those that a model knows.

    Raises:
        UserError: they differ.
    """
    there = split.features["label"].names
    if list(there) != list(class_names):
        raise UserError(f"{dataset} has the classes {listing(there)}, but the model knows {listing(class_names)}")
