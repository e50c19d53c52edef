"""Initial weights from other runs, for training in stages."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, HTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedConfig, PreTrainedModel

from ger_datasets.support.errors import UserError, listing, one_line
from ger_datasets.support.hub_connection import read_from_hub
from ger_datasets.support.repository_names import is_missing_folder, public_name

from ..configuration_ger import GerExpressionConfig, GerFaceConfig, GerFusionConfig, GerSceneConfig
from ..inference.checkpoints import checkpoint_place, read_config

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
ANSWER_FIELDS = ("groups", "priors", "combination", "answer_temperature", "two_views")  # of GerExpressionConfig


@dataclass(frozen=True)
class Graft:
    """The part of a fusion model that is initialised from another model.

    Attributes:
        source: configuration class of the source model, or one for each value of the fusion model's `faces`.
        parts: name prefix in the source -> name prefix in the fusion model, all its weights are required.
        may_differ: prefixes of weights that are skipped if their shapes differ.
    """

    source: type[PreTrainedConfig] | Mapping[str, type[PreTrainedConfig]]
    parts: dict[str, str]
    may_differ: tuple[str, ...] = ()


GRAFTS = {
    "scene_from": Graft(GerSceneConfig, {"backbone.": "scene_backbone."}),
    "faces_from": Graft({"images": GerFaceConfig, "expressions": GerExpressionConfig}, {"net.": "face_net."}),
    "pooling_from": Graft(
        GerFusionConfig,
        {name: name for name in ("pooling.", "face_projection.", "scene_projection.", "norm.")},
        may_differ=("face_projection.", "scene_projection.", "norm."),
    ),
}

# options of train.py that name another run, which must be finished first
STAGES = ("init_from", *GRAFTS, "teacher")


def warn_of_other_pixels(checkpoint: str, theirs: Any, ours: Any) -> None:
    """Log a warning if a checkpoint's processor makes photos in another way than the processor of the training."""
    names = ("image_mean", "image_std", "interpolation", "crop_size")
    if not all({"image", "skeleton"}.intersection(getattr(each, "columns", ())) for each in (theirs, ours)):
        return
    different = [
        f"{name} {getattr(theirs, name)} instead of {getattr(ours, name)}"
        for name in names
        if getattr(theirs, name) != getattr(ours, name)
    ]
    if different:
        logger.warning("%s was trained on photos made with %s", checkpoint, ", ".join(different))


def continue_from(model: PreTrainedModel, checkpoint: str) -> dict[str, Any]:
    """Load all weights of a run or checkpoint of the same architecture into `model`.

    The head is loaded only if it has the same classes in the same order.

    Args:
        checkpoint: a folder, or a repository on the Hub.

    Returns:
        `from`, `loaded` (how many weights), and `left_out`: name -> reason.

    Raises:
        UserError: the checkpoint does not exist or has another architecture.
    """
    config, weights = _read(checkpoint)
    if type(config) is not type(model.config):
        raise UserError(
            f"{checkpoint} is a {config.model_type} and the model to train a {model.config.model_type}: --init_from "
            f"needs the same architecture; {', '.join(f'--{name}' for name in GRAFTS)} take parts"
        )
    left_out = {}
    there, here = list(config.id2label.values()), list(model.config.id2label.values())
    if there != here:
        reason = f"its classes are {listing(there)}, the dataset's {listing(here)}"
        left_out = {name: reason for name in weights if _is_head(name)}
    taken = {name: tensor for name, tensor in weights.items() if name not in left_out}
    _fill(model, taken, checkpoint, lambda name: not _is_head(name) or there == here)
    if isinstance(config, GerExpressionConfig):  # combine the faces' expressions into the group's answer
        for name in ANSWER_FIELDS:
            setattr(model.config, name, getattr(config, name))
    return _report(checkpoint, len(taken), left_out)


