"""A checkpoint and rows -> logits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from ger_datasets.errors import UserError

from .loading import is_missing_folder
from .processing_ensemble import GerEnsembleProcessor
from .processing_ger import GerProcessor


def load_checkpoint(name: str) -> tuple[PreTrainedModel, GerProcessor | GerEnsembleProcessor]:
    """The model, ready for inference, and the processor in a folder or Hub repository.

    Weights are read from safetensors only: nothing is unpickled, and no code from the checkpoint is run.

    Raises:
        UserError: there is no checkpoint, or none of this package's kind.
    """
    if is_missing_folder(name):
        raise UserError(f"no model can be loaded from {name}: there is no such folder; train.py makes one")
    try:
        model = AutoModelForImageClassification.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
        processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"no model can be loaded from {name}: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(processor, (GerProcessor, GerEnsembleProcessor)):
        raise UserError(f"{name} holds a {type(model).__name__}, which is not one of this package's models")
    return model.eval(), processor


@torch.inference_mode()
def predict_rows(
    model: PreTrainedModel,
    processor: GerProcessor | GerEnsembleProcessor,
    rows: Iterable[Mapping[str, Any]],
    batch_size: int,
) -> Iterator[tuple[Sequence[Mapping[str, Any]], np.ndarray]]:
    """The rows, batch by batch, each batch with its logits (rows, classes) float32.

    Raises:
        UserError: the rows lack a column that the model reads.
    """
    rows = iter(rows)
    while batch := list(islice(rows, batch_size)):
        try:
            inputs = processor(batch)
        except ValueError as error:
            raise UserError(str(error)) from error
        yield batch, model(**inputs.to(model.device)).logits.float().cpu().numpy()
