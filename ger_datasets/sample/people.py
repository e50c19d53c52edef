"""People: a Person with mood, joints and face box at random, and their drawing onto a photo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .body import POSES, VAGUE, Body
from .head import Head
from .looks import Expression, Look, random_expression, random_look
from .pen import Frame, Pen, oval

NOSE, WRISTS, EYES = 0, [4, 7], [14, 15]  # joints in OpenPose's COCO-18 order


@dataclass
class Person:
    """One drawn person and the truth about them.

    Attributes:
        mood: Negative, Neutral or Positive.
        facing: False when their back is turned.
        frame: where the person's head lies; the unit is its width, photo pixels.
        arms, bend: the pose, see `Body`.
        joints: (18, 3) x, y, confidence in photo pixels, COCO-18; 0, 0, 0 where hidden or outside the photo.
        face: x1, y1, x2, y2 of the face (ears and hair left out), photo pixels; None when it is turned away.
        visible: 0-1, the share of the face (of the head, for turned backs) that nobody covers and the photo holds.
    """

    mood: str
    facing: bool
    frame: Frame
    look: Look
    expression: Expression
    arms: str
    bend: tuple[float, ...]
    joints: np.ndarray = field(default_factory=lambda: np.zeros((18, 3)))
    face: tuple[float, float, float, float] | None = None
    visible: float = 1.0

    @property
    def body(self) -> Body:
        """The person's body, ready to draw."""
        return Body(Frame(self.frame.centre, self.frame.unit), self.look, self.arms, self.facing, self.bend)


def random_person(
    rng: np.random.Generator,
    mood: str,
    centre: tuple[float, float],
    head_pixels: float,
    facing: bool = True,
    child: bool = False,
    telling: bool = False,
) -> Person:
    """A person of this mood, still undrawn.

    Args:
        centre: the head's centre, photo pixels.
        head_pixels: the head's width.
        child: draw a child.
        telling: choose among postures that show the mood, for photos without faces.
    """
    poses = {arms: share for arms, share in POSES[mood].items() if not (telling and arms in VAGUE)}
    arms = str(rng.choice(list(poses), p=np.array(list(poses.values())) / sum(poses.values())))
    tilt, (x, y) = rng.normal(0, 0.07), centre
    if arms == "slumped":  # the head sinks between the shoulders
        y += 0.1 * head_pixels
        tilt += rng.choice([-1, 1]) * rng.uniform(0.05, 0.16)
    frame = Frame((x, y), head_pixels, float(np.clip(tilt, -0.28, 0.28)))
    face, bend = random_expression(rng, mood), tuple(rng.uniform(-5, 5, 4))
    return Person(mood, facing, frame, random_look(rng, child), face, arms, bend)


def draw_person(pen: Pen, person: Person, number: int) -> None:
    """Draw `person`, whose body the pen's owner 2 * `number` marks and whose face (or head) the next one.

    Their joints and face box are filled in, the joints outside the photo too.
    """
    frame, body = person.frame, person.body
    head = Head(pen, frame, person.look, person.expression)
    pen.owner = 2 * number
    if person.facing:
        head.draw_fall()
    body.draw(pen)
    if person.facing:
        head.draw()
        low, high = head.outline().min(axis=0), head.outline().max(axis=0)
        brow = low[1] + 0.16 * (high[1] - low[1])  # the hairline, about
        person.face = float(low[0]), float(brow), float(high[0]), float(high[1])
    else:
        head.draw_back()
    pen.owner += 1
    pen.polygon(frame.pixels(oval(0, 0, 0.48, 0.62)), None)
    person.joints[:, :2], person.joints[:, 2] = _joints(body, head), 1.0
    if not person.facing:
        person.joints[[NOSE, *EYES]] = 0
    elif person.arms == "behind":
        person.joints[WRISTS] = 0


def _joints(body: Body, head: Head) -> np.ndarray:
    """(18, 2) photo pixels, in OpenPose's COCO-18 order: nose, neck, right arm, left arm, legs, eyes and ears."""
    nose, *pairs = head.joints()[[0, 1, 2, 3, 4] if body.facing else [0, 2, 1, 4, 3]]
    # a facing person's right is the picture's left
    right, left = (body.side(sign) for sign in ((-1, 1) if body.facing else (1, -1)))
    neck = (right[0] + left[0]) / 2
    return np.array([nose, neck, *right[:3], *left[:3], *right[3:6], *left[3:6], *pairs])


def mark_visible(person: Person, owners: np.ndarray, number: int) -> None:
    """Fill in how much of the face is seen, and clear the joints that are not.

    Args:
        owners: (height, width), who is seen where, as `draw_person` marks it.
    """
    area = np.pi * 0.48 * 0.62 * person.frame.unit**2
    person.visible = min(1.0, float((owners == 2 * number + 1).sum() / area))
    for joint in person.joints:
        x, y = joint[:2].astype(int)
        inside = 0 <= joint[0] < owners.shape[1] and 0 <= joint[1] < owners.shape[0]
        if not inside or owners[y, x] // 2 != number:
            joint[:] = 0
