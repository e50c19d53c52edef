"""A checkpoint whose outputs fill a column: a batch source of `ger_datasets.preparation.column_sources`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ger_datasets.support.errors import UserError
from ger_datasets.support.repository_names import public_name

from .checkpoints import checkpoint_place, load_checkpoint
from .revisions import weights_digest


class CheckpointSource:
    """A model and its processor, with the settings that its outputs depend on.

    The checkpoint is opened here, so that an invalid one is refused at once, and again in each process that unpickles
    the source.

    Args:
        checkpoint: the output folder of train.py, a Hub repository, or `starter`.
        device: where the model runs.

    Raises:
        UserError: the checkpoint does not exist or has another model type.
    """

    model_class: type[PreTrainedModel]
    name: str  # in `column_sources.SOURCES`
    use = ""  # what the outputs are, and which models give them

    def __init__(self, checkpoint: str, device: str | torch.device = "cpu") -> None:
        self.checkpoint, self.device = checkpoint_place(checkpoint), device
        self._load()
        self.settings: dict[str, Any] = {
            "name": public_name(self.checkpoint),
            **self._more_settings(),
            "weights_sha256": weights_digest(self.model),
        }

    def _load(self) -> None:
        self.model, self.processor = load_checkpoint(self.checkpoint)
        if not isinstance(self.model, self.model_class):
            raise UserError(f"{self.checkpoint} holds a {type(self.model).__name__}; {self.use}")
        self.model.to(self.device)

    def _more_settings(self) -> dict[str, Any]:
        """Further settings, as JSON values."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {
            "checkpoint": str(Path(self.checkpoint).resolve()) if Path(self.checkpoint).is_dir() else self.checkpoint,
            "settings": self.settings,
            "device": self.device,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load()
