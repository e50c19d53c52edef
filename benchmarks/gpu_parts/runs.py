"""train.py as a whole: from Parquet, resumed, sharded, and with a batch that does not fit."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch.utils.data.dataloader import _BaseDataLoaderIter

from ger_datasets.loading.splits import load_splits
from ger_models.presets import preset
from ger_models.processing_ger import GerProcessor
from ger_models.training import loop
from ger_models.training.loading import batching
from ger_models.training.meter import Watch
from ger_models.training.run_folder import RunFolder

from .part import LOG_LINES, ROOT, Part, measured_memory, speed, timed
from .steps import Enough, train

STEADY = 40  # steps of the second epoch that are measured, after as many as fill the queues


def part_train(part: Part) -> None:
    """train.py from Parquet; the second epoch's steps, with the workers running, count."""
    part.measure("loader alone", loader_alone, part)
    part.measure("end to end", end_to_end, part, "bf16")


def loader_alone(part: Part) -> dict[str, Any]:
    """The batches of an epoch, moved to the device, with nothing that trains on them."""
    chosen = preset("densenet_emotic")
    split = load_splits(str(part.work / "long"), chosen.columns, ("train",))["train"]
    processor = GerProcessor(columns=chosen.processor_columns(), **chosen.processor)
    collator = batching.Collator(processor, 0, torch.device(part.device))
    size = part.size.batch_size or chosen.recipe.batch_size
    loader = batching.make_loader(split, collator, size, part.workers, seed=0)
    spent: Counter[str] = Counter()
    rates = []
    for _ in range(2):
        spent.clear()
        begin = time.perf_counter()
        with timed(spent, batching, "_arrived"):
            for batch in loader:
                if isinstance(batch, batching.Unfinished):
                    batch.to(part.device)
            part.wait()
        rates.append(len(split) / (time.perf_counter() - begin))
    share = spent["_arrived"] * rates[-1] / len(split)
    return {"images_per_second": round(rates[-1], 1), "share_of_arriving": round(share, 3)}


def end_to_end(part: Part, precision: str) -> dict[str, Any]:
    """Images per second of the second epoch, and the share of its time that was spent in some functions."""
    spent: Counter[str] = Counter()
    stamps: list[tuple[int, float, dict[str, float]]] = []

    def before_step(_: int, position: Any) -> None:
        stamps.append((position.epoch, time.perf_counter(), dict(spent)))
        if position.epoch == 2 and position.batch == part.size.group + STEADY:
            raise Enough

    own_rest_of = batching.rest_of

    def rest_of(loader: Any, batch: int) -> Iterator[Any]:
        waiting = iter(own_rest_of(loader, batch))
        while True:
            begin = time.perf_counter()
            found = next(waiting, None)
            spent["next batch, copied to the GPU"] += time.perf_counter() - begin
            if found is None:
                return
            yield found

    size = part.size.batch_size or 32
    words = f"--epochs 2 --num_workers {part.workers} --batch_size {size}"
    timers = (
        (_BaseDataLoaderIter, "__next__", "loader"),
        (batching, "_arrived", "arriving from a worker"),
        (Watch, "look", "waiting for the GPU"),
        (Accelerator, "backward", "backward, launching"),
        (loop, "predict", "validation"),
        (loop, "save_best", "saving"),
        (RunFolder, "save", "saving"),
    )
    with contextlib.ExitStack() as stack:
        for owner, function, label in timers:
            stack.enter_context(timed(spent, owner, function, label))
        model = part.size.models["densenet_emotic"]
        train(part, f"run_{precision}", words, before_step, model, "long", precision, rest_of=rest_of)
    epochs = [[stamp for stamp in stamps if stamp[0] == epoch] for epoch in (1, 2)]
    steady = epochs[1][part.size.group :]
    seconds = steady[-1][1] - steady[0][1]
    during = {name: steady[-1][2][name] - steady[0][2].get(name, 0) for name in steady[-1][2]}
    return {
        **speed(seconds / (len(steady) - 1), size),
        "share_of_time": {name: round(value / seconds, 3) for name, value in during.items()},
        "seconds_between_epochs": round(epochs[1][0][1] - epochs[0][-1][1], 2),
        "seconds_validation": round(spent["validation"], 2),
        "seconds_saving": round(spent["saving"], 2),
        "first_epoch_images_per_second": round(size * (len(epochs[0]) - 1) / (epochs[0][-1][1] - epochs[0][0][1]), 1),
    }


