"""Which model and which dataset exactly: what tells apart two checkpoints, or two datasets, of one name."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import datasets
import torch
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from ger_datasets.support.errors import UserError
from ger_datasets.support.hub_connection import read_from_hub

from .processing_ensemble import settings

PARQUET_TAIL = 8  # bytes: the length of the footer, then PAR1
UNHEEDED = ("transformers_version",)  # in a configuration, but no answer depends on it
REVISION_LENGTH = 16  # hexadecimal digits


def weights_digest(model: torch.nn.Module) -> str:
    """A hash of the weights: what the answers depend on, whatever the checkpoint is called."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        # as bytes: NumPy has no bfloat16
        digest.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def model_revision(name: str, model: PreTrainedModel, processor: BaseImageProcessor) -> str:
    """The commit of a model on the Hub; of a folder, a hash of its weights, configuration and processor."""
    commit = getattr(model.config, "_commit_hash", None)
    if commit and not Path(name).is_dir():
        return str(commit)
    config = {key: value for key, value in model.config.to_dict().items() if key[0] != "_" and key not in UNHEEDED}
    told = json.dumps([config, settings(processor)], sort_keys=True, default=str)
    return hashlib.sha256(f"{weights_digest(model)}{told}".encode()).hexdigest()[:REVISION_LENGTH]


def dataset_revision(dataset: str) -> str:
    """The commit of a dataset on the Hub; of a folder, a hash of its Parquet files' names, sizes and footers.

    A footer holds the schema and, for every column, its size, place and range: reading it costs the same whatever the
    size of the photos.

    Raises:
        UserError: a file, or the Hub, cannot be read.
    """
    if not Path(dataset).is_dir():
        return read_from_hub(dataset, lambda: str(datasets.load_dataset_builder(dataset).hash))
    digest = hashlib.sha256()
    for path in sorted(Path(dataset).rglob("*.parquet")):
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - PARQUET_TAIL))
                length = int.from_bytes(file.read(4), "little")
                file.seek(max(0, size - PARQUET_TAIL - length))
                digest.update(f"{path.relative_to(dataset).as_posix()} {size} ".encode() + file.read())
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}; prepare it again") from error
    return digest.hexdigest()[:REVISION_LENGTH]
