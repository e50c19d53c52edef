"""A head: a Look and an Expression in, the drawn face and hair out.

Heads have their own units (see `pen.Frame`): the face is 1 wide, its centre at (0, 0), the chin near y = 0.68.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .pen import Colour, Frame, Pen, Shades, blend, mirrored, oval, smooth, tint

CHIN = 0.68
EYE_X, EYE_Y, NOSE_Y, MOUTH_Y = 0.215, -0.03, 0.24, 0.425

# right half of the hairline, from the forehead to the sideburn
STRAIGHT = [(0, -0.45), (0.25, -0.42), (0.42, -0.27), (0.455, -0.1), (0.5, 0.06)]
FRINGE = [(0, -0.25), (0.22, -0.24), (0.42, -0.2), (0.44, -0.05), (0.5, 0.1)]
PARTED = [(0, -0.53), (0.22, -0.38), (0.38, -0.2), (0.43, -0.02), (0.5, 0.12)]
# style: hairline, how far the hair stands off the skull, how far it falls (0: it doesn't)
STYLES: dict[str, tuple[list[tuple[float, float]], float, float]] = {
    "short": (STRAIGHT, 0.075, 0.0),
    "curly": (STRAIGHT, 0.16, 0.0),
    "bob": (FRINGE, 0.10, 0.62),
    "long": (PARTED, 0.08, 1.35),
    "bald": ([], 0.0, 0.0),
}


@dataclass(frozen=True)
class Look:
    """What a person looks like, whatever their mood."""

    child: bool
    skin: Colour
    hair: Colour
    hair_style: str  # a key of STYLES
    iris: Colour
    lips: Colour
    jaw: float  # 1.7 pointed ... 2.5 square
    brow: float  # thickness, 1 is usual


@dataclass(frozen=True)
class Expression:
    """What the face does. All are 0 in a face at rest, except `lids` (1)."""

    smile: float = 0.0  # mouth corners: -1 down ... 1 up
    opening: float = 0.0  # mouth: 0 closed ... 1 wide open
    brow_inner: float = 0.0  # inner ends of the brows: -1 down (anger) ... 1 up (sorrow)
    brow_lift: float = 0.0
    lids: float = 1.0  # how far the eyes are open
    cheeks: float = 0.0  # raised cheeks push the lower lids up
    yaw: float = 0.0  # radians, positive to the picture's right
    pitch: float = 0.0  # -1 looks up ... 1 looks down


def express(rng: np.random.Generator, mood: str) -> Expression:
    """A random face of this mood."""
    draw, strength = rng.uniform, rng.uniform(0.7, 1.0)
    turn: dict[str, Any] = {"yaw": draw(-0.32, 0.32), "pitch": draw(-0.6, 0.6)}
    if mood == "Positive":
        opening = draw(0.35, 0.9) * strength if rng.random() < 0.65 else 0.0
        lids = 1 - draw(0.1, 0.45) * strength
        return Expression(strength, opening, brow_lift=draw(0.0, 0.7), lids=lids, cheeks=strength, **turn)
    if mood == "Negative":
        kind = rng.choice(["sorrow", "anger", "cry"], p=[0.45, 0.35, 0.2])
        opening = draw(0.35, 0.7) if kind == "cry" else 0.0
        if kind == "anger":
            return Expression(-strength, brow_inner=-strength, brow_lift=-0.4, lids=draw(0.85, 1.05), **turn)
        return Expression(-strength, opening, strength, draw(-0.1, 0.3), draw(0.5, 0.8), **turn)
    return Expression(smile=draw(-0.12, 0.12), brow_lift=draw(-0.2, 0.2), lids=draw(0.85, 1.0), **turn)


class Head:
    """One head on a sheet.

    Args:
        pen: the sheet.
        frame: where the head lies.
        look, face: who, and what the face does.
        light: unit vector to the light, x right, y down, z towards the viewer.
    """

    def __init__(self, pen: Pen, frame: Frame, look: Look, face: Expression, light: np.ndarray) -> None:
        self.pen, self.frame, self.look, self.face, self.light = pen, frame, look, face, light
        self.drop = 0.07 if look.child else 0.0  # a child's features lie lower

    def at(self, points: np.ndarray | list) -> np.ndarray:
        """Points on the front of the upright face -> photo pixels, turned by yaw and pitch."""
        points = np.asarray(points, float)
        around = np.arcsin(np.clip(points[:, 0] / 0.56, -0.97, 0.97)) + self.face.yaw
        y = points[:, 1] + self.drop * (0.8 - points[:, 1]) + self.face.pitch * 0.05
        return self.frame.pixels(np.stack([0.56 * np.sin(around), y], axis=1))

    def outline(self) -> np.ndarray:
        """The head without ears and hair, photo pixels."""
        t = np.linspace(0, np.pi / 2, 12)
        upper = np.stack([0.5 * np.cos(t), 0.05 - 0.71 * np.sin(t)], axis=1)[::-1]
        jaw = [0.5 * np.cos(t) ** (2 / self.look.jaw), 0.05 + (CHIN - 0.05) * np.sin(t) ** (2 / 2.15)]
        return self.frame.pixels(mirrored(np.concatenate([upper, np.stack(jaw, axis=1)[1:]])))

    def joints(self) -> dict[str, np.ndarray]:
        """Nose, eyes and ears in photo pixels; "left" and "right" are the picture's."""
        face = self.at([[0, NOSE_Y], [-EYE_X, EYE_Y], [EYE_X, EYE_Y]])
        ears = self.frame.pixels(np.array([[-0.5, 0.06], [0.5, 0.06]]))
        return dict(zip(["nose", "left eye", "right eye", "left ear", "right ear"], [*face, *ears], strict=True))

    def draw(self, rng: np.random.Generator) -> None:
        """Ears, skin, features, and the hair before them."""
        self._ears()
        self.pen.surface(self.outline(), self._skin)
        self._nose()
        self._mouth()
        for side in (-1, 1):
            self._eye(side)
            self._brow(side)
        line, off, length = STYLES[self.look.hair_style]
        if not line:
            return
        crown, low = _crown(off), smooth([*(np.array(line[:0:-1]) * (-1, 1)), *line], closed=False, steps=4)
        low = np.add(low, (0.06 * np.sin(self.face.yaw), 0.03 * self.face.pitch))
        self.pen.surface(self.frame.pixels(np.concatenate([crown, low[::-1]])), self._hair())
        if self.look.hair_style == "curly":
            self._curls(rng, np.concatenate([crown[::2], low[3:-3:2]]))
        for side in (-1, 1) if length else ():
            lock = smooth([*_fall(off, length)[1:], (0.44, length * 0.6), (0.46, 0.2), (0.41, -0.1)], steps=4)
            self.pen.surface(self.frame.pixels(lock * (side, 1)), self._hair())

    def draw_back(self, rng: np.random.Generator) -> None:
        """The head from behind: ears, skull, and hair all over it."""
        self._ears()
        self.pen.surface(self.outline(), self._shades(self.look.skin, 0.0))
        line, off, length = STYLES[self.look.hair_style]
        if not line:
            return
        crown, nape = _crown(off), length or 0.5
        low = [(0.5 + off, nape * 0.55), (0.42 + off * 0.6, nape * 0.9), (0.2, nape), (0, nape * 1.02)]
        bottom = smooth(mirrored(low), closed=False, steps=4)
        self.pen.surface(self.frame.pixels(np.concatenate([crown, bottom])), self._hair())
        if self.look.hair_style == "curly":
            self._curls(rng, np.concatenate([crown[::2], bottom[::3]]))

    def draw_behind(self) -> None:
        """The long hair that hangs behind the neck."""
        _, off, length = STYLES[self.look.hair_style]
        if length:
            shape = smooth(mirrored(_fall(off, length)), steps=4)
            self.pen.surface(self.frame.pixels(shape), self._shades(tint(self.look.hair, 0.72), 34.0))

    # --- shading ------------------------------------------------------------------------------------------------

    def _lambert(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Light falling on an egg-shaped head, 0-1, and the own units of the grid."""
        u, v = self.frame.units(x, y)
        nx, ny = u / 0.53, (v - 0.01) / 0.74
        nz = np.sqrt(np.maximum(0, 1 - 0.95 * (nx * nx + ny * ny)))
        return np.clip(nx * self.light[0] + ny * self.light[1] + nz * self.light[2], 0, 1), u, v

    def _shades(self, colour: Colour, sheen: float) -> Shades:
        """`colour` in the head's light, with a band of `sheen` across the crown."""

        def shades(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            lit, u, v = self._lambert(x, y)
            band = np.exp(-(((v + 0.42 + 0.5 * (u - 0.25 * self.light[0]) ** 2) / 0.13) ** 2)) * lit**2
            return np.asarray(colour) * (0.6 + 0.46 * lit)[..., None] + sheen * band[..., None]

        return shades

    def _hair(self) -> Shades:
        return self._shades(self.look.hair, 34.0)

    def _skin(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Colours of the face's skin over a grid of photo pixels."""
        lit, u, v = self._lambert(x, y)
        face, shade, turn = self.face, 0.54 + 0.5 * lit, 0.5 * np.sin(self.face.yaw)
        side = -np.sign(self.light[0])  # where shadows fall

        def spot(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
            cy = cy + self.drop * (0.8 - cy) + face.pitch * 0.05
            return np.exp(-(((u - cx - turn) / sx) ** 2) - ((v - cy) / sy) ** 2)

        for sign in (-1, 1):
            shade -= 0.15 * spot(sign * EYE_X, EYE_Y - 0.03, 0.13, 0.085)
            shade -= 0.05 * spot(sign * EYE_X, EYE_Y + 0.12, 0.10, 0.03)
            shade += (0.05 + 0.07 * face.cheeks) * spot(sign * 0.27, 0.19, 0.11, 0.09)
            for step in (0.0, 0.5, 1.0):  # the fold from nose to mouth
                where = sign * (0.13 + 0.07 * step), 0.27 + 0.13 * step
                shade -= (0.03 + 0.07 * abs(face.smile)) * spot(*where, 0.035, 0.06)
        shade += 0.10 * spot(0, 0.06, 0.035, 0.13) + 0.12 * spot(-0.015 * side, NOSE_Y - 0.01, 0.04, 0.04)
        shade -= 0.15 * spot(side * 0.085, 0.13, 0.04, 0.14) + 0.16 * spot(side * 0.03, NOSE_Y + 0.09, 0.09, 0.03)
        shade -= 0.10 * spot(0, MOUTH_Y + 0.11 + 0.12 * face.opening, 0.1, 0.03)
        shade += 0.07 * spot(0, 0.6, 0.1, 0.06) + 0.05 * spot(0, -0.3, 0.25, 0.12)
        shade -= 0.22 * np.exp(-(((v + 0.66) / 0.24) ** 2))  # the hair's shadow
        # shadows on skin are warm
        return np.asarray(self.look.skin) * shade[..., None] ** np.array([0.85, 1.05, 1.12])

    # --- features -----------------------------------------------------------------------------------------------

    def _ears(self) -> None:
        for side in (-1, 1):
            x = side * (0.505 - 0.05 * side * self.face.yaw)
            lit = 0.95 if side * self.light[0] > 0 else 0.74
            self.pen.fill(self.frame.pixels(oval(x + side * 0.015, 0.03, 0.065, 0.15)), tint(self.look.skin, lit))

    def _curls(self, rng: np.random.Generator, edge: np.ndarray) -> None:
        for x, y in edge:
            radius = 0.08 * rng.uniform(0.8, 1.25)
            shade = 0.72 + 0.3 * max(0.0, float(np.dot((x, y), self.light[:2])))
            self.pen.fill(self.frame.pixels(oval(x, y, radius, radius, 14)), tint(self.look.hair, shade))

    def _eye(self, side: int) -> None:
        face, look, pen, unit = self.face, self.look, self.pen, self.frame.unit
        wide = 1.1 if look.child else 1.0
        t = np.linspace(-1, 1, 13)
        x, lids, arch = side * EYE_X + 0.108 * wide * t, face.lids * wide, np.maximum(0, 1 - t * t) ** 0.8
        corner = EYE_Y + side * t * (-0.006 + 0.012 * (face.lids < 0.85) * (face.smile < 0))
        up, low = 0.066 * lids, 0.043 * (0.6 + 0.4 * lids) * (1 - 0.55 * face.cheeks)
        upper, lower = (np.stack([x, corner + reach * arch], axis=1) for reach in (-up, low))
        pen.fill(self.at(np.concatenate([upper, lower[::-1]])), (236, 231, 224))

        def within(shape: np.ndarray) -> np.ndarray:
            """`shape` kept between the lids, photo pixels."""
            top, bottom = (np.interp(shape[:, 0], x, lid[:, 1]) for lid in (upper, lower))
            return self.at(np.stack([shape[:, 0], np.clip(shape[:, 1], top, bottom)], axis=1))

        cx, cy = side * EYE_X + 0.02 * face.yaw, EYE_Y - 0.018 + 0.01 * face.pitch + (up + low) * 0.1
        size = 0.054 * wide
        for part, colour in ((1.0, tint(look.iris, 0.7)), (0.82, tint(look.iris, 1.12)), (0.48, (18, 14, 14))):
            pen.fill(within(oval(cx, cy, size * part, size * part)), colour)
        pen.fill(within(np.concatenate([upper, np.add(upper, (0, 0.022))[::-1]])), (30, 20, 20), 0.35)
        pen.fill(within(oval(cx + 0.022 * np.sign(self.light[0]), cy - 0.02, 0.014, 0.014, 10)), (255, 255, 255), 0.95)
        lash = np.interp(t * side, [-1, 0.2, 1], [0.55, 1.0, 1.25]) * 0.026 * unit
        pen.stroke(self.at(upper), lash, tint(blend(look.hair, (30, 20, 18), 0.75), 0.7), 0.95)
        pen.stroke(self.at(lower), 0.010 * unit, tint(look.skin, 0.5), 0.6)
        crease = np.stack([x, corner - (up + 0.03) * arch - 0.008], axis=1)[1:-1]
        pen.stroke(self.at(crease), 0.013 * unit, tint(look.skin, 0.55), 0.55)

    def _brow(self, side: int) -> None:
        face, look = self.face, self.look
        t = np.linspace(0, 1, 9)  # from the inner end outwards
        x = side * (0.085 + 0.255 * t)
        y = -0.165 - 0.045 * np.sin(np.pi * (0.15 + 0.7 * t)) + 0.03 * t - 0.045 * face.brow_lift
        y = y - face.brow_inner * 0.085 * (1 - t) ** 1.2 + face.brow_inner * 0.03 * t
        width = 0.048 * look.brow * (0.75 + 0.5 * np.sin(np.pi * np.clip(t * 0.9 + 0.15, 0, 1))) * (1 - 0.6 * t**3)
        colour = blend(tint(look.hair, 0.72), look.skin, 0.12)
        self.pen.stroke(self.at(np.stack([x, y], axis=1)), width * self.frame.unit, colour, 0.92)
        if face.brow_inner < -0.4:  # the frown line of anger
            line = np.array([(side * 0.035, -0.17), (side * 0.03, -0.12), (side * 0.036, -0.08)])
            self.pen.stroke(self.at(line), 0.014 * self.frame.unit, tint(look.skin, 0.5), 0.5)

    def _nose(self) -> None:
        dark, unit = tint(self.look.skin, 0.42), self.frame.unit
        for side in (-1, 1):
            self.pen.fill(self.at(oval(side * 0.05, NOSE_Y + 0.055, 0.027, 0.014, 12)), dark, 0.85)
            wing = np.array([(0.088, -0.035), (0.112, 0.015), (0.094, 0.055), (0.073, 0.06)]) * (side, 1)
            line = self.at(smooth(np.add(wing, (0, NOSE_Y)), closed=False))
            self.pen.stroke(line, np.linspace(0.006, 0.02, len(line)) * unit, dark, 0.6)

    def _mouth(self) -> None:
        face, look, pen, unit = self.face, self.look, self.pen, self.frame.unit
        glad, sad = max(face.smile, 0.0), max(-face.smile, 0.0)
        half = (0.165 + 0.055 * glad - 0.01 * sad - 0.02 * face.opening * (sad > 0)) * (0.9 if look.child else 1.0)
        t = np.linspace(-1, 1, 17)
        x, arch = half * t, 1 - t * t
        line = MOUTH_Y + 0.035 * (sad > 0) + face.smile * (0.035 - 0.1 * t * t) + 0.004 * np.cos(3 * np.pi * t)
        top = line - (0.022 if sad else 0.006) * face.opening * arch
        bottom = line + 0.15 * face.opening * arch ** (0.8 if glad else 0.6)
        thin = 1 - 0.25 * abs(face.smile)
        bow = 0.040 * arch**0.7 * (1 - 0.28 * np.exp(-((t / 0.16) ** 2))) * thin

        def between(above: np.ndarray, below: np.ndarray) -> np.ndarray:
            return self.at(np.concatenate([np.stack([x, above], axis=1), np.stack([x, below], axis=1)[::-1]]))

        pen.fill(between(top - bow, top + 0.004), tint(look.lips, 0.84))
        pen.fill(between(bottom - 0.004, bottom + 0.055 * arch**0.8 * thin), look.lips)
        if face.opening > 0.05:
            pen.fill(between(top, bottom), (84, 26, 30))
            pen.fill(between(np.maximum(top, bottom - 0.05 * arch * face.opening - 0.008), bottom), (188, 84, 88))
            if glad:
                edge = np.minimum(bottom, top + (0.045 + 0.03 * face.opening) * arch**0.45)
                pen.fill(between(top, edge), (246, 242, 234))
        seam = self.at(np.stack([x, top], axis=1))
        pen.stroke(seam, (0.010 + 0.012 * arch) * unit, tint(look.lips, 0.38), 0.9)
        for side in (-1, 1):  # the corners
            pen.fill(self.at(oval(side * half, line[0], 0.018, 0.014, 10)), tint(look.skin, 0.45), 0.55)


def _crown(off: float) -> np.ndarray:
    """The hair's upper edge, from the left sideburn over the top to the right one, own units of the head."""
    t = np.linspace(np.pi + 0.12, -0.12, 27)
    return np.stack([(0.5 + off) * np.cos(t), -0.02 - (0.66 + off) * np.sin(t)], axis=1)


def _fall(off: float, length: float) -> list[tuple[float, float]]:
    """The right edge of long hair, from the top downwards, own units of the head."""
    wide = 0.5 + off
    down = [(0.9, -0.4), (1.03, 0.0), (1.08, length * 0.5), (1.03, length * 0.85), (0.87, length)]
    return [(0.0, -0.45), *((wide * x, y) for x, y in down)]
