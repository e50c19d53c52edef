"""Columns of vectors in a dataset: which encoder filled each, and whether it is the one of a model's training."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from transformers import PreTrainedConfig, PreTrainedModel

from ger_datasets.loading.stream import Stream
from ger_datasets.preparation.card import read_card
from ger_datasets.support.errors import UserError
from ger_datasets.support.repository_names import public_name

from ..presets import preset
from ..processing_ger import GerProcessor
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
