"""A photo, decoded or not -> pixels -> the square that a model sees; and how encoders of others take photos."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

try:
    import simplejpeg
except ImportError:  # it may be missing where only the checkpoint is used; PIL decodes to the same pixels
    simplejpeg = None

TIFF_STARTS = (b"II*\0", b"MM\0*")  # a TIFF may hold a JPEG
JPEG_START, START_OF_SCAN = b"\xff\xd8", b"\xff\xda"
JPEG_COLOURS = ("YCbCr", "RGB", "Gray")  # decoders convert CMYK to RGB differently
# raised by Pillow on damaged files, in addition to OSError
DAMAGE = (Image.DecompressionBombError, AttributeError, IndexError, KeyError, SyntaxError, TypeError, ValueError)
MOST_PIXELS = 30_000_000  # of a stored image; prepare.py stores at most 25 million
MOST_SCAN_PIXELS = (
    4_000_000_000  # pixels times scans of a JPEG; each scan visits all pixels, and cameras write ten scans
)
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")  # Pillow formats; others run external interpreters
# Pillow's numbers, which transformers' configurations hold
RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic", 1: "lanczos"}
RESIZERS = ("pillow", "torch", "torch_float")
FLOAT_RESIZING = ("DINOv3ViTImageProcessor",)  # of transformers: they rescale first, then resize


def pixels_of(image: Image.Image | Mapping[str, Any]) -> torch.Tensor:
    """RGB pixels (3, height, width) uint8, upright, of a PIL image or of `{"bytes": ..., "path": ...}`, which is how
    `datasets` hands out an image that it was told not to decode.

    simplejpeg decodes about twice as fast as PIL, and to the same pixels, as both are libjpeg-turbo.

    Raises:
        OSError: it is no image, or a damaged one.
    """
    if isinstance(image, Image.Image):
        return _of_pil(image)
    if jpeg_size(image) is not None:
        try:
            return torch.from_numpy(simplejpeg.decode_jpeg(image["bytes"])).permute(2, 0, 1)
        except ValueError:  # PIL can read it, or gives a better message
            pass
    return _of_pil(decoded(image))


def decoded(image: Mapping[str, Any]) -> Image.Image:
    """`{"bytes": ..., "path": ...}` as a PIL image, upright.

    Raises:
        OSError: it is no image, a damaged one, or one of more than `MOST_PIXELS` pixels.
    """
    try:
        data = image["bytes"]
        with Image.open(image["path"] if data is None else io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise OSError(f"{opened.width} x {opened.height} pixels; at most {MOST_PIXELS:,} are decoded")
            if data is not None and _takes_long(data, opened.width * opened.height):
                raise OSError(f"{opened.width} x {opened.height} pixels in so many scans take too long to decode")
            opened.load()
            return _upright(opened)
    except UnidentifiedImageError as error:
        raise OSError(f"no image in one of the formats {', '.join(FORMATS)}") from error
    except (*DAMAGE, OSError, struct.error, zlib.error) as error:
        raise OSError(f"damaged, or no photo: {' '.join(str(error).split())}") from error


def jpeg_size(image: Image.Image | Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height of an upright JPEG that simplejpeg decodes as PIL does; None of any other image."""
    data = None if isinstance(image, Image.Image) else image["bytes"]
    if data is None or simplejpeg is None or data[:2] != JPEG_START:
        return None
    if data.find(b"Exif\0\0", 0, data.find(START_OF_SCAN)) >= 0:  # it may need rotation
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    fits = height * width <= MOST_PIXELS and not _takes_long(data, height * width)
    return (width, height) if colours in JPEG_COLOURS and fits else None


def _takes_long(data: bytes, pixels: int) -> bool:
    """Whether the bytes of a file, if they are a JPEG, have so many scans that decoding takes minutes."""
    jpeg = data[:2] == JPEG_START or data[:4] in TIFF_STARTS
    return jpeg and data.count(START_OF_SCAN) * pixels > MOST_SCAN_PIXELS


def reduced_pixels_of(image: Mapping[str, Any], least_width: float, least_height: float) -> torch.Tensor:
    """As `pixels_of`, of what has a `jpeg_size`, but at the half, 3/8, ... 1/8 of its size that has at least so many
    pixels, or at full size: a JPEG can be decoded so, in less time, each block of 8 x 8 pixels to fewer.
    """
    try:
        least = {"min_width": math.ceil(least_width), "min_height": math.ceil(least_height), "min_factor": 2}
        return torch.from_numpy(simplejpeg.decode_jpeg(image["bytes"], **least)).permute(2, 0, 1)
    except ValueError:
        return pixels_of(image)


def _of_pil(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(_upright(image).convert("RGB"))).permute(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(Base.Orientation, 1) != 1:  # exif_transpose copies even upright images
            return ImageOps.exif_transpose(image)
    except SyntaxError:  # unreadable EXIF: no rotation
        pass
    return image


def cut(
    pixels: torch.Tensor,
    box: tuple[float, float, float, float],
    width: int,
    height: int,
    interpolation: str = "bilinear",
) -> torch.Tensor:
    """`box` (left, top, right, bottom; rounded to whole pixels, at least one, inside the photo) of `pixels`
    (3, photo height, photo width) uint8, brought to (3, height, width) by `bilinear` or `bicubic` interpolation,
    anti-aliased.
    """
    left, top, right, bottom = (round(edge) for edge in box)
    left, top = min(max(left, 0), pixels.shape[2] - 1), min(max(top, 0), pixels.shape[1] - 1)
    part = pixels[:, top : max(bottom, top + 1), left : max(right, left + 1)]
    if part.shape[1:] == (height, width):
        return part
    # one copy of the part: PyTorch takes twice as long over rows that stand apart, to the same pixels
    whole = part[None].contiguous(memory_format=torch.channels_last)
    return F.interpolate(whole, (height, width), mode=interpolation, antialias=True)[0]


def normalized(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(pixels - mean) / std as float32, in one new block of memory.

    Args:
        pixels: (photos, 3, height, width) uint8, on any device.
        mean: (3,), of pixels from 0 to 255.
        std: (3,).
    """
    floats = torch.empty(pixels.shape, device=pixels.device)
    mean, std = (values.to(floats.device, non_blocking=floats.is_cuda)[:, None, None] for values in (mean, std))
    if floats.device.type != "cpu":
        return floats.copy_(pixels).sub_(mean).div_(std)
    for photo, photo_pixels in zip(floats, pixels, strict=True):  # one photo stays inside the cache
        photo.copy_(photo_pixels).sub_(mean).div_(std)
    return floats


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
            image = vision.to_pil_image(photo) if isinstance(photo, torch.Tensor) else photo
            return vision.pil_to_tensor(
                vision.center_crop(vision.resize(image, size, mode), [self.height, self.width])
            )
        pixels = photo if isinstance(photo, torch.Tensor) else vision.pil_to_tensor(photo)
        pixels = vision.resize(pixels.float() if self.resizer == "torch_float" else pixels, size, mode, antialias=True)
        top, left = (
            (have - want) // 2 for have, want in zip(pixels.shape[1:], (self.height, self.width), strict=True)
        )
        return vision.crop(
            pixels, top, left, self.height, self.width
        )  # torchvision's own center_crop rounds otherwise

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
