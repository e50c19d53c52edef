"""Checkpoints that work without this package, because they include the code of their classes.

    AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=...)

runs this code if the package is not installed. If it is installed and imported, its own classes are used and
`trust_remote_code` is not needed.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from ger_datasets.support.errors import UserError

from ..configuration_ensemble import GerEnsembleConfig


def save_with_code(model: PreTrainedModel, processor: BaseImageProcessor, folder: str | Path) -> None:
    """Save a model, its processor, and the code of both to `folder`.

    Raises:
        UserError: the model is an ensemble, whose members' classes only this package knows.
    """
    if isinstance(model.config, GerEnsembleConfig):
        raise UserError(
            "an ensemble builds its members by names that only this package knows: save it with "
            "save_pretrained, and import ger_models before loading it"
        )
    autos = {
        type(model.config): "AutoConfig",
        type(model): "AutoModelForImageClassification",
        type(processor): "AutoImageProcessor",
    }
    try:
        for kind, auto in autos.items():
            kind.register_for_auto_class(auto)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    finally:  # otherwise every later checkpoint of this process would carry the code too
        for kind in autos:
            kind._auto_class = None
        for described in (model.config, processor):
            if hasattr(described, "auto_map"):
                del described.auto_map
