"""People: random looks in, a Person with mood, joints and face box out, and their drawing onto a photo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from .body import JOINTS, POSES, TELLING_POSES, Body, Build, Clothes
from .head import STYLES, Expression, Head, Look, express
from .pen import Colour, Frame, Pen, colour_of

SKINS: tuple[Colour, ...] = (
    (246, 208, 180), (240, 196, 162), (233, 186, 148), (219, 166, 126), (198, 142, 104),
    (172, 117, 82), (143, 94, 66), (117, 76, 54), (97, 64, 47),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = ((28, 22, 22), (46, 32, 26), (74, 48, 32), (142, 98, 56), (196, 156, 96), (134, 60, 34))
GREYS: tuple[Colour, ...] = ((150, 148, 146), (190, 188, 186), (222, 220, 216))
IRISES: tuple[Colour, ...] = ((84, 54, 32), (62, 40, 26), (70, 104, 128), (84, 110, 72))
TROUSERS: tuple[Colour, ...] = ((52, 66, 98), (40, 42, 50), (88, 78, 66), (70, 74, 82), (120, 108, 90))


@dataclass
class Person:
    """One drawn person and the truth about them.

    Attributes:
        mood: Negative, Neutral or Positive.
        facing: False when their back is turned.
        frame: where the upright person stands; the unit is the head's width, photo pixels.
        joints: (18, 3) x, y, confidence in photo pixels, COCO-18; 0, 0, 0 where hidden or outside the photo.
        face: x1, y1, x2, y2 of the face (ears and hair left out), photo pixels; None when it is turned away.
        visible: 0-1, the share of the face (of the head, for turned backs) that nobody covers and the photo holds.
    """

    mood: str
    facing: bool
    frame: Frame
    look: Look
    expression: Expression
    clothes: Clothes
    build: Build
    arms: str
    bend: tuple[float, ...]
    joints: np.ndarray = field(default_factory=lambda: np.zeros((len(JOINTS), 3)))
    face: tuple[float, float, float, float] | None = None
    visible: float = 1.0

    @property
    def body(self) -> Body:
        """The person's body, ready to draw."""
        upright = Frame(self.frame.centre, self.frame.unit)
        return Body(upright, self.build, self.clothes, self.look.skin, self.arms, self.facing, self.bend)


def _any_colour(rng: np.random.Generator) -> Colour:
    """A cloth colour: any hue, seldom garish."""
    hue, depth, value = rng.uniform(0, 1), rng.uniform(0.05, 0.52), rng.uniform(0.25, 0.9)
    rgb = value * (1 - depth * np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1))
    return colour_of(255 * c for c in rgb)


def _look(rng: np.random.Generator, child: bool) -> Look:
    skin = colour_of(np.clip(np.array(SKINS[rng.integers(len(SKINS))]) * rng.uniform(0.96, 1.04, 3), 0, 255))
    dark = sum(skin) < 420
    hairs = HAIRS[: 3 if dark else len(HAIRS)] if child or rng.random() < 0.83 else GREYS
    lips = (176, 52, 62) if not child and rng.random() < 0.25 else colour_of(np.array(skin) * (0.84, 0.62, 0.62))
    return Look(
        child, skin, hairs[rng.integers(len(hairs))], list(STYLES)[rng.integers(len(STYLES) - child)],
        IRISES[rng.integers(2 if dark else len(IRISES))], lips, rng.uniform(1.75, 2.4), rng.uniform(0.7, 1.35),
    )  # fmt: skip


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
    poses = (TELLING_POSES if telling else POSES)[mood]
    arms = str(rng.choice(list(poses), p=list(poses.values())))
    tilt = rng.normal(0, 0.07)
    x, y = centre
    if arms == "slumped":  # the head sinks between the shoulders
        y += 0.1 * head_pixels
        tilt += rng.choice([-1, 1]) * rng.uniform(0.05, 0.16)
    build = (
        Build(rng.uniform(0.72, 0.8), 0.45, rng.uniform(0.62, 0.75))
        if child
        else Build(rng.uniform(0.86, 1.14), rng.uniform(0.5, 0.6), rng.uniform(0.95, 1.05))
    )
    stripes = _any_colour(rng) if rng.random() < 0.15 else None
    trousers = TROUSERS[rng.integers(len(TROUSERS))]
    clothes = Clothes(_any_colour(rng), stripes, bool(rng.random() < 0.35), trousers)
    return Person(
        mood=mood, facing=facing, frame=Frame((x, y), head_pixels, float(np.clip(tilt, -0.28, 0.28))),
        look=_look(rng, child), expression=express(rng, mood), clothes=clothes,
        build=build, arms=arms, bend=tuple(rng.uniform(-5, 5, 4)),
    )  # fmt: skip


