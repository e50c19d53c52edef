"""Columns of vectors: which encoder filled each, whether it is the one of a model's training, and photos from outside
-> the columns that the model reads, by the same encoder."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedConfig, PreTrainedModel

from ger_datasets.loading.stream import Stream
from ger_datasets.preparation.card import read_card
from ger_datasets.preparation.column_sources import ADDED_BY
from ger_datasets.support.errors import UserError, listing
from ger_datasets.support.repository_names import public_name

from ..encoders.sources import EncodedColumn
from ..presets import preset
from ..processing_ger import GerProcessor
from ..starter import STARTER_NAME
from .revisions import weights_digest


def encoders_of(dataset: str) -> dict[str, dict[str, Any]]:
    """Column -> `name`, `width` and `weights_sha256` of the encoder that filled it, as the dataset's card says."""
    found = read_card(dataset).get("encoders") or {}
    return {str(column): dict(about) for column, about in found.items() if isinstance(about, dict)}


def check_encoders(dataset: str, config: PreTrainedConfig) -> None:
    """Refuse a dataset in which a column that the model reads was filled by another encoder than in its training.

    Raises:
        UserError: it was; the message names both.
    """
    known = encoders_of(dataset)
    for column, wanted in (getattr(config, "encoders", None) or {}).items():
        found = known.get(column)
        if found is not None and found.get("weights_sha256") != wanted.get("weights_sha256"):
            raise UserError(
                f"the column {column} of {dataset} was filled by {found.get('name')}, and the model was trained on a "
                f"column filled by {wanted.get('name')} (other weights): add that encoder's column with prepare.py"
            )


def column_of_backbone(dataset: str, model: str, overrides: str) -> str | None:
    """The column that holds the vectors of a frozen backbone, which training then reads instead of photos.

    Args:
        dataset: a prepared dataset.
        model: the preset's name.
        overrides: its configuration's, `field=value,...`.
    """
    chosen = preset(model)
    fields = chosen.fields(overrides)
    if chosen.architecture != "ger_scene" or not fields.get("freeze_backbone") or chosen.photo_column != "image":
        return None
    name = str(fields.get("backbone", ""))
    wanted = f"hf:{public_name(name.removeprefix('hf:'))}" if name.startswith("hf:") else f"timm:{name}"
    return next((column for column, about in encoders_of(dataset).items() if about.get("name") == wanted), None)


def training_processor(
    processor: GerProcessor, model: PreTrainedModel, train: Dataset | Stream, dataset: str, column: str | None
) -> GerProcessor:
    """The processor that training reads with: `processor`, or one that reads the backbone's vectors from `column`.

    Raises:
        UserError: the column was filled by other weights than the model's backbone.
    """
    if column is None or column not in train.column_names:
        return processor
    about = encoders_of(dataset)[column]
    if about.get("weights_sha256") != weights_digest(model.backbone):
        raise UserError(
            f"the column {column} of {dataset} was filled by other weights of {about.get('name')} than this model's: "
            "prepare the dataset with these, or leave the column out by --config_overrides freeze_backbone=false"
        )
    return GerProcessor(columns=("image_feature",), renamed={"image_feature": column})


def note_encoders(model: PreTrainedModel, dataset: str) -> None:
    """Write into a fusion model's configuration which encoders filled the columns that it reads."""
    if model.config.model_type == "ger_fusion":
        known = encoders_of(dataset)
        read = [model.config.face_column if model.config.faces == "features" else ""]
        read.append(model.config.scene_column if model.config.scene == "feature" else "")
        model.config.encoders = {column: known[column] for column in read if column in known} or None


