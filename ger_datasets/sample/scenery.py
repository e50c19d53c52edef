"""Scenery: a size in, a photo's out-of-focus background out. It knows nothing of the people's mood."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .pen import Colour, blend, tint

COARSE = 4  # backgrounds are drawn this much smaller, then blurred and enlarged


def _sweep(size: tuple[int, int], top: Colour, bottom: Colour, until: float = 1.0) -> Image.Image:
    """Top colour fading into bottom colour at `until` of the height."""
    share = np.clip(np.linspace(0, 1, size[1]) / until, 0, 1)[:, None]
    rows = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
    return Image.fromarray(np.repeat(rows[:, None], size[0], axis=1).astype(np.uint8))


def _pick(rng: np.random.Generator, *colours: Colour) -> Colour:
    colour = np.asarray(colours[rng.integers(len(colours))]) * rng.uniform(0.88, 1.08, 3)
    return tuple(np.clip(colour, 0, 255).astype(int).tolist())


def _tree(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, y: float, size: float, leaf: Colour) -> None:
    draw.line((x, y, x, y - size), fill=(86, 66, 52), width=max(2, int(size * 0.12)))
    for _ in range(14):
        cx, cy, r = x + rng.normal(0, 0.3) * size, y - size * rng.uniform(0.8, 1.7), size * rng.uniform(0.2, 0.38)
        light = 1.12 if cy < y - 1.3 * size else rng.uniform(0.75, 1.0)
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=tint(leaf, light))


def park(rng: np.random.Generator, w: int, h: int) -> Image.Image:
    """Sky, trees and grass."""
    image = _sweep((w, h), _pick(rng, (120, 174, 222), (168, 190, 208), (240, 196, 150)), (226, 234, 236), 0.6)
    draw, horizon = ImageDraw.Draw(image), int(h * rng.uniform(0.38, 0.6))
    leaf, grass = _pick(rng, (84, 128, 70), (112, 140, 66), (170, 112, 54)), _pick(rng, (120, 152, 84), (146, 158, 92))
    hill = [(x, horizon - h * 0.07 * (1 + np.sin(x / w * 5 + rng.uniform(0, 0.2)))) for x in range(0, w + 8, 8)]
    draw.polygon([*hill, (w, h), (0, h)], fill=blend(leaf, (190, 210, 220), 0.45))
    for x in np.sort(rng.uniform(0, w, rng.integers(4, 9))):
        _tree(draw, rng, x, horizon + rng.uniform(0, 0.05) * h, h * rng.uniform(0.13, 0.25), leaf)
    for i, y in enumerate(range(horizon + h // 40, h, 3)):
        draw.rectangle((0, y, w, y + 3), fill=tint(grass, 1.06 - 0.3 * (y - horizon) / (h - horizon) - 0.03 * (i % 2)))
    return image


def beach(rng: np.random.Generator, w: int, h: int) -> Image.Image:
    """Sky, sea and sand."""
    sky = _pick(rng, (110, 168, 224), (238, 176, 130), (150, 170, 196))
    image = _sweep((w, h), sky, blend(sky, (255, 246, 232), 0.75), 0.5)
    draw, horizon = ImageDraw.Draw(image), int(h * rng.uniform(0.4, 0.52))
    sea, sand = (
        _pick(rng, (66, 128, 160), (84, 150, 158), (96, 112, 140)),
        _pick(rng, (222, 200, 160), (206, 184, 150)),
    )
    shore = int(h * rng.uniform(0.62, 0.72))
    for y in range(horizon, shore, 2):
        draw.rectangle((0, y, w, y + 2), fill=tint(sea, rng.uniform(0.95, 1.15)))
    draw.polygon([(0, shore), (w, shore - h * 0.04), (w, h), (0, h)], fill=sand)
    draw.line([(0, shore), (w, shore - h * 0.04)], fill=(246, 246, 244), width=3)
    return image


def room(rng: np.random.Generator, w: int, h: int) -> Image.Image:
    """A wall with pictures, and a floor."""
    wall = _pick(rng, (208, 198, 184), (176, 190, 196), (196, 178, 160), (168, 182, 164), (214, 208, 206))
    image = _sweep((w, h), tint(wall, 0.9), tint(wall, 1.05))
    draw, floor = ImageDraw.Draw(image), int(h * rng.uniform(0.72, 0.85))
    for x in rng.uniform(0.02, 0.8, rng.integers(2, 5)) * w:
        wide, high, top = w * rng.uniform(0.1, 0.2), h * rng.uniform(0.15, 0.3), h * rng.uniform(0.05, 0.2)
        box = (x, top, x + wide, top + high)
        if rng.random() < 0.5:  # a window
            draw.rectangle(box, fill=(226, 236, 244), outline=tint(wall, 1.4), width=2)
            draw.line((x + wide / 2, top, x + wide / 2, top + high), fill=tint(wall, 1.4), width=2)
        else:  # a picture
            draw.rectangle(
                box, fill=_pick(rng, (150, 120, 90), (110, 130, 150), (170, 160, 120)), outline=(74, 58, 46), width=2
            )
    wood = _pick(rng, (150, 116, 84), (120, 96, 78), (170, 150, 128))
    draw.rectangle((0, floor, w, h), fill=wood)
    draw.rectangle((0, floor - 3, w, floor), fill=tint(wall, 1.3))
    return image


def city(rng: np.random.Generator, w: int, h: int) -> Image.Image:
    """Houses with windows, and a street."""
    sky = _pick(rng, (170, 196, 220), (228, 200, 176), (70, 84, 120))
    image = _sweep((w, h), sky, tint(sky, 1.4), 0.7)
    draw, ground = ImageDraw.Draw(image), int(h * rng.uniform(0.66, 0.8))
    x = -10.0
    while x < w:
        wide, top = w * rng.uniform(0.08, 0.18), h * rng.uniform(0.02, 0.45)
        stone = _pick(rng, (140, 134, 132), (164, 140, 120), (120, 130, 142), (176, 166, 150))
        draw.rectangle((x, top, x + wide, ground), fill=stone)
        pane = tint(stone, 1.35) if rng.random() < 0.5 else tint(stone, 0.72)
        for wx in np.arange(x + 4, x + wide - 4, 8):
            for wy in np.arange(top + 5, ground - 8, 11):
                draw.rectangle((wx, wy, wx + 4, wy + 6), fill=pane)
        x += wide
    draw.rectangle((0, ground, w, h), fill=_pick(rng, (130, 128, 126), (150, 144, 136)))
    return image


def studio(rng: np.random.Generator, w: int, h: int) -> Image.Image:
    """A cloth lit from the middle."""
    cloth = _pick(rng, (120, 130, 140), (150, 130, 118), (96, 112, 104), (178, 170, 160), (110, 96, 124))
    x, y = np.meshgrid(np.linspace(-1, 1, w), np.linspace(-1, 1, h))
    glow = 0.72 + 0.5 * np.exp(-((x - rng.uniform(-0.3, 0.3)) ** 2) / 0.6 - (y + 0.2) ** 2 / 0.8)
    glow += 0.025 * np.sin(x * rng.uniform(12, 20) + np.sin(y * 2))
    return Image.fromarray(np.clip(np.asarray(cloth) * glow[..., None], 0, 255).astype(np.uint8))


def evening(rng: np.random.Generator, w: int, h: int) -> Image.Image:
    """Lights in the dark."""
    night = _pick(rng, (38, 36, 58), (52, 40, 44), (32, 48, 56))
    image = _sweep((w, h), night, tint(night, 1.25))
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(rng.integers(20, 45)):
        x, y, r = rng.uniform(0, w), rng.uniform(0, h * 0.7), h * rng.uniform(0.012, 0.04)
        lamp = _pick(rng, (255, 208, 130), (255, 170, 110), (150, 200, 240), (236, 150, 180))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(*lamp, 110))
    return image


PLACES: tuple[Callable[[np.random.Generator, int, int], Image.Image], ...] = (park, beach, room, city, studio, evening)


def scenery(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """An out-of-focus background of `size` (width, height) pixels."""
    place = PLACES[rng.integers(len(PLACES))]
    small = place(rng, size[0] // COARSE + 1, size[1] // COARSE + 1)
    small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.9, 2.2)))
    return small.resize(size, Image.Resampling.BICUBIC)
