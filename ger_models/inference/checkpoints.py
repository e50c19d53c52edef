"""Checkpoints -> models and processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import CONFIG_NAME

from ger_datasets.support.errors import UserError, one_line
from ger_datasets.support.hub_connection import check_reachable, read_from_hub
from ger_datasets.support.repository_names import is_missing_folder

from .. import auto  # noqa: F401 - registers the models
from ..processing_ensemble import GerEnsembleProcessor
from ..processing_ger import GerProcessor
from ..starter import checkpoint_place
from .saving import COMPLETE

PROCESSOR = "preprocessor_config.json"


def load_checkpoint(name: str) -> tuple[PreTrainedModel, GerProcessor | GerEnsembleProcessor]:
    """The model, ready for inference, and the processor in a folder or Hub repository.

    Weights are read from safetensors only: nothing is unpickled, and no code from the checkpoint is run. For a
    model from the Hub, `config._commit_hash` is the commit. Half-precision weights are converted to float32.

    Args:
        name: a folder, a Hub repository, or `starter`.

    Raises:
        UserError: the checkpoint does not exist, is not of this package, or the Hub cannot be reached.
    """
    name = checkpoint_place(name)
    if is_missing_folder(name):
        raise UserError(f"no model can be loaded from {name}: there is no such folder; train.py makes one")
    if Path(name).is_dir():
        if (Path(name) / COMPLETE).is_dir() and not (Path(name) / CONFIG_NAME).exists():
            raise UserError(
                f"no model can be loaded from {name}: a process was killed while it replaced it; run its command "
                "again (train.py with --resume)"
            )
        read_config(name)
    elif not isinstance(try_to_load_from_cache(name, CONFIG_NAME), str):
        check_reachable(name)
    file = f"its {CONFIG_NAME} and its weights, .safetensors,"

    def load() -> tuple[Any, Any]:
        nonlocal file
        # one commit for all files of a repository: transformers does not report which it used
        commit = None if Path(name).is_dir() else Path(hf_hub_download(name, CONFIG_NAME)).parent.name
        options = {"revision": commit or "main", "trust_remote_code": False}
        model = AutoModelForImageClassification.from_pretrained(name, use_safetensors=True, **options).float()
        file = f"its {PROCESSOR}"
        processor = AutoImageProcessor.from_pretrained(name, **options)
        model.config._commit_hash = commit
        return model, processor

    try:
        model, processor = read_from_hub(name, load)
    except UserError:
        raise
    except Exception as error:  # transformers and safetensors raise many types on invalid files
        if isinstance(error, SafetensorError):
            file = "its model.safetensors"
        raise UserError(f"no model can be loaded from {name}: {file} cannot be read ({one_line(error)})") from error
    if not isinstance(processor, (GerProcessor, GerEnsembleProcessor)):
        raise UserError(f"{name} holds a {type(model).__name__}, which is not one of this package's models")
    return model.eval(), processor


def read_processor(name: str) -> GerProcessor | GerEnsembleProcessor | None:
    """The processor of a checkpoint in a folder or Hub repository, or of `starter`; None where it has none of ours."""
    name = checkpoint_place(name)
    try:
        found = read_from_hub(name, lambda: AutoImageProcessor.from_pretrained(name, trust_remote_code=False))
    except (UserError, OSError, ValueError, KeyError, TypeError):  # a checkpoint may do without
        return None
    return found if isinstance(found, (GerProcessor, GerEnsembleProcessor)) else None


def read_config(name: str) -> PreTrainedConfig:
    """The configuration of the checkpoint in a folder or Hub repository, or of `starter`; no code from there is run.

    Raises:
        UserError: it does not exist, or transformers and this package do not know its type.
    """
    name = checkpoint_place(name)
    try:
        return read_from_hub(name, lambda: AutoConfig.from_pretrained(name, trust_remote_code=False))
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(
            f"no model can be loaded from {name}: its {CONFIG_NAME} cannot be read ({one_line(error)})"
        ) from error
