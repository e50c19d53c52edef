"""Skeletons: files of OpenPose or MS COCO, or a pose model -> the `skeleton` column, limbs on black."""

from __future__ import annotations

from .coco import CocoSkeletons
from .drawing import BODY_25, COCO_17, COCO_18, MPI_15, Layout, draw_skeletons
from .files import SkeletonFiles
from .openpose import read_poses
from .pose_model import SkeletonModel

__all__ = [
    "BODY_25",
    "COCO_17",
    "COCO_18",
    "MPI_15",
    "CocoSkeletons",
    "Layout",
    "SkeletonFiles",
    "SkeletonModel",
    "draw_skeletons",
    "read_poses",
]
