"""Prepared datasets -> the splits and columns that a model learns from or predicts on."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub.errors import HTTPError

from ..prepared import ODD_NOTES
from ..support.errors import UserError, listing, one_line
from ..support.hub_connection import read_from_hub
from ..support.repository_names import is_missing_folder
from .stream import Stream

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState


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


def check_image_ids(dataset: str, data: Mapping[str, datasets.Dataset]) -> None:
    """Check that every row of the splits `data` has an image_id of its own.

    Raises:
        UserError: rows without an image_id, or an image_id that two rows have, in one split or in two.
    """
    counts: Counter[Any] = Counter()
    for split in data.values():
        counts.update(split.select_columns(["image_id"]).with_format("arrow")[:]["image_id"].to_pylist())
    if missing := counts.pop(None, 0):
        raise UserError(f"{dataset}: {missing} rows have no image_id; prepare the dataset again")
    repeated = [image_id for image_id, count in counts.items() if count > 1]
    if repeated:
        raise UserError(
            f"{dataset}: {len(repeated)} image_ids occur in more than one row of {listing(data)}, for example "
            f"{listing(repeated, 3)}; prepare the dataset again"
        )


def _load(
    dataset: str, wanted: Sequence[str], splits: Sequence[str], streaming: bool
) -> tuple[list[str], dict[str, Any], list[str]]:
    """Those of the columns `wanted` that there are, all splits, and which of `splits` are empty."""
    builder = datasets.load_dataset_builder(dataset)
    # named by file, a folder's cache goes by their paths and times; by itself it goes by the folder's name alone
    files = {split: list(paths) for split, paths in (builder.config.data_files or {}).items()}
    # and the files count, not what the card says of them
    local = bool(files) and Path(dataset).is_dir()
    # in the files' order: datasets would cast every table to another
    known = builder.info.features or (_columns(files) if local else None) or wanted
    have = [column for column in known if column in wanted]
    named = {"data_files": files, "verification_mode": "no_checks"} if local else {}
    if local:
        _check_files(dataset, files, have)
    if streaming:
        streams = datasets.load_dataset(dataset, columns=have, streaming=True)
        loaded: dict[str, Any] = {split: Stream(rows, files[split], have) for split, rows in streams.items()}
    else:
        loaded = datasets.load_dataset(dataset, columns=have, **named)
    return have, loaded, [split for split in splits if split in loaded and not len(loaded[split])]


def _columns(files: Mapping[str, Sequence[str]]) -> list[str]:
    """The columns of the first Parquet file, of a folder without a card that lists them."""
    first = next((path for paths in files.values() for path in paths if path.endswith(".parquet")), None)
    return [] if first is None else pq.read_metadata(first).schema.to_arrow_schema().names


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
