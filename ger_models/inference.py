"""Checkpoints and rows -> logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import CONFIG_NAME

from ger_datasets.support.errors import UserError
from ger_datasets.support.hub_connection import read_from_hub

from .loading import is_missing_folder
from .processing_ensemble import GerEnsembleProcessor
from .processing_ger import GerProcessor

PROCESSOR = "preprocessor_config.json"


def load_checkpoint(name: str) -> tuple[PreTrainedModel, GerProcessor | GerEnsembleProcessor]:
    """The model, ready for inference, and the processor in a folder or Hub repository.

    Weights are read from safetensors only: nothing is unpickled, and no code from the checkpoint is run. Of a model
    from the Hub, `config._commit_hash` is the commit.

    Raises:
        UserError: there is no checkpoint, or none of this package's kind.
    """
    if is_missing_folder(name):
        raise UserError(f"no model can be loaded from {name}: there is no such folder; train.py makes one")
    if Path(name).is_dir():
        read_config(name)
    file = f"its {CONFIG_NAME} and its weights, .safetensors,"

    def load() -> tuple[Any, Any]:
        nonlocal file
        # of a repository one commit for all its files: transformers does not tell which it has taken
        commit = None if Path(name).is_dir() else Path(hf_hub_download(name, CONFIG_NAME)).parent.name
        options = {"revision": commit or "main", "trust_remote_code": False}
        model = AutoModelForImageClassification.from_pretrained(name, use_safetensors=True, **options)
        file = f"its {PROCESSOR}"
        processor = AutoImageProcessor.from_pretrained(name, **options)
        model.config._commit_hash = commit
        return model, processor

    try:
        model, processor = read_from_hub(name, load)
    except UserError:
        raise
    except Exception as error:  # of another's files transformers and safetensors make a dozen kinds
        if isinstance(error, SafetensorError):
            file = "its model.safetensors"
        raise UserError(f"no model can be loaded from {name}: {file} cannot be read ({_reason(error)})") from error
    if not isinstance(processor, (GerProcessor, GerEnsembleProcessor)):
        raise UserError(f"{name} holds a {type(model).__name__}, which is not one of this package's models")
    return model.eval(), processor


def read_config(name: str) -> PreTrainedConfig:
    """The configuration of the checkpoint in a folder or Hub repository; no code from there is run.

    Raises:
        UserError: there is none, or none that transformers and this package know.
    """
    try:
        return read_from_hub(name, lambda: AutoConfig.from_pretrained(name, trust_remote_code=False))
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(
            f"no model can be loaded from {name}: its {CONFIG_NAME} cannot be read ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


@dataclass(frozen=True)
class Answers:
    """What one model says to some rows.

    Attributes:
        logits: (rows, classes) float32.
        face_attention: of each row the shares of its faces in the answer, as many as the model saw, the most confident
            faces; None where the model has no such thing.
    """

    logits: np.ndarray
    face_attention: list[list[float]] | None


class Members:
    """Checkpoints that are asked about the same rows: what several of their processors would make is made once.

    Args:
        names: folders or Hub repositories.
        device: where they compute.

    Raises:
        UserError: as `load_checkpoint`.
    """

    def __init__(self, names: Sequence[str], device: torch.device | str = "cpu") -> None:
        loaded = [load_checkpoint(name) for name in names]
        self.names = list(names)
        self.models = [model.to(device) for model, _ in loaded]
        self.processors = [processor for _, processor in loaded]
        self.device = device
        self._together: dict[tuple[int, ...], tuple[GerEnsembleProcessor, list[int]]] = {}

    @property
    def columns(self) -> list[str]:
        """The dataset columns that any of them reads."""
        return list(dict.fromkeys(column for processor in self.processors for column in processor.columns))

    def class_names(self, member: int) -> list[str]:
        """The names of the classes 0, 1, ... of one model."""
        config = self.models[member].config
        return [config.id2label[i] for i in range(config.num_labels)]

    @torch.inference_mode()
    def ask(self, rows: Sequence[Mapping[str, Any]], members: Sequence[int] | None = None) -> list[Answers]:
        """The answers of the models numbered `members` (default: of all) to `rows`, in their order.

        Raises:
            UserError: the rows lack a column that a model reads.
        """
        members = tuple(range(len(self.models)) if members is None else members)
        if members not in self._together:
            self._together[members] = GerEnsembleProcessor.from_members([self.processors[i] for i in members])
        processor, groups = self._together[members]
        try:
            inputs = processor(rows).to(self.device)
        except ValueError as error:
            raise UserError(str(error)) from error
        by_group: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in inputs.items():
            group, _, rest = name.partition(".")
            by_group.setdefault(int(group.removeprefix("group_")), {})[rest] = tensor
        return [
            self._answers(self.models[member], by_group[group], rows)
            for member, group in zip(members, groups, strict=True)
        ]

    def _answers(self, model: PreTrainedModel, inputs: dict[str, Any], rows: Sequence[Mapping[str, Any]]) -> Answers:
        output = model(**inputs, output_face_attention=True)
        shares = output.get("face_attention")  # (rows, faces), padded
        if shares is not None:
            shares = [
                of_row[: len(row["face_scores"])]
                for of_row, row in zip(shares.float().cpu().tolist(), rows, strict=True)
            ]
        return Answers(output.logits.float().cpu().numpy(), shares)
