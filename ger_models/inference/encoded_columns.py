"""Columns of vectors in a dataset: which encoder filled each, and whether it is the one of a model's training."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from ger_datasets.preparation.card import read_card
from ger_datasets.support.errors import UserError


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
