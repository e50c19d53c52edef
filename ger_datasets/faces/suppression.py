"""Non-maximum suppression: within each photo, and by the smaller of two boxes."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import nms

TOGETHER = 20_000  # boxes of which all pairs are compared on a GPU at once
EXACT = 2**24  # whole numbers below it are exact in float32


def suppressed(
    boxes: torch.Tensor, scores: torch.Tensor, index: torch.Tensor, count: int, threshold: float
) -> torch.Tensor:
    """The rows kept of `boxes` (n, 4) of `count` photos, photo by photo, most confident first.

    Args:
        boxes: x1 y1 x2 y2, where x2 - x1 is the width.
        scores: (n,) of the boxes' type.
        index: (n,) long, the photo of each box.
        count: photos.
        threshold: intersection over union above which the less confident of two boxes goes.
    """
    if count == 1:
        return nms(boxes, scores, threshold)
    order = index.argsort(stable=True)
    sizes = index.bincount(minlength=count).tolist()
    return torch.cat([own[nms(boxes[own], scores[own], threshold)] for own in order.split(sizes)])


def suppressed_together(
    boxes: torch.Tensor, scores: torch.Tensor, index: torch.Tensor, count: int, extent: int, threshold: float
) -> torch.Tensor:
    """What `suppressed` gives, of boxes of whole numbers, without waiting for a GPU once for each photo.

    The photos are laid side by side, `extent` apart. That is exact for whole numbers that float32 can hold; others,
    and so many boxes that comparing all pairs takes too much memory, are left to `suppressed`.

    Args, further than those of `suppressed`, with boxes of shape (n, 4):
        extent: the photos' longer side: boxes reach from 0 to 3 * extent at most.
    """
    if count == 1 or len(boxes) > TOGETHER or 3 * extent * count >= EXACT:
        return suppressed(boxes, scores, index, count, threshold)
    kept = nms(boxes + (index * (3 * extent))[:, None].to(boxes), scores, threshold)
    return kept[index[kept].argsort(stable=True)]


def suppressed_by_smaller(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Non-maximum suppression by intersection over the *smaller* box; the rows kept, most confident first."""
    x1, y1, x2, y2 = boxes.T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    order, kept = np.argsort(scores)[::-1], []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        overlap_width = np.maximum(0, np.minimum(x2[best], x2[order]) - np.maximum(x1[best], x1[order]) + 1)
        overlap_height = np.maximum(0, np.minimum(y2[best], y2[order]) - np.maximum(y1[best], y1[order]) + 1)
        share = overlap_width * overlap_height / np.minimum(area[best], area[order])
        order = order[share <= threshold]
    return np.array(kept, dtype=np.intp)
