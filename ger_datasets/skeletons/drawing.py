"""People's joints -> an image of limbs on black.

Joints, limbs and colours are OpenPose's (Cao et al. 2021, arXiv 1812.08008; CMU-Perceptual-Computing-Lab/openpose,
poseParametersRender.hpp), so that one's own drawings and OpenPose's renderings resemble each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

MIN_CONFIDENCE = 0.05  # OpenPose's render_threshold for bodies
# OpenPose's renderPose.cu: discs of radius min(width, height) / 100, limbs of half-width min(width, height) / 120
DISC_SHARE, LIMB_SHARE = 1 / 100, 1 / 120
SUPERSAMPLING = 2  # the canvas is drawn so many times larger and reduced, for smooth edges ...
CANVAS_PIXELS = 24_000_000  # ... unless it would have more pixels than this
MAX_COORDINATE = 1e6  # pixels; further away is no place on any photo


@dataclass(frozen=True)
class Layout:
    """What the joints of a person mean.

    Attributes:
        name: its usual name.
        joints: how many a person has.
        limbs: the pairs of joints that are joined; a limb has the colour of its second joint.
        colours: RGB of each joint.
    """

    name: str
    joints: int
    limbs: tuple[tuple[int, int], ...]
    colours: tuple[Colour, ...]


# OpenPose's COCO order: nose, neck, right shoulder, elbow, wrist, left ..., right hip, knee, ankle, left ...,
# right eye, left eye, right ear, left ear
COCO_18 = Layout(
    "COCO-18",
    18,
    ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
     (0, 14), (14, 16), (0, 15), (15, 17)),
    ((255, 0, 85), (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
     (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (255, 0, 170),
     (170, 0, 255), (255, 0, 255), (85, 0, 255)),
)  # fmt: skip

# As COCO-18 with the middle of the hips after the wrists, and big toe, small toe and heel of each foot at the end
BODY_25 = Layout(
    "BODY_25",
    25,
    ((1, 8), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13), (13, 14),
     (1, 0), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24)),
    (*COCO_18.colours[:8], (255, 0, 0), *COCO_18.colours[8:], *3 * [(0, 0, 255)], *3 * [(0, 255, 255)]),
)  # fmt: skip

# OpenPose's MPI order: head, neck, right shoulder, elbow, wrist, left ..., right hip, knee, ankle, left ..., chest
MPI_15 = Layout(
    "MPI-15",
    15,
    ((0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 14), (14, 8), (8, 9), (9, 10), (14, 11), (11, 12),
     (12, 13)),
    (*COCO_18.colours[:7], (43, 255, 0), *COCO_18.colours[7:14]),
)  # fmt: skip

# MS COCO's own order (Lin et al. 2014, arXiv 1405.0312): nose, eyes, ears, shoulders, elbows, wrists, hips, knees,
# ankles, the left one first, and no neck. It is drawn as COCO-18: these are COCO-17's numbers of COCO-18's joints.
_COCO_17_OF_18 = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_NECK, _SHOULDERS = 1, (5, 6)
COCO_17 = Layout("COCO-17", 17, (), ())

# Joints of layouts with feet, hands and face after the body, in MS COCO's order: OpenPose's BODY_135, COCO-WholeBody
WHOLE_BODIES = {135: "BODY_135", 133: "COCO-WholeBody"}
LAYOUTS = {layout.joints: layout for layout in (MPI_15, COCO_17, COCO_18, BODY_25)}


def with_neck(people: np.ndarray) -> np.ndarray:
    """COCO-17 joints (people, 17, 3) -> COCO-18 joints (people, 18, 3): the neck is the middle of the shoulders.

    The neck is as sure as the less sure shoulder.
    """
    joints = people[:, _COCO_17_OF_18]  # (people, 18, 3)
    shoulders = people[:, _SHOULDERS]  # (people, 2, 3)
    joints[:, _NECK, :2] = shoulders[..., :2].mean(1)
    joints[:, _NECK, 2] = shoulders[..., 2].min(1)
    return joints


def draw_skeletons(
    people: np.ndarray | Sequence[np.ndarray],
    size: tuple[int, int],
    layout: Layout,
    min_confidence: float = MIN_CONFIDENCE,
) -> Image.Image:
    """The limbs of `people` on black.

    Args:
        people: (people, joints, 3): x, y in pixels of the photo, whole numbers at the middles of pixels; confidence.
            Joints that are not finite, at 0, 0, or no surer than `min_confidence` are hidden; limbs that leave the
            photo are cut at its edge.
        size: width and height of the photo, pixels.
        layout: what the joints are.
        min_confidence: joints must be surer than this to be drawn.

    Returns:
        RGB, of that size; black where nobody is.
    """
    joints = np.array(people, np.float64).reshape(-1, layout.joints, 3)
    with np.errstate(all="ignore"):
        seen_all = np.isfinite(joints).all(2) & (np.abs(joints[..., :2]) < MAX_COORDINATE).all(2)
        joints[~seen_all] = 0  # so that nothing overflows below
        seen_all &= (joints[..., 2] > min_confidence) & (joints[..., :2] != 0).any(2)
    joints[~seen_all] = 0
    if layout is COCO_17:
        joints, layout = with_neck(joints), COCO_18
        seen_all = joints[..., 2] > min_confidence

    width, height = size
    factor = SUPERSAMPLING if width * height * SUPERSAMPLING**2 <= CANVAS_PIXELS else 1
    canvas = Image.new("RGB", (width * factor, height * factor))
    pen = ImageDraw.Draw(canvas)
    radius = max(1.0, min(canvas.size) * DISC_SHARE)
    thickness = max(1, round(2 * min(canvas.size) * LIMB_SHARE))
    low, high = np.full(2, -radius), np.array(canvas.size) + radius
    for person, seen in zip((joints[..., :2] + 0.5) * factor - 0.5, seen_all, strict=True):
        for start, end in layout.limbs:
            if seen[start] and seen[end]:
                segment = clip_segment(person[start], person[end], low, high)
                if segment is not None:
                    pen.line([tuple(point) for point in segment], fill=layout.colours[end], width=thickness)
        for point, colour, is_seen in zip(person, layout.colours, seen, strict=True):
            if is_seen and (point >= low).all() and (point <= high).all():
                pen.ellipse([tuple(point - radius), tuple(point + radius)], fill=colour)
    return canvas.reduce(factor) if factor > 1 else canvas


def clip_segment(
    start: np.ndarray, end: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The part of a segment inside a rectangle, or None (Liang and Barsky 1984, doi 10.1145/357332.357333).

    Args:
        start, end: (2,) x, y.
        low, high: (2,) the rectangle's least and greatest x, y.
    """
    direction = end - start
    entry, leave = 0.0, 1.0
    for axis in range(2):
        if direction[axis] == 0:
            if not low[axis] <= start[axis] <= high[axis]:
                return None
            continue
        crossings = sorted((edge[axis] - start[axis]) / direction[axis] for edge in (low, high))
        entry, leave = max(entry, crossings[0]), min(leave, crossings[1])
    return (start + entry * direction, start + leave * direction) if entry <= leave else None
