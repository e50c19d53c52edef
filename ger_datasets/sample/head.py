"""A head: a Look and an Expression in, the drawn face and hair out.

Heads have their own units (see `pen.Frame`): the face is 1 wide, its centre at (0, 0), the chin near y = 0.68.
"""

from __future__ import annotations

import numpy as np

from .looks import Expression, Look
from .pen import Colour, Frame, Pen, mirrored, oval, tint

EYE_X, EYE_Y, NOSE_Y, MOUTH_Y = 0.215, -0.03, 0.24, 0.425
EGG = (0.53, 0.74)  # half axes of the head
# style: the right half of the hairline from forehead to sideburn, and how far the hair falls
HAIR: dict[str, tuple[list[tuple[float, float]], float]] = {
    "short": ([(0, -0.45), (0.25, -0.42), (0.42, -0.27), (0.455, -0.1), (0.5, 0.06)], 0.25),
    "bob": ([(0, -0.25), (0.22, -0.24), (0.42, -0.2), (0.44, -0.05), (0.47, 0.4), (0.55, 0.55)], 0.62),
    "long": ([(0, -0.53), (0.22, -0.38), (0.38, -0.2), (0.43, -0.02), (0.46, 0.6), (0.55, 1.1)], 1.35),
}
# lighter and darker spots of a face's skin, see `Pen.surface`
SPOTS = (
    (-0.15, EYE_X, EYE_Y - 0.03, 0.13, 0.085), (-0.15, -EYE_X, EYE_Y - 0.03, 0.13, 0.085),
    (0.1, 0, 0.06, 0.035, 0.13), (0.12, 0, NOSE_Y - 0.01, 0.04, 0.04), (-0.16, 0, NOSE_Y + 0.09, 0.09, 0.03),
    (-0.1, 0, MOUTH_Y + 0.11, 0.1, 0.03), (0.07, 0, 0.6, 0.1, 0.06), (-0.22, 0, -0.66, 2, 0.24),
)  # fmt: skip