def graft(model: PreTrainedModel, option: str, checkpoint: str) -> dict[str, Any]:
    """Load the part of a fusion model that `option`, a key of `GRAFTS`, names.

    Returns, and raises UserError, as `continue_from`.
    """
    wanted = GRAFTS[option]
    if not isinstance(model.config, GerFusionConfig):
        raise UserError(f"--{option} is for the fusion models; use --init_from for a {model.config.model_type}")
    config, weights = _read(checkpoint)
    source = wanted.source
    if isinstance(source, Mapping):
        if model.config.faces not in source:
            raise UserError(f"--{option}: the model to train has no weights {listing(wanted.parts.values())}")
        source = source[model.config.faces]
    if not isinstance(config, source):
        raise UserError(f"--{option} takes a {source.model_type} here, and {checkpoint} is a {config.model_type}")
    own, needed = model.state_dict(), set()
    taken: dict[str, torch.Tensor] = {}
    left_out: dict[str, str] = {}
    for there, here in wanted.parts.items():
        part = {here + n.removeprefix(there): t for n, t in weights.items() if n.startswith(there)}
        fits = all(name in own and own[name].shape == tensor.shape for name, tensor in part.items())
        if here in wanted.may_differ and not fits:
            left_out |= dict.fromkeys(part, "its shape differs")
            continue
        taken |= part
        if here not in wanted.may_differ:
            needed |= {name for name in own if name.startswith(here)}
    if not needed:
        raise UserError(f"--{option}: the model to train has no weights {listing(wanted.parts.values())}")
    _fill(model, taken, checkpoint, lambda name: name in needed)
    others = [name for name in weights if not name.startswith(tuple(wanted.parts))]
    return _report(checkpoint, len(taken), {**left_out, **dict.fromkeys(others, "not part of the model")})


def _is_head(name: str) -> bool:
    """Whether a weight's shape depends on the number of classes."""
    return name.split(".")[0] in ("head", "no_face_logits")


def _fill(model: PreTrainedModel, weights: dict[str, torch.Tensor], checkpoint: str, needed: Any) -> None:
    """Load `weights`; UserError if one is unknown or has another shape, or a `needed` one is missing."""
    own = model.state_dict()
    astray = [name for name in weights if name not in own]
    weights = dict(sorted(weights.items()))
    misfits = [
        f"{name} {tuple(weights[name].shape)} where the model has {tuple(own[name].shape)}"
        for name in weights
        if name in own and own[name].shape != weights[name].shape
    ]
    missing = [name for name in own if name not in weights and needed(name) and own[name].is_floating_point()]
    if not weights or astray or misfits or missing:
        trouble = [
            f"{len(astray)} weights are unknown ({listing(astray, 3)})" if astray else "",
            f"{len(misfits)} do not fit ({listing(misfits, 2)})" if misfits else "",
            f"{len(missing)} are missing ({listing(missing, 3)})" if missing else "",
        ]
        reasons = "; ".join(filter(None, trouble)) or "it has none of the weights"
        raise UserError(
            f"{checkpoint} does not fit the model to train: {reasons}; give both the same preset and "
            "--config_overrides"
        )
    model.load_state_dict(weights, strict=False)


def _report(checkpoint: str, loaded: int, left_out: dict[str, str]) -> dict[str, Any]:
    logger.info("from %s: %d weights loaded, %d left out", checkpoint, loaded, len(left_out))
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        logger.warning("left out %s: %s", listing(sorted(names)), reason)
    return {"from": public_name(checkpoint), "loaded": loaded, "left_out": left_out}


def _read(checkpoint: str) -> tuple[PreTrainedConfig, dict[str, torch.Tensor]]:
    """The configuration and the weights of a folder that `save_pretrained` wrote, or of a repository on the Hub."""
    checkpoint = checkpoint_place(checkpoint)
    if is_missing_folder(checkpoint):
        raise UserError(f"no folder {checkpoint}: name a run, a checkpoint or a repository on the Hub")
    folder, config = Path(checkpoint), read_config(checkpoint)

    def read() -> tuple[PreTrainedConfig, dict[str, torch.Tensor]]:
        path = folder / WEIGHTS if folder.is_dir() else Path(hf_hub_download(checkpoint, WEIGHTS))
        return config, load_file(path)

    try:
        return read_from_hub(checkpoint, read)
    except EntryNotFoundError as error:
        raise UserError(f"{checkpoint} has no {WEIGHTS}: {one_line(error)}") from error
    except (OSError, ValueError, HTTPError, HFValidationError, SafetensorError) as error:
        raise UserError(
            f"no model can be loaded from {checkpoint}: its {WEIGHTS} cannot be read ({one_line(error)})"
        ) from error
