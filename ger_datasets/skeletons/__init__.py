"""Skeletons: OpenPose JSON, rendered images, or a pose model -> the `skeleton` column, limbs on black."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from ..sources import ColumnSource
from .drawing import BODY_25, COCO_17, COCO_18, Layout, draw_skeletons
from .files import SkeletonFiles
from .openpose import read_poses
from .pose_model import DETECTOR, SkeletonModel

__all__ = [
    "BODY_25",
    "COCO_17",
    "COCO_18",
    "Layout",
    "SkeletonFiles",
    "SkeletonModel",
    "draw_skeletons",
    "read_poses",
    "skeleton_source",
]


def skeleton_source(text: str, source_root: Path) -> ColumnSource | None:
    """What `--skeletons TEXT` stands for.

    Args:
        text: `none`; a folder of OpenPose JSON or rendered images; or `POSE_MODEL[,PERSON_DETECTOR]`, each a name on
            the Hub or the folder of a checkpoint.
        source_root: the raw folder that the photos are in.

    Raises:
        UserError: a folder that does not exist or holds nothing of use, or models that cannot be had.
    """
    if text == "none":
        return None
    folder = Path(text)
    if text and folder.is_dir() and not any(folder.glob("*.safetensors")):  # a checkpoint's folder holds its weights
        files = SkeletonFiles(folder, source_root)
        files.check()
        return files
    pose, comma, detector = (part.strip() for part in text.partition(","))
    if not pose or (comma and not detector):
        raise UserError(f"skeletons: {text!r} is neither a folder, nor POSE_MODEL[,PERSON_DETECTOR], nor none")
    for name in (pose, detector):
        if _looks_like_a_path(name) and not Path(name).is_dir():
            raise UserError(f"skeletons: no folder {name}: give a folder of skeletons, the name of a model, or none")
    model = SkeletonModel(pose, detector or DETECTOR)
    model.check()
    return model


def _looks_like_a_path(name: str) -> bool:
    """Whether `name` can be no name on the Hub (`owner/model`), or lies in a folder that exists."""
    parent = Path(name).parent
    return (
        name.startswith((".", "/", "~"))
        or name.endswith("/")
        or "\\" in name
        or name.count("/") > 1
        or (parent != Path() and parent.is_dir())
    )
