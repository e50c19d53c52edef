"""A head: a Look and an Expression in, the drawn face out. Hair lives in hair.py.

Heads have their own units (see `pen.Frame`): the face is 1 wide, its centre at (0, 0), the chin near y = 0.68.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .pen import Colour, Frame, Pen, blend, mirrored, oval, smooth, tint

CHIN = 0.68
EYE_X, EYE_Y, NOSE_Y, MOUTH_Y = 0.215, -0.03, 0.24, 0.425

SKINS: tuple[Colour, ...] = (
    (246, 208, 180), (240, 196, 162), (233, 186, 148), (219, 166, 126), (198, 142, 104),
    (172, 117, 82), (143, 94, 66), (117, 76, 54), (97, 64, 47),
)  # fmt: skip
IRISES: tuple[Colour, ...] = ((84, 54, 32), (62, 40, 26), (104, 72, 38), (70, 104, 128), (84, 110, 72), (96, 100, 104))


@dataclass(frozen=True)
class Look:
    """What a person looks like, whatever their mood."""

    age: str  # child, adult or old
    skin: Colour
    hair: Colour
    hair_style: str
    iris: Colour
    lips: Colour
    jaw: float  # 1.7 pointed ... 2.5 square
    brow: float  # thickness, 1 is usual
    nose: float  # width, 1 is usual
    beard: str  # "", stubble, moustache or full
    glasses: Colour | None
    cloth: Colour  # of a headscarf or a cap


@dataclass(frozen=True)
class Expression:
    """What the face does. All are 0 in a face at rest, but `lids` (1)."""

    smile: float = 0.0  # mouth corners: -1 down ... 1 up
    opening: float = 0.0  # mouth: 0 closed ... 1 wide open
    teeth: bool = False
    brow_inner: float = 0.0  # inner ends of the brows: -1 down (anger) ... 1 up (sorrow)
    brow_lift: float = 0.0
    lids: float = 1.0  # how far the eyes are open
    cheeks: float = 0.0  # raised cheeks push the lower lids up
    yaw: float = 0.0  # radians, positive to the picture's right
    pitch: float = 0.0  # -1 looks up ... 1 looks down


def express(rng: np.random.Generator, mood: str, clear: float = 1.0) -> Expression:
    """A face of this mood. `clear`: 1 plain to see ... 0 hardly there."""
    draw, strength = rng.uniform, clear * rng.uniform(0.7, 1.0)
    turn: dict[str, Any] = {"yaw": draw(-0.32, 0.32), "pitch": draw(-0.6, 0.6)}
    if mood == "Positive":
        laughs = rng.random() < 0.65
        return Expression(
            smile=strength, opening=draw(0.35, 0.9) * strength if laughs else 0.0, teeth=laughs,
            brow_lift=draw(0.0, 0.7), lids=1 - draw(0.1, 0.45) * strength, cheeks=strength, **turn,
        )  # fmt: skip
    if mood == "Negative":
        kind = rng.choice(["sorrow", "anger", "cry"], p=[0.45, 0.35, 0.2])
        cry, angry = kind == "cry", kind == "anger"
        return Expression(
            smile=-strength, opening=draw(0.35, 0.7) if cry else 0.0, teeth=False,
            brow_inner=-strength if angry else strength, brow_lift=-0.4 if angry else draw(-0.1, 0.3),
            lids=draw(0.85, 1.05) if angry else draw(0.5, 0.8), **turn,
        )  # fmt: skip
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
        self.small = 0.9 if look.age == "child" else 1.0  # a child's nose and mouth
        self.drop = 0.07 if look.age == "child" else 0.0  # and its features lie lower

    # --- where things are ---------------------------------------------------------------------------------------

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
        jaw = np.stack(
            [0.5 * np.cos(t) ** (2 / self.look.jaw), 0.05 + (CHIN - 0.05) * np.sin(t) ** (2 / 2.15)], axis=1
        )
        return self.frame.pixels(mirrored(np.concatenate([upper, jaw[1:]])))

    def joints(self) -> dict[str, np.ndarray]:
        """Nose, eyes and ears in photo pixels; "left" and "right" are the picture's."""
        face = self.at([[0, NOSE_Y], [-EYE_X, EYE_Y], [EYE_X, EYE_Y]])
        ears = self.frame.pixels(np.array([[-0.5, 0.06], [0.5, 0.06]]))
        return dict(zip(["nose", "left eye", "right eye", "left ear", "right ear"], [*face, *ears], strict=True))

    # --- shading ------------------------------------------------------------------------------------------------

    def lambert(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Light falling on an egg-shaped head, 0-1, and the own units of the grid."""
        u, v = self.frame.units(x, y)
        nx, ny = u / 0.53, (v - 0.01) / 0.74
        nz = np.sqrt(np.maximum(0, 1 - 0.95 * (nx * nx + ny * ny)))
        return np.clip(nx * self.light[0] + ny * self.light[1] + nz * self.light[2], 0, 1), u, v

    def skin(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Colours of the face's skin over a grid of photo pixels."""
        lit, u, v = self.lambert(x, y)
        face, age = self.face, self.look.age
        shade = 0.54 + 0.5 * lit
        turn = 0.5 * np.sin(face.yaw)
        side = -np.sign(self.light[0])  # where shadows fall

        def spot(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
            cy = cy + self.drop * (0.8 - cy) + face.pitch * 0.05
            return np.exp(-(((u - cx - turn) / sx) ** 2) - ((v - cy) / sy) ** 2)

        for sign in (-1, 1):
            shade -= 0.15 * spot(sign * EYE_X, EYE_Y - 0.03, 0.13, 0.085)
            shade -= (0.10 if age == "old" else 0.05) * spot(sign * EYE_X, EYE_Y + 0.12, 0.10, 0.03)
            shade += (0.05 + 0.07 * face.cheeks) * spot(sign * 0.27, 0.19, 0.11, 0.09)
            fold = 0.03 + 0.07 * abs(face.smile) + (0.06 if age == "old" else 0)
            for step in (0.0, 0.5, 1.0):
                shade -= fold * spot(sign * (0.13 + 0.07 * step), 0.27 + 0.13 * step, 0.035, 0.06)
        shade += 0.10 * spot(0, 0.06, 0.035, 0.13) + 0.12 * spot(-0.015 * side, NOSE_Y - 0.01, 0.04, 0.04)
        shade -= 0.15 * spot(side * 0.085, 0.13, 0.04, 0.14) + 0.05 * spot(-side * 0.1, 0.17, 0.03, 0.1)
        shade -= 0.16 * spot(side * 0.03, NOSE_Y + 0.09, 0.09, 0.03)
        shade -= 0.10 * spot(0, MOUTH_Y + 0.11 + 0.12 * face.opening, 0.1, 0.03)
        shade += 0.07 * spot(0, 0.6, 0.1, 0.06) + 0.05 * spot(0, -0.3, 0.25, 0.12)
        shade -= 0.22 * np.exp(-(((v + 0.66) / 0.24) ** 2))  # the hair's shadow
        if self.look.beard == "stubble":
            shade -= 0.13 * np.clip((v - 0.28) * 5, 0, 1) * (1 - 0.5 * spot(0, MOUTH_Y, 0.15, 0.07))
        red = sum(spot(sign * 0.28, 0.2, 0.13, 0.1) for sign in (-1, 1)) + 0.8 * spot(0, NOSE_Y, 0.06, 0.05)
        red = red * (0.10 + 0.04 * face.cheeks)
        # shadows on skin are warm
        rgb = np.asarray(self.look.skin) * shade[..., None] ** np.array([0.85, 1.05, 1.12])
        return rgb * (1 + red[..., None] * np.array([0.35, -0.45, -0.35]))

    # --- drawing ------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Ears, skin, features. Hair goes behind and in front of it, by hair.py."""
        self._ears()
        self.pen.surface(self.outline(), self.skin)
        if self.look.age == "old":
            self._wrinkles()
        if self.look.beard == "full":
            self._full_beard()
        self._nose()
        self._mouth()
        if self.look.beard in ("moustache", "full"):
            self._moustache()
        for side in (-1, 1):
            self._eye(side)
            self._brow(side)
        if self.look.glasses:
            self._glasses(self.look.glasses)

    def draw_back(self) -> None:
        """The head from behind: ears and skull; hair.py covers it."""
        self._ears(inside=False)
        self.pen.surface(
            self.outline(), lambda x, y: np.asarray(self.look.skin) * (0.52 + 0.5 * self.lambert(x, y)[0])[..., None]
        )

    def _ears(self, inside: bool = True) -> None:
        unit, dark = self.frame.unit, tint(self.look.skin, 0.62)
        for side in (-1, 1):
            x = side * (0.505 - 0.05 * side * self.face.yaw)
            lit = 0.95 if side * self.light[0] > 0 else 0.74
            ear = smooth([(x - side * 0.04, -0.1), (x + side * 0.06, -0.12), (x + side * 0.085, 0.0),
                          (x + side * 0.05, 0.13), (x - side * 0.02, 0.2), (x - side * 0.05, 0.1)])  # fmt: skip
            self.pen.fill(self.frame.pixels(ear), tint(self.look.skin, lit))
            if inside:
                arc = np.array([(x + side * 0.0, 0.1), (x + side * 0.045, 0.03), (x + side * 0.04, -0.05), (x, -0.06)])
                self.pen.stroke(self.frame.pixels(smooth(arc, closed=False)), 0.022 * unit, dark, 0.55)

    def _wrinkles(self) -> None:
        dark, unit = tint(self.look.skin, 0.55), self.frame.unit
        taper = np.sin(np.linspace(0.1, np.pi - 0.1, 9)) * 0.014 * unit
        across = np.linspace(-1, 1, 9)
        for y, half in ((-0.34, 0.2), (-0.28, 0.23), (-0.22, 0.2)):
            line = np.stack([across * half, y + 0.015 * across**2], axis=1)
            self.pen.stroke(self.at(line), taper, dark, 0.45)
        for side in (-1, 1):
            for fan in (-0.04, 0.0, 0.045):
                line = np.stack(
                    [side * (0.345 + 0.04 * (across + 1)), EYE_Y + 0.01 + fan * (across + 2) * 0.6], axis=1
                )
                self.pen.stroke(self.at(line), taper, dark, 0.45)
            x = 0.125 + 0.05 * (across + 1)
            self.pen.stroke(self.at(np.stack([side * x, 0.3 + 0.075 * (across + 1)], axis=1)), taper, dark, 0.4)
            under = np.stack([side * (EYE_X + 0.09 * across), EYE_Y + 0.15 - 0.03 * across**2], axis=1)
            self.pen.stroke(self.at(under), taper, dark, 0.4)

    def _eye(self, side: int) -> None:
        face, look, pen = self.face, self.look, self.pen
        width = 0.108 * (1.1 if look.age == "child" else 1.0)
        lids = face.lids * (1.12 if look.age == "child" else 1.0)
        t = np.linspace(-1, 1, 13)
        x = side * EYE_X + width * t
        corner = EYE_Y + side * t * (-0.006 + 0.012 * (face.lids < 0.85) * (face.smile < 0))
        arch = np.maximum(0, 1 - t * t) ** 0.8
        up, low = 0.066 * lids, 0.043 * (0.6 + 0.4 * lids) * (1 - 0.55 * face.cheeks)
        upper = np.stack([x, corner - up * arch], axis=1)
        lower = np.stack([x, corner + low * arch], axis=1)
        white, unit = np.concatenate([upper, lower[::-1]]), self.frame.unit
        pen.fill(self.at(white), (236, 231, 224))
        inner = (up + low) * 0.5

        def within(shape: np.ndarray) -> np.ndarray:
            """`shape` kept between the lids."""
            top = np.interp(shape[:, 0], x, upper[:, 1])
            bottom = np.interp(shape[:, 0], x, lower[:, 1])
            return np.stack([shape[:, 0], np.clip(shape[:, 1], top, bottom)], axis=1)

        centre = (side * EYE_X + 0.02 * face.yaw, EYE_Y - 0.008 + 0.01 * face.pitch + (inner - 0.05) * 0.2)
        size = 0.054 if look.age != "child" else 0.06
        pen.fill(self.at(within(oval(*centre, size, size))), tint(look.iris, 0.7))
        pen.fill(self.at(within(oval(*centre, size * 0.82, size * 0.82))), tint(look.iris, 1.12))
        pen.fill(self.at(within(oval(*centre, size * 0.48, size * 0.48))), (18, 14, 14))
        shadow = np.concatenate([upper, np.add(upper, (0, 0.022))[::-1]])
        pen.fill(self.at(within(shadow)), (30, 20, 20), 0.35)
        glint = (centre[0] + 0.022 * np.sign(self.light[0]), centre[1] - 0.02)
        pen.fill(self.at(within(oval(*glint, 0.014, 0.014, 10))), (255, 255, 255), 0.95)

        lash = np.interp(t * side, [-1, 0.2, 1], [0.55, 1.0, 1.25]) * 0.026 * unit
        pen.stroke(self.at(upper), lash, tint(blend(look.hair, (30, 20, 18), 0.75), 0.7), 0.95)
        pen.stroke(self.at(lower), 0.010 * unit, tint(look.skin, 0.5), 0.6)
        crease = np.stack([x * 1.0, corner - (up + 0.03) * arch - 0.008], axis=1)[1:-1]
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
        dark, unit, wide = tint(self.look.skin, 0.42), self.frame.unit, self.look.nose * self.small
        for side in (-1, 1):
            self.pen.fill(self.at(oval(side * 0.048 * wide, NOSE_Y + 0.055, 0.026 * wide, 0.014, 12)), dark, 0.85)
            wing = [(side * 0.085 * wide, NOSE_Y - 0.035), (side * 0.108 * wide, NOSE_Y + 0.015),
                    (side * 0.09 * wide, NOSE_Y + 0.055), (side * 0.07 * wide, NOSE_Y + 0.06)]  # fmt: skip
            line = self.at(smooth(wing, closed=False))
            self.pen.stroke(line, np.linspace(0.006, 0.02, len(line)) * unit, dark, 0.6)
        under = np.stack([np.linspace(-0.03, 0.03, 5), NOSE_Y + 0.066 + np.array([0, 6, 8, 6, 0]) * 1e-3], axis=1)
        self.pen.stroke(self.at(under), 0.012 * unit, dark, 0.5)

    def _mouth(self) -> None:
        face, look, pen, unit = self.face, self.look, self.pen, self.frame.unit
        half = 0.165 + 0.055 * max(face.smile, 0) - 0.01 * max(-face.smile, 0) - 0.02 * face.opening * (face.smile < 0)
        half *= self.small
        t = np.linspace(-1, 1, 17)
        x, arch = half * t, 1 - t * t
        rest = MOUTH_Y + (0.035 if face.smile < 0 else 0.0)
        line = rest + face.smile * (0.035 - 0.1 * t * t) + 0.004 * np.cos(3 * np.pi * t)
        top = line - (0.022 if face.smile < 0 else 0.006) * face.opening * arch
        bottom = line + 0.15 * face.opening * arch ** (0.8 if face.smile > 0 else 0.6)
        full = 1.0 if look.age != "old" else 0.7
        thin = 1 - 0.25 * abs(face.smile)
        bow = 0.040 * arch**0.7 * (1 - 0.28 * np.exp(-((t / 0.16) ** 2))) * full * thin
        upper_lip, lower_lip = top - bow, bottom + 0.055 * arch**0.8 * full * thin

        def between(above: np.ndarray, below: np.ndarray) -> np.ndarray:
            return self.at(np.concatenate([np.stack([x, above], axis=1), np.stack([x, below], axis=1)[::-1]]))

        pen.fill(between(upper_lip, top + 0.004), tint(look.lips, 0.84))
        pen.fill(between(bottom - 0.004, lower_lip), look.lips)
        pen.fill(between(bottom + 0.014 * arch, bottom + 0.034 * arch), tint(look.lips, 1.25), 0.45)
        if face.opening > 0.05:
            pen.fill(between(top, bottom), (84, 26, 30))
            tongue = np.maximum(top, bottom - 0.05 * arch * face.opening - 0.008)
            pen.fill(between(tongue, bottom), (188, 84, 88))
            if face.teeth:
                edge = np.minimum(bottom, top + (0.045 + 0.03 * face.opening) * arch**0.45)
                pen.fill(between(top, edge), (246, 242, 234))
                pen.fill(between(top, np.minimum(edge, top + 0.012)), (120, 70, 70), 0.35)
        seam = self.at(np.stack([x, top], axis=1))
        taper = (0.010 + 0.012 * arch) * unit
        pen.stroke(seam, taper, tint(look.lips, 0.38), 0.9)
        for side in (-1, 1):  # the corners
            corner = oval(side * half, line[0], 0.018, 0.014, 10)
            pen.fill(self.at(corner), tint(look.skin, 0.45), 0.55)

    def _full_beard(self) -> None:
        half = [(0.0, 0.29), (0.12, 0.3), (0.24, 0.36), (0.37, 0.22), (0.455, -0.02), (0.5, 0.0), (0.49, 0.3),
                (0.4, 0.56), (0.22, 0.72), (0.0, 0.78)]  # fmt: skip
        jaw = self.frame.pixels(mirrored(half))
        hair = np.asarray(blend(self.look.hair, self.look.skin, 0.12))
        self.pen.surface(jaw, lambda x, y: hair * (0.6 + 0.55 * self.lambert(x, y)[0])[..., None])
        bare = self.at(oval(0, MOUTH_Y + 0.02 + 0.03 * self.face.opening, 0.17, 0.07 + 0.07 * self.face.opening))
        self.pen.surface(bare, self.skin)

    def _moustache(self) -> None:
        lift = 0.03 * self.face.smile
        half = [(0.0, 0.325), (0.08, 0.325), (0.17, 0.37 - lift), (0.225, 0.44 - lift), (0.15, 0.405 - lift * 0.5),
                (0.07, 0.385), (0.0, 0.375)]  # fmt: skip
        self.pen.fill(self.at(mirrored(half)), blend(tint(self.look.hair, 0.8), self.look.skin, 0.1), 0.95)

    def _glasses(self, colour: Colour) -> None:
        unit = self.frame.unit
        for side in (-1, 1):
            ring = self.at(oval(side * (EYE_X + 0.005), EYE_Y + 0.02, 0.155, 0.125, 32))
            ring = np.concatenate([ring, ring[:1]])
            self.pen.fill(ring, (225, 235, 245), 0.10)
            self.pen.stroke(ring, 0.024 * unit, colour, 0.95)
            temple = np.stack(
                [self.at([(side * 0.37, EYE_Y)])[0], self.frame.pixels(np.array([(side * 0.475, -0.04)]))[0]]
            )
            self.pen.stroke(temple, 0.024 * unit, colour, 0.95)
        bridge = smooth([(-0.065, EYE_Y + 0.01), (0, EYE_Y - 0.015), (0.065, EYE_Y + 0.01)], closed=False)
        self.pen.stroke(self.at(bridge), 0.024 * unit, colour, 0.95)
