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
from ger_models.training.loading import batching
from ger_models.training.loading.batching import Collator
from ger_models.training.optimization import make_optimizer

from .part import Part, load_script, measured_memory, profiled, speed, tf32

# fp32 is exact; default is what PyTorch sets: TF32 in convolutions, not in matrix products
BARE: dict[str, dict[str, Any]] = {
    "default": {},
    "bf16": {"bf16": True},
    "fp32": {"tf32": False},
    "tf32": {"tf32": True},
    "bf16 unfused": {"bf16": True, "unfused": True},
    "bf16 channels_last": {"bf16": True, "channels_last": True},
}


class Enough(Exception):
    """As many steps of the loop were seen as are measured."""


def train(part: Part, output: str, words: str, before_step: Callable[..., None], model: tuple[str, str],
          dataset: str = "drawn", precision: str = "bf16", dynamo: str = "no", **replaced: Any) -> Any:  # fmt: skip
    """Run train.py in this process.

    Args:
        words: options beside those for the model, the dataset and the output.
        before_step: called with train.py's own seed and position before each batch.
        replaced: what takes the place of functions of `batching`, which train.py imports when it runs.
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
            patches.enter_context(mock.patch.object(batching, name, function))
        patches.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        with contextlib.suppress(Enough):
            return script.main(parsed)


EXTRAS = {
    "densenet_emotic": ("bf16 channels_last", "bf16 unfused", "fp32", "tf32"),
    "vit_base": ("bf16 unfused",),
}


def part_step(part: Part) -> None:
    """The loop and the bare step of all models, with autocast to bfloat16; then what else may be faster."""
    for name, model in part.size.models.items():
        part.measure(f"{name} loop bf16", loop_step, part, name, model, one_batch(part, model), "bf16")
    for name, variants in EXTRAS.items() if part.full else [("densenet_emotic", EXTRAS["densenet_emotic"][:1])]:
        model = part.size.models[name]
        batch = one_batch(part, model)
        for variant in variants:
            part.measure(f"{name} bare {variant}", bare_step, part, model, batch, variant)


def part_profile(part: Part) -> None:
    """What the bare steps launch and wait for."""
    for name, model in part.size.models.items():
        steps = bare_steps(part, model, one_batch(part, model), "bf16")
        steps(2)
        part.measure(f"3 bare steps, {name}", profiled, part, lambda steps=steps: steps(3))


def one_batch(part: Part, model: tuple[str, str]) -> dict[str, Any]:
    """A training batch of the drawn photos, on the device."""

    chosen = preset(model[0])
    rows = Rows(load_splits(str(part.work / "drawn"), chosen.columns, ("train",))["train"])
    count = part.size.batch_size or chosen.recipe.batch_size
    processor = GerProcessor(columns=chosen.processor_columns(), **chosen.processor)
    batch = Collator(processor, train_seed=0)([rows[i % len(rows)] for i in range(count)])
    return {name: value.to(part.device) if torch.is_tensor(value) else value for name, value in batch.items()}


def bare_steps(part: Part, model: tuple[str, str], batch: dict[str, Any], variant: str) -> Callable[[int], None]:
    """Forward, backward and optimizer step of the same model and optimizer, and nothing else, so many times."""

    way = BARE[variant]
    network = build(model[0], CLASS_NAMES, overrides=model[1])[0].to(part.device).train()
    inputs = {name: value for name, value in batch.items() if name != "image_ids"}
    if way.get("channels_last"):
        network = network.to(memory_format=torch.channels_last)
        inputs = {name: value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
                  for name, value in inputs.items()}  # fmt: skip
    optimizer = make_optimizer(network, **vars(preset(model[0]).recipe))
    if way.get("unfused"):
        for group in optimizer.param_groups:
            group["fused"] = None

    def steps(count: int) -> None:
        for _ in range(count):
            with torch.autocast(part.device, torch.bfloat16, enabled=way.get("bf16", False)):
                loss = network(**inputs).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return steps


def bare_step(part: Part, model: tuple[str, str], batch: dict[str, Any], variant: str) -> dict[str, Any]:
    """The bare step alone, and its memory."""

    steps = bare_steps(part, model, batch, variant)
    with tf32(BARE[variant].get("tf32")), measured_memory(part) as memory:
        seconds = part.seconds(lambda: steps(part.size.group)) / part.size.group
    return {**speed(seconds, len(batch["labels"])), **memory}


def loop_step(part: Part, name: str, model: tuple[str, str], batch: dict[str, Any], precision: str,
              dynamo: str = "no") -> dict[str, Any]:  # fmt: skip
    """train.py's own loop, fed with one batch that is on the device already, and the bare step of the same precision.

    Both take turns, a group of steps each, so that what else the machine does slows both alike.
    """

    group, number, begin = part.size.group, itertools.count(), time.perf_counter()
    bare = bare_steps(part, model, batch, "bf16" if precision == "bf16" else "default")
    loop_seconds: list[float] = []
    bare_seconds: list[float] = []
    going_on = [begin]

    def before_step(*_: Any) -> None:
        at = next(number) - group
        if at < 0 or at % group:
            return
        part.wait()
        now = time.perf_counter()
        if at:
            loop_seconds.append(now - going_on[-1])
            if len(loop_seconds) == part.size.groups:
                raise Enough
        else:
            bare(3)
            part.wait()
            now = time.perf_counter()
        bare(group)
        part.wait()
        going_on.append(time.perf_counter())
        bare_seconds.append(going_on[-1] - now)

    def loader(*_: Any, **__: Any) -> Any:
        return DataLoader([batch] * 1000, batch_size=1, collate_fn=lambda batches: dict(batches[0]))  # type: ignore

    output = f"{name} {precision} {dynamo}".replace(" ", "_")
    train(part, output, "", before_step, model, precision=precision, dynamo=dynamo, make_loader=loader,
          set_epoch=lambda *_: None)  # fmt: skip
    ours, theirs = (statistics.median(seconds) / group for seconds in (loop_seconds, bare_seconds))
    return {
        **speed(ours, len(batch["labels"])),
        "to_bare": round(theirs / ours, 3),
        "bare": speed(theirs, len(batch["labels"])),
        "groups": [[round(1000 * each / group, 3) for each in some] for some in (loop_seconds, bare_seconds)],
        "seconds_before": round(going_on[1] - bare_seconds[0] - begin, 1),
    }


def part_compile(part: Part) -> None:
    """The loop with inductor; what compiles fastest comes first."""
    if part.device == "cpu":
        part.put("skipped", "compiling takes minutes on a CPU")
        return
    for name in ("vit_base", "densenet_emotic"):
        model = part.size.models[name]
        part.measure(f"{name} loop bf16 inductor", loop_step, part, name, model, one_batch(part, model), "bf16",
                     "inductor")  # fmt: skip
