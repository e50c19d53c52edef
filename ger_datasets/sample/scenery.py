"""Scenery: a size in, a photo's out-of-focus background out. It does not depend on the people's mood."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .pen import Colour, tint

COARSE = 4  # backgrounds are drawn this much smaller, then blurred and enlarged
# far and near: sky or wall, ground or floor
PLACES: tuple[tuple[Colour, Colour], ...] = (
    ((120, 174, 222), (120, 152, 84)), ((240, 196, 150), (146, 158, 92)), ((110, 168, 224), (222, 200, 160)),
    ((208, 198, 184), (150, 116, 84)), ((176, 190, 196), (120, 96, 78)), ((170, 196, 220), (140, 136, 132)),
    ((110, 96, 124), (96, 84, 106)), ((38, 36, 58), (56, 50, 66)), ((150, 130, 118), (120, 104, 96)),
)  # fmt: skip


def scenery(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """An out-of-focus background of `size` (width, height) pixels: far, near, and round blots of other colours."""
    width, height = size[0] // COARSE + 1, size[1] // COARSE + 1
    far, near = (np.asarray(colour) * rng.uniform(0.88, 1.08, 3) for colour in PLACES[rng.integers(len(PLACES))])
    share = np.linspace(0.88, 1.15, height)[:, None]
    rows = np.where(np.linspace(0, 1, height)[:, None] < rng.uniform(0.45, 0.8), far * share, near / share)
    pixels = np.clip(np.repeat(rows[:, None], width, axis=1), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(4, 16)):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height * 0.6), height * rng.uniform(0.03, 0.14)
        below = image.getpixel((min(int(x), width - 1), min(int(y), height - 1)))
        blot = tint(below, rng.uniform(0.7, 1.3))  # type: ignore[arg-type]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=blot)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.9, 2.2)))
    return image.resize(size, Image.Resampling.BICUBIC)
