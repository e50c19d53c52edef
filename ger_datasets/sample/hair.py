"""Hair, headscarves and caps: a style's name in, what lies behind the head and in front of it out."""

from __future__ import annotations

import numpy as np

from .head import Head
from .pen import Colour, Shades, mirrored, oval, smooth, tint

# hairline from the left sideburn over the forehead to the right one, own units of the head
SHORT = [(-0.5, 0.06), (-0.455, -0.1), (-0.42, -0.27), (-0.25, -0.42), (0, -0.45), (0.25, -0.42), (0.42, -0.27),
         (0.455, -0.1), (0.5, 0.06)]  # fmt: skip
SIDE = [(-0.5, 0.06), (-0.455, -0.1), (-0.43, -0.25), (-0.33, -0.44), (-0.2, -0.5), (0.1, -0.36), (0.36, -0.27),
        (0.455, -0.12), (0.5, 0.06)]  # fmt: skip
FRINGE = [(-0.5, 0.1), (-0.44, -0.05), (-0.42, -0.2), (-0.22, -0.24), (0, -0.25), (0.22, -0.24), (0.42, -0.2),
          (0.44, -0.05), (0.5, 0.1)]  # fmt: skip
PARTED = [(-0.5, 0.12), (-0.43, -0.02), (-0.38, -0.2), (-0.22, -0.38), (0, -0.53), (0.22, -0.38), (0.38, -0.2),
          (0.43, -0.02), (0.5, 0.12)]  # fmt: skip
HIGH = [(-0.5, 0.04), (-0.46, -0.14), (-0.42, -0.3), (-0.24, -0.47), (0, -0.5), (0.24, -0.47), (0.42, -0.3),
        (0.46, -0.14), (0.5, 0.04)]  # fmt: skip

# style: hairline, how far the hair stands off the skull, how far it falls (0: it doesn't)
STYLES: dict[str, tuple[list, float, float]] = {
    "buzz": (SHORT, 0.03, 0.0),
    "short": (SHORT, 0.075, 0.0),
    "side": (SIDE, 0.10, 0.0),
    "curly": (HIGH, 0.16, 0.0),
    "afro": (HIGH, 0.27, 0.0),
    "bun": (HIGH, 0.05, 0.0),
    "ponytail": (HIGH, 0.06, 0.0),
    "bob": (FRINGE, 0.10, 0.62),
    "parted bob": (PARTED, 0.09, 0.66),
    "long": (PARTED, 0.08, 1.35),
    "wavy": (SIDE, 0.13, 1.3),
    "long fringe": (FRINGE, 0.09, 1.25),
    "bald": ([], 0.0, 0.0),
    "scarf": ([], 0.0, 0.0),
    "cap": (SHORT, 0.05, 0.0),
}


