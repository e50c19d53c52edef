"""Pen: anti-aliased shapes on a see-through sheet, in photo pixels. Frame: a head's own units -> photo pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Shades = Callable[[np.ndarray, np.ndarray], np.ndarray]  # grids of x, y in photo pixels -> (h, w, 3) of 0-255


@dataclass(frozen=True)
class Frame:
    """Where a person's own coordinates lie in the photo: one unit is the head's width, x right, y down.

    Attributes:
        centre: the head's centre, photo pixels.
        unit: photo pixels per unit.
        angle: clockwise turn in radians, about the centre.
    """

    centre: tuple[float, float]
    unit: float
    angle: float = 0.0

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) own units -> (n, 2) photo pixels."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.asarray(points, float) @ np.array([[c, s], [-s, c]]) * self.unit + self.centre

    def units(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Photo pixels -> own units; the way back from `pixels`."""
        x, y = (x - self.centre[0]) / self.unit, (y - self.centre[1]) / self.unit
        c, s = np.cos(self.angle), np.sin(self.angle)
        return x * c + y * s, y * c - x * s


def oval(x: float, y: float, rx: float, ry: float, points: int = 28) -> np.ndarray:
    """An ellipse as a polygon, (points, 2)."""
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], axis=1)


def smooth(corners: list | np.ndarray, closed: bool = True, steps: int = 6) -> np.ndarray:
    """A Catmull-Rom curve through `corners` (corners, 2), `steps` points to each stretch: (points, 2)."""
    p = np.asarray(corners, float)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    t = (np.arange(steps) / steps)[None, :, None]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def mirrored(points: list | np.ndarray) -> np.ndarray:
    """`points` (n, 2) run down the right side; closed by the same points up the left side: (2 n, 2)."""
    right = np.asarray(points, float)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def colour_of(channels: Iterable[float]) -> Colour:
    """Three numbers from 0 to 255, rounded down."""
    red, green, blue = (int(channel) for channel in channels)
    return red, green, blue


def tint(colour: Colour, factor: float) -> Colour:
    """Darker (factor < 1) or lighter (factor > 1)."""
    if factor <= 1:
        return colour_of(c * factor for c in colour)
    return colour_of(c + (255 - c) * min(factor - 1, 1) for c in colour)


def blend(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of `other` mixed into `one`."""
    return colour_of(a + (b - a) * share for a, b in zip(one, other, strict=True))


class Pen:
    """A see-through sheet over a box of the photo, drawn `fine` times finer than the photo and then averaged.

    Args:
        box: x1 y1 x2 y2 in whole photo pixels.
        fine: how many sheet pixels to a photo pixel, along each side.
    """

    def __init__(self, box: tuple[int, int, int, int], fine: int) -> None:
        self.box, self.fine = box, fine
        size = ((box[2] - box[0]) * fine, (box[3] - box[1]) * fine)
        self.colours, self.cover = Image.new("RGB", size), Image.new("L", size)
        # "RGBA" on an RGB sheet: fills are blended by their alpha, which is slow where there is nothing to blend
        self._opaque, self._blended = ImageDraw.Draw(self.colours), ImageDraw.Draw(self.colours, "RGBA")
        self._cover = ImageDraw.Draw(self.cover)

    def _flat(self, points: np.ndarray) -> list[float]:
        return ((points - self.box[:2]) * self.fine).ravel().tolist()

    def fill(self, points: np.ndarray, colour: Colour, alpha: float = 1.0, solid: bool = True) -> None:
        """A polygon, photo pixels. Where not `solid` it only stains what is drawn already."""
        flat = self._flat(points)
        if alpha >= 1:
            self._opaque.polygon(flat, fill=colour)
        else:
            self._blended.polygon(flat, fill=(*colour, int(255 * alpha)))
        if solid:
            self._cover.polygon(flat, fill=255)

    def stroke(
        self, points: np.ndarray, widths: float | np.ndarray, colour: Colour, alpha: float = 1.0, solid: bool = False
    ) -> None:
        """A line through `points`, photo pixels; `widths` in pixels, one or one per point (it may taper)."""
        along = np.empty_like(points)
        along[1:-1], along[0], along[-1] = points[2:] - points[:-2], points[1] - points[0], points[-1] - points[-2]
        across = along[:, ::-1] * (-1, 1) / (np.hypot(along[:, 0], along[:, 1]) + 1e-9)[:, None]
        half = across * (np.broadcast_to(widths, len(points)) / 2)[:, None]
        self.fill(np.concatenate([points + half, (points - half)[::-1]]), colour, alpha, solid)

    def limb(self, points: np.ndarray, radii: np.ndarray, colour: Colour, lit: float) -> None:
        """A round limb through `points` (n, 2), shaded across from the light's side (`lit`: -1 left ... 1 right)."""
        along = np.diff(points, axis=0)
        turns = np.arctan2(along[:, 1], along[:, 0])[:, None] + np.pi / 2
        half_ring = np.linspace(0, np.pi, 8)
        rings = np.concatenate([turns + half_ring, turns + half_ring + np.pi], axis=1)  # (n - 1, 16)
        rings = np.stack([np.cos(rings), np.sin(rings)], axis=2)
        ends = np.repeat(np.stack([points[:-1], points[1:]], axis=1), 8, axis=1)  # (n - 1, 16, 2)
        radii = np.repeat(np.stack([radii[:-1], radii[1:]], axis=1), 8, axis=1)[..., None]
        levels = int(np.clip(radii.max() * self.fine / 5, 3, 14))
        # level by level over the whole limb, so that its joints leave no seams
        for step in range(levels):
            share = step / (levels - 1)
            width = np.cos(share * np.pi / 2 * 0.93)
            shift = np.array([lit * 0.6, -0.2]) * (1 - width)
            shade = tint(colour, 0.68 + 0.37 * np.sin(share * np.pi / 2))
            for shape in ends + (rings * width + shift) * radii:
                self.fill(shape, shade, solid=step == 0)

    def surface(self, points: np.ndarray, shades: Shades, solid: bool = True) -> None:
        """A polygon, photo pixels, painted by `shades` over a coarse grid."""
        low = np.maximum(np.floor(points.min(axis=0)).astype(int), self.box[:2])
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int), self.box[2:])
        if (high <= low).any():
            return
        width, height = (high - low).tolist()
        step = max(1.0, max(width, height) / 48)
        columns, rows = max(2, round(width / step)), max(2, round(height / step))
        x, y = np.meshgrid(
            low[0] + (np.arange(columns) + 0.5) * width / columns, low[1] + (np.arange(rows) + 0.5) * height / rows
        )
        paint = Image.fromarray(np.clip(shades(x, y), 0, 255).astype(np.uint8))
        paint = paint.resize((width * self.fine, height * self.fine), Image.Resampling.BILINEAR)
        mask = Image.new("L", paint.size)
        ImageDraw.Draw(mask).polygon(((points - low) * self.fine).ravel().tolist(), fill=255)
        corner = tuple(((low - self.box[:2]) * self.fine).tolist())
        self.colours.paste(paint, corner, mask)
        if solid:
            self._cover.polygon(self._flat(points), fill=255)

    def sheet(self) -> tuple[Image.Image, Image.Image]:
        """The drawing at the photo's own size: colours (RGB, black where nothing covers) and cover (L)."""
        colours, cover = self.colours.reduce(self.fine), self.cover.reduce(self.fine)
        colours.paste(0, mask=cover.point(lambda value: 255 * (value == 0)))
        return colours, cover
