"""The parts of training that do not fit on train.py's one screen."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from ger_datasets.errors import UserError
from ger_datasets.files import write_text

from .cards import model_card
from .loading import one_line, scene_dim
from .presets import Preset, Recipe, preset
from .presets import build as build_preset
from .processing_ger import GerProcessor

logger = logging.getLogger(__name__)

VERSIONED = ("group-emotion", "torch", "transformers", "accelerate", "timm", "datasets", "numpy")


def _sgd(parameters: Iterable[torch.nn.Parameter], recipe: Recipe) -> Optimizer:
    return torch.optim.SGD(parameters, recipe.learning_rate, momentum=0.9, weight_decay=recipe.weight_decay)


def _adamw(parameters: Iterable[torch.nn.Parameter], recipe: Recipe) -> Optimizer:
    return torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)


def _step(recipe: Recipe, steps: int) -> Callable[[int], float]:
    return lambda step: 0.1 ** (step * recipe.epochs // steps // recipe.step_epochs)


def _cosine(recipe: Recipe, steps: int) -> Callable[[int], float]:
    warmup = max(1, steps // 10)
    return lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * min(step / steps, 1)))


OPTIMIZERS = {"sgd": _sgd, "adamw": _adamw}
SCHEDULES = {"step": _step, "cosine": _cosine}


def make_optimizer(model: PreTrainedModel, recipe: Recipe, steps: int) -> tuple[Optimizer, LambdaLR]:
    """The recipe's optimizer, and its schedule over `steps` optimizer steps."""
    optimizer = OPTIMIZERS[recipe.optimizer]([p for p in model.parameters() if p.requires_grad], recipe)
    return optimizer, LambdaLR(optimizer, SCHEDULES[recipe.schedule](recipe, steps))


@torch.inference_mode()
def predict(model: torch.nn.Module, loader: Iterable, accelerator: Accelerator) -> tuple[np.ndarray, np.ndarray]:
    """Logits (rows, classes) float32 and labels (rows,) of all rows of a prepared loader, from all processes."""
    model.eval()
    logits, labels = [], []
    for batch in loader:
        wanted = batch.pop("labels")
        outputs = accelerator.gather_for_metrics((model(**batch).logits, wanted))
        logits.append(outputs[0].float().cpu().numpy())
        labels.append(outputs[1].cpu().numpy())
    return np.concatenate(logits), np.concatenate(labels)


def new_run_folder(output: Path, accelerator: Accelerator) -> None:
    """Make `output`, or refuse it if it holds anything: a run never overwrites another."""
    taken = output.exists() and (not output.is_dir() or any(output.iterdir()))
    accelerator.wait_for_everyone()  # before the first process writes there, all have looked
    if taken:
        raise UserError(f"{output} is not empty: choose another --output_dir, or move what is there away")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output} cannot be made: {error.strerror}") from error


def overridden(recipe: Recipe, arguments: Any) -> Recipe:
    """`recipe` with those of its fields that the command line gives.

    Raises:
        UserError: a value below what makes sense.
    """
    given = {f.name: getattr(arguments, f.name, None) for f in dataclasses.fields(Recipe)}
    for name, value in given.items():
        if value is not None and not value > 0:
            raise UserError(f"{name} must be more than 0, not {value}")
    return dataclasses.replace(recipe, **{name: value for name, value in given.items() if value is not None})


def build(arguments: Any, train: Dataset, accelerator: Accelerator) -> tuple[PreTrainedModel, GerProcessor, str]:
    """The model and processor that train.py's arguments ask for, and what its weights began as.

    Raises:
        UserError: the preset or its configuration is refused, or the ImageNet weights that were asked for are out of
            reach.
    """
    wanted = arguments.initial_weights
    if wanted not in ("auto", "imagenet", "random"):
        raise UserError(f"unknown initial weights {wanted!r}: there are auto, imagenet, random")
    chosen = preset(arguments.model)
    if wanted == "imagenet" and not chosen.imagenet:
        raise UserError(f"{arguments.model} has no ImageNet weights to start from: leave --initial_weights out")
    names = train.features["label"].names

    def made(pretrained: bool) -> tuple[PreTrainedModel, GerProcessor]:
        return build_preset(arguments.model, names, scene_dim(train), arguments.config_overrides, pretrained)

    if chosen.imagenet and wanted != "random":
        logger.info("looking for ImageNet weights in the cache and on the Hub")
        try:
            with accelerator.main_process_first():
                return *made(pretrained=True), "imagenet"
        except (OSError, RuntimeError) as error:  # RuntimeError: timm has none for this backbone
            reason = f"no ImageNet weights for {arguments.model} ({one_line(error)})"
            if wanted == "imagenet":
                raise UserError(f"{reason}: connect, fill the Hub cache, or use --initial_weights random") from error
            logger.warning("%s: starting from RANDOM weights, which takes far more photos to train", reason)
    return *made(pretrained=False), "random"


def check_loss(loss: float, epoch: int) -> None:
    """Stop a run whose loss is no number any more."""
    if not math.isfinite(loss):
        raise UserError(
            f"the loss became {loss} in epoch {epoch}: try a lower --learning_rate; the best epoch so far is kept"
        )


def save_checkpoint(output: Path, model: PreTrainedModel, processor: GerProcessor) -> None:
    """The model and its processor, as `from_pretrained` opens them."""
    model.save_pretrained(output)
    processor.save_pretrained(output)


def write_run(
    output: Path, chosen: Preset, run: Mapping[str, Any], history: Sequence[Mapping[str, Any]], notice: str
) -> None:
    """`metrics.json`, with the versions of what made it, and the model card."""
    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    content = {**run, "notice": notice, "versions": versions, "history": list(history)}
    write_text(output / "metrics.json", json.dumps(content, indent=1) + "\n")
    write_text(output / "README.md", model_card(run["model"], chosen, content))
