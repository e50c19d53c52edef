"""Functions that train.py calls outside the training step itself."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import logging
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, find_executable_batch_size
from datasets import Dataset
from huggingface_hub.errors import HTTPError
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from ger_datasets.loading.splits import load_splits
from ger_datasets.loading.stream import Stream
from ger_datasets.schema import NO_LABEL
from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError, listing, one_line
from ger_datasets.support.hub_connection import patiently

from ..backbones import checkpoint_gradients
from ..combining import route_title
from ..evaluation.chosen_photos import choose_photos
from ..evaluation.metrics import METRICS, compute_metrics
from ..inference.checkpoints import load_checkpoint, read_processor
from ..inference.encoded_columns import column_of_backbone, note_encoders
from ..presets import build as build_preset
from ..presets import preset
from ..processing_ger import FACE_COLUMNS, GerProcessor
from .dataset_checks import check_trainable, check_widths, face_dim, scene_dim
from .initial_weights import GRAFTS, continue_from, graft, warn_of_other_pixels
from .loading.batching import Collator, face_counts
from .optimization import make_optimizer
from .options import RunOptions
from .recipe import Recipe
from .run_folder import RUN, Position, RunFolder
from .weight_averaging import MovingAverage

logger = logging.getLogger(__name__)


def make_accelerator(
    architecture: str, gradient_accumulation: int, trackers: Sequence[str], output: Path
) -> Accelerator:
    """The accelerator of the run.

    Args:
        architecture: the configuration's `model_type`.
        gradient_accumulation: batches per optimizer step.
        trackers: names of Accelerate's trackers.
        output: folder for trackers that write files.

    Raises:
        UserError: an unknown tracker, or one that is not installed.
    """
    available = {tracker.value if hasattr(tracker, "value") else str(tracker) for tracker in get_available_trackers()}
    for name in trackers:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UserError(f"unknown tracker {name!r}: there are {listing(LOGGER_TYPE_TO_CLASS, 20)}")
        if name not in available:
            raise UserError(f"the tracker {name} is not installed: pip install {name}, or leave --trackers out")
    disable_progress_bar()  # of transformers, for writing one file
    accelerator = Accelerator(
        gradient_accumulation_steps=gradient_accumulation,
        log_with=list(trackers) or None,
        project_dir=str(output),
        # batches without faces, or without faceless photos, leave a part of the face and fusion models unused
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=architecture != "ger_scene")],
    )
    if accelerator.device.type == "cuda" and not torch.are_deterministic_algorithms_enabled():
        torch.set_float32_matmul_precision("high")  # TF32, as PyTorch's convolutions use by default
    return accelerator


def end_training(accelerator: Accelerator) -> None:
    """End the trackers. What they print goes to stderr: stdout is for the figures."""
    with contextlib.redirect_stdout(sys.stderr):
        accelerator.end_training()
        if accelerator.is_main_process and any(tracker.name == "trackio" for tracker in accelerator.trackers):
            import trackio

            trackio.finish()  # it would print to stdout at the end of the process


def load_data(
    options: RunOptions,
    accelerator: Accelerator,
    streaming: bool = False,
    drop_unlabelled: bool = False,
    limit_train: int | None = None,
) -> dict[str, Any]:
    """The splits `train` and `validation` of the dataset, with only the columns that the model reads.

    Args:
        options: the run's options: dataset, model and its configuration.
        streaming: read shards during training instead of filling a cache.
        drop_unlabelled: leave photos without a label out instead of refusing them.
        limit_train: maximum number of training photos, evenly spaced.

    Raises:
        UserError: the dataset cannot train the model, or no photo has as many faces as `options.only` says.
    """
    dataset, chosen = options.dataset, preset(options.model)
    vectors = column_of_backbone(dataset, options.model, options.config_overrides)
    columns = chosen.dataset_columns(options.config_overrides) if vectors is None else (vectors,)
    optional = chosen.optional_columns(options.config_overrides)
    counted = ("face_scores",) if options.only else ()
    data = load_splits(dataset, (*columns, *optional, *counted), ("train", "validation"), accelerator, streaming)
    if options.only:
        least = (
            chosen.processor_settings["min_face_score"] if options.min_face_score is None else options.min_face_score
        )
        data = choose_photos(dataset, data, options.only, least)
        logger.info("only %s: %s", route_title(options.only), ", ".join(f"{len(data[n]):,} of {n}" for n in data))
        if "face_scores" not in columns:
            data = {name: split.remove_columns("face_scores") for name, split in data.items()}
    if drop_unlabelled:
        for name, split in data.items():
            labelled = np.flatnonzero(np.asarray(split["label"]) != NO_LABEL)
            if not len(labelled):
                raise UserError(f"no photo in the split {name!r} of {dataset} has a label")
            if len(labelled) < len(split):
                logger.warning(
                    "%d photos in the split %r have no label and are left out", len(split) - len(labelled), name
                )
                data[name] = split.select(labelled)
    check_trainable(dataset, data, columns)
    if limit_train is not None and limit_train < len(data["train"]):
        kept = np.linspace(0, len(data["train"]) - 1, max(limit_train, 1)).round().astype(int)
        data["train"] = data["train"].select(kept)
    return data


def build(
    options: RunOptions, train: Dataset | Stream, accelerator: Accelerator
) -> tuple[PreTrainedModel, GerProcessor, dict]:
    """The model and processor of a run, and a description of the initial weights.

    Raises:
        UserError: the preset or its configuration is refused, the requested ImageNet weights are not
            available, or a checkpoint to start from does not fit.
    """
    wanted, name, overrides = options.initial_weights, options.model, options.config_overrides
    if wanted not in ("auto", "imagenet", "random"):
        raise UserError(f"unknown initial weights {wanted!r}: there are auto, imagenet, random")
    imagenet = preset(name).starts_from_imagenet(overrides)
    if wanted == "imagenet" and not imagenet:
        raise UserError(f"{name} has no ImageNet weights to start from: leave --initial_weights out")
    if preset(name).fields(overrides).get("as_published"):
        raise UserError("as_published is for converted checkpoints of the original, not for training: leave it out")
    names = train.features["label"].names
    given = {option: getattr(options, option) for option in ("init_from", *GRAFTS)}
    stages = {option: checkpoint for option, checkpoint in given.items() if checkpoint}
    overwritten = "init_from" in stages or "scene_from" in stages  # ImageNet's weights would be

    def made(pretrained: bool) -> tuple[PreTrainedModel, GerProcessor]:
        renamed = preset(name).renamed(overrides)
        scene = scene_dim(train, renamed.get("scene_feature", "scene_feature"))
        faces = face_dim(train, renamed.get("face_features", "face_features"))
        return build_preset(name, names, scene, overrides, pretrained, faces)

    model = None
    started_from: dict[str, Any] = {"weights": "random"}
    if imagenet and wanted != "random" and not overwritten:
        logger.info("looking for ImageNet weights in the cache and on the Hub")
        try:
            with accelerator.main_process_first():
                model, processor = patiently(lambda: made(pretrained=True))
                started_from = {"weights": "imagenet"}
        except (OSError, RuntimeError, HTTPError) as error:  # RuntimeError: timm has none for this backbone
            reason = f"no ImageNet weights for {name} ({one_line(error)})"
            if wanted == "imagenet":
                raise UserError(f"{reason}: fill the Hub cache, or use --initial_weights random") from error
            logger.warning("%s: starting from RANDOM weights, which need far more photos to train", reason)
    if model is None:
        model, processor = made(pretrained=False)
    if getattr(model.config, "freeze_pooling", False) and not stages.keys() & {"init_from", "pooling_from"}:
        raise UserError(
            "freeze_pooling would keep random weights: name the run that trained the pooling with --pooling_from, or "
            "leave freeze_pooling out"
        )
    for option, checkpoint in stages.items():
        took = continue_from(model, checkpoint) if option == "init_from" else graft(model, option, checkpoint)
        started_from[option] = took
        if option in ("init_from", "scene_from"):
            warn_of_other_pixels(checkpoint, read_processor(checkpoint), processor)
    check_widths(options.dataset, train, model.config)
    note_encoders(model, options.dataset)
    if getattr(model.config, "freeze_backbone", False) and started_from == {"weights": "random"} and wanted == "auto":
        raise UserError(
            f"{name} would keep a frozen backbone with random weights: bring its weights into the Hub cache, or give "
            "--initial_weights random to see it run"
        )
    return model, processor, started_from


def fitting(
    recipe: Recipe,
    model: PreTrainedModel,
    train: Dataset,
    processor: GerProcessor,
    accelerator: Accelerator,
    resumed: Path | None = None,
) -> Recipe:
    """`recipe` with the largest divisor of its batch size whose steps fit into memory.

    Gradients are accumulated up to the recipe's batch exactly, so each step learns from as many photos as before; only
    BatchNorm computes its statistics over the smaller batches. Tried are the photos that need most memory: those with
    the most faces and, where sampled patches stand in for faces, those without any.

    Args:
        resumed: folder of a run to resume; its batch size is used if it exists.

    Raises:
        UserError: not even one photo fits.
    """
    if resumed is not None and (found := _recipe_of(resumed)):
        accelerator.gradient_accumulation_steps = found.gradient_accumulation
        return dataclasses.replace(
            recipe, batch_size=found.batch_size, gradient_accumulation=found.gradient_accumulation
        )
    tried = recipe.batch_size
    collator = Collator(processor, train_seed=0)
    demanding = _demanding(train, processor)

    def next_divisor() -> int:
        nonlocal tried
        logger.info("batches of %d photos do not fit into memory", tried)
        tried = next((size for size in range(tried - 1, 0, -1) if recipe.batch_size % size == 0), 0)
        return tried

    def step(batch_size: int) -> None:
        trial = copy.deepcopy(model).to(accelerator.device).train()  # do not change the model itself
        optimizer = make_optimizer(trial, **vars(recipe))
        for order in demanding:
            rows = [train[int(order[at % len(order)])] for at in range(batch_size)]
            batch = {name: value for name, value in collator(rows).items() if isinstance(value, torch.Tensor)}
            for _ in range(2):  # the second step includes the optimizer's state
                with accelerator.autocast():
                    loss = trial(**{name: value.to(accelerator.device) for name, value in batch.items()}).loss
                loss.backward()
                optimizer.step()

    try:
        # not as a decorator: up to accelerate 1.14 that forgets reduce_batch_size_fn
        find_executable_batch_size(step, tried, next_divisor)()
    except RuntimeError as error:
        if tried:
            raise
        raise UserError("not even one photo at a time fits into memory: choose a smaller model") from error
    tried = int(accelerator.gather(torch.tensor([tried], device=accelerator.device)).min())
    parts = recipe.batch_size // tried  # the least of several divisors is one, too
    logger.info("batches of %d photos fit; the gradients of %d are accumulated for each step", tried, parts)
    accelerator.gradient_accumulation_steps = recipe.gradient_accumulation * parts
    return dataclasses.replace(recipe, batch_size=tried, gradient_accumulation=recipe.gradient_accumulation * parts)


def _demanding(train: Dataset, processor: GerProcessor) -> list[np.ndarray]:
    """Orders (rows,) of the training photos, each beginning with those that need most memory of some kind."""
    if not FACE_COLUMNS.intersection(processor.columns):
        return [np.arange(len(train))]
    by_faces = np.argsort(-face_counts(train, processor), kind="stable")
    return [by_faces, by_faces[::-1]] if "sampled_patches" in processor.columns else [by_faces]


def _recipe_of(output: Path) -> Recipe | None:
    """The recipe of the run in `output`, if there is one."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return Recipe(**json.loads((output / RUN).read_text(encoding="utf-8"))["recipe"])
    return None