def _shades(head: Head, colour: Colour) -> Shades:
    """Hair's shading: the head's light, with a soft sheen across the crown."""

    def shades(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        lit, u, v = head.lambert(x, y)
        sheen = np.exp(-(((v + 0.42 + 0.5 * (u - 0.25 * head.light[0]) ** 2) / 0.13) ** 2)) * np.clip(lit, 0, 1) ** 2
        return np.asarray(colour) * (0.62 + 0.46 * lit)[..., None] + 34 * sheen[..., None]

    return shades


def _crown(off: float, points: int = 27) -> np.ndarray:
    """The hair's upper edge, from the left sideburn over the top to the right one, own units of the head."""
    t = np.linspace(np.pi + 0.12, -0.12, points)
    return np.stack([(0.5 + off) * np.cos(t), -0.02 - (0.66 + off) * np.sin(t)], axis=1)


def _bumps(head: Head, rng: np.random.Generator, edge: np.ndarray, size: float, colour: Colour) -> None:
    """Curls along an edge."""
    for x, y in edge:
        radius = size * rng.uniform(0.8, 1.25)
        shade = 0.72 + 0.3 * max(0.0, float(np.dot((x, y), head.light[:2])))
        head.pen.fill(head.frame.pixels(oval(x, y, radius, radius, 14)), tint(colour, shade * rng.uniform(0.92, 1.05)))


def _strands(head: Head, rng: np.random.Generator, roots: np.ndarray, tips: np.ndarray, colour: Colour) -> None:
    """Thin lines from `roots` to `tips` (n, 2), lighter and darker than the hair."""
    for root, tip, pick in zip(roots, tips, rng.random(len(roots)), strict=True):
        bend = np.array([(root + tip) / 2 * (1.03, 1.03)])
        line = smooth(np.concatenate([root[None], bend, tip[None]]), closed=False, steps=4)
        widths = np.sin(np.linspace(0.3, 2.9, len(line))) * 0.016 * head.frame.unit
        head.pen.stroke(head.frame.pixels(line), widths, tint(colour, 0.62 if pick < 0.6 else 1.1), 0.4)


def _fall(head: Head, style: str, inside: float) -> np.ndarray:
    """Long hair's outline; `inside`: how near the face its inner edge comes (0 covers the neck), photo pixels."""
    _, off, length = STYLES[style]
    wide = 0.5 + off
    right = [(inside and 0.36, -0.45), (wide * 0.9, -0.4), (wide + 0.02, 0.0), (wide + 0.05, length * 0.5),
             (wide + 0.02, length * 0.85), (wide - 0.08, length)]  # fmt: skip
    if inside:
        right += [(wide - 0.2, length * 0.96), (inside, length * 0.6), (inside + 0.02, 0.2), (inside - 0.03, -0.1)]
    if style == "wavy":
        right = [(x + 0.05 * np.sin(9 * y) * (x > 0.4) * (y > -0.2), y) for x, y in right]
    return np.asarray(right)


def draw_behind(head: Head) -> None:
    """What hangs behind the neck."""
    look = head.look
    length = STYLES[look.hair_style][2]
    if length:
        shape = smooth(mirrored(_fall(head, look.hair_style, 0.0)), steps=4)
        dark = tint(look.hair, 0.72)
        head.pen.surface(head.frame.pixels(shape), _shades(head, dark))
    elif look.hair_style == "ponytail":
        side = 1 if head.face.yaw < 0 else -1
        knots = [(0.3, -0.45), (0.6, -0.4), (0.78, 0.0), (0.72, 0.55), (0.62, 0.8), (0.6, 0.4), (0.5, 0.0)]
        tail = smooth(np.asarray(knots) * (side, 1), steps=4)
        head.pen.surface(head.frame.pixels(tail), _shades(head, tint(look.hair, 0.85)))
    elif look.hair_style == "bun":
        head.pen.surface(head.frame.pixels(oval(0, -0.8, 0.24, 0.2)), _shades(head, look.hair))
    elif look.hair_style == "scarf":
        shape = smooth(
            mirrored([(0, -0.78), (0.38, -0.68), (0.6, -0.2), (0.6, 0.4), (0.7, 0.95), (0.5, 1.2), (0, 1.3)])
        )
        head.pen.surface(head.frame.pixels(shape), _shades(head, tint(look.cloth, 0.85)))


def draw_front(head: Head, rng: np.random.Generator) -> None:
    """What lies on the head and beside the face."""
    look, frame, pen = head.look, head.frame, head.pen
    hairline, off, length = STYLES[look.hair_style]
    if look.hair_style == "scarf":
        _scarf(head)
        return
    if look.hair_style == "bald":
        if look.age == "old":  # a wreath of hair above the ears
            for side in (-1, 1):
                wreath = [(0.5, 0.08), (0.545, -0.05), (0.54, -0.22), (0.49, -0.36), (0.45, -0.25), (0.465, -0.05)]
                pen.surface(frame.pixels(smooth(np.asarray(wreath) * (side, 1))), _shades(head, look.hair))
        return
    crown = _crown(off)
    if look.hair_style == "side":
        crown[:, 1] -= 0.06 * np.exp(-(((crown[:, 0] - 0.12) / 0.3) ** 2)) * (crown[:, 1] < 0)
    brow = np.asarray(hairline, float)
    flip = look.jaw > 2.1  # some part their hair on the other side
    if flip and look.hair_style in ("side", "wavy"):
        brow, crown = brow[::-1] * (-1, 1), crown[::-1] * (-1, 1)
    line = np.add(smooth(brow, closed=False, steps=4), (0.06 * np.sin(head.face.yaw), 0.03 * head.face.pitch))
    if look.hair_style in ("curly", "afro"):
        _bumps(head, rng, crown[::2], 0.075 if off < 0.2 else 0.11, look.hair)
    pen.surface(frame.pixels(np.concatenate([crown, line[::-1]])), _shades(head, look.hair))
    if look.hair_style in ("curly", "afro"):
        _bumps(head, rng, line[3:-3:2], 0.07, look.hair)
        out, along = rng.uniform(0.1, 0.95, (24, 1)), rng.uniform(0.12, 0.88, 24)
        pairs = crown[(along * (len(crown) - 1)).astype(int)], line[(along * (len(line) - 1)).astype(int)]
        middle = pairs[0] * out + pairs[1] * (1 - out)
        _bumps(head, rng, middle, 0.05, tint(look.hair, 1.06))
    elif look.hair_style != "buzz":
        where = np.linspace(0.04, 0.96, 24)
        index = (where * (len(crown) - 1)).astype(int), (where * (len(line) - 1)).astype(int)
        _strands(head, rng, crown[index[0]] * 0.97, line[index[1]], look.hair)
    if length:
        lock = smooth(_fall(head, look.hair_style, 0.44), steps=4)
        for side in (-1, 1):
            shape = lock * (side, 1)
            pen.surface(frame.pixels(shape), _shades(head, look.hair))
            roots = np.stack([np.linspace(0.45, 0.5 + off, 7) * side, np.full(7, -0.25)], axis=1)
            tips = roots * (1.02, 0) + (0, length * 0.92)
            _strands(head, rng, roots, tips, look.hair)
    if look.hair_style == "cap":
        _cap(head)


def _scarf(head: Head) -> None:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    outer = smooth(
        mirrored([(0, -0.80), (0.35, -0.71), (0.57, -0.3), (0.575, 0.2), (0.5, 0.6), (0.55, 0.95), (0, 1.08)])
    )
    inner = np.stack([0.445 * np.sin(t), 0.06 - 0.56 * np.cos(t)], axis=1)
    inner[:, 1] = np.minimum(inner[:, 1], 0.6)
    ring = np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])
    head.pen.surface(head.frame.pixels(ring), _shades(head, head.look.cloth))
    fold = smooth([(-0.42, 0.45), (-0.2, 0.75), (0.15, 0.85), (0.5, 0.8)], closed=False)
    for drop in (0.0, 0.09, 0.17):
        line = head.frame.pixels(np.add(fold, (0, drop)))
        head.pen.stroke(line, 0.025 * head.frame.unit, tint(head.look.cloth, 0.6), 0.5)


