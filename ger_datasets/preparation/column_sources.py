"""Columns that do not follow from a photo's own faces: skeletons, model outputs, the original's intermediate files.

A new source is a class of one of the two kinds below, a row of `SOURCES` and an option of prepare.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from ..legacy.source import FACE_COLUMNS
from ..records import Record
from ..skeletons.coco import CocoSkeletons
from ..skeletons.files import SkeletonFiles
from ..skeletons.pose_model import DETECTOR, SkeletonModel
from ..support.errors import UserError


class ColumnSource(Protocol):
    """What all sources have.

    A source is made in the parent process and pickled into each worker, so it opens files and loads models on first
    use, or again when it is unpickled. A method `remarks()`, which may be missing, gives sentences for the card.
    """

    @property
    def name(self) -> str:
        """Its name in `SOURCES`."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its columns depend on, as JSON values without paths of this machine; written to the manifest."""
        ...


@runtime_checkable
class PhotoSource(ColumnSource, Protocol):
    """Fills columns of one photo at a time, before faces are detected."""

    def columns(self, record: Record, image: Image.Image) -> Mapping[str, Any]:
        """The columns of one photo, images as PIL images; columns that it leaves out are computed or stay empty.

        Args:
            record: the photo's record.
            image: the photo, upright, RGB.

        Raises:
            BadPhoto: the source's data for this photo is inconsistent; the photo goes into quarantine with the
                message, which holds no path.
        """
        ...


@runtime_checkable
class BatchSource(ColumnSource, Protocol):
    """Fills columns of several photos together, after their faces are known."""

    def batch_columns(
        self, images: Sequence[Image.Image], face_boxes: Sequence[Sequence[Any]]
    ) -> Mapping[str, Sequence[Any]]:
        """Column -> its values, one for each photo, as lists of numbers.

        Args:
            images: RGB photos of any sizes, at least one.
            face_boxes: for each of them (faces, 4), x1 y1 x2 y2 in pixels.
        """
        ...


@dataclass(frozen=True)
class Source:
    """A kind of source.

    Attributes:
        columns: the columns of `schema.py` that it fills.
        option: the option of prepare.py that gives it; its settings have this name in the manifest.
        title: what the dataset card calls it.
        later: whether it can be added to a dataset that was prepared without it.
    """

    columns: tuple[str, ...]
    option: str
    title: str
    later: bool = True


SOURCES: Mapping[str, Source] = {
    "legacy": Source(
        (*FACE_COLUMNS, "scene_feature"), "legacy", "Older intermediates in place of computed columns", later=False
    ),
    "skeletons": Source(("skeleton",), "skeletons", "Skeletons"),
    "scene_feature": Source(("scene_feature",), "scene_model", "Scene features"),
    "regions": Source(("region_boxes", "region_features"), "regions", "Regions from feature archives"),
    "face_expressions": Source(("face_expressions",), "expressions", "Expressions of faces"),
}


def source_settings(sources: Sequence[ColumnSource], later: bool) -> dict[str, Any]:
    """Option -> the settings of its source, None if it is not among `sources`; of the kinds with this `later`."""
    given = {source.name: dict(source.settings) for source in sources}
    return {kind.option: given.get(name) for name, kind in SOURCES.items() if kind.later == later}


def skeleton_source(text: str, source_root: Path) -> ColumnSource | None:
    """The source that `--skeletons TEXT` names.

    Args:
        text: `none`; a folder of OpenPose's files or rendered images; a JSON file of MS COCO's keypoints of the whole
            dataset; or `POSE_MODEL[,PERSON_DETECTOR]`, each a name on the Hub or the folder of a checkpoint.
        source_root: the raw folder that the photos are in.

    Raises:
        UserError: a folder that does not exist or holds no skeletons, or models that cannot be loaded.
    """
    if text == "none":
        return None
    folder = Path(text)
    if text and folder.is_dir() and not any(folder.glob("*.safetensors")):  # a checkpoint's folder holds its weights
        files = SkeletonFiles(folder, source_root)
        files.check()
        return files
    if text and folder.is_file():
        coco = CocoSkeletons(folder, source_root)
        coco.check()
        return coco
    pose, comma, detector = (part.strip() for part in text.partition(","))
    if not pose or (comma and not detector):
        raise UserError(
            f"skeletons: {text!r} is neither a folder, nor a file, nor POSE_MODEL[,PERSON_DETECTOR], nor none"
        )
    for name in (pose, detector):
        if _looks_like_a_path(name) and not Path(name).is_dir():
            raise UserError(f"skeletons: no folder {name}: give a folder of skeletons, the name of a model, or none")
    model = SkeletonModel(pose, detector or DETECTOR)
    model.check()
    return model


def _looks_like_a_path(name: str) -> bool:
    """Whether `name` cannot be a name on the Hub (`owner/model`), or lies in a folder that exists."""
    parent = Path(name).parent
    return (
        name.startswith((".", "/", "~"))
        or name.endswith("/")
        or "\\" in name
        or name.count("/") > 1
        or (parent != Path() and parent.is_dir())
    )
