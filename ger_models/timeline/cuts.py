"""Sampled frames -> the scene cuts between them."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 96  # pixels; frames are reduced to a square of this side
CELLS = 3  # by 3 parts of the picture, each with a histogram of its own
LEVELS = 4  # of each of red, green and blue
CUT_DISTANCE = 0.35  # share of the pixels whose colour must change at least
CUT_RATIO = 3.0  # and by how much more than the median of the frames around, which may be of a moving camera
AROUND = 5  # frames before and after


def scene_signature(image: Image.Image) -> np.ndarray:
    """Where a picture has which colours.

    Returns:
        (CELLS * CELLS, LEVELS ** 3) float32: a colour histogram for each part, which adds up to 1.
    """
    small = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)).astype(np.int64)
    colours = (small * LEVELS // 256) @ np.array([LEVELS**2, LEVELS, 1])  # (side, side)
    part = np.arange(SIDE) * CELLS // SIDE
    cells = part[:, None] * CELLS + part[None, :]
    counts = np.bincount((cells * LEVELS**3 + colours).ravel(), minlength=CELLS**2 * LEVELS**3)
    histograms = counts.reshape(CELLS**2, LEVELS**3).astype(np.float32)
    return histograms / histograms.sum(axis=1, keepdims=True)


def scene_distance(before: np.ndarray, now: np.ndarray) -> float:
    """Between two signatures: 0 for the same, 1 where no part has a colour in common with itself (total variation)."""
    return float(np.abs(now - before).sum(axis=1).mean() / 2)


def scene_cuts(distances: np.ndarray) -> np.ndarray:
    """The frames that begin a new scene.

    Args:
        distances: (frames - 1,), of each frame to the next.

    Returns:
        sorted numbers of frames, from 1 on.

    >>> scene_cuts(np.array([0.02, 0.9, 0.03]))
    array([2])
    """
    distances = np.asarray(distances, np.float64)
    cuts = []
    for place in np.flatnonzero(distances >= CUT_DISTANCE):
        around = np.concatenate([distances[max(0, place - AROUND) : place], distances[place + 1 : place + AROUND + 1]])
        if not len(around) or distances[place] >= CUT_RATIO * np.median(around):
            cuts.append(place + 1)
    return np.array(cuts, np.int64)