def part_resume(part: Part) -> None:
    """Twice the same run, and a third that was stopped by SIGTERM after four steps and resumed."""
    part.measure("with deterministic algorithms", resumed, part, True)


def resumed(part: Part, deterministic: bool) -> dict[str, Any]:
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.deterministic = deterministic
    size, model = part.size.batch_size or 16, ("resnet_places", "" if part.full else "backbone=test_resnet")
    words = f"--recipe modern --max_steps 8 --epochs 9 --batch_size {size} --num_workers {min(4, part.workers)}"

    def stop(_: int, position: Any) -> None:
        if position.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    def run(name: str, before_step: Callable[..., None] = lambda *_: None, more: str = "") -> dict[str, Any]:
        output = f"{name}_{deterministic}"
        train(part, output, words + more, before_step, model)
        newest = max((part.own / output / "checkpoints").glob("checkpoint_*"))
        return load_file(newest / "model.safetensors")

    first = run("first")
    twin = furthest(first, run("twin"))
    try:
        run("stopped", stop)
    except SystemExit:
        return {"two runs alike": twin, "stopped and resumed": furthest(first, run("stopped", more=" --resume"))}
    raise RuntimeError("SIGTERM did not stop the run")


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, Any]:
    gaps = [float((one[name].double() - other[name].double()).abs().max()) for name in one if one[name].numel()]
    return {"bit_exact": all(torch.equal(one[name], other[name]) for name in one), "furthest": max(gaps)}


def part_fsdp(part: Part) -> None:
    """Through `accelerate launch`, as users do."""
    if part.device == "cpu":
        part.put("skipped", "it needs a GPU")
        return
    part.measure("fsdp 2", launched, part, "fsdp", "--use_fsdp --fsdp_version 2")
    if importlib.util.find_spec("deepspeed") is None:
        part.put("zero 2", "DeepSpeed is not installed")
    else:
        part.measure("zero 2", launched, part, "zero", "--use_deepspeed --zero_stage 2")


def launched(part: Part, kind: str, options: str) -> dict[str, Any]:
    """Four steps; then the newest checkpoint is taken away and the run goes on from the one of step two."""

    output = part.own / kind
    launch = f"-m accelerate.commands.launch --num_processes 1 --num_machines 1 --mixed_precision bf16 {options}"
    words = f"--model resnet_places --initial_weights random --dataset {part.work / 'drawn'} --output_dir {output}"
    words += " --max_steps 4 --save_steps 2 --keep 9 --batch_size 16 --recipe modern"
    command = [sys.executable, *launch.split(), "--dynamo_backend", "no", str(ROOT / "scripts" / "train.py")]
    first = command_seconds([*command, *words.split()])
    weights = load_file(output / "model.safetensors")
    checkpoints = sorted((output / "checkpoints").iterdir())
    for later in checkpoints[1:]:
        shutil.rmtree(later)
    for name in ("metrics.json", "model.safetensors"):
        (output / name).unlink()
    second = command_seconds([*command, *words.split(), "--resume"])
    apart = furthest(weights, load_file(output / "model.safetensors"))
    return {"checkpoints": len(checkpoints), "seconds": [first, second], **apart}


def command_seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-LOG_LINES:])
        raise RuntimeError(f"exit code {done.returncode} of {' '.join(command[1:])}:\n{tail}")
    return round(time.perf_counter() - begin, 1)


def part_batch(part: Part) -> None:
    part.measure("find_batch_size", found_batch_size, part)


def found_batch_size(part: Part) -> dict[str, Any]:
    begin, seen = time.perf_counter(), []

    def before_step(_: int, position: Any) -> None:
        seen.append(time.perf_counter() - begin)
        if position.batch == 1:
            raise Enough

    words = f"--find_batch_size --batch_size {part.size.huge} --epochs 1"
    with measured_memory(part) as memory:
        train(part, "run", words, before_step, part.size.models["densenet_emotic"], "long", precision="no")
    recipe = json.loads((part.own / "run" / "run.json").read_text(encoding="utf-8"))["recipe"]
    return {"asked": part.size.huge, "found": recipe["batch_size"], "accumulated": recipe["gradient_accumulation"],
            "seconds_to_first_step": round(seen[0], 1), "steps_that_ran": len(seen) - 1, **memory}  # fmt: skip
