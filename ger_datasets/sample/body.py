"""A body: a pose and clothes in, COCO-18 joints and the drawn figure out.

Bodies share the head's units (see `pen.Frame`), upright: the head's centre is at (0, 0), one unit is its width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .pen import Colour, Frame, Pen, Shades, mirrored, smooth, tint

# OpenPose's COCO-18 order
JOINTS = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye",
    "right ear", "left ear",
)  # fmt: skip

# arms of a pose: (upper arm, forearm) in degrees, 0 hanging down, outwards positive, 180 straight up;
# one pair for both arms, or one for each
ARMS: dict[str, tuple[tuple[float, float], ...]] = {
    "hanging": ((9, 4),),
    "behind": ((16, -14),),
    "hips": ((38, -52),),
    "crossed": ((13, -101),),
    "raised": ((158, 174),),
    "cheering": ((62, 165),),
    "waving": ((118, 172), (10, 2)),
    "fist": ((152, 174), (36, -50)),
    "clasped": ((13, -42),),
    "slumped": ((3, -9),),
    "hands on head": ((150, 262),),
}
POSES: dict[str, dict[str, float]] = {
    "Positive": {"raised": 0.2, "cheering": 0.15, "waving": 0.15, "fist": 0.1, "hips": 0.15, "hanging": 0.25},
    "Neutral": {"hanging": 0.35, "behind": 0.15, "clasped": 0.15, "hips": 0.15, "crossed": 0.2},
    "Negative": {"slumped": 0.4, "crossed": 0.25, "hanging": 0.2, "hands on head": 0.15},
}
# for photos without faces: only postures that show the mood
TELLING_POSES: dict[str, dict[str, float]] = {
    "Positive": {"raised": 0.45, "cheering": 0.3, "waving": 0.25},
    "Neutral": {"hanging": 0.5, "behind": 0.2, "hips": 0.3},
    "Negative": {"slumped": 0.6, "hands on head": 0.4},
}
SHOULDER_Y, HIP_Y, UPPER_ARM, FOREARM, THIGH, SHANK = 1.13, 3.45, 1.3, 1.12, 1.95, 1.9


@dataclass(frozen=True)
class Clothes:
    """What a person wears; drawn at random, whatever their mood."""

    colour: Colour
    stripes: Colour | None
    short_sleeves: bool
    trousers: Colour


@dataclass(frozen=True)
class Build:
    """A body's measures, in head widths."""

    shoulder: float = 1.06  # half the distance between the shoulder joints
    hip: float = 0.52
    height: float = 1.0  # 1 for adults; trunk and limbs of children are shorter

    def scale(self, down: float) -> float:
        """`down` head widths below the shoulders, for this body's height."""
        return SHOULDER_Y + (down - SHOULDER_Y) * self.height


