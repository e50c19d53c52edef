"""A photo, decoded or not -> pixels -> the square that a model sees."""

from __future__ import annotations

import io
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

JPEG_START = b"\xff\xd8"
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
    data = image["bytes"]
    if data is not None and simplejpeg is not None and data[:2] == JPEG_START and b"Exif\0\0" not in data:
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            if colours in JPEG_COLOURS and height * width <= MOST_PIXELS:
                return torch.from_numpy(simplejpeg.decode_jpeg(data)).permute(2, 0, 1)
        except ValueError:  # PIL says better what is wrong, or can read it
            pass
    try:
        with Image.open(image["path"] if data is None else io.BytesIO(data)) as opened:
            return _of_pil(opened)
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:  # of PIL, beside OSError
        raise OSError(f"damaged, or no photo: {error}") from error


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
