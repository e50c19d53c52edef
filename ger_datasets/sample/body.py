"""A body: a pose and clothes in, COCO-18 joints and the drawn figure out.

Bodies share the head's units (see `pen.Frame`), upright: the head's centre is at (0, 0), one unit is its width.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .looks import Look
from .pen import Frame, Pen, mirrored, tint

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
    "clasped": ((13, -42),),
    "slumped": ((3, -9),),
    "hands on head": ((150, 262),),
}
POSES: dict[str, dict[str, float]] = {
    "Positive": {"raised": 0.25, "cheering": 0.15, "waving": 0.2, "hips": 0.15, "hanging": 0.25},
    "Neutral": {"hanging": 0.35, "behind": 0.15, "clasped": 0.15, "hips": 0.15, "crossed": 0.2},
    "Negative": {"slumped": 0.4, "crossed": 0.25, "hanging": 0.2, "hands on head": 0.15},
}
# these show no mood: people in photos without faces take the others
VAGUE = ("hanging", "hips", "crossed")
SHOULDER_Y, HIP_Y, UPPER_ARM, FOREARM, THIGH, SHANK = 1.13, 3.45, 1.3, 1.12, 1.95, 1.9


class Body:
    """One body.

    Args:
        frame: the upright frame of the person; the neck hangs from its head.
        look: its measures and clothes.
        arms: a key of ARMS.
        facing: False when its back is turned.
        bend: degrees added to each of the four arm angles.
    """

    def __init__(self, frame: Frame, look: Look, arms: str, facing: bool, bend: tuple[float, ...]) -> None:
        self.frame, self.look, self.arms, self.facing = frame, look, arms, facing
        self.slump = 0.13 if arms == "slumped" else 0.0  # how much lower the shoulders hang
        pair = ARMS[arms]
        self._angles = np.deg2rad(np.array([pair[0], pair[-1]]) + np.reshape(bend, (2, 2)))

    def side(self, sign: int) -> np.ndarray:
        """The picture's left (-1) or right (1) side, (7, 2) photo pixels.

        Shoulder, elbow, wrist, hip, knee, ankle, finger tips.
        """
        look, (upper, fore) = self.look, self._angles[(sign + 1) // 2]
        lift = max(0.0, float(np.cos(upper)) * -0.16)  # a raised arm lifts its shoulder
        shoulder = np.array([sign * (look.shoulder - 0.6 * self.slump), SHOULDER_Y + self.slump - lift])
        reach = look.height**0.8
        elbow = shoulder + reach * UPPER_ARM * np.array([sign * np.sin(upper), np.cos(upper)])
        wrist = elbow + reach * FOREARM * np.array([sign * np.sin(fore), np.cos(fore)])
        hip = np.array([sign * look.hip * 0.8, self._down(HIP_Y)])
        knee = hip + look.height * np.array([sign * 0.06, THIGH])
        ankle = knee + look.height * np.array([sign * 0.04, SHANK])
        own = [shoulder, elbow, wrist, hip, knee, ankle, wrist + 0.25 * (wrist - elbow)]
        return self.frame.pixels(own)

    def _down(self, y: float) -> float:
        """The height `y` of a grown-up's trunk, for this body's height."""
        return SHOULDER_Y + (y - SHOULDER_Y) * self.look.height

    def arm_points(self) -> np.ndarray:
        """Points along both arms, (n, 2) photo pixels."""
        arms = [self.side(sign)[[0, 1, 6]] for sign in (-1, 1)]
        return np.concatenate([np.linspace(*ends, 8) for arm in arms for ends in pairwise(arm)])

    def draw(self, pen: Pen) -> None:
        """Legs, arms, neck, trunk; the head goes on top."""
        thick = self.frame.unit * self.look.height**0.4
        sides = [self.side(-1), self.side(1)]
        for side in sides:
            pen.limb(side[[5, 5]] + (0, 0.1 * thick), 0.27 * thick, (58, 50, 48))
            pen.limb(side[3:6], 0.3 * thick, self.look.trousers)
        # the trunk hides the shoulders' ends of the arms; forearms may come before it
        before = self.arms in (("hips", "crossed", "clasped") if self.facing else ("hips", "behind"))
        for side in sides:
            if not before:
                self._forearm(pen, side)
            pen.limb(side[:2], 0.22 * thick, self.look.shirt)
        self._trunk(pen)
        for side in sides if before else ():
            self._forearm(pen, side)

    def _forearm(self, pen: Pen, side: np.ndarray) -> None:
        thick = self.frame.unit * self.look.height**0.4
        pen.limb(side[[2, 6]], 0.13 * thick, self.look.skin)
        pen.limb(side[1:3], 0.18 * thick, tint(self.look.shirt, 0.95))

    def _trunk(self, pen: Pen) -> None:
        look, drop = self.look, self.slump
        neck = self.frame.pixels([(0, 0.3), (0, 1.0 + drop)])
        pen.limb(neck, 0.28 * self.frame.unit, tint(look.skin, 0.8))
        wide = look.shoulder - 0.6 * drop
        right = [(0, 1.05 + drop), (0.22, 1.0 + drop), (0.34, 0.86 + drop), (wide * 0.9, 0.95 + drop),
                 (wide + 0.1, 1.06 + drop), (wide + 0.12, 1.25 + drop), (wide * 0.88, self._down(1.8)),
                 (look.hip * 1.3, self._down(3.2)), (look.hip * 1.3, self._down(3.62))]  # fmt: skip
        chin_shadow = (-0.2, 0, 0.95, 0.6, 0.3)
        shape = self.frame.pixels(mirrored(right))
        pen.surface(shape, self.frame, look.shirt, (1.55 * look.shoulder, 20), [chin_shadow])
