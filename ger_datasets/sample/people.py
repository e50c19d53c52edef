"""People: random looks in, a Person with mood, joints and face box out, and their drawing onto a photo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from . import hair
from .body import JOINTS, POSES, TELLING_POSES, Body, Build, Clothes
from .head import IRISES, SKINS, Expression, Head, Look, express
from .pen import Colour, Frame, Pen, colour_of

HAIRS: tuple[Colour, ...] = ((28, 22, 22), (46, 32, 26), (74, 48, 32), (104, 68, 40), (142, 98, 56), (196, 156, 96),
                             (134, 60, 34))  # fmt: skip
GREYS: tuple[Colour, ...] = ((150, 148, 146), (190, 188, 186), (222, 220, 216), (112, 110, 110))
SHORT_STYLES = ("buzz", "short", "short", "side", "side", "curly", "afro", "bald", "cap")
LONG_STYLES = ("bob", "parted bob", "long", "long", "wavy", "long fringe", "ponytail", "bun", "curly", "afro", "scarf")
TOPS = ("tee", "tee", "sweater", "shirt", "jacket", "stripes", "hoodie")


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


def _look(rng: np.random.Generator, age: str, long_hair: bool) -> Look:
    skin = SKINS[rng.integers(len(SKINS))]
    skin = colour_of(np.clip(c * k, 0, 255) for c, k in zip(skin, rng.uniform(0.96, 1.04, 3), strict=True))
    dark = sum(skin) < 420
    hairs = GREYS if age == "old" and rng.random() < 0.85 else HAIRS[: 3 if dark else len(HAIRS)]
    styles = LONG_STYLES if long_hair else SHORT_STYLES
    style = str(rng.choice(styles))
    if age == "child" and style in ("bald", "scarf"):
        style = "short"
    beard = ""
    if age != "child" and not long_hair and rng.random() < 0.5:
        beard = str(rng.choice(["stubble", "stubble", "moustache", "full", "full"]))
    lips = colour_of(a * b for a, b in zip(skin, (0.84, 0.62, 0.62), strict=True))
    if long_hair and age != "child" and rng.random() < 0.5:
        lips = ((176, 52, 62), (190, 84, 92), (150, 44, 70))[rng.integers(3)]
    frames = ((28, 26, 28), (70, 44, 30), (110, 30, 36), (120, 122, 128))
    return Look(
        age=age, skin=skin, hair=hairs[rng.integers(len(hairs))], hair_style=style,
        iris=IRISES[rng.integers(2 if dark else len(IRISES))], lips=lips,
        jaw=rng.uniform(1.75, 2.1) if long_hair or age == "child" else rng.uniform(1.95, 2.4),
        brow=rng.uniform(0.7, 1.0) if long_hair or age == "child" else rng.uniform(0.95, 1.35),
        nose=rng.uniform(0.9, 1.2), beard=beard,
        glasses=frames[rng.integers(4)] if rng.random() < (0.4 if age == "old" else 0.15) else None,
        cloth=_any_colour(rng),
    )  # fmt: skip


def _clothes(rng: np.random.Generator, feminine: bool) -> Clothes:
    top = "dress" if feminine and rng.random() < 0.25 else str(rng.choice(TOPS))
    bottom = str(rng.choice(["trousers", "skirt"] if feminine else ["trousers", "trousers", "trousers", "shorts"]))
    denim = ((52, 66, 98), (40, 42, 50), (88, 78, 66), (70, 74, 82), (120, 108, 90))
    return Clothes(
        top=top, colour=_any_colour(rng), second=(232, 230, 226) if rng.random() < 0.6 else _any_colour(rng),
        bottom=bottom, bottom_colour=denim[rng.integers(len(denim))],
        tie=_any_colour(rng) if rng.random() < 0.6 and not feminine else None,
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
        child: draw a child; others are adults, one in five old.
        telling: choose among postures that give the mood away, for photos without faces.
    """
    age = "child" if child else ("old" if rng.random() < 0.2 else "adult")
    long_hair = bool(rng.random() < 0.5)
    poses = (TELLING_POSES if telling else POSES)[mood]
    arms = str(rng.choice(list(poses), p=list(poses.values())))
    tilt = rng.normal(0, 0.07)
    x, y = centre
    if arms == "slumped":  # the head sinks between the shoulders
        y += 0.1 * head_pixels
        tilt += rng.choice([-1, 1]) * rng.uniform(0.05, 0.16)
    build = Build(
        shoulder=rng.uniform(0.72, 0.8)
        if child
        else rng.uniform(0.86, 0.97)
        if long_hair
        else rng.uniform(0.98, 1.14),
        hip=0.45 if child else rng.uniform(0.5, 0.6),
        height=rng.uniform(0.62, 0.75) if child else rng.uniform(0.95, 1.05),
    )
    return Person(
        mood=mood, facing=facing, frame=Frame((x, y), head_pixels, float(np.clip(tilt, -0.28, 0.28))),
        look=_look(rng, age, long_hair), expression=express(rng, mood), clothes=_clothes(rng, long_hair),
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
            hair.draw_behind(head)
        body.draw(pen, light)
        painted.append((body_box, _lay(photo, pen, 0.45)))
    if head_box:
        pen = Pen(head_box, 3 if unit < 64 else 2)
        head = Head(pen, frame, person.look, person.expression, light)
        if person.facing:
            head.draw()
            hair.draw_front(head, rng)
        else:
            head.draw_back()
            hair.draw_from_behind(head, rng)
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
