"""train.py in this process with a clock between its steps, and the bare steps that it is compared with."""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import DataLoader
from transformers import HfArgumentParser

from ger_datasets.loading.rows import Rows
from ger_datasets.loading.splits import load_splits
from ger_datasets.schema import CLASS_NAMES
from ger_models.presets import build, preset
from ger_models.processing_ger import GerProcessor
from ger_models.training import loop
from ger_models.training.data_loading import Collator
from ger_models.training.optimization import make_optimizer

from .part import Part, load_script, measured_memory, profiled, speed, tf32

# fp32 is exact; default is what PyTorch sets: TF32 in convolutions, not in matrix products
BARE: dict[str, dict[str, Any]] = {
    "default": {},
    "bf16": {"bf16": True},
    "fp32": {"tf32": False},
    "tf32": {"tf32": True},
    "bf16 fused": {"bf16": True, "fused": True},
    "bf16 channels_last": {"bf16": True, "channels_last": True},
    "bf16 channels_last fused": {"bf16": True, "channels_last": True, "fused": True},
}


class Enough(Exception):
    """As many steps of the loop were seen as are measured."""


def train(part: Part, output: str, words: str, before_step: Callable[..., None], model: tuple[str, str],
          dataset: str = "drawn", precision: str = "bf16", dynamo: str = "no", **replaced: Any) -> Any:  # fmt: skip
    """Run train.py in this process.

    Args:
        words: options beside those for the model, the dataset and the output.
        before_step: called with train.py's own seed and position before each batch.
        replaced: what takes the place of functions that train.py has imported.
    """

    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    script, seed_step = load_script("train"), loop.seed_step
    given = ["--model", model[0], "--config_overrides", model[1], "--dataset", str(part.work / dataset)]
    given += ["--output_dir", str(part.own / output), "--initial_weights", "random", *words.split()]
    (parsed,) = HfArgumentParser(script.Arguments).parse_args_into_dataclasses(given)

    def both(seed: int, position: Any, process: int) -> None:
        before_step(seed, position)
        seed_step(seed, position, process)

    settings = {"ACCELERATE_MIXED_PRECISION": precision, "ACCELERATE_DYNAMO_BACKEND": dynamo}
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.dict(os.environ, settings))
        patches.enter_context(mock.patch.object(loop, "seed_step", both))
        for name, function in replaced.items():
            patches.enter_context(mock.patch.object(script, name, function))
        with contextlib.suppress(Enough):
            return script.main(parsed)


EXTRAS = {
    "densenet_emotic": ("fp32", "tf32", "bf16 fused", "bf16 channels_last", "bf16 channels_last fused"),
    "vit_base": ("tf32", "bf16 fused"),
    "fusion_crossvit": ("bf16 channels_last",),
}


def part_step(part: Part) -> None:
    """The loop and the bare step in the precisions that users get, of all models; then what else may be faster."""
    for variant, precision in (("bf16", "bf16"), ("default", "no")):
        for name, model in part.size.models.items():
            batch = one_batch(part, model)
            bare = part.measure(f"{name} bare {variant}", bare_step, part, model, batch, variant)
            ours = part.measure(f"{name} loop {variant}", loop_step, part, name, model, batch, precision)
            if bare and ours:
                part.put(f"{name} loop to bare {variant}", round(bare["milliseconds"] / ours["milliseconds"], 3))
    for name, variants in EXTRAS.items() if part.full else [("densenet_emotic", EXTRAS["densenet_emotic"][-1:])]:
        model = part.size.models[name]
        batch = one_batch(part, model)
        for variant in variants:
            part.measure(f"{name} bare {variant}", bare_step, part, model, batch, variant)


def one_batch(part: Part, model: tuple[str, str]) -> dict[str, Any]:
    """A training batch of the drawn photos, on the device."""

    chosen = preset(model[0])
    rows = Rows(load_splits(str(part.work / "drawn"), chosen.columns, ("train",))["train"])
    count = part.size.batch_size or chosen.recipe.batch_size
    processor = GerProcessor(columns=chosen.columns, **chosen.processor)
    batch = Collator(processor, train_seed=0)([rows[i % len(rows)] for i in range(count)])
    return {name: value.to(part.device) if torch.is_tensor(value) else value for name, value in batch.items()}


def bare_step(part: Part, model: tuple[str, str], batch: dict[str, Any], variant: str) -> dict[str, Any]:
    """Forward, backward and optimizer step of the same model and optimizer, and nothing else."""

    way = BARE[variant]
    network = build(model[0], CLASS_NAMES, overrides=model[1])[0].to(part.device).train()
    inputs = {name: value for name, value in batch.items() if name != "image_ids"}
    if way.get("channels_last"):
        network = network.to(memory_format=torch.channels_last)
        inputs = {name: value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
                  for name, value in inputs.items()}  # fmt: skip
    optimizer = make_optimizer(network, preset(model[0]).recipe)
    if way.get("fused"):
        for group in optimizer.param_groups:
            group["fused"] = True

    def steps(count: int) -> None:
        for _ in range(count):
            with torch.autocast(part.device, torch.bfloat16, enabled=way.get("bf16", False)):
                loss = network(**inputs).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    with tf32(way.get("tf32")), measured_memory(part) as memory:
        seconds = part.seconds(lambda: steps(part.size.group)) / part.size.group
    if variant == "bf16":
        part.measure(f"profile, 3 bare steps, {model[0]} {model[1]}".rstrip(), profiled, part, lambda: steps(3))
    return {**speed(seconds, len(batch["labels"])), **memory}


def loop_step(part: Part, name: str, model: tuple[str, str], batch: dict[str, Any], precision: str,
              dynamo: str = "no") -> dict[str, Any]:  # fmt: skip
    """train.py's own loop, fed with one batch that is on the device already."""

    stamps: list[float] = []
    group, number, begin = part.size.group, itertools.count(), time.perf_counter()

    def before_step(*_: Any) -> None:
        at = next(number) - 2 * group
        if at >= 0 and at % group == 0:
            part.wait()
            stamps.append(time.perf_counter())
            if len(stamps) > part.size.groups:
                raise Enough

    def loader(*_: Any, **__: Any) -> Any:
        return DataLoader([batch] * 1000, batch_size=1, collate_fn=lambda batches: dict(batches[0]))  # type: ignore

    output = f"{name} {precision} {dynamo}".replace(" ", "_")
    with measured_memory(part) as memory:
        train(part, output, "", before_step, model, precision=precision, dynamo=dynamo, make_loader=loader,
              set_epoch=lambda *_: None)  # fmt: skip
    seconds = statistics.median(b - a for a, b in itertools.pairwise(stamps)) / group
    rest = {"seconds_before": round(stamps[0] - begin, 1), **memory}
    return {**speed(seconds, len(batch["labels"])), **rest}


def part_compile(part: Part) -> None:
    """The loop with inductor; what compiles fastest comes first."""
    if part.device == "cpu":
        part.put("skipped", "compiling takes minutes on a CPU")
        return
    for name in ("vit_base", "densenet_emotic"):
        model = part.size.models[name]
        part.measure(f"{name} loop bf16 inductor", loop_step, part, name, model, one_batch(part, model), "bf16",
                     "inductor")  # fmt: skip
