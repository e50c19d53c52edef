"""The decoded pixels of any image -> sRGB, 8 bits per colour."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from ..support.errors import BadPhoto

MAX_PROFILE_BYTES = 16 * 2**20  # what a JPEG can hold
SAME_COLOUR = 4  # levels of 255; profiles that say sRGB differ from it by up to 3, Display P3 by 100
BIT_DEPTHS = (8, 10, 12, 14, 16)
DARK_16_BIT = 15  # the high byte of the largest 12-bit number
BITS_PER_SAMPLE, MAX_SAMPLE_VALUE = 258, 281  # tags of TIFF 6.0
MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC colour space -> Pillow mode
ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


@dataclass(frozen=True)
class ColourConversion:
    """How the pixels of one image become sRGB. Made from the whole image, applied to it or to strips of it.

    Attributes:
        white: the value of white in integer images of more than 8 bits; None for the others.
        opaque: whether transparency is ignored, because the image is fully transparent and yet has a picture in it.
        source_mode: the Pillow mode that `profile` converts from.
        profile: the colour profile -> sRGB; None if there is none, if it is broken, or if it is that of sRGB.
    """

    white: int | None
    opaque: bool
    source_mode: str
    profile: ImageCms.ImageCmsTransform | None

    @classmethod
    def of(cls, image: Image.Image, has_16_bits: bool = False) -> ColourConversion:
        """The conversion of a decoded image.

        Args:
            has_16_bits: whether Pillow kept only the high bytes of the file's 16-bit colours.

        Raises:
            BadPhoto: values of more than 16 bits, or 16-bit colours that lost all their detail.
        """
        if has_16_bits and max(high for _, high in _extrema(image)[: 1 if image.mode == "LA" else 3]) <= DARK_16_BIT:
            raise BadPhoto("16-bit colours with values of at most 12 bits would be black: save the photo with 8 bits")
        white = _white(image) if image.mode.startswith("I") else None
        source_mode, profile = "RGB", None
        content = image.info.get("icc_profile")
        if isinstance(content, bytes) and 0 < len(content) <= MAX_PROFILE_BYTES:
            source_mode, profile = _to_srgb(content, image.mode)
        return cls(white, _hides_a_picture(image), source_mode, profile)

    def apply(self, image: Image.Image) -> Image.Image:
        """The image, or a strip of it, as a new RGB image; transparent pixels show white."""
        if self.white is not None:
            image = Image.fromarray((np.asarray(image).astype(np.uint32) * 255 // self.white).astype(np.uint8))
        elif image.mode in ALPHA_MODES or "transparency" in image.info:
            image = image.convert("RGBA")
            if not self.opaque:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = image.convert("RGB")
        if self.profile is None:
            return image.convert("RGB")
        return self.profile.apply(image.convert(self.source_mode))


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    """The lowest and highest value of each band."""
    extrema = image.getextrema()
    return list(extrema) if isinstance(extrema[0], tuple) else [extrema]  # type: ignore[list-item]


def _white(image: Image.Image) -> int:
    """The value of white: the one that a TIFF declares, or the largest of the smallest bit depth that fits."""
    ((low, high),) = _extrema(image if image.mode in ("I", "I;16") else image.convert("I"))
    if low < 0 or high > 65535:
        raise BadPhoto(f"pixel values from {low} to {high}: more than 16 bits")
    tags = getattr(image, "tag_v2", {})
    bits, declared = tags.get(BITS_PER_SAMPLE), tags.get(MAX_SAMPLE_VALUE)
    # 16 bits and 65535 are what writers put there by default, whatever the camera gave
    known = [2 ** bits[0] - 1 if isinstance(bits, tuple) else 0, declared[0] if isinstance(declared, tuple) else 0]
    for white in known:
        if max(high, 1) <= white < 65535:
            return int(white)
    return next(2**depth - 1 for depth in BIT_DEPTHS if high < 2**depth)


def _hides_a_picture(image: Image.Image) -> bool:
    """Whether every pixel is transparent, but not all have the same colour."""
    if image.mode in ("RGBA", "LA"):
        *colours, alpha = _extrema(image)
        return alpha[1] == 0 and any(low != high for low, high in colours)
    alphas = image.info.get("transparency")
    if image.mode == "P" and isinstance(alphas, bytes):
        used = [index for index, count in enumerate(image.histogram()) if count]
        return len(used) > 1 and all(index < len(alphas) and alphas[index] == 0 for index in used)
    return False


@lru_cache(maxsize=8)
def _to_srgb(content: bytes, mode: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode that an ICC profile converts from, and the conversion to sRGB.

    None where it is not needed: the profile is broken, belongs to another kind of image, or changes no colour by more
    than `SAME_COLOUR`.
    """
    grey = mode in ("1", "L", "LA", "La") or mode.startswith("I")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        source_mode = MODES[profile.profile.xcolor_space.strip()]
        if (source_mode == "CMYK") != (mode == "CMYK") or (source_mode == "L" and not grey):
            return "RGB", None
        srgb = ImageCms.createProfile("sRGB")
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        transform = ImageCms.buildTransform(profile, srgb, source_mode, "RGB", intent, flags)
        if source_mode != "CMYK":
            colours = _sample_colours().convert(source_mode)
            changed = np.asarray(ImageCms.applyTransform(colours, transform)).astype(int)
            if np.abs(changed - np.asarray(colours.convert("RGB"))).max() <= SAME_COLOUR:
                return "RGB", None
    except (ImageCms.PyCMSError, OSError, KeyError, TypeError, ValueError):
        return "RGB", None
    return source_mode, transform


def _sample_colours() -> Image.Image:
    """9 x 9 x 9 colours from black to white, evenly spaced."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3))