class Body:
    """One body on a sheet.

    Args:
        frame: the upright frame of the person; the neck hangs from its head.
        build: its measures.
        clothes, skin: what it wears, and its skin.
        arms: a key of ARMS.
        facing: False when its back is turned.
        bend: degrees added to each of the four arm angles.
    """

    def __init__(
        self, frame: Frame, build: Build, clothes: Clothes, skin: Colour, arms: str, facing: bool, bend: tuple
    ) -> None:
        self.frame, self.build, self.clothes, self.skin = frame, build, clothes, skin
        self.arms, self.facing = arms, facing
        self.slump = 0.16 if arms == "slumped" else 0.0
        pair = ARMS[arms]
        self._angles = np.deg2rad(np.array([pair[0], pair[-1]]) + np.reshape(bend, (2, 2)))

    def side(self, sign: int) -> dict[str, np.ndarray]:
        """Shoulder ... ankle of the picture's left (-1) or right (+1) side, own units."""
        build, (upper, fore) = self.build, self._angles[(sign + 1) // 2]
        lift = max(0.0, float(np.cos(upper)) * -0.16)  # a raised arm lifts its shoulder
        shoulder = np.array([sign * build.shoulder * (1 - 0.5 * self.slump), SHOULDER_Y + 0.8 * self.slump - lift])
        reach = build.height**0.8
        elbow = shoulder + reach * UPPER_ARM * np.array([sign * np.sin(upper), np.cos(upper)])
        wrist = elbow + reach * FOREARM * np.array([sign * np.sin(fore), np.cos(fore)])
        hip = np.array([sign * build.hip * 0.8, build.scale(HIP_Y)])
        knee = hip + build.height * np.array([sign * 0.06, THIGH])
        ankle = knee + build.height * np.array([sign * 0.04, SHANK])
        return {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hip": hip, "knee": knee, "ankle": ankle}

    def joints(self) -> dict[str, np.ndarray]:
        """Neck ... ankles by their names in JOINTS, photo pixels. Wrists held behind the back are left out."""
        named = {}
        for sign in (-1, 1):
            # a facing person's right is the picture's left
            name = "right" if (sign < 0) == self.facing else "left"
            for part, point in self.side(sign).items():
                if not (part == "wrist" and self.arms == "behind" and self.facing):
                    named[f"{name} {part}"] = self.frame.pixels(point[None])[0]
        named["neck"] = (named["left shoulder"] + named["right shoulder"]) / 2
        return named

    def draw(self, pen: Pen, light: np.ndarray) -> None:
        """Legs, arms, neck, trunk; the head goes on top. `light` (3,) points to where the light comes from."""
        if self.frame.centre[1] + self.frame.unit * self.build.scale(HIP_Y) <= pen.box[3]:
            for sign in (-1, 1):
                self._leg(pen, light, sign)
        # the trunk hides the shoulders' ends of the arms; forearms may come before it
        before = self.arms in (("hips", "crossed", "clasped") if self.facing else ("hips", "behind"))
        for sign in (-1, 1):
            self._arm(pen, light, sign, upper=True, fore=not before)
        self._trunk(pen, light)
        for sign in (-1, 1) if before else ():
            self._arm(pen, light, sign, upper=False, fore=True)

    def _leg(self, pen: Pen, light: np.ndarray, sign: int) -> None:
        unit, side, lit = self.frame.unit, self.side(sign), float(light[0])
        hip, knee, ankle = self.frame.pixels(np.array([side["hip"], side["knee"], side["ankle"]]))
        shoe = ankle + np.array([[0, 0.17], [sign * 0.09, 0.22]]) * unit
        pen.limb(shoe, np.array([0.17, 0.16]) * unit, (58, 50, 48), lit)
        above = hip - (0, 0.35 * unit * self.build.height)
        radii = np.array([0.42, 0.38, 0.28, 0.2]) * unit
        pen.limb(np.stack([above, hip, knee, ankle]), radii, self.clothes.trousers, lit)

    def _arm(self, pen: Pen, light: np.ndarray, sign: int, upper: bool, fore: bool) -> None:
        unit, side, lit, clothes = self.frame.unit, self.side(sign), float(light[0]), self.clothes
        shoulder, elbow, wrist = self.frame.pixels(np.array([side["shoulder"], side["elbow"], side["wrist"]]))
        radii = np.array([0.27, 0.21, 0.15]) * unit * self.build.height**0.4
        colour = self.skin if clothes.short_sleeves else tint(clothes.colour, 0.97)
        points = np.stack([shoulder, elbow, wrist])
        if fore:
            palm = wrist + (wrist - elbow) / (np.linalg.norm(wrist - elbow) + 1e-9) * 0.28 * unit
            pen.limb(np.stack([wrist, palm]), np.array([0.13, 0.12]) * unit, self.skin, lit)
        part = slice(0 if upper else 1, 3 if fore else 2)
        if fore and not upper:  # what the forearm darkens on the trunk behind it
            pen.stroke(np.add(points[1:], (0, 0.07 * unit)), 0.4 * unit, (20, 16, 24), 0.22)
        pen.limb(points[part], radii[part], colour, lit)
        if upper and clothes.short_sleeves:
            cuff = shoulder + (elbow - shoulder) * 0.6
            pen.limb(np.stack([shoulder, cuff]), radii[[0, 0]] * (1.14, 1.1), clothes.colour, lit)

    def _trunk(self, pen: Pen, light: np.ndarray) -> None:
        build, drop = self.build, 0.8 * self.slump
        wide, hip, neck = build.shoulder * (1 - 0.5 * self.slump), build.hip * 1.32, 1.1 if self.facing else 0.94
        low = 1.05 + drop
        shape = mirrored([(0, 0.2), (0.27, 0.25), (0.27, 0.7), (0.36, 0.92), (0.5, low), (0, low + 0.3)])
        pen.surface(self.frame.pixels(shape), self._neck(light))
        right = [(0, neck + drop), (0.2, neck - 0.06 + drop), (0.36, 0.84 + drop), (0.6, 0.91 + drop),
                 (wide * 0.9, 0.965 + drop), (wide + 0.08, 1.06 + drop), (wide + 0.12, 1.22 + drop),
                 (wide + 0.02, 1.45 + drop), (wide * 0.87, build.scale(1.8)),
                 (wide * 0.5 + hip * 0.42, build.scale(2.75)), (hip, build.scale(3.3)),
                 (hip, build.scale(3.62))]  # fmt: skip
        pen.surface(self.frame.pixels(smooth(mirrored(right), steps=4)), self._cloth(light))

    def _cloth(self, light: np.ndarray) -> Shades:
        """The trunk's shading: a rounded barrel, darker under the chin, striped or not."""
        clothes, width = self.clothes, self.build.shoulder * 1.55

        def shades(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            u, v = self.frame.units(x, y)
            nx = np.clip(u / width, -1, 1)
            lit = np.clip(nx * light[0] * 1.3 + np.sqrt(1 - nx * nx) * light[2] - 0.2 * light[1], 0, 1.1)
            shade = (0.52 + 0.5 * lit - 0.2 * np.exp(-((u / 0.6) ** 2) - ((v - 0.95) / 0.3) ** 2))[..., None]
            if clothes.stripes is None:
                return np.asarray(clothes.colour) * shade
            band = np.clip(0.5 + 4 * np.sin(v * 9 + 0.5 * u * u), 0, 1)[..., None]
            return (np.asarray(clothes.colour) * band + np.asarray(clothes.stripes) * (1 - band)) * shade

        return shades

    def _neck(self, light: np.ndarray) -> Shades:
        def shades(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            u, v = self.frame.units(x, y)
            shade = 0.78 + 0.22 * np.clip(u / 0.3 * light[0] + 0.3, -1, 1)
            shade = shade - 0.32 * np.exp(-(((v - 0.62) / 0.22) ** 2)) * self.facing
            return np.asarray(self.skin) * shade[..., None] ** np.array([0.9, 1.05, 1.1])

        return shades
