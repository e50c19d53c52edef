"""Pen: anti-aliased shapes on a photo, in photo pixels. Frame: a person's own units -> photo pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
FINE = 2  # pixels drawn to a pixel of the photo, along each side
LIGHT = np.array([-0.42, -0.38, 0.82])  # unit vector to the light: x right, y down, z towards the viewer
LEVELS = 7  # shades across a limb
GRID = 48  # shades along the longer side of a surface


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

    def pixels(self, points: np.ndarray | list) -> np.ndarray:
        """(n, 2) own units -> (n, 2) photo pixels."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.asarray(points, float) @ np.array([[c, s], [-s, c]]) * self.unit + self.centre

    def units(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Photo pixels -> own units; the way back from `pixels`."""
        x, y = (x - self.centre[0]) / self.unit, (y - self.centre[1]) / self.unit
        c, s = np.cos(self.angle), np.sin(self.angle)
        return x * c + y * s, y * c - x * s


def oval(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """An ellipse as a polygon, (24, 2)."""
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], axis=1)


def mirrored(points: np.ndarray | list) -> np.ndarray:
    """`points` (n, 2) run down the right side; closed by the same points up the left side: (2 n, 2)."""
    right = np.asarray(points, float)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def tint(colour: Iterable[float], factor: float = 1) -> Colour:
    """Darker (factor < 1) or lighter (factor > 1), rounded down."""
    red, green, blue = (int(min(max(channel * factor, 0), 255)) for channel in colour)
    return red, green, blue


class Pen:
    """Draws on a photo, FINE times finer than its pixels, and remembers who drew where.

    Args:
        background: RGB, FINE times as wide and high as the photo.
    """

    def __init__(self, background: Image.Image) -> None:
        self.owner = 0  # whose shapes the next ones are, 0-255
        self._image, self._owners = background, Image.new("L", background.size)
        self._drawn, self._owned = ImageDraw.Draw(self._image), ImageDraw.Draw(self._owners)

    def polygon(self, points: np.ndarray, colour: Colour | None) -> None:
        """A filled polygon, photo pixels; without a colour it only changes owner."""
        corners = (points * FINE).ravel().tolist()
        self._owned.polygon(corners, fill=self.owner)
        if colour is not None:
            self._drawn.polygon(corners, fill=colour)

    def line(self, points: np.ndarray, width: float, colour: Colour) -> None:
        """A line through `points` with round ends, photo pixels."""
        width = max(1, round(width * FINE))
        for draw, fill in ((self._drawn, colour), (self._owned, self.owner)):
            draw.line((points * FINE).ravel().tolist(), fill, width)
            for x, y in (points * FINE).tolist() if width > 2 else ():
                draw.circle((x, y), width / 2, fill)

    def limb(self, points: np.ndarray, radius: float, colour: Colour) -> None:
        """A round limb through `points` (n, 2), photo pixels, lit from LIGHT."""
        for turn in np.linspace(0, 1.46, LEVELS):  # from the limb's edge towards the viewer, radians
            narrow = radius * np.cos(turn)
            shift = (radius - narrow) * 0.6 * LIGHT[:2]
            self.line(points + shift, 2 * narrow, tint(colour, 0.68 + 0.37 * np.sin(turn)))

    def surface(
        self,
        points: np.ndarray,
        frame: Frame,
        colour: Colour,
        egg: tuple[float, float],
        spots: Iterable[Sequence[float]] = (),
    ) -> None:
        """A polygon, photo pixels, shaded as the side of an egg about the frame's centre, lit from LIGHT.

        Args:
            egg: its half axes, own units of the frame.
            spots: soft spots on it: how much lighter, x, y, half width and half height, own units.
        """
        low = np.floor(points.min(axis=0))
        width, height = np.ceil(points.max(axis=0) - low).astype(int).tolist()
        step = max(1.0, max(width, height) / GRID)
        x, y = (np.arange(step / 2, side, step) for side in (width, height))
        u, v = frame.units(*np.meshgrid(low[0] + x, low[1] + y))
        nx, ny = u / egg[0], v / egg[1]
        nz = np.sqrt(np.maximum(0, 1 - 0.95 * (nx * nx + ny * ny)))
        shade = 0.54 + 0.5 * np.clip(nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2], 0, 1)
        for lighter, left, top, wide, high in spots:
            shade += lighter * np.exp(-(((u - left) / wide) ** 2) - ((v - top) / high) ** 2)
        paint = Image.fromarray(np.clip(np.asarray(colour) * shade[..., None], 0, 255).astype(np.uint8))
        paint = paint.resize((width * FINE, height * FINE), Image.Resampling.BILINEAR)
        mask = Image.new("L", paint.size)
        ImageDraw.Draw(mask).polygon(((points - low) * FINE).ravel().tolist(), fill=255)
        self._image.paste(paint, tuple((low * FINE).astype(int).tolist()), mask)
        self.polygon(points, None)

    def finish(self) -> tuple[Image.Image, np.ndarray]:
        """The photo, and who is seen where, (height, width)."""
        return self._image.reduce(FINE), np.asarray(self._owners)[::FINE, ::FINE]
