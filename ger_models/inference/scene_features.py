"""A scene model's checkpoint -> global features of photos, for the column `scene_feature`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ger_datasets.support.errors import UserError
from ger_datasets.support.repository_names import public_name

from ..modeling_scene import GerSceneForImageClassification
from .checkpoints import load_checkpoint
from .revisions import weights_digest


class CheckpointSceneEncoder:
    """Photos through a scene model up to its head: 2208 numbers for DenseNet-161.

    The checkpoint is opened here, so that a wrong one is refused before any work, and again in each process that it
    is pickled into.

    Args:
        checkpoint: the output folder of train.py, or a Hub repository.

    Raises:
        UserError: there is no checkpoint, or it is not a scene model's.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint
        self._load()
        self.settings: dict[str, Any] = {
            "name": public_name(checkpoint),
            "width": self.model.backbone.head_hidden_size,
            "weights_sha256": weights_digest(self.model),
        }

    def _load(self) -> None:
        self.model, self.processor = load_checkpoint(self.checkpoint)
        if not isinstance(self.model, GerSceneForImageClassification):
            raise UserError(
                f"{self.checkpoint} holds a {type(self.model).__name__}; scene features come from a scene model, such "
                "as densenet_emotic"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {
            "checkpoint": str(Path(self.checkpoint).resolve()) if Path(self.checkpoint).is_dir() else self.checkpoint,
            "settings": self.settings,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load()

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        """(photos, width) float32 of RGB photos of any sizes."""
        return self.model.features(**self.processor(list(images))).float().numpy()
