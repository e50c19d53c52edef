"""A photo, decoded or not -> pixels -> the square that a model sees."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base
from torch.nn import functional as F

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


def cut(pixels: torch.Tensor, box: tuple[float, float, float, float], width: int, height: int) -> torch.Tensor:
    """`box` (left, top, right, bottom; rounded to whole pixels, at least one, inside the photo) of `pixels`
    (3, photo height, photo width) uint8, brought to (3, height, width), anti-aliased.
    """
    left, top, right, bottom = (round(edge) for edge in box)
    left, top = min(max(left, 0), pixels.shape[2] - 1), min(max(top, 0), pixels.shape[1] - 1)
    part = pixels[:, top : max(bottom, top + 1), left : max(right, left + 1)]
    if part.shape[1:] == (height, width):
        return part
    return F.interpolate(part[None], (height, width), mode="bilinear", antialias=True)[0]


def normalized(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(pixels - mean) / std as float32, in one new block of memory.

    Args:
        pixels: (photos, 3, height, width) uint8, on any device.
        mean: (3,), of pixels from 0 to 255.
        std: (3,).
    """
    floats = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (values.to(floats.device, non_blocking=floats.is_cuda)[:, None, None] for values in (mean, std))
    return floats.sub_(mean).div_(std)
