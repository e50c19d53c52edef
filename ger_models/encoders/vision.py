"""Vision models of timm and of transformers as encoders, each with the preprocessing of its own configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn

from ger_datasets.support.errors import UserError, one_line
from ger_datasets.support.hub_connection import read_from_hub
from ger_datasets.support.repository_names import is_missing_folder, public_name

from ..backbones import (
    WHOLE_MODELS,
    VisionTower,
    create_backbone,
    feature_width,
    tower_class,
    without_pooler,
)
from ..inference.revisions import weights_digest
from ..processing_encoders import Preprocessing
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
        self.network = network.eval().requires_grad_(False).to(device)
        self.preprocessing, self.device = preprocessing, torch.device(device)
        self.width = feature_width(network)
        self.settings = {
            **settings,
            "width": self.width,
            "preprocessing": preprocessing.to_dict(),
            "weights_sha256": weights_digest(network),
        }

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
    return VisionEncoder(network, preprocessing, {"name": f"timm:{Path(name).name if '/' in name else name}"}, device)


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


def load_tower(repository: str, revision: str | None = None) -> tuple[VisionTower, Preprocessing, str]:
    """The vision tower with its weights, its preprocessing and the commit (empty for a folder).

    Raises:
        ValueError, OSError: as transformers raises them.
    """
    from huggingface_hub import hf_hub_download
    from transformers import AutoConfig, AutoImageProcessor
    from transformers.utils import CONFIG_NAME

    commit = ""
    if not Path(repository).is_dir():
        commit = Path(hf_hub_download(repository, CONFIG_NAME, revision=revision)).parent.name
    options: dict[str, Any] = {"revision": commit or "main", "trust_remote_code": False}
    config = AutoConfig.from_pretrained(repository, **options)
    model_type = WHOLE_MODELS.get(config.model_type, config.model_type)
    made = tower_class(model_type)
    vision = getattr(config, "vision_config", config)
    if model_type == "clip_vision_model":
        vision.projection_dim = config.projection_dim  # the vision part's own may be a default that is not used
    with quiet():
        model, info = made.from_pretrained(
            repository,
            config=vision,
            use_safetensors=True,
            output_loading_info=True,
            **options,
            **without_pooler(model_type),
        )
    if info["missing_keys"]:
        raise ValueError(f"weights are missing: {', '.join(sorted(info['missing_keys'])[:3])}")
    processor = AutoImageProcessor.from_pretrained(repository, **options)
    return VisionTower(model.float()), Preprocessing.of_transformers(processor.to_dict()), commit


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' table of the text model's weights, which a vision tower does not need."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """What goes wrong becomes a UserError that names the encoder."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of another's files timm and transformers make a dozen kinds
        raise UserError(f"the encoder {name} cannot be loaded: {one_line(error)}") from error
