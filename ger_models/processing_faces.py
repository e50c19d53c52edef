"""Face crops for the expression network: grey squares, with random augmentation in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch.nn import functional as F

LUMA = torch.tensor((0.299, 0.587, 0.114))  # ITU-R BT.601, as Pillow's mode L
CONTEXT = 1.5  # in training the crop is larger, so that a shifted or rotated face still has its surroundings

# Ranges of the training augmentation
MAX_ANGLE = math.radians(15)
MAX_LOG_SCALE, MAX_LOG_ASPECT = 0.25, 0.08
MAX_SHIFT = 0.2  # of half of the square's side
MAX_LOG_CONTRAST, MAX_BRIGHTNESS = 0.35, 0.3  # brightness on the scale -1 ... 1
LOW_RESOLUTIONS = (12, 14, 16, 20, 24, 28, 34)  # pixels; the sides to which faces are reduced and enlarged again
LOW_RESOLUTION_SHARE = 0.4
HOLE_SHARE, MIN_HOLE, MAX_HOLE = 0.5, 8, 20  # pixels; a grey square (DeVries and Taylor 2017, arXiv 1708.04552)
RANDOM_NUMBERS = 13  # for each face


def square_of(box_xyxy: Sequence[float], scale: float) -> tuple[int, int, int, int]:
    """The square around a box's centre, its side the box's longer side times `scale`, in whole pixels (x1 y1 x2 y2).

    >>> square_of((10, 10, 30, 50), 1.0)
    (0, 10, 40, 50)
    """
    left, top, right, bottom = box_xyxy
    side = max(round(max(right - left, bottom - top) * scale), 1)
    x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
    return x, y, x + side, y + side


def cut_square(photo: torch.Tensor, square_xyxy: tuple[int, int, int, int], side: int) -> torch.Tensor:
    """(3, height, width) uint8 -> the square as (1, side, side) float32 from 0 to 255, grey, anti-aliased.

    Pixels outside the photo repeat its edge.
    """
    left, top, right, bottom = square_xyxy
    height, width = photo.shape[1:]
    inner_left, inner_right = min(max(left, 0), width - 1), max(min(right, width), 1)
    inner_top, inner_bottom = min(max(top, 0), height - 1), max(min(bottom, height), 1)
    part = photo[:, inner_top:inner_bottom, inner_left:inner_right]
    grey = (part.permute(1, 2, 0).float() * LUMA).sum(-1)[None]  # no matrix product: autocast would round it
    outside = (inner_left - left, right - inner_right, inner_top - top, bottom - inner_bottom)
    if any(outside):
        grey = F.pad(grey[None], outside, mode="replicate")[0]
    if grey.shape[1:] == (side, side):
        return grey
    return F.interpolate(grey[None], (side, side), mode="bilinear", antialias=True)[0]


def square_faces(photo: torch.Tensor, boxes_xyxy: Sequence[Sequence[float]], side: int, scale: float) -> torch.Tensor:
    """The faces of one photo: (faces, 1, side, side) float32 from 0 to 255.

    Args:
        photo: (3, height, width) uint8.
        boxes_xyxy: a box for each face, in pixels of the photo.
        side: pixels, of the squares that are returned.
        scale: the square's side relative to the box's longer side.
    """
    if not len(boxes_xyxy):
        return torch.zeros(0, 1, side, side)
    return torch.stack([cut_square(photo, square_of(box, scale), side) for box in boxes_xyxy])


def augmented(faces: torch.Tensor, numbers: torch.Tensor, side: int) -> torch.Tensor:
    """Faces with their surroundings -> faces rotated, shifted, scaled, mirrored, downsampled and partly covered.

    Each face depends only on its own numbers. Nothing waits for a GPU.

    Args:
        faces: (faces, 1, side * CONTEXT, side * CONTEXT) float32 from 0 to 255.
        numbers: (faces, RANDOM_NUMBERS) from 0 to 1.
        side: pixels, of the result.

    Returns:
        (faces, 1, side, side) float32.
    """
    if not len(faces):
        return faces.new_zeros(0, 1, side, side)
    signed = numbers * 2 - 1
    with torch.autocast(faces.device.type, enabled=False):
        faces = _warped(faces, signed[:, :5], mirror=numbers[:, 5] < 0.5, side=side)
        faces = _reduced(faces, numbers[:, 6])
    mean = faces.mean((2, 3), keepdim=True)
    contrast = (signed[:, 7] * MAX_LOG_CONTRAST).exp()[:, None, None, None]
    brightness = signed[:, 8, None, None, None] * MAX_BRIGHTNESS * 127.5
    faces = ((faces - mean) * contrast + mean + brightness).clamp(0, 255)
    return _covered(faces, numbers[:, 9:13])


def _warped(faces: torch.Tensor, signed: torch.Tensor, mirror: torch.Tensor, side: int) -> torch.Tensor:
    """signed (faces, 5) from -1 to 1: angle, scale, aspect, shift in x and in y."""
    angle = signed[:, 0] * MAX_ANGLE
    scale = (signed[:, 1] * MAX_LOG_SCALE).exp() / CONTEXT
    aspect = (signed[:, 2] * MAX_LOG_ASPECT).exp()
    shift = signed[:, 3:5] * MAX_SHIFT / CONTEXT
    flip = torch.where(mirror, -1.0, 1.0)
    rows = [
        torch.stack([scale * aspect * angle.cos() * flip, -scale * angle.sin(), shift[:, 0]], 1),
        torch.stack([scale * angle.sin() * flip, scale / aspect * angle.cos(), shift[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [len(faces), 1, side, side], align_corners=False)
    return F.grid_sample(faces, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _reduced(faces: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Downsample and enlarge a share of the faces, like small faces in a photo.

    Both are linear in rows and in columns: one matrix for each resolution, and no index that a GPU would wait for.
    """
    which = (numbers / LOW_RESOLUTION_SHARE * len(LOW_RESOLUTIONS)).long().clamp(max=len(LOW_RESOLUTIONS))
    matrices = _reductions(faces.shape[-1], faces.device)[which]  # (faces, side, side)
    return (matrices @ faces[:, 0] @ matrices.transpose(1, 2))[:, None]


@cache
def _reductions(side: int, device: torch.device) -> torch.Tensor:
    """(resolutions + 1, side, side): what downsampling and enlarging do to a column of pixels; the last is none."""
    whole = torch.eye(side)
    matrices = []
    for low in LOW_RESOLUTIONS:
        small = F.interpolate(whole[None, None], (low, side), mode="bilinear", antialias=True)
        matrices.append(F.interpolate(small, (side, side), mode="bilinear", align_corners=False)[0, 0])
    return torch.stack([*matrices, whole]).to(device)


def _covered(faces: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Cover a part of some faces with a grey square; numbers (faces, 4): whether to cover, side, x and y."""
    side = faces.shape[-1]
    half = (MIN_HOLE + (MAX_HOLE - MIN_HOLE) * numbers[:, 1]) / 2 * (numbers[:, 0] < HOLE_SHARE)
    places = torch.arange(side, device=faces.device)
    covers_x = (places - numbers[:, 2:3] * side).abs() < half[:, None]  # (faces, side)
    covers_y = (places - numbers[:, 3:4] * side).abs() < half[:, None]
    hole = covers_y[:, :, None] & covers_x[:, None, :]
    return faces.masked_fill(hole[:, None], 127.5)
