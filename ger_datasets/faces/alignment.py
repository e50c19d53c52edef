"""Faces cut out of a photo: the box as it stands, and the face turned and scaled onto a template."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from ..schema import ALIGNED_FACE_HEIGHT, ALIGNED_FACE_WIDTH

# Where the five landmarks lie in a 96 wide x 112 high face: SphereFace (Liu et al. 2017), preprocess/face_align_demo.m
SPHEREFACE_TEMPLATE = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]]
)


def similarity_transform(points: np.ndarray, template: np.ndarray = SPHEREFACE_TEMPLATE) -> np.ndarray:
    """The least-squares similarity (turn, scale, shift; no mirroring) that takes `points` onto `template`.

    Args:
        points: (faces, k, 2).
        template: (k, 2).

    Returns:
        (faces, 2, 3) float64, so that `matrix @ [x, y, 1]` is the place in the template. Where all points of a face
        coincide the matrix is not finite.

    Source: closed form for two dimensions of Umeyama (1991), doi 10.1109/34.88573.
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


def align_faces(image: Image.Image, landmarks: np.ndarray) -> list[Image.Image]:
    """Each face turned and scaled onto the SphereFace template: RGB, 96 wide x 112 high, black outside the photo.

    Args:
        image: the photo, RGB.
        landmarks: (faces, 5, 2), pixels of `image`.
    """
    if not len(landmarks):
        return []
    matrices = similarity_transform(landmarks.astype(np.float64))
    # landmarks that coincide give no transform: such a face is cut out around them at the photo's own scale
    lost = ~np.isfinite(matrices).all((1, 2)) | (np.hypot(matrices[:, 0, 0], matrices[:, 1, 0]) < 1e-9)
    matrices[lost, :, :2] = np.eye(2)
    matrices[lost, :, 2] = SPHEREFACE_TEMPLATE.mean(0) - landmarks[lost].mean(1)

    # grid_sample asks where in the photo each pixel of the result comes from
    backward = np.linalg.inv(matrices[:, :, :2])  # (faces, 2, 2)
    y, x = np.mgrid[:ALIGNED_FACE_HEIGHT, :ALIGNED_FACE_WIDTH]
    places = np.stack([x, y], -1).reshape(-1, 2) - matrices[:, None, :, 2]  # (faces, 112*96, 2)
    places = places @ backward.transpose(0, 2, 1)
    grid = (places + 0.5) * 2 / np.array(image.size) - 1
    # the faces of a photo one below the other, so that one photo is sampled once and never copied
    grid = torch.from_numpy(grid.astype(np.float32)).view(1, -1, ALIGNED_FACE_WIDTH, 2)

    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    column = F.grid_sample(pixels, grid, align_corners=False)[0]  # (3, faces * 112, 96)
    array = column.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return [Image.fromarray(face) for face in np.split(array, len(landmarks))]


def crop_faces(image: Image.Image, boxes: np.ndarray) -> list[Image.Image]:
    """Each box as it stands, widened to whole pixels: RGB images of any size from 1 x 1.

    Args:
        boxes: (faces, 4), x1 y1 x2 y2, pixels of `image`, inside it and not empty.
    """
    whole = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], 1).astype(int)
    return [image.crop(tuple(int(edge) for edge in box)) for box in whole]
