"""A photo, decoded or not -> pixels -> the square that a model sees."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional as F

try:
    import simplejpeg
except ImportError:  # where the checkpoint has gone, it may be missing: PIL decodes to the same pixels
    simplejpeg = None

JPEG_START, START_OF_SCAN = b"\xff\xd8", b"\xff\xda"
JPEG_COLOURS = ("YCbCr", "RGB", "Gray")  # of CMYK each decoder makes another RGB
ORIENTATION = 0x0112  # the EXIF tag
MOST_PIXELS = 178_956_970  # of a JPEG that simplejpeg decodes; PIL, which gets the others, refuses twice as many


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
        except ValueError:  # PIL says better what is wrong, or can read it
            pass
    data = image["bytes"]
    try:
        with Image.open(image["path"] if data is None else io.BytesIO(data)) as opened:
            return _of_pil(opened)
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:  # of PIL, beside OSError
        raise OSError(f"damaged, or no photo: {error}") from error


def jpeg_size(image: Image.Image | Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height of an upright JPEG that simplejpeg decodes as PIL does; None of any other image."""
    data = None if isinstance(image, Image.Image) else image["bytes"]
    if data is None or simplejpeg is None or data[:2] != JPEG_START:
        return None
    if data.find(b"Exif\0\0", 0, data.find(START_OF_SCAN)) >= 0:  # it may lie on its side
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return (width, height) if colours in JPEG_COLOURS and height * width <= MOST_PIXELS else None


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
    try:
        if image.getexif().get(ORIENTATION, 1) != 1:  # exif_transpose copies even what stands upright
            image = ImageOps.exif_transpose(image)
    except SyntaxError:  # EXIF that cannot be read turns nothing
        pass
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


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
        pixels: (photos, 3, height, width) uint8.
        mean: (3,), of pixels from 0 to 255.
        std: (3,).
    """
    floats = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    return floats.sub_(mean[:, None, None]).div_(std[:, None, None])
