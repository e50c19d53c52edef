"""Whether two detectors, or one in two ways, have found the same faces."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import box_iou

from ger_datasets.faces import Faces


def assert_same_faces(found: Faces, expected: Faces, landmark_pixels: float = 0.01) -> None:
    """To a hundredth of a pixel; features are compared where the expected ones are known.

    In the same order, but where scores are nearly equal.
    """
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    if not len(expected):
        return
    overlaps, rows = box_iou(torch.from_numpy(expected.boxes), torch.from_numpy(found.boxes)).max(1)
    assert (overlaps >= 0.999).all()
    assert sorted(rows.tolist()) == list(range(len(found)))
    found = found.select(rows.numpy())
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=landmark_pixels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    if expected.features.size:
        np.testing.assert_allclose(found.features, expected.features, atol=1e-5)
