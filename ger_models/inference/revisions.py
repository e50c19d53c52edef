"""The revision of a model, which distinguishes checkpoints of the same name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from ger_datasets.loading.revision import REVISION_LENGTH

from ..processing_ensemble import settings

UNHEEDED = ("transformers_version", "calibration")  # in a configuration, but no logit depends on it


def weights_digest(model: torch.nn.Module) -> str:
    """A hash of the weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        # as bytes: NumPy has no bfloat16
        digest.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def model_revision(name: str, model: PreTrainedModel, processor: BaseImageProcessor) -> str:
    """The commit of a model on the Hub; for a folder, a hash of its weights, configuration and processor."""
    commit = getattr(model.config, "_commit_hash", None)
    if commit and not Path(name).is_dir():
        return str(commit)
    config = {key: value for key, value in model.config.to_dict().items() if key[0] != "_" and key not in UNHEEDED}
    described = json.dumps([config, settings(processor)], sort_keys=True, default=str)
    return hashlib.sha256(f"{weights_digest(model)}{described}".encode()).hexdigest()[:REVISION_LENGTH]
