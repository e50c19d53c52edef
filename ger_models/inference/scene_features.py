"""A scene model's checkpoint -> global features of photos, for the column `scene_feature`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..modeling_scene import GerSceneForImageClassification
from .checkpoint_source import CheckpointSource


def scene_source(checkpoint: str, source_root: Path, device: str) -> CheckpointSceneEncoder:
    """The source that `--scene_model CHECKPOINT` names; `source_root` does not matter."""
    return CheckpointSceneEncoder(checkpoint, device)


class CheckpointSceneEncoder(CheckpointSource):
    """Features of a scene model before its head: 2208 numbers for DenseNet-161. See `CheckpointSource`."""

    name = "scene_feature"
    model_class = GerSceneForImageClassification
    use = "scene features come from a scene model, such as densenet_emotic"

    def _more_settings(self) -> dict[str, Any]:
        return {"width": self.model.backbone.head_hidden_size}

    def batch_columns(
        self, images: Sequence[Image.Image], face_boxes: Sequence[Sequence[Any]]
    ) -> dict[str, list[list[float]]]:
        """{"scene_feature": the features of each photo}."""
        return {"scene_feature": self.encode(images).tolist()}

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        """(photos, width) float32 of RGB photos of any sizes."""
        photos = self.processor(list(images)).to(self.device)
        return self.model.features(**photos).float().cpu().numpy()