def _extent(points: np.ndarray, margin: float, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The whole-pixel box of `points` and a margin, inside a photo of this size; None when it lies outside."""
    low = np.maximum(np.floor(points.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(points.max(axis=0) + margin), size).astype(int)
    return None if (high - low < 2).any() else (*low.tolist(), *high.tolist())


def _lay(photo: Image.Image, pen: Pen, shadow: float) -> Image.Image:
    """Put a sheet onto the photo, over a soft shadow; its cover."""
    colours, cover = pen.sheet()
    if shadow:
        small = cover.reduce(6).filter(ImageFilter.BoxBlur(2)).resize(cover.size, Image.Resampling.BILINEAR)
        photo.paste((14, 12, 22), pen.box[:2], small.point(lambda value: int(value * shadow)))
    # colours are weighed by their cover already: they are added to what the photo keeps
    kept = photo.crop(pen.box)
    kept.paste(0, mask=cover)
    photo.paste(ImageChops.add(kept, colours), pen.box[:2])
    return cover


def draw_person(photo: Image.Image, person: Person, light: np.ndarray, rng: np.random.Generator) -> list[tuple]:
    """Draw `person` onto `photo` and fill in their joints and face box.

    Returns:
        `(box, cover)` of the body and of the head: where in the photo, and a mask of what was painted.
    """
    frame, body, size = person.frame, person.body, photo.size
    unit = frame.unit
    named = body.joints()
    limbs = np.stack(list(named.values()))
    painted = []
    corners = np.array([frame.centre]) + np.array([(-1.0, -1.15), (1.0, 1.5)]) * unit
    head_box = _extent(corners, 2, size)
    body_box = _extent(
        np.concatenate([limbs, [frame.centre, (frame.centre[0], corners[0, 1] + 0.6 * unit)]]), 0.75 * unit, size
    )
    if body_box:
        pen = Pen(body_box, 2)
        head = Head(pen, frame, person.look, person.expression, light)
        if person.facing:
            head.draw_behind()
        body.draw(pen, light)
        painted.append((body_box, _lay(photo, pen, 0.45)))
    if head_box:
        pen = Pen(head_box, 3 if unit < 64 else 2)
        head = Head(pen, frame, person.look, person.expression, light)
        if person.facing:
            head.draw(rng)
        else:
            head.draw_back(rng)
        painted.append((head_box, _lay(photo, pen, 0.0)))
        outline = head.outline()
        named.update(_head_joints(person, head))
        if person.facing:
            low, high = outline.min(axis=0), outline.max(axis=0)
            brow = low[1] + 0.16 * (high[1] - low[1])  # the hairline, about
            person.face = float(low[0]), float(brow), float(high[0]), float(high[1])
    for index, name in enumerate(JOINTS):
        point = named.get(name)
        if point is not None and (point >= 0).all() and (point < size).all():
            person.joints[index] = (*point, 1.0)
    return painted


def _head_joints(person: Person, head: Head) -> dict[str, np.ndarray]:
    """The head's joints by their names in JOINTS; a turned back shows ears only."""
    seen = head.joints()
    if not person.facing:
        return {"left ear": seen["left ear"], "right ear": seen["right ear"]}
    swap = {"left": "right", "right": "left"}  # a facing person's left is the picture's right
    return {" ".join(swap.get(word, word) for word in name.split()): point for name, point in seen.items()}