def placed(model: PreTrainedModel, accelerator: Accelerator) -> PreTrainedModel:
    """`model` on the process's device, unless accelerate shards it.

    So the optimizer knows the device before accelerate prepares both.
    """
    whole = accelerator.distributed_type in (DistributedType.NO, DistributedType.MULTI_GPU)
    return model.to(accelerator.device) if whole else model


def steps_per_epoch(loader: Any, accelerator: Accelerator) -> int:
    """Optimizer steps of an epoch: batches over those that are accumulated, rounded up."""
    return math.ceil(len(loader) / accelerator.gradient_accumulation_steps)


def run_length(epochs: int, loader: Any, accelerator: Accelerator, max_steps: int | None) -> tuple[int, float]:
    """The optimizer steps and epochs of a run of at most `epochs` and `max_steps`: what its schedule covers."""
    steps_each = steps_per_epoch(loader, accelerator)
    steps = min(epochs * steps_each, max_steps or epochs * steps_each)
    return steps, steps / steps_each


def starting_position(
    folder: RunFolder, model: Any, optimizer: Any, average: MovingAverage, loader: Any, resume: bool
) -> Position:
    """The start, or, with `resume`, the position of the newest complete checkpoint, whose state is loaded."""
    accelerator = folder.accelerator
    position = folder.load(model, optimizer, average) if resume else None
    if position is None:
        if resume:
            logger.info("no checkpoint in %s to resume from: starting at the beginning", folder.path)
        return Position(processes=accelerator.num_processes)
    if position.processes != accelerator.num_processes:
        logger.warning(
            "the run was started with %d processes and resumes with %d: not bit-exactly",
            position.processes, accelerator.num_processes,
        )  # fmt: skip
        done = position.batch * position.processes // accelerator.num_processes
        whole = done // accelerator.gradient_accumulation_steps * accelerator.gradient_accumulation_steps
        position.batch = min(whole, len(loader))
        before = steps_per_epoch(loader, accelerator) * (position.epoch - 1)
        position.step = before + math.ceil(position.batch / accelerator.gradient_accumulation_steps)
        position.processes = accelerator.num_processes
    return position


