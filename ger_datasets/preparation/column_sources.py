"""Where columns come from when they are not computed from the photo: skeletons, scene features, older intermediates.

`prepare` gives each source the record and the upright photo and takes what it returns into the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ..records import Record
from ..skeletons.files import SkeletonFiles
from ..skeletons.pose_model import DETECTOR, SkeletonModel
from ..support.errors import UserError


class ColumnSource(Protocol):
    """Fills some columns of a row.

    A source is made in the parent process and pickled into each worker, so it opens files and loads models on first
    use, not when it is made.
    """

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its columns depend on, as JSON values without paths of this machine; stands in the manifest."""
        ...

    def columns(self, record: Record, image: Image.Image) -> Mapping[str, Any]:
        """The columns of one photo, images as PIL images; columns it leaves out are computed or stay empty.

        Args:
            record: the photo's record.
            image: the photo, upright, RGB.

        Raises:
            BadPhoto: what the source holds for this photo contradicts itself; the photo goes into quarantine with
                the message, which holds no path.
        """
        ...


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
