"""A body: a Pose and Clothes in, COCO-18 joints and the drawn figure out.

Bodies share the head's units (see `pen.Frame`), upright: the head's centre is at (0, 0), one unit is its width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .pen import Colour, Frame, Pen, Shades, mirrored, oval, smooth, tint

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
# with no face to go by, only postures that tell
TELLING_POSES: dict[str, dict[str, float]] = {
    "Positive": {"raised": 0.45, "cheering": 0.3, "waving": 0.25},
    "Neutral": {"hanging": 0.5, "behind": 0.2, "hips": 0.3},
    "Negative": {"slumped": 0.6, "hands on head": 0.4},
}
SHOULDER_Y, HIP_Y, UPPER_ARM, FOREARM, THIGH, SHANK = 1.13, 3.45, 1.3, 1.12, 1.95, 1.9


@dataclass(frozen=True)
class Clothes:
    """What a person wears; drawn at random, whatever their mood."""

    top: str  # tee, sweater, shirt, jacket, stripes, dress or hoodie
    colour: Colour
    second: Colour  # shirt under the jacket, stripes, lettering
    bottom: str  # trousers, shorts or skirt
    bottom_colour: Colour
    tie: Colour | None


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

    # --- drawing ------------------------------------------------------------------------------------------------

    def draw(self, pen: Pen, light: np.ndarray) -> None:
        """Legs, arms, trunk, neck; the head goes on top. `light` (2,) points to where the light comes from."""
        self._legs(pen, light)
        # the trunk hides the shoulders' ends of the arms; forearms may come before it
        before = self.arms in ("hips",) or (
            self.arms in ("crossed", "clasped") if self.facing else self.arms == "behind"
        )
        for sign in (-1, 1):
            self._arm(pen, light, sign, upper=True, fore=not before)
        self._trunk(pen, light)
        if before:
            for sign in (-1, 1):
                self._arm(pen, light, sign, upper=False, fore=True)

    def _legs(self, pen: Pen, light: np.ndarray) -> None:
        px, unit, lit, build = self.frame.pixels, self.frame.unit, float(light[0]), self.build
        clothes = self.clothes
        if self.frame.centre[1] + unit * build.scale(HIP_Y) > pen.box[3]:
            return
        colour = clothes.bottom_colour if clothes.bottom == "trousers" else self.skin
        for sign in (-1, 1):
            side = self.side(sign)
            hip, knee, ankle = px(np.array([side["hip"], side["knee"], side["ankle"]]))
            shoe = ankle + np.array([0, 0.17 * unit])
            tip = shoe + np.array([sign * 0.09, 0.05]) * unit
            pen.limb(np.stack([shoe, tip]), np.array([0.17, 0.16]) * unit, (58, 50, 48), lit)
            pen.limb(np.stack([hip, knee, ankle]), np.array([0.36, 0.28, 0.2]) * unit, colour, lit)
            if clothes.bottom == "shorts":
                leg = np.stack([hip, hip + (knee - hip) * 0.7])
                pen.limb(leg, np.array([0.38, 0.37]) * unit, clothes.bottom_colour, lit)
        if clothes.bottom == "skirt" and clothes.top != "dress":
            top, hem = build.scale(HIP_Y - 0.3), build.scale(HIP_Y + 1.5)
            shape = px(mirrored([(0, top), (build.hip * 1.2, top), (build.hip * 1.9, hem), (0, hem + 0.08)]))
            pen.surface(shape, self._cloth(clothes.bottom_colour, light))
        else:
            top, low = build.scale(HIP_Y - 0.4), build.scale(HIP_Y + 0.55)
            seat = [(0, top), (build.hip * 1.25, top), (build.hip * 1.3, build.scale(HIP_Y)), (0.62, low), (0.0, low)]
            pen.surface(px(smooth(mirrored(seat), steps=4)), self._cloth(clothes.bottom_colour, light))

    def _cloth(self, colour: Colour, light: np.ndarray) -> Shades:
        """The trunk's shading: a rounded barrel, a few soft folds."""
        width = self.build.shoulder * 1.55

        def shades(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            u, v = self.frame.units(x, y)
            nx = np.clip(u / width, -1, 1)
            lit = np.clip(nx * light[0] * 1.3 + np.sqrt(1 - nx * nx) * light[2] - 0.2 * light[1], 0, 1.1)
            chest = 0.05 * np.exp(-(((np.abs(u) - 0.42) / 0.35) ** 2) - ((v - 1.85) / 0.4) ** 2)
            folds = 0.035 * np.sin(7 * u + 5 * v) * np.clip(v - 1.6, 0, 1)
            under_chin = 0.2 * np.exp(-((u / 0.6) ** 2) - ((v - 0.95) / 0.3) ** 2)
            shade = 0.52 + 0.5 * lit + chest + folds - under_chin
            rgb = np.asarray(colour) * shade[..., None]
            if self.clothes.top == "stripes" and colour == self.clothes.colour:
                band = np.clip(0.5 + 4 * np.sin(v * 9 + 0.5 * u * u), 0, 1)[..., None]
                rgb = rgb * band + np.asarray(self.clothes.second) * shade[..., None] * (1 - band)
            return rgb

        return shades

    def _trunk(self, pen: Pen, light: np.ndarray) -> None:
        px, unit, build, clothes = self.frame.pixels, self.frame.unit, self.build, self.clothes
        wide, drop = build.shoulder * (1 - 0.5 * self.slump), 0.8 * self.slump
        hip = build.hip * 1.32
        neck = 1.02 if self.facing else 0.94
        right = [(0, neck + drop), (0.2, neck - 0.06 + drop), (0.36, 0.84 + drop), (0.6, 0.91 + drop),
                 (wide * 0.9, 0.965 + drop), (wide + 0.08, 1.06 + drop), (wide + 0.12, 1.22 + drop),
                 (wide + 0.02, 1.45 + drop), (wide * 0.87, build.scale(1.8)),
                 (wide * 0.5 + hip * 0.42, build.scale(2.75)), (hip, build.scale(3.3)),
                 (hip, build.scale(3.62))]  # fmt: skip
        self._neck(pen, light)
        shape = smooth(mirrored(right), steps=4)
        pen.surface(px(shape), self._cloth(clothes.colour, light))
        if clothes.top == "dress":
            hem = self.build.scale(HIP_Y + 1.7)
            flare = mirrored(
                [(0, build.scale(2.7)), (hip * 0.92, build.scale(2.75)), (hip * 1.5, hem), (0, hem + 0.1)]
            )
            pen.surface(px(flare), self._cloth(clothes.colour, light))
        if self.facing:
            self._neckline(pen, light)
        else:
            edge = smooth([(-0.38, 0.86 + drop), (0, 0.97 + drop), (0.38, 0.86 + drop)], closed=False)
            pen.stroke(px(edge), 0.07 * unit, tint(clothes.colour, 0.7))
            spine = smooth([(0.0, 1.3), (0.02, 2.2), (0, 3.2)], closed=False)
            pen.stroke(px(spine), 0.04 * unit, tint(clothes.colour, 0.5), 0.25)

    def _neck(self, pen: Pen, light: np.ndarray) -> None:
        low = 1.05 + 0.8 * self.slump
        shape = mirrored([(0, 0.2), (0.27, 0.25), (0.27, 0.7), (0.36, 0.92), (0.5, low), (0, low + 0.3)])

        def shades(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            u, v = self.frame.units(x, y)
            shade = 0.78 + 0.22 * np.clip(u / 0.3 * light[0] + 0.3, -1, 1)
            shade = shade - 0.32 * np.exp(-(((v - 0.62) / 0.22) ** 2)) * self.facing
            return np.asarray(self.skin) * shade[..., None] ** np.array([0.9, 1.05, 1.1])

        pen.surface(self.frame.pixels(shape), shades)

    def _neckline(self, pen: Pen, light: np.ndarray) -> None:
        px, unit, clothes, drop = self.frame.pixels, self.frame.unit, self.clothes, 0.8 * self.slump
        skin = tint(self.skin, 0.9)
        if clothes.top in ("tee", "stripes", "sweater", "hoodie"):
            rim = np.array([(-0.4, 0.86), (-0.25, 1.1), (0, 1.19), (0.25, 1.1), (0.4, 0.86)])
            rim = smooth(np.add(rim, (0, drop)), closed=False)
            pen.fill(px(rim), skin)
            pen.stroke(px(rim), 0.075 * unit, tint(clothes.colour, 0.78))
            if clothes.top == "hoodie":
                for sign in (-1, 1):
                    hood = smooth([(sign * 0.42, 0.85), (sign * 0.62, 0.98), (sign * 0.3, 1.3), (sign * 0.12, 1.22)])
                    pen.fill(px(np.add(hood, (0, drop))), tint(clothes.colour, 0.86))
                    cord = np.array([(sign * 0.14, 1.25 + drop), (sign * 0.15, 1.6), (sign * 0.13, 1.8)])
                    pen.stroke(px(cord), 0.04 * unit, clothes.second)
            return
        vee = np.array([(-0.38, 0.85 + drop), (0, 1.5 + drop), (0.38, 0.85 + drop)])
        if clothes.top == "dress":
            pen.fill(
                px(smooth([*vee[:1], (-0.22, 1.2 + drop), *vee[1:2], (0.22, 1.2 + drop), *vee[2:]], closed=False)),
                skin,
            )
            return
        if clothes.top == "jacket":
            deep = np.array([(-0.4, 0.85 + drop), (0, 2.7), (0.4, 0.85 + drop)])
            pen.surface(px(deep), self._cloth(clothes.second, light))
            if clothes.tie:
                tie = mirrored([(0.0, 1.1 + drop), (0.1, 1.12 + drop), (0.06, 1.28 + drop), (0.13, 2.2), (0, 2.45)])
                pen.fill(px(tie), clothes.tie)
                pen.stroke(
                    px(np.array([(-0.06, 1.27 + drop), (0.06, 1.27 + drop)])), 0.03 * unit, tint(clothes.tie, 0.6)
                )
            for sign in (-1, 1):
                lapel = np.array(
                    [(0.4, 0.84 + drop), (0.62, 1.2 + drop), (0.46, 1.42 + drop), (0.54, 1.5 + drop), (0.0, 2.75)]
                )
                pen.fill(px(lapel * (sign, 1)), tint(clothes.colour, 0.82))
                pen.stroke(px(lapel[[1, 2, 3, 4]] * (sign, 1)), 0.025 * unit, tint(clothes.colour, 0.5), 0.7)
        else:  # a shirt: open collar, buttons
            pen.fill(px(vee * (0.8, 1) - (0, 0.1)), skin)
            seam = np.array([(0.0, 1.4 + drop), (0.0, 2.4), (0.0, self.build.scale(3.5))])
            pen.stroke(px(seam), 0.03 * unit, tint(clothes.colour, 0.6), 0.6)
            for y in np.arange(1.55 + drop, self.build.scale(3.4), 0.42):
                pen.fill(px(oval(0.05, y, 0.04, 0.04, 8)), tint(clothes.colour, 0.45))
        if clothes.top == "shirt" or clothes.tie is None:
            for sign in (-1, 1):
                collar = np.array([(0.28, 0.8 + drop), (0.44, 0.9 + drop), (0.42, 1.22 + drop), (0.06, 1.2 + drop)])
                paint = clothes.colour if clothes.top == "shirt" else clothes.second
                pen.fill(px(collar * (sign, 1)), tint(paint, 1.1))
                pen.stroke(px(collar[1:] * (sign, 1)), 0.022 * unit, tint(paint, 0.55), 0.7)

    def _arm(self, pen: Pen, light: np.ndarray, sign: int, upper: bool, fore: bool) -> None:
        px, unit, lit, clothes = self.frame.pixels, self.frame.unit, float(light[0]), self.clothes
        side = self.side(sign)
        shoulder, elbow, wrist = px(np.array([side["shoulder"], side["elbow"], side["wrist"]]))
        bare = clothes.top in ("tee", "dress")
        radii = np.array([0.26, 0.2, 0.145]) * unit * self.build.height**0.4 * (1.0 if bare else 1.1)
        colour = self.skin if bare else tint(clothes.colour, 0.97)
        if not upper:  # what the forearm darkens on the trunk behind it
            pen.stroke(np.stack([elbow, wrist]) + 0.06 * unit, 2.4 * radii[1:], (20, 16, 24), 0.18)
        if fore:
            self._hand(pen, elbow, wrist, lit)
        if upper and fore:
            pen.limb(np.stack([shoulder, elbow, wrist]), radii, colour, lit)
        elif upper:
            pen.limb(np.stack([shoulder, elbow]), radii[:2], colour, lit)
        else:
            pen.limb(np.stack([elbow, wrist]), radii[1:], colour, lit)
        if clothes.top == "stripes":
            if upper:
                self._rings(pen, shoulder, elbow, radii[0] * 1.9)
            if fore:
                self._rings(pen, elbow, wrist, radii[1] * 1.9)
        if upper and bare:
            cuff = shoulder + (elbow - shoulder) * (0.6 if clothes.top == "tee" else 0.2)
            pen.limb(np.stack([shoulder, cuff]), radii[[0, 0]] * (1.14, 1.1), clothes.colour, lit)

    def _rings(self, pen: Pen, start: np.ndarray, end: np.ndarray, width: float) -> None:
        along = (end - start) / (np.linalg.norm(end - start) + 1e-9)
        across = along[::-1] * (-1, 1) * width / 2
        for share in (0.25, 0.55, 0.85):
            middle = start + (end - start) * share
            arc = smooth([middle - across * 0.9, middle + along * width * 0.1, middle + across * 0.9], closed=False)
            pen.stroke(arc, 0.14 * self.frame.unit, self.clothes.second, 0.75)

    def _hand(self, pen: Pen, elbow: np.ndarray, wrist: np.ndarray, lit: float) -> None:
        unit = self.frame.unit * self.build.height**0.4
        along = (wrist - elbow) / (np.linalg.norm(wrist - elbow) + 1e-9)
        across = along[::-1] * (-1, 1)
        palm = wrist + along * 0.17 * unit
        up = along[1] < -0.5
        if up and self.arms in ("raised", "waving"):  # an open hand
            for slot, length in ((-0.11, 0.3), (-0.04, 0.36), (0.04, 0.35), (0.11, 0.28)):
                root = palm + across * slot * unit
                tip = root + along * length * unit + across * slot * 0.8 * unit
                pen.limb(np.stack([root, tip]), np.array([0.045 * unit, 0.038 * unit]), self.skin, lit)
            inward = -1 if across[0] * (self.frame.centre[0] - wrist[0]) < 0 else 1
            thumb = palm + across * inward * 0.24 * unit + along * 0.08 * unit
            pen.limb(np.stack([palm, thumb]), np.array([0.06 * unit, 0.045 * unit]), self.skin, lit)
            pen.limb(
                np.stack([wrist, palm + along * 0.05 * unit]), np.array([0.13 * unit, 0.15 * unit]), self.skin, lit
            )
        else:
            pen.limb(
                np.stack([wrist, palm + along * 0.1 * unit]), np.array([0.13 * unit, 0.12 * unit]), self.skin, lit
            )
            if not up:
                pen.limb(
                    np.stack([palm, palm + along * 0.22 * unit]), np.array([0.12 * unit, 0.085 * unit]), self.skin, lit
                )
