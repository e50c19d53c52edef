"""How an encoder of timm or transformers takes photos: resizing, crop, mean and standard deviation, from its own
configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

# Pillow's numbers, which transformers' configurations hold
RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic", 1: "lanczos"}
RESIZERS = ("pillow", "torch", "torch_float")
FLOAT_RESIZING = ("DINOv3ViTImageProcessor",)  # of transformers: they rescale first, then resize


@dataclass(frozen=True)
class Preprocessing:
    """Photo -> the pixels that an encoder sees, in evaluation.

    Attributes:
        height: of what the encoder sees, in pixels.
        width: of the same.
        shorter: the photo's shorter side is brought to this many pixels and the middle cut out; 0: the whole photo is
            brought to `height` x `width`.
        interpolation: `bicubic`, `bilinear`, `lanczos` or `nearest`.
        mean: per channel, of pixels from 0 to 1.
        std: per channel.
        resizer: `pillow`, as timm resizes; `torch` (uint8, anti-aliased), as transformers does; or `torch_float`, as
            it does for DINOv3: pixels are not rounded after resizing.
    """

    height: int
    width: int
    shorter: int = 0
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    resizer: str = "torch"

    @classmethod
    def of_timm(cls, data: Mapping[str, Any]) -> Preprocessing:
        """From what `timm.data.resolve_model_data_config` returns.

        Raises:
            ValueError: a crop mode that is neither `center` nor `squash`.
        """
        _, height, width = data["input_size"]
        share = data.get("crop_pct") or 1.0
        mode = data.get("crop_mode") or "center"
        if mode not in ("center", "squash") or (mode == "center" and height != width):
            raise ValueError(f"crop mode {mode!r} at {height} x {width} pixels cannot be used")
        shorter = math.floor(height / share) if mode == "center" or share < 1 else 0
        interpolation = data["interpolation"]
        return cls(
            height,
            width,
            0 if mode == "squash" else shorter,
            "bilinear" if interpolation == "random" else interpolation,
            tuple(data["mean"]),
            tuple(data["std"]),
            "pillow",
        )

    @classmethod
    def of_transformers(cls, data: Mapping[str, Any]) -> Preprocessing:
        """From the fields of an image processor of transformers (`preprocessor_config.json`).

        Raises:
            ValueError: steps that cannot be repeated here, such as patches of any number.
        """
        size, crop = dict(data.get("size") or {}), data.get("crop_size")
        resample = data.get("resample", 3)
        interpolation = RESAMPLE.get(int(resample))
        side = size.get("shortest_edge")
        shorter = int(side or 0)
        if crop and data.get("do_center_crop"):
            height, width = int(crop["height"]), int(crop["width"])
        elif side and "crop_pct" in data:  # ConvNeXt: below 384 pixels the photo is enlarged and cut
            height = width = int(side)
            shorter = int(side / data["crop_pct"]) if side < 384 else 0
        elif "height" in size:
            height, width, shorter = int(size["height"]), int(size["width"]), 0
        else:
            raise ValueError(f"the size {size} without a crop does not give photos of one size")
        if not data.get("do_resize", True) or interpolation is None:
            raise ValueError(f"resizing with resample {resample!r} is not known")
        resizer = "torch_float" if data.get("image_processor_type") in FLOAT_RESIZING else "torch"
        identity = not data.get("do_normalize", True)
        mean, std = ((0.0,) * 3, (1.0,) * 3) if identity else (data["image_mean"], data["image_std"])
        return cls(height, width, shorter, interpolation, tuple(mean), tuple(std), resizer)

    def pixels(self, photo: Image.Image | torch.Tensor) -> torch.Tensor:
        """(3, height, width), from 0 to 255: uint8, or float32 where the resizer is `torch_float`.

        Args:
            photo: RGB, a PIL image or (3, its height, its width) uint8.
        """
        size = [self.shorter] if self.shorter else [self.height, self.width]
        mode = InterpolationMode(self.interpolation)
        if self.resizer == "pillow":
            image = F.to_pil_image(photo) if isinstance(photo, torch.Tensor) else photo
            return F.pil_to_tensor(F.center_crop(F.resize(image, size, mode), [self.height, self.width]))
        pixels = photo if isinstance(photo, torch.Tensor) else F.pil_to_tensor(photo)
        pixels = F.resize(pixels.float() if self.resizer == "torch_float" else pixels, size, mode, antialias=True)
        top, left = (
            (have - want) // 2 for have, want in zip(pixels.shape[1:], (self.height, self.width), strict=True)
        )
        return F.crop(pixels, top, left, self.height, self.width)  # torchvision's own center_crop rounds otherwise

    def normalized(self, pixels: torch.Tensor) -> torch.Tensor:
        """What `pixels` gives, stacked (photos, 3, height, width) -> float32, as the encoder takes it."""
        mean, std = (pixels.new_tensor(v, dtype=torch.float32)[:, None, None] * 255 for v in (self.mean, self.std))
        return (pixels.float() - mean) / std

    def to_dict(self) -> dict[str, Any]:
        """Its fields, as JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """What `to_dict` made.

        Raises:
            ValueError: an unknown field, or a value that it cannot have.
        """
        try:
            made = cls(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
            InterpolationMode(made.interpolation)
            sides = (made.height, made.width, made.shorter)
            fits = all(type(side) is int and 0 <= side <= 4096 for side in sides) and min(sides[:2]) > 0
            fits = fits and len(made.mean) == len(made.std) == 3 and made.resizer in RESIZERS
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"preprocessing has a wrong or missing field: {error}") from error
        if not fits:
            raise ValueError(f"preprocessing holds invalid values: {dict(fields)}")
        return made