class Head:
    """One head.

    Args:
        pen: draws on the photo.
        frame: where the head lies.
        look, face: who, and what the face does.
    """

    def __init__(self, pen: Pen, frame: Frame, look: Look, face: Expression) -> None:
        self.pen, self.frame, self.look, self.face = pen, frame, look, face

    def at(self, points: np.ndarray | list) -> np.ndarray:
        """Points on the front of the upright face -> photo pixels, turned by yaw."""
        points = np.asarray(points, float)
        around = np.arcsin(np.clip(points[:, 0] / 0.56, -0.97, 0.97)) + self.face.yaw
        return self.frame.pixels(np.stack([0.56 * np.sin(around), points[:, 1]], axis=1))

    def outline(self) -> np.ndarray:
        """The head without ears and hair, photo pixels."""
        t = np.linspace(-np.pi / 2, np.pi / 2, 24)
        x, y = np.cos(t) ** np.where(t < 0, 1, 0.95), np.sin(t) * np.where(t < 0, 0.71, 0.63)
        return self.frame.pixels(mirrored(np.stack([0.5 * x, 0.05 + y], axis=1)))

    def joints(self) -> np.ndarray:
        """Nose, then left eye, right eye, left ear and right ear as they lie in the picture, (5, 2) photo pixels."""
        face = self.at([[0, NOSE_Y], [-EYE_X, EYE_Y], [EYE_X, EYE_Y]])
        return np.concatenate([face, self.frame.pixels([[-0.5, 0.06], [0.5, 0.06]])])

    def draw(self) -> None:
        """The head from the front: ears, skin, features and hair."""
        self._ears()
        smile, turn = self.face.smile, 0.5 * np.sin(self.face.yaw)
        folds = [(-0.04 - 0.1 * abs(smile), side * 0.165, 0.335, 0.05, 0.11) for side in (-1, 1)]  # nose to mouth
        cheeks = [(0.05 + 0.07 * max(smile, 0), side * 0.27, 0.19, 0.11, 0.09) for side in (-1, 1)]
        spots = [(lighter, x + turn, *rest) for lighter, x, *rest in (*SPOTS, *folds, *cheeks)]
        self.pen.surface(self.outline(), self.frame, self.look.skin, EGG, spots)
        for side in (-1, 1):
            self.pen.polygon(self.at(oval(side * 0.05, NOSE_Y + 0.055, 0.027, 0.014)), tint(self.look.skin, 0.5))
            self._eye(side)
            self._brow(side)
        self._mouth()
        if self.look.hair_style in HAIR:
            line, _ = HAIR[self.look.hair_style]
            self._hair(np.add(mirrored(line[::-1]), (0.12 * turn, 0)), self.look.hair)

    def draw_back(self) -> None:
        """The head from behind: ears, and hair all over the skull."""
        self._ears()
        self.pen.surface(self.outline(), self.frame, self.look.skin, EGG)
        self.draw_fall(1.0)

    def draw_fall(self, shade: float = 0.72) -> None:
        """The hair that falls behind the neck; from behind, all of the hair."""
        if self.look.hair_style in HAIR:
            _, length = HAIR[self.look.hair_style]
            low = mirrored([(0.6, length * 0.6), (0.5, length * 0.9), (0.25, length)])
            self._hair(low, tint(self.look.hair, shade))

    def _hair(self, low: np.ndarray, colour: Colour) -> None:
        """Hair from the crown down to the edge `low`, which runs from right to left, own units."""
        t = np.linspace(np.pi + 0.12, -0.12, 27)
        crown = np.stack([0.58 * np.cos(t), -0.02 - 0.74 * np.sin(t)], axis=1)
        self.pen.surface(self.frame.pixels(np.concatenate([crown, low])), self.frame, colour, EGG)

    def _ears(self) -> None:
        for side in (-1, 1):
            self.pen.polygon(self.frame.pixels(oval(side * 0.515, 0.03, 0.065, 0.15)), tint(self.look.skin, 0.85))

    def _between(self, x: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
        """The polygon between two curves over `x`, photo pixels."""
        return self.at(np.concatenate([np.stack([x, above], axis=1), np.stack([x, below], axis=1)[::-1]]))

    def _eye(self, side: int) -> None:
        face, look, pen = self.face, self.look, self.pen
        t = np.linspace(-1, 1, 13)
        x, arch = side * EYE_X + 0.108 * t, (1 - t * t) ** 0.8
        upper = EYE_Y - 0.066 * face.lids * arch
        lower = EYE_Y + 0.043 * (0.6 + 0.4 * face.lids) * (1 - 0.55 * max(face.smile, 0)) * arch  # cheeks push it up
        pen.polygon(self._between(x, upper, lower), (236, 231, 224))
        for size, colour in ((0.052, look.iris), (0.028, (18, 14, 14))):
            ball = oval(side * EYE_X + 0.02 * face.yaw, EYE_Y - 0.018, size, size)
            lids = (np.interp(ball[:, 0], x, lid) for lid in (upper, lower))
            pen.polygon(self.at(np.stack([ball[:, 0], np.clip(ball[:, 1], *lids)], axis=1)), colour)
        pen.line(self.at(np.stack([x, upper], axis=1)), 0.024 * self.frame.unit, tint(look.hair, 0.4))
        pen.line(self.at(np.stack([x, upper - 0.035], axis=1)), 0.013 * self.frame.unit, tint(look.skin, 0.7))
        pen.line(self.at(np.stack([x, lower], axis=1)), 0.01 * self.frame.unit, tint(look.skin, 0.65))

    def _brow(self, side: int) -> None:
        face = self.face
        t = np.linspace(0, 1, 9)  # from the inner end outwards
        y = -0.165 - 0.045 * np.sin(np.pi * (0.15 + 0.7 * t)) + 0.03 * t - 0.045 * face.brow_lift
        y += face.brow_inner * (0.04 * t - 0.1 * (1 - t) ** 1.2)
        half = 0.03 * (1 - 0.6 * t**3)
        if face.brow_inner < 0:  # the frown line of anger
            line = self.at([(side * 0.035, -0.19), (side * 0.04, -0.07)])
            self.pen.line(line, 0.02 * self.frame.unit, tint(self.look.skin, 0.5))
        self.pen.polygon(self._between(side * (0.085 + 0.255 * t), y - half, y + half), tint(self.look.hair, 0.75))

    def _mouth(self) -> None:
        face, lips, pen = self.face, self.look.lips, self.pen
        glad, sad = max(face.smile, 0.0), face.smile < 0
        t = np.linspace(-1, 1, 17)
        x, arch = (0.165 + 0.055 * glad - 0.02 * face.opening * sad) * t, 1 - t * t
        top = MOUTH_Y + 0.035 * sad + face.smile * (0.04 - 0.14 * t * t) - 0.015 * face.opening * arch * sad
        bottom = top + 0.15 * face.opening * arch ** (0.8 if glad else 0.6)
        pen.polygon(self._between(x, top - 0.03 * arch**0.7, top + 0.004), tint(lips, 0.84))
        pen.polygon(self._between(x, bottom - 0.004, bottom + 0.045 * arch**0.8), lips)
        if face.opening:
            pen.polygon(self._between(x, top, bottom), (84, 26, 30))
        if face.opening and glad:
            teeth = np.minimum(bottom, top + (0.045 + 0.03 * face.opening) * arch**0.45)
            pen.polygon(self._between(x, top, teeth), (246, 242, 234))
        pen.line(self.at(np.stack([x, top], axis=1)), 0.024 * self.frame.unit, tint(lips, 0.3))