def _cap(head: Head) -> None:
    dome = np.concatenate([_crown(0.085)[3:-3], [(0.44, -0.36), (0, -0.42), (-0.44, -0.36)]])
    head.pen.surface(head.frame.pixels(dome), _shades(head, head.look.cloth))
    band = smooth([(-0.55, -0.34), (-0.3, -0.41), (0, -0.43), (0.3, -0.41), (0.55, -0.34)], closed=False)
    head.pen.stroke(head.frame.pixels(band), 0.10 * head.frame.unit, tint(head.look.cloth, 0.78), 1.0, solid=True)
    head.pen.fill(head.frame.pixels(oval(0, -0.76, 0.06, 0.04)), tint(head.look.cloth, 0.85))


def draw_from_behind(head: Head, rng: np.random.Generator) -> None:
    """The back of the head: hair all over, no face."""
    look, frame, pen = head.look, head.frame, head.pen
    _, off, length = STYLES[look.hair_style]
    if look.hair_style == "scarf":
        shape = smooth(
            mirrored([(0, -0.79), (0.36, -0.7), (0.58, -0.3), (0.6, 0.3), (0.72, 0.95), (0.4, 1.35), (0, 1.45)])
        )
        pen.surface(frame.pixels(shape), _shades(head, look.cloth))
        return
    if look.hair_style == "bald" and look.age != "old":
        return
    crown = _crown(off)
    nape = length or 0.5
    low = [(0.5 + off, nape * 0.55), (0.42 + off * 0.6, nape * 0.9), (0.2, nape), (0, nape * 1.02)]
    bottom = smooth(mirrored(low), closed=False, steps=4)
    if look.hair_style == "bald":
        crown, bottom = np.array([(-0.52, -0.1), (0, 0.02), (0.52, -0.1)]), smooth(mirrored(
            [(0.51, 0.1), (0.42, 0.42), (0.2, 0.5), (0, 0.5)]), closed=False, steps=4)  # fmt: skip
    colour = look.cloth if look.hair_style == "cap" else look.hair
    pen.surface(frame.pixels(np.concatenate([crown, bottom])), _shades(head, look.hair))
    if look.hair_style in ("curly", "afro"):
        spots = rng.normal(0, 1, (60, 2)) * (0.24, 0.28) + (0, -0.12)
        _bumps(head, rng, np.concatenate([crown[::2], bottom[::3], spots]), 0.07, look.hair)
    elif look.hair_style not in ("buzz", "bald"):
        where = np.linspace(0.03, 0.97, 24)
        roots = np.array([(0.0, -0.5)]) + crown[(where * 26).astype(int)] * 0.25
        tips = bottom[(where[::-1] * (len(bottom) - 1)).astype(int)] * 0.97
        _strands(head, rng, roots, tips, look.hair)
    if look.hair_style == "cap":
        dome = np.concatenate([_crown(0.085)[2:-2], [(0.5, -0.15), (0, -0.05), (-0.5, -0.15)]])
        pen.surface(frame.pixels(dome), _shades(head, colour))
    if look.hair_style == "bun":
        pen.surface(frame.pixels(oval(0, -0.42, 0.25, 0.22)), _shades(head, tint(look.hair, 1.08)))
    if look.hair_style == "ponytail":
        tail = smooth([(-0.1, -0.25), (0.1, -0.25), (0.2, 0.2), (0.12, 0.8), (0, 1.0), (-0.12, 0.8), (-0.2, 0.2)])
        pen.surface(frame.pixels(tail), _shades(head, tint(look.hair, 1.1)))
        pen.fill(frame.pixels(oval(0, -0.25, 0.11, 0.05)), look.cloth)
