"""Name of an encoder -> the encoder: `timm:NAME`, `hf:REPO`, a checkpoint of this package, or `starter`.

A new kind is a row of `ENCODERS` (kind -> opener), or an entry point `group_emotion.encoders` of another package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ger_datasets.support.errors import UserError
from ger_datasets.support.registry import Registry


class Encoder(Protocol):
    """Photos or faces -> vectors.

    Attributes:
        width: length of a vector.
        settings: what the vectors depend on, as JSON values without paths of this machine.
    """

    width: int
    settings: Mapping[str, Any]

    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        """(photos, width) float32 of RGB photos of any sizes, upright; not dependent on which are encoded together.

        Raises:
            UserError: an encoder of faces alone.
        """
        ...

    def encode_faces(self, images: Sequence[Image.Image], boxes_xyxy: Sequence[Sequence[Any]]) -> list[np.ndarray]:
        """For each photo (faces, width) float32.

        Args:
            images: RGB photos, upright.
            boxes_xyxy: for each of them (faces, 4), x1 y1 x2 y2 in pixels.
        """
        ...


# (what stands after the colon, device) -> encoder
Opener = Callable[[str, str], Encoder]
ENCODERS: Registry[Opener] = Registry(
    "encoder",
    {
        "timm": "ger_models.encoders.vision:open_timm",
        "hf": "ger_models.encoders.vision:open_transformers",
        "checkpoint": "ger_models.encoders.checkpoint:open_checkpoint",
    },
    "group_emotion.encoders",
)


def make_encoder(name: str, device: str = "cpu") -> Encoder:
    """The encoder `name`.

    Args:
        name: `timm:MODEL`, `hf:REPO_OR_FOLDER` (CLIP, SigLIP, DINOv2 and v3, ViT, ConvNeXt, Swin), `KIND:NAME` of
            another package, or the folder or repository of a checkpoint of this package, or `starter`.
        device: such as `cpu` or `cuda:0`.

    Raises:
        UserError: no such encoder, or one that cannot be loaded.
    """
    kind, colon, rest = name.partition(":")
    if not name or (colon and kind in ENCODERS and not rest):
        raise UserError(f"the encoder {name!r} has no name: write timm:MODEL, hf:REPO, a checkpoint or starter")
    if colon and kind in ENCODERS:
        return ENCODERS[kind](rest, device)
    return ENCODERS["checkpoint"](name, device)
