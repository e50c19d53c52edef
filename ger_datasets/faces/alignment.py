"""Faces cut out of a photo: the box as it stands, and the face turned and scaled onto a template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from ..schema import ALIGNED_FACE_HEIGHT, ALIGNED_FACE_WIDTH

# Where the five landmarks lie in a 96 wide x 112 high face: SphereFace (Liu et al. 2017), preprocess/face_align_demo.m
SPHEREFACE_TEMPLATE = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
)

BATCH_PIXELS = 4_000_000  # of the photo's parts that are read in one go; more go one after the other


def similarity_transform(points: np.ndarray, template: np.ndarray = SPHEREFACE_TEMPLATE) -> np.ndarray:
    """The least-squares similarity (turn, scale, shift; no mirroring) that takes `points` onto `template`.

    Args:
        points: (faces, k, 2).
        template: (k, 2).

    Returns:
        (faces, 2, 3) float64, so that `matrix @ [x, y, 1]` is the place in the template. Where all points of a face
        coincide the matrix is not finite.

    Source: closed form for two dimensions of Umeyama (1991), doi 10.1109/34.88573.

    >>> eyes = np.array([[[0.0, 0.0], [1.0, 0.0]]])
    >>> similarity_transform(eyes, np.array([[10.0, 10.0], [10.0, 12.0]])).round(6) + 0.0
    array([[[ 0., -2., 10.],
            [ 2.,  0., 10.]]])
    """
    source_mean, target_mean = points.mean(1, keepdims=True), template.mean(0)
    source, target = points - source_mean, template - target_mean
    with np.errstate(divide="ignore", invalid="ignore"):
        # the rotation and scale as one complex number a + ib
        norm = (source**2).sum((1, 2))
        a = (source * target).sum((1, 2)) / norm
        b = (source[..., 0] * target[:, 1] - source[..., 1] * target[:, 0]).sum(1) / norm
        turn = np.stack([np.stack([a, -b], -1), np.stack([b, a], -1)], -2)  # (faces, 2, 2)
        shift = target_mean[:, None] - turn @ source_mean.transpose(0, 2, 1)  # (faces, 2, 1)
    return np.concatenate([turn, shift], 2)


@dataclass(frozen=True)
class Template:
    """An aligned face.

    Attributes:
        width, height: its size in pixels.
        landmarks: which of the five landmarks are laid on it.
        places: where they go, (landmarks, 2), x y in pixels of the template.
        interpolation: how `torch.nn.functional.grid_sample` reads between pixels.
        smooth: whether a face of more than twice this size is first averaged down, so that it does not alias.
    """

    width: int
    height: int
    landmarks: tuple[int, ...]
    places: np.ndarray
    interpolation: str = "bilinear"
    smooth: bool = True


TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {
        "sphereface": Template(ALIGNED_FACE_WIDTH, ALIGNED_FACE_HEIGHT, (0, 1, 2, 3, 4), SPHEREFACE_TEMPLATE),
        # AlignedFaces_Extractor_Test.ipynb of the 2018 code: the eyes level, at 30 % and 70 % of a face that is 112
        # wide and 96 high, sides swapped against what its SphereFace network was made for; cubic, aliased
        "original": Template(112, 96, (0, 1), np.array([[33.6, 28.8], [78.4, 28.8]]), "bicubic", smooth=False),
    }
)


def align_faces(image: Image.Image, landmarks: np.ndarray, template: str = "sphereface") -> list[Image.Image]:
    """Each face turned and scaled onto a template: RGB, 96 wide x 112 high by default, black outside the photo.

    Args:
        image: the photo, RGB.
        landmarks: (faces, 5, 2), pixels of `image`.
        template: a key of `TEMPLATES`. `original` differs from the 2018 files in what surrounds the box: they were
            turned after cutting, and are black there.

    Raises:
        ValueError: a template that is not one of them.
    """
    if template not in TEMPLATES:
        raise ValueError(f"template must be one of {', '.join(TEMPLATES)}, not {template!r}")
    if not len(landmarks):
        return []
    target = TEMPLATES[template]
    points = np.asarray(landmarks, np.float64)[:, target.landmarks]
    matrices = similarity_transform(points, target.places)
    # landmarks that coincide give no transform: such a face is cut out around them at the photo's own scale
    lost = ~np.isfinite(matrices).all((1, 2)) | (np.hypot(matrices[:, 0, 0], matrices[:, 1, 0]) < 1e-9)
    matrices[lost, :, :2] = np.eye(2)
    matrices[lost, :, 2] = target.places.mean(0) - points[lost].mean(1)

    parts = [_part(image, backward, target) for backward in _inverted(matrices)]
    return [face for batch in _batches(parts) for face in _sampled(batch, target)]


@dataclass(frozen=True)
class Part:
    """What of the photo lies around one face, and where in it the pixels of the template come from.

    Attributes:
        pixels: (height, width, 3) uint8; empty where the face lies outside the photo.
        backward: (2, 3): the pixel x y of the template shows the place `backward @ [x, y, 1]` of `pixels`, counted
            from the middle of their first.
    """

    pixels: np.ndarray
    backward: np.ndarray


def _inverted(matrices: np.ndarray) -> np.ndarray:
    """The inverses (faces, 2, 3) of affine maps (faces, 2, 3)."""
    turn = np.linalg.inv(matrices[:, :, :2])
    return np.concatenate([turn, -turn @ matrices[:, :, 2:]], 2)


def _part(image: Image.Image, backward: np.ndarray, target: Template) -> Part:
    """The part of `image` around one face: a photo is never copied whole.

    Args:
        backward: (2, 3), template -> photo.
    """
    step = np.hypot(*backward[:, 0])  # pixels of the photo per pixel of the template
    shrink = max(1, int(step)) if target.smooth else 1
    margin = 3 * shrink  # more than cubic interpolation reads beyond a place
    right, bottom = target.width - 1, target.height - 1
    corners = np.array([[0, 0, 1], [right, 0, 1], [0, bottom, 1], [right, bottom, 1]]) @ backward.T  # (4, 2)
    first = np.clip(np.floor(corners.min(0)) - margin, 0, image.size)
    last = np.clip(np.ceil(corners.max(0)) + margin, 0, image.size)
    if (last <= first).any():
        return Part(np.zeros((0, 0, 3), np.uint8), backward)
    size = np.maximum(1, (last - first) // shrink).astype(int)
    part = image.crop((*first.astype(int), *(first + size * shrink).astype(int)))
    if shrink > 1:
        part = part.reduce(shrink)
    within = (backward - np.array([[0, 0, edge] for edge in first])) / shrink
    within[:, 2] += 0.5 / shrink - 0.5  # places are counted from the middle of a pixel, which is now larger
    return Part(np.asarray(part), within)


def _batches(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """`parts` in batches that take at most `BATCH_PIXELS` when all are as large as the largest, or are one part."""
    batch: list[Part] = []
    for part in parts:
        height, width = _size([*batch, part])
        if batch and (len(batch) + 1) * height * width > BATCH_PIXELS:
            yield batch
            batch = []
        batch.append(part)
    yield batch


def _size(parts: Sequence[Part]) -> tuple[int, int]:
    """Height and width that hold every part; at least 1."""
    return max(1, *(len(part.pixels) for part in parts)), max(1, *(part.pixels.shape[1] for part in parts))


def _sampled(parts: Sequence[Part], target: Template) -> list[Image.Image]:
    """All faces read in one go, each from its own part, black beside it."""
    height, width = _size(parts)
    pixels = np.zeros((len(parts), height, width, 3), np.uint8)
    for place, part in zip(pixels, parts, strict=True):
        place[: part.pixels.shape[0], : part.pixels.shape[1]] = part.pixels
    backward = torch.from_numpy(np.stack([part.backward for part in parts]))  # (faces, 2, 3)
    backward = backward[..., None, None]
    x, y = torch.arange(target.width), torch.arange(target.height)[:, None]
    places = backward[:, :, 0] * x + (backward[:, :, 1] * y + backward[:, :, 2])  # (faces, 2, height, width)
    size = torch.tensor([width, height])[:, None, None]
    grid = ((places + 0.5) * 2 / size - 1).float().permute(0, 2, 3, 1)
    source = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    faces = F.grid_sample(source, grid, target.interpolation, align_corners=False)  # (faces, 3, height, width)
    whole = faces.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(face) for face in whole]


def crop_faces(image: Image.Image, boxes: np.ndarray) -> list[Image.Image]:
    """Each box as it stands, widened to whole pixels: RGB images of any size from 1 x 1.

    Args:
        boxes: (faces, 4), x1 y1 x2 y2, pixels of `image`, inside it and not empty.
    """
    whole = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], 1).astype(int)
    return [image.crop((left, top, right, bottom)) for left, top, right, bottom in whole.tolist()]
