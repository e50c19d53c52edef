"""Vision models of timm and of transformers as encoders, each with the preprocessing of its own configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn

from ger_datasets.support.errors import UserError, one_line
from ger_datasets.support.hub_connection import read_from_hub
from ger_datasets.support.repository_names import is_missing_folder, public_name

from ..backbones import create_backbone, feature_width, load_tower
from ..inference.revisions import weights_digest
from ..processing_pixels import Preprocessing
from .faces import encode_squares

CHUNK = 32  # photos per forward


class VisionEncoder:
    """A network over photos, or over the squares around faces.

    Args:
        network: (photos, 3, height, width) -> (photos, width); has `head_hidden_size`.
        preprocessing: how it takes photos.
        settings: what identifies it; width, preprocessing and a hash of the weights are added.
        device: such as `cpu` or `cuda:0`; on a GPU it computes in bfloat16.
    """

    def __init__(
        self, network: nn.Module, preprocessing: Preprocessing, settings: dict[str, Any], device: str = "cpu"
    ) -> None:
        self.preprocessing, self.device = preprocessing, torch.device(device)
        self.width = feature_width(network)
        self.settings = {
            **settings,
            "width": self.width,
            "preprocessing": preprocessing.to_dict(),
            "weights_sha256": weights_digest(network),
        }
        self.network = network.eval().requires_grad_(False).to(device)

    @torch.inference_mode()
    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        """(photos, width) float32. See `Encoder`."""
        made = [np.zeros((0, self.width), np.float32)]
        for start in range(0, len(images), CHUNK):
            pixels = torch.stack([self.preprocessing.pixels(image) for image in images[start : start + CHUNK]])
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                vectors = self.network(self.preprocessing.normalized(pixels.to(self.device)))
            made.append(vectors.float().cpu().numpy())
        return np.concatenate(made)

    def encode_faces(self, images: Sequence[Image.Image], boxes_xyxy: Sequence[Sequence[Any]]) -> list[np.ndarray]:
        """For each photo (faces, width) float32, of the squares around the boxes. See `Encoder`."""
        return encode_squares(self, images, boxes_xyxy)


def open_timm(name: str, device: str = "cpu") -> VisionEncoder:
    """A timm model with its pretrained weights: a name, or as timm takes them `hf-hub:REPO`, `local-dir:FOLDER`.

    Raises:
        UserError: no such model, no weights within reach, or a crop that cannot be repeated.
    """
    from timm.data import resolve_model_data_config

    with _named(f"timm:{name}"):
        network = read_from_hub(name, lambda: _timm_model(name))
        preprocessing = Preprocessing.of_timm(resolve_model_data_config(network))
    source, colon, folder = name.rpartition("local-dir:")
    return VisionEncoder(network, preprocessing, {"name": f"timm:{source}{colon}{public_name(folder)}"}, device)


def _timm_model(name: str) -> nn.Module:
    if not name.startswith(("hf-hub:", "local-dir:")):
        return create_backbone(name, pretrained=True)
    return timm.create_model(name, pretrained=True, num_classes=0)


def open_transformers(name: str, device: str = "cpu") -> VisionEncoder:
    """The vision model of a repository or folder in transformers' format; of CLIP and SigLIP the vision tower.

    Weights are read from safetensors only; nothing is unpickled, and no code from the repository is run.

    Raises:
        UserError: no such repository, no vision tower, weights or preprocessing that cannot be read.
    """
    repository, _, revision = name.partition("@")
    if is_missing_folder(repository):
        raise UserError(
            f"hf:{name}: no folder {repository}; give a repository of the Hub or a folder with config.json"
        )
    with _named(f"hf:{name}"):
        tower, preprocessing, commit = read_from_hub(repository, lambda: load_tower(repository, revision or None))
    settings = {"name": f"hf:{public_name(repository)}", **({"revision": commit} if commit else {})}
    return VisionEncoder(tower, preprocessing, settings, device)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """What goes wrong becomes a UserError that names the encoder."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of another's files timm and transformers make a dozen kinds
        raise UserError(f"the encoder {name} cannot be loaded: {one_line(error)}") from error
