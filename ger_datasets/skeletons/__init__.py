"""Skeletons: OpenPose JSON, rendered images, or a pose model -> the `skeleton` column, limbs on black."""

from __future__ import annotations

from .drawing import BODY_25, COCO_17, COCO_18, Layout, draw_skeletons
from .files import SkeletonFiles
from .openpose import read_poses
from .pose_model import SkeletonModel

__all__ = [
    "BODY_25",
    "COCO_17",
    "COCO_18",
    "Layout",
    "SkeletonFiles",
    "SkeletonModel",
    "draw_skeletons",
    "read_poses",
]