def seed_step(seed: int, position: Position, process: int) -> None:
    """Make dropout depend on seed, epoch, batch and process alone, so that checkpoints need no random state."""
    words = np.random.SeedSequence([seed, position.epoch, position.batch, process]).generate_state(2)
    number = int(words[0]) << 31 ^ int(words[1])
    if _accelerator_type() not in ("", "cuda"):
        torch.manual_seed(number)
        return
    # torch.manual_seed would record the call stack for unused devices, which is slow
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(number)


@cache
def _accelerator_type() -> str:
    """Such as cuda or mps; empty if there is none, for which torch 2.6 raises."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return "" if device is None else device.type


@torch.no_grad()  # FSDP and compiled models cannot use tensors of inference_mode
def predict(model: torch.nn.Module, loader: Iterable, accelerator: Accelerator) -> tuple[np.ndarray, np.ndarray]:
    """Logits (rows, classes) float32 and labels (rows,) of a prepared loader, gathered from all processes."""
    model.eval()
    logits, labels = [], []
    for batch in loader:
        wanted = batch.pop("labels")
        batch.pop("image_ids", None)
        outputs = accelerator.gather_for_metrics((model(**batch).logits, wanted))
        logits.append(outputs[0].float().cpu().numpy())
        labels.append(outputs[1].cpu().numpy())
    return np.concatenate(logits), np.concatenate(labels)


def finish_epoch(
    position: Position,
    logits: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    options: RunOptions,
    epochs: int,
    with_intervals: bool = True,
) -> bool:
    """Add the validation split's figures to the history, and move on to the next epoch or to the end.

    Args:
        position: the run's progress; it is updated.
        logits: (rows, classes) of the validation split.
        labels: (rows,) of the validation split.
        names: class names.
        options: the run's options: metric of the best epoch, and early stopping.
        epochs: number of epochs of the recipe.
        with_intervals: compute the intervals of the best epoch: in the main process, which writes them.

    Returns:
        whether this epoch is the best so far.
    """
    figures = compute_metrics(labels, logits, names, bootstrap_samples=0)
    position.history.append(
        {
            "epoch": position.epoch,
            "step": position.step,
            "batches": position.batch,
            "loss": position.loss_sum / max(position.batches, 1),
            "accuracy": position.right / max(position.rows, 1),
            **{f"validation_{name}": figures[name] for name in METRICS if figures[name] is not None},
        }
    )
    best = position.best
    better = best is None or _goodness(figures, options.best_by) > _goodness(best["validation"], options.best_by)
    if best is None or better:
        # intervals can take as long as a small model's epoch: computed for the best epoch only
        best = {
            "epoch": position.epoch,
            "validation": compute_metrics(labels, logits, names) if with_intervals else figures,
        }
        position.best = best
    waited = position.epoch - best["epoch"]
    if position.epoch >= epochs or (options.max_steps and position.step >= options.max_steps):
        position.finished = True
    elif options.patience and waited >= options.patience:
        logger.info("stopping early: no improvement in %d epochs", waited)
        position.finished = True
    else:
        position.next_epoch()
    return better


def _goodness(figures: Mapping[str, Any], by: str) -> float:
    """A metric's value, negated if lower is better; minus infinity if it is not defined."""
    value = figures[by]
    return -math.inf if value is None else METRICS[by].direction * value


