"""The conventions by which two MTCNNs with the same weights differ: facenet-pytorch's and the 2018 original's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

WINDOW = 12  # pixels: side of what one place of P-Net's output sees


@dataclass(frozen=True)
class Level:
    """One size of the image pyramid: as a fraction of the photo's, and in pixels."""

    scale: float
    height: int
    width: int


@dataclass(frozen=True)
class Mode:
    """What an MTCNN does besides running its networks.

    Attributes:
        thresholds: least face probability after P-Net, R-Net and O-Net.
        factor: ratio of neighbouring sizes of the image pyramid.
        levels: (height, width, min_face_pixels, factor) -> the pyramid, largest first.
        resampling: a key of `resampling.RESAMPLERS`.
        window: side of a P-Net proposal, in pixels of its level, as its two corners are computed.
        rounding: how the corners of proposals become whole pixels of the photo.
        last_pixel: 1 where a proposal or square from x1 to x2 is x2 - x1 + 1 wide, 0 where it is x2 - x1 wide.
        whole_squares: whether squares are rounded to whole pixels before they are cut out.
        first_pixel: the number of the leftmost pixel, 0 or 1, when squares are cut out.
        padded: True cuts the whole square, black outside the photo, and goes on with the box clipped to the photo;
            False cuts only what lies inside and goes on with the box as it is.
        precision: what box arithmetic is done in.
    """

    thresholds: tuple[float, float, float]
    factor: float
    levels: Callable[[int, int, int, float], list[Level]]
    resampling: str
    window: int
    rounding: Callable[[torch.Tensor], torch.Tensor]
    last_pixel: int
    whole_squares: bool
    first_pixel: int
    padded: bool
    precision: torch.dtype


def facenet_levels(height: int, width: int, min_face_pixels: int, factor: float) -> list[Level]:
    """facenet-pytorch 2.5.3, models/utils/detect_face.py: sizes rounded down after adding one."""
    levels, scale, side = [], WINDOW / min_face_pixels, min(height, width) * (WINDOW / min_face_pixels)
    while side >= WINDOW:
        levels.append(Level(scale, int(height * scale + 1), int(width * scale + 1)))
        scale, side = scale * factor, side * factor
    return levels


def original_levels(height: int, width: int, min_face_pixels: int, factor: float) -> list[Level]:
    """TropComplique/mtcnn-pytorch, src/detector.py and src/first_stage.py: sizes rounded up."""
    levels: list[Level] = []
    side = min(height, width) * (WINDOW / min_face_pixels)
    while side > WINDOW:
        scale = WINDOW / min_face_pixels * factor ** len(levels)
        levels.append(Level(scale, math.ceil(height * scale), math.ceil(width * scale)))
        side *= factor
    return levels


MODES: Mapping[str, Mode] = MappingProxyType(
    {
        # facenet-pytorch 2.5.3
        "facenet": Mode(
            thresholds=(0.6, 0.7, 0.7),
            factor=0.709,
            levels=facenet_levels,
            resampling="area",
            window=11,
            rounding=torch.floor,
            last_pixel=0,
            whole_squares=False,
            first_pixel=1,
            padded=False,
            precision=torch.float32,
        ),
        # TropComplique/mtcnn-pytorch, with which the 2018 system made FaceCoordinates
        "original": Mode(
            thresholds=(0.6, 0.7, 0.8),
            factor=0.707,
            levels=original_levels,
            resampling="bilinear",
            window=12,
            rounding=torch.round,
            last_pixel=1,
            whole_squares=True,
            first_pixel=0,
            padded=True,
            precision=torch.float64,
        ),
    }
)
