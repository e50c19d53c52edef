"""Columns that do not follow from a photo's own faces: skeletons, model outputs, the original's intermediate files.

A new source is a class of one of the two kinds below and a row of `SOURCES`, which makes it an option of prepare.py.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..schema import FACE_COLUMNS
from ..support.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from ..records import Record


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
        help: what prepare.py says of the option.
        title: what the dataset card calls it.
        opener: `module:function`; called with the option's value, the raw folder and the device, it returns the
            source. It is
            imported when it is needed, since some sources are models.
        default: the option's value where it is not given; `none` is no source.
        later: whether it can be added to a dataset that was prepared without it.
    """

    columns: tuple[str, ...]
    option: str
    help: str
    title: str
    opener: str
    default: str = "none"
    later: bool = True


SOURCES: Mapping[str, Source] = {
    "legacy": Source(
        (*FACE_COLUMNS, "scene_feature"),
        "legacy",
        "Folder of the original system's FaceCoordinates, FaceFeatures, ... to read faces from.",
        "Older intermediates in place of computed columns",
        f"{__name__}:legacy_source",
        later=False,
    ),
    "skeletons": Source(
        ("skeleton",),
        "skeletons",
        "Source of the column skeleton: a folder of OpenPose's files or rendered skeletons, a JSON file of MS COCO's "
        "keypoints, POSE_MODEL[,PERSON_DETECTOR], or none.",
        "Skeletons",
        f"{__name__}:skeleton_source",
    ),
    "scene_feature": Source(
        ("scene_feature",),
        "scene_model",
        "Encoder that fills the column scene_feature: timm:MODEL, hf:REPO, the checkpoint of a scene model, or none.",
        "Scene features",
        "ger_models.encoders.sources:scene_source",
    ),
    "face_expressions": Source(
        ("face_expressions",),
        "expressions",
        "Checkpoint of an expression model that fills the column face_expressions, or none. starter is the model "
        "included in the package.",
        "Expressions of faces",
        "ger_models.encoders.face_expressions:expressions_source",
        default="starter",
    ),
    "regions": Source(
        ("region_boxes", "region_features"),
        "regions",
        "Folder of feature archives, NAME.npz with features (N, d) and boxes (N, 4) for each photo, that fill the "
        "columns region_features and region_boxes, or none.",
        "Regions from feature archives",
        "ger_datasets.regions.archives:region_source",
    ),
}
# column -> the option of prepare.py that adds it to a dataset; it does not follow from the photo and its faces
ADDED_BY = {column: f"--{kind.option}" for kind in SOURCES.values() if kind.later for column in kind.columns}


def source_options() -> list[tuple[str, Any, Any]]:
    """The options of the sources as fields for `dataclasses.make_dataclass`: name, type and field."""
    options = []
    for kind in SOURCES.values():
        text = kind.help + (" Can be added to a prepared dataset." if kind.later else "")
        options.append((kind.option, str, field(default=kind.default, metadata={"help": text})))
    return options


ENCODED = "features."  # before the column's name in the manifest: the settings of its encoder
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,62}")


def encoded_options() -> list[tuple[str, Any, Any]]:
    """The options for columns that the user names, as `source_options`."""
    photos = (
        "Add a column of vectors of the photos: COLUMN=ENCODER, where ENCODER is timm:MODEL, hf:REPO or a checkpoint. "
        "Several are separated by spaces. Can be added to a prepared dataset."
    )
    faces = "The same for a column of vectors of the faces; starter is an encoder of faces too."
    return [
        (name, list[str], field(default_factory=list, metadata={"help": text}))
        for name, text in (("features", photos), ("face_features", faces))
    ]


def open_encoded(values: Mapping[str, Any], device: str = "cpu") -> list[ColumnSource]:
    """The sources that `--features` and `--face_features` give.

    Raises:
        UserError: an invalid or doubled column name, or an encoder that cannot be opened.
    """
    from .. import schema

    given = [(pair, of_faces) for of_faces, name in enumerate(("features", "face_features")) for pair in values[name]]
    columns = [pair.partition("=")[0] for pair, _ in given]
    for (pair, _), column in zip(given, columns, strict=True):
        if not _COLUMN.fullmatch(column) or not pair.partition("=")[2]:
            raise UserError(
                f"a column of vectors must be COLUMN=ENCODER, not {pair!r}: COLUMN in lower-case letters, digits and _"
            )
        if column in schema.features() or columns.count(column) > 1:
            taken = "is given twice" if columns.count(column) > 1 else "is a column of every prepared dataset"
            raise UserError(f"{column} {taken}: choose another name")
    if not given:
        return []
    kind = importlib.import_module("ger_models.encoders.sources").EncodedColumn
    return [
        kind(column, pair.partition("=")[2], bool(of_faces), device)
        for (pair, of_faces), column in zip(given, columns, strict=True)
    ]


def kind_of(source: ColumnSource) -> Source:
    """The row of `SOURCES` for a source, or what stands for it where the user named the column."""
    if source.name in SOURCES:
        return SOURCES[source.name]
    return Source((source.name,), f"{ENCODED}{source.name}", "", f"Column {source.name}", "")


def encoded_features(sources: Sequence[ColumnSource]) -> dict[str, Any]:
    """The columns that sources add whose names the user chose -> their types."""
    from datasets import List, Value

    own = [source for source in sources if source.name not in SOURCES]
    vectors = {source.name: List(Value("float32"), length=source.settings["width"]) for source in own}
    return {s.name: List(vectors[s.name]) if getattr(s, "of_faces", False) else vectors[s.name] for s in own}


def open_sources(values: Mapping[str, Any], source_root: Path, device: str = "cpu") -> list[ColumnSource]:
    """The sources that the options `values` give, for photos in the raw folder `source_root`; models run on `device`.

    Raises:
        UserError: a source cannot be opened.
    """
    sources = []
    for kind in SOURCES.values():
        if values[kind.option] != "none":
            module, _, function = kind.opener.partition(":")
            sources.append(
                getattr(importlib.import_module(module), function)(values[kind.option], source_root, device)
            )
    return sources


def source_settings(sources: Sequence[ColumnSource], later: bool) -> dict[str, Any]:
    """Option -> the settings of its source, None if it is not among `sources`; of the kinds with this `later`."""
    given = {kind_of(source).option: dict(source.settings) for source in sources}
    of_table = {kind.option: given.get(kind.option) for kind in SOURCES.values() if kind.later == later}
    return of_table | {name: settings for name, settings in given.items() if later and name.startswith(ENCODED)}


def legacy_source(folder: str, source_root: Path, device: str) -> ColumnSource:
    """The source that `--legacy FOLDER` names."""
    from ..legacy.source import LegacySource

    return LegacySource(Path(folder), source_root)


def skeleton_source(text: str, source_root: Path, device: str = "cpu") -> ColumnSource:
    """The source that `--skeletons TEXT` names.

    Args:
        text: a folder of OpenPose's files or rendered images; a JSON file of MS COCO's keypoints of the whole
            dataset; or `POSE_MODEL[,PERSON_DETECTOR]`, each a name on the Hub or the folder of a checkpoint.
        source_root: the raw folder that the photos are in.
        device: where models run.

    Raises:
        UserError: a folder that does not exist or holds no skeletons, or models that cannot be loaded.
    """
    from ..skeletons.coco import CocoSkeletons
    from ..skeletons.files import SkeletonFiles
    from ..skeletons.pose_model import DETECTOR, SkeletonModel

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
    model = SkeletonModel(pose, detector or DETECTOR, device)
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