def checkpoint_backbone(model: PreTrainedModel) -> None:
    """Have the model's backbone compute its activations again in the backward pass, which saves memory.

    Raises:
        UserError: it has no backbone, or one that cannot.
    """
    backbone = getattr(model, "backbone", None)
    if backbone is None:
        raise UserError("gradient_checkpointing is for models of whole photos: set it to false for this one")
    try:
        checkpoint_gradients(backbone)
    except ValueError as error:
        raise UserError(f"{error}: set gradient_checkpointing to false") from error


def save_best(folder: RunFolder, model: torch.nn.Module, processor: GerProcessor) -> None:
    """Save the model and its processor in the run's folder for `from_pretrained`. All processes call it."""
    accelerator = folder.accelerator
    state = accelerator.get_state_dict(model)  # gathers sharded weights
    if accelerator.is_main_process:

        def write(path: Path) -> None:
            accelerator.unwrap_model(model).save_pretrained(path, state_dict=state)
            processor.save_pretrained(path)

        folder.put_model(write)
    accelerator.wait_for_everyone()


@contextlib.contextmanager
def profiled(wanted: bool, output: Path, accelerator: Accelerator) -> Iterator[Callable[[], None]]:
    """A function to call after each step; if `wanted`, steps 3 to 7 are profiled and written to `output`/profile."""
    if not wanted:
        yield lambda: None
        return

    def write(profiler: Any) -> None:
        folder = output / "profile"
        table = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=40)
        write_text(folder / f"table_{accelerator.process_index}.txt", table + "\n")
        profiler.export_chrome_trace(str(folder / f"trace_{accelerator.process_index}.json"))
        logger.info("wrote the profile of steps 3 to 7 to %s", folder)

    schedule = torch.profiler.schedule(wait=1, warmup=1, active=5, repeat=1)
    with torch.profiler.profile(schedule=schedule, on_trace_ready=write, acc_events=True) as profiler:
        yield profiler.step


