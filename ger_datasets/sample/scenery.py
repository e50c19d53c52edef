"""Scenery: a size in, a photo's out-of-focus background out. It does not depend on the people's mood."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .pen import tint

COARSE = 8  # backgrounds are drawn this much smaller, then blurred and enlarged


def scenery(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """An out-of-focus background of `size` (width, height) pixels: far, near, and round blots of other colours."""
    width, height = size[0] // COARSE + 1, size[1] // COARSE + 1
    far, near = (rng.uniform(60, 165) + rng.uniform(-30, 30, 3) for _ in range(2))
    image = Image.new("RGB", (width, height), tint(far))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(4, 16)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height * 0.6), height * rng.uniform(0.03, 0.14)
        draw.circle((x, y), radius, tint(far * rng.uniform(0.75, 1.25)))
    draw.rectangle((0, height * rng.uniform(0.45, 0.8), width, height), fill=tint(near))
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.9, 2.2))).resize(size, Image.Resampling.BILINEAR)
