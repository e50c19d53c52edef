"""This package's checkpoints as encoders: a scene model up to its head, an expression model for faces."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel

from ger_datasets.support.errors import UserError
from ger_datasets.support.repository_names import public_name

from ..backbones import feature_width
from ..inference.checkpoints import load_checkpoint
from ..inference.revisions import weights_digest
from ..modeling_expression import GerExpressionForImageClassification
from ..modeling_scene import GerSceneForImageClassification
from ..starter import checkpoint_place
from .faces import encode_squares

PHOTO_CHUNK = 32  # photos per forward
FACE_CHUNK = 64  # faces per forward: their activations stay in a CPU's cache


class SceneEncoder:
    """Photos through a scene model up to its head: 2208 numbers for DenseNet-161. See `Encoder`."""

    def __init__(self, model: GerSceneForImageClassification, processor: Any, name: str, device: str) -> None:
        self.width = feature_width(model.backbone)
        self.settings: Mapping[str, Any] = checkpoint_settings(model, name, self.width)
        self.model, self.processor, self.device = model.to(device), processor, device

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        """(photos, width) float32."""
        made = [np.zeros((0, self.width), np.float32)]
        for start in range(0, len(images), PHOTO_CHUNK):
            batch = self.processor(list(images[start : start + PHOTO_CHUNK])).to(self.device)
            made.append(self.model.features(**batch).float().cpu().numpy())
        return np.concatenate(made)

    def encode_faces(self, images: Sequence[Image.Image], boxes_xyxy: Sequence[Sequence[Any]]) -> list[np.ndarray]:
        """For each photo (faces, width) float32, of the squares around the boxes."""
        return encode_squares(self, images, boxes_xyxy)


class ExpressionEncoder:
    """Faces through an expression model up to its head: 224 numbers for `starter`. See `Encoder`."""

    def __init__(self, model: GerExpressionForImageClassification, processor: Any, name: str, device: str) -> None:
        self.width = model.net.width
        self.settings: Mapping[str, Any] = checkpoint_settings(model, name, self.width)
        self.model, self.processor, self.name = model.to(device), processor, name
        self.processor.max_faces, self.processor.min_face_score = sys.maxsize, 0.0  # every face has a vector

    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        """No (photos, width): raises UserError, since it encodes faces alone."""
        raise UserError(f"{self.name} encodes faces, not whole photos: use it for columns of faces (--face_features)")

    @torch.inference_mode()
    def encode_faces(self, images: Sequence[Image.Image], boxes_xyxy: Sequence[Sequence[Any]]) -> list[np.ndarray]:
        """For each photo (faces, width) float32."""
        rows = [{"image": image, "face_boxes": boxes} for image, boxes in zip(images, boxes_xyxy, strict=True)]
        if not rows:
            return []
        faces = self.processor(rows)["expression_pixels"].to(self.model.device)  # (all faces, 1, side, side)
        vectors = torch.cat([self.model.embed(chunk) for chunk in faces.split(FACE_CHUNK)]).float().cpu().numpy()
        return np.split(vectors, np.cumsum([len(boxes) for boxes in boxes_xyxy])[:-1])


def open_checkpoint(name: str, device: str = "cpu") -> SceneEncoder | ExpressionEncoder:
    """A scene or expression model of this package: a folder, a repository or `starter`.

    Raises:
        UserError: no checkpoint, or one of another kind.
    """
    model, processor = load_checkpoint(name)
    if isinstance(model, GerSceneForImageClassification):
        return SceneEncoder(model, processor, encoder_name(name), device)
    if isinstance(model, GerExpressionForImageClassification):
        return ExpressionEncoder(model, processor, encoder_name(name), device)
    raise UserError(
        f"{name} holds a {type(model).__name__}; an encoder is a scene model (such as densenet_emotic) or an "
        "expression model (such as starter), timm:MODEL or hf:REPO"
    )


def checkpoint_settings(model: PreTrainedModel, name: str, width: int) -> dict[str, Any]:
    """What identifies a checkpoint of this package as an encoder; from the Hub, its commit too.

    `weights_sha256` also tells a model that reads two views of a face: its vectors are others.
    """
    commit = getattr(model.config, "_commit_hash", None)
    revision = {"revision": commit} if commit else {}
    digest = weights_digest(model)
    if getattr(model.config, "two_views", False):
        digest = hashlib.sha256(f"{digest} two views".encode()).hexdigest()
    return {"name": name, **revision, "width": width, "weights_sha256": digest}


def encoder_name(checkpoint: str) -> str:
    """What a checkpoint is called in files that are shared; `starter` is also the folder of the included one."""
    return public_name(checkpoint_place(checkpoint))