class Teacher:
    """Teacher for distillation: computes logits for the same augmented batches that the trained model sees.

    Args:
        checkpoint: a run of train.py, or a Hub repository. None: no teacher; `logits` returns None.
        class_names: classes of the trained model.
        processor: makes the batches; a teacher with other pixels is reported.
        accelerator: of the run; the teacher has its device and its mixed precision.

    Raises:
        UserError: the checkpoint does not exist or has other classes.
    """

    def __init__(
        self, checkpoint: str | None, class_names: Sequence[str], processor: GerProcessor, accelerator: Accelerator
    ) -> None:
        self.model, self.accelerator = None, accelerator
        if checkpoint is not None:
            model, its_processor = load_checkpoint(checkpoint)
            warn_of_other_pixels(checkpoint, its_processor, processor)
            there = [model.config.id2label[i] for i in range(model.config.num_labels)]
            if there != list(class_names):
                raise UserError(
                    f"the teacher {checkpoint} has the classes {listing(there)}, and the dataset has "
                    f"{listing(class_names)}: they must agree"
                )
            self.model = model.requires_grad_(False).to(accelerator.device)

    @torch.no_grad()
    def logits(self, batch: Mapping[str, Any]) -> torch.Tensor | None:
        """(rows, classes) of a training batch, or None."""
        if self.model is None:
            return None
        with self.accelerator.autocast():
            return self.model(**{name: value for name, value in batch.items() if name != "labels"}).logits.float()
