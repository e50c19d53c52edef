"""What people look like and what their faces do, at random: a Look whatever the mood, an Expression of a mood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .pen import Colour, tint

SKINS: tuple[Colour, ...] = (
    (246, 208, 180), (240, 196, 162), (233, 186, 148), (219, 166, 126), (198, 142, 104),
    (172, 117, 82), (143, 94, 66), (117, 76, 54), (97, 64, 47),
)  # fmt: skip
# the first three go with dark skin; children have none of the last three
HAIRS: tuple[Colour, ...] = (
    (28, 22, 22), (46, 32, 26), (74, 48, 32), (142, 98, 56), (196, 156, 96), (134, 60, 34),
    (150, 148, 146), (190, 188, 186), (222, 220, 216),
)  # fmt: skip
IRISES: tuple[Colour, ...] = ((84, 54, 32), (62, 40, 26), (70, 104, 128), (84, 110, 72))
TROUSERS: tuple[Colour, ...] = ((52, 66, 98), (40, 42, 50), (88, 78, 66), (70, 74, 82), (120, 108, 90))
HAIR_STYLES = ("short", "bob", "long", "bald")


@dataclass(frozen=True)
class Look:
    """What a person looks like; lengths in head widths."""

    skin: Colour
    hair: Colour
    hair_style: str
    iris: Colour
    lips: Colour
    shirt: Colour
    trousers: Colour
    shoulder: float  # half the distance between the shoulder joints
    hip: float  # half the distance between the hips' sides
    height: float  # 1 for adults; trunk and limbs of children are shorter


@dataclass(frozen=True)
class Expression:
    """What the face does. All are 0 in a face at rest, except `lids` (1)."""

    smile: float = 0.0  # mouth corners: -1 down ... 1 up
    opening: float = 0.0  # mouth: 0 closed ... 1 wide open
    brow_inner: float = 0.0  # inner ends of the brows: -1 down (anger) ... 1 up (sorrow)
    brow_lift: float = 0.0
    lids: float = 1.0  # how far the eyes are open
    yaw: float = 0.0  # radians, positive to the picture's right


def random_look(rng: np.random.Generator, child: bool) -> Look:
    """A grown-up or a child of any looks."""
    skin = SKINS[rng.integers(len(SKINS))]
    dark = sum(skin) < 420
    hair = int(rng.integers(3 if dark else 6) if child or rng.random() < 0.83 else rng.integers(6, 9))
    shoulder, hip, height = rng.uniform(0.86, 1.14), rng.uniform(0.5, 0.6), rng.uniform(0.95, 1.05)
    return Look(
        skin=skin, hair=HAIRS[hair], hair_style=HAIR_STYLES[rng.integers(4 - child)],
        iris=IRISES[rng.integers(2 if dark else 4)], lips=tint(np.array(skin) * (0.84, 0.62, 0.62)),
        shirt=tint(rng.uniform(90, 240, 3), rng.uniform(0.5, 0.95)), trousers=TROUSERS[rng.integers(5)],
        shoulder=shoulder * (0.76 if child else 1), hip=hip * (0.82 if child else 1),
        height=height * (0.68 if child else 1),
    )  # fmt: skip


def random_expression(rng: np.random.Generator, mood: str) -> Expression:
    """A face of this mood: Negative is sorrow, anger or crying."""
    draw, strength = rng.uniform, rng.uniform(0.7, 1.0)
    yaw = draw(-0.32, 0.32)
    if mood == "Positive":
        opening = draw(0.35, 0.9) * strength if rng.random() < 0.65 else 0.0
        return Expression(strength, opening, brow_lift=draw(0.0, 0.7), lids=1 - draw(0.1, 0.45) * strength, yaw=yaw)
    if mood == "Neutral":
        return Expression(draw(-0.12, 0.12), brow_lift=draw(-0.2, 0.2), lids=draw(0.85, 1.0), yaw=yaw)
    if rng.random() < 0.25:
        return Expression(-strength, brow_inner=-strength, brow_lift=-0.4, lids=draw(0.85, 1.05), yaw=yaw)
    opening = draw(0.35, 0.7) if rng.random() < 0.3 else 0.0
    return Expression(-strength, opening, strength, draw(-0.1, 0.3), draw(0.5, 0.8), yaw=yaw)