class AddedColumns:
    """Rows of photos and their faces -> the same rows with the columns of vectors that models read.

    The encoders are those that the models' configurations name. They are opened at the first row without its column:
    from the Hub, in the current folder, in the model's folder or beside it. Their weights must be those of the
    training data.

    Args:
        models: the models.
        columns: all columns that they read.
        device: where the encoders run.

    Attributes:
        columns: those that it adds, or refuses to.

    Raises:
        UserError: two models read a column that other encoders filled.
    """

    def __init__(
        self, models: Sequence[PreTrainedModel], columns: Collection[str], device: torch.device | str = "cpu"
    ) -> None:
        self.device = device
        self._wanted = {column: about for column, about in _vectors_read(models).items() if column in columns}
        self._others = [column for column in columns if column in ADDED_BY and column not in self._wanted]
        self._near = [Path(), *(place for model in models for place in _folders(model))]
        self._sources: dict[str, EncodedColumn] = {}
        self.columns = frozenset([*self._wanted, *self._others])

    def lacking(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a row lacks a column that `fill` adds.

        Raises:
            UserError: it lacks one that cannot be made of a photo.
        """
        for column in self._others:
            if any(column not in row for row in rows):
                raise UserError(_unknown(column, ADDED_BY[column]))
        return any(column not in row for row in rows for column in self._wanted)

    def fill(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The rows with all their columns; what a row has stays as it is.

        Args:
            rows: with `image` and `face_boxes` where they lack a column.

        Raises:
            UserError: a column that cannot be made of a photo, or whose encoder cannot be opened.
        """
        filled = [dict(row) for row in rows]
        for column in self._wanted if self.lacking(rows) else ():
            bare = [row for row in filled if column not in row]
            images, boxes = [row["image"] for row in bare], [row["face_boxes"] for row in bare]
            values = self._source(column).batch_columns(images, boxes)[column] if bare else ()
            for row, value in zip(bare, values, strict=True):
                row[column] = value
        return filled

    def _source(self, column: str) -> EncodedColumn:
        if column not in self._sources:
            about, of_faces = self._wanted[column]
            reasons = []
            for name in _places(about, self._near):
                try:
                    source = EncodedColumn(column, name, of_faces, str(self.device))
                except UserError as error:
                    reasons.append(str(error))
                    continue
                if source.settings.get("weights_sha256") == about.get("weights_sha256"):
                    self._sources[column] = source
                    return source
                reasons.append(f"{name} has other weights than in the training data")
            option = "scene_model " if column == "scene_feature" else f"{'face_' * of_faces}features {column}="
            raise UserError(_unknown(column, f"--{option}{about.get('name')}", listing(reasons)))
        return self._sources[column]


def _vectors_read(models: Sequence[PreTrainedModel]) -> dict[str, tuple[Mapping[str, Any], bool]]:
    """Column -> its encoder as the configurations name it, and whether its vectors are of faces."""
    found: dict[str, tuple[Mapping[str, Any], bool]] = {}
    configs = [config for model in models for config in getattr(model.config, "member_configs", [model.config])]
    for config in configs:
        for column, about in (getattr(config, "encoders", None) or {}).items():
            known, _ = found.setdefault(column, (about, config.faces == "features" and column == config.face_column))
            if known.get("weights_sha256") != about.get("weights_sha256"):
                raise UserError(
                    f"the column {column} is of {known.get('name')} for one model and of {about.get('name')} (other "
                    "weights) for another: predict with each alone"
                )
    return found


def _folders(model: PreTrainedModel) -> list[Path]:
    """The folder of a model's checkpoint and the one that it stands in; none of a repository on the Hub."""
    place = Path(model.name_or_path)
    return [place, place.resolve().parent] if model.name_or_path and place.is_dir() else []


def _places(about: Mapping[str, Any], near: Sequence[Path]) -> Iterator[str]:
    """What the encoder may be opened as: folders of its name, or its repository at its revision."""
    name, revision = str(about.get("name")), about.get("revision")
    kind, colon, rest = name.rpartition(":")
    folders = [place / rest for place in near if (place / rest).is_dir()]
    if folders and name != STARTER_NAME:
        yield from (f"{kind}{colon}{folder}" for folder in folders)
    else:
        yield f"{name}@{revision}" if revision and kind == "hf" else name


def _unknown(column: str, option: str, reason: str = "") -> str:
    """What to say of a column that cannot be made."""
    because = f" ({reason})" if reason else ""
    return (
        f"this model reads {column}, which does not follow from a photo{because}: prepare the photos with "
        f"scripts/prepare.py {option}, and give the dataset's rows"
    )
