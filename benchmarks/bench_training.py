"""What training costs beside the model's own work: ratios, each measured side by side in one run.

python benchmarks/bench_training.py

| figure | meaning |
|---|---|
| loop_overhead | by how much a step of train.py's loop is longer than forward, backward and step of its model alone, \
on the same batch, one after the other |
| two_processes | photos per second of two gloo processes of one thread each over one process of one thread |
| memory_growth | resident memory after the last of 12 epochs over that after the second, decoding included |

Steps are of densenet_emotic, DenseNet-161 as its recipe trains it, on photos so small that a step takes seconds.
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from accelerate import Accelerator
from datasets import disable_progress_bars
from torch.utils.data import DataLoader
from transformers import HfArgumentParser

from ger_datasets.preparation.run import prepare
from ger_datasets.sample.drawing import draw_sample
from ger_datasets.support.command_line import run
from ger_models.presets import PRESETS
from ger_models.training import loop as loop_module
from ger_models.training import optimization
from ger_models.training.loading import batching
from ger_models.training.losses import LOSSES

TRAIN = Path(__file__).resolve().parents[1] / "scripts" / "train.py"
LAUNCH = "-m torch.distributed.run --standalone --nproc_per_node"


@dataclass
class Arguments:
    rounds: int = field(default=3, metadata={"help": "How often one and two processes are measured."})
    steps: int = field(default=24, metadata={"help": "Steps of the loop beside as many bare ones."})
    pixels: int = field(default=64, metadata={"help": "Side of the photos."})
    dataset: Path | None = field(default=None, metadata={"help": "Used by the benchmark itself."})
    steps_of: Path | None = field(default=None, metadata={"help": "Used by the benchmark itself: time these steps."})


def main(arguments: Arguments) -> dict | None:
    disable_progress_bars()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    if arguments.steps_of is not None:
        return steps_of_a_process(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_sample(folder / "raw", {"train": 24, "validation": 3, "test": 3}, seed=0)
        arguments.dataset = folder / "drawn"
        prepare("sample", folder / "raw", arguments.dataset, num_proc=1)
        return {
            **loop_overhead(arguments, folder),
            **processes(arguments, folder),
            **memory(arguments.dataset, folder),
        }


class Loop:
    """train.py with batches made beforehand, or its own, and something to call before each step and each epoch."""

    def __init__(self, dataset: Path, output: Path, *options: str) -> None:
        spec = importlib.util.spec_from_file_location("train", TRAIN)
        self.script: ModuleType = importlib.util.module_from_spec(spec)
        sys.modules["train"] = self.script  # dataclasses look their module up
        spec.loader.exec_module(self.script)
        words = ["--model", "densenet_emotic", "--dataset", str(dataset), "--output_dir", str(output)]
        self.words = [*words, "--initial_weights", "random", *options]

    def feed(self, batches: Sequence[dict], validation: Sequence[dict]) -> None:
        feeds = iter((batches, validation))
        batching.make_loader = lambda *_, **__: DataLoader(next(feeds), batch_size=1, collate_fn=only)

    def before_each(self, name: str, work: Callable[..., None]) -> None:
        """Call `work` with the arguments of the loop's function `name`, before it."""
        place = next(module for module in (optimization, batching, loop_module) if hasattr(module, name))
        original = getattr(place, name)

        def both(*arguments: Any, **options: Any) -> Any:
            work(*arguments)
            return original(*arguments, **options)

        setattr(place, name, both)

    def run(self) -> None:
        (parsed,) = HfArgumentParser(self.script.Arguments).parse_args_into_dataclasses(self.words)
        self.script.main(parsed)


def only(batches: Sequence[dict]) -> dict:
    return dict(batches[0])


def made_batches(count: int, photos: int, pixels: int) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "pixel_values": torch.randn(photos, 3, pixels, pixels, generator=generator),
            "labels": torch.arange(photos) % 3,
            "image_ids": [str(i) for i in range(photos)],
        }
        for _ in range(count)
    ]


def loop_overhead(arguments: Arguments, folder: Path) -> dict:
    """Each step of the loop beside a bare one of a twin of its model, on the same batch."""
    recipe, make_optimizer = PRESETS["densenet_emotic"].recipe, optimization.make_optimizer
    batches = made_batches(arguments.steps, 8, arguments.pixels)
    loop = Loop(arguments.dataset, folder / "loop", "--epochs", "1")
    loop.feed(batches, batches[:1])
    whole: list[float] = []
    bare: list[float] = []
    twin: list[Any] = []
    last = 0.0

    def keep(model: torch.nn.Module, *_: Any) -> None:
        twin[:] = [copy.deepcopy(model)]

    def before_step(_: int, position: Any, *__: Any) -> None:
        nonlocal last
        if bare:
            whole.append(time.perf_counter() - last)
        if len(twin) == 1:
            twin[0].train()
            twin.append(make_optimizer(twin[0], **vars(recipe)))
        start = time.perf_counter()
        batch = batches[position.batch]
        outputs = twin[0](pixel_values=batch["pixel_values"], labels=batch["labels"])
        LOSSES[recipe.loss](outputs, batch["labels"], teacher_logits=None, **vars(recipe)).backward()
        twin[1].step()
        twin[1].zero_grad()
        last = time.perf_counter()
        bare.append(last - start)

    loop.before_each("make_optimizer", keep)
    loop.before_each("seed_step", before_step)
    loop.run()
    ratios = [w / b for w, b in zip(whole, bare, strict=False)][2:]
    return {
        "loop_overhead": round(statistics.median(whole[2:]) / statistics.median(bare[2:]) - 1, 4),
        "loop_rounds": [round(ratio - 1, 3) for ratio in statistics.quantiles(ratios, n=4)],
        "step_seconds": round(statistics.median(bare[2:]), 3),
    }


def processes(arguments: Arguments, folder: Path) -> dict:
    """Steps of one process and of two, in turn; start-up, the first step and the end are left out."""
    ratios = []
    for turn in range(arguments.rounds):
        rates = []
        for count in (1, 2):
            output = folder / f"steps_{turn}_{count}"
            words = f"{LAUNCH} {count} {__file__} --pixels {arguments.pixels} --dataset {arguments.dataset}"
            done = subprocess.run(
                [sys.executable, *words.split(), "--steps_of", str(output)],
                env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            rates.append(count / json.loads(done.stdout.splitlines()[-1])["seconds"])
        ratios.append(rates[1] / rates[0])
    return {
        "two_processes": round(statistics.median(ratios), 2),
        "two_rounds": [round(ratio, 2) for ratio in sorted(ratios)],
    }


def steps_of_a_process(arguments: Arguments) -> dict | None:
    """The median step of the loop with the recipe's batches, on however many processes this is one of."""
    processes = int(os.environ.get("WORLD_SIZE", 1))
    photos = PRESETS["densenet_emotic"].recipe.batch_size
    batches = made_batches(6 * processes, photos, arguments.pixels)
    loop = Loop(arguments.dataset, arguments.steps_of, "--epochs", "1")
    loop.feed(batches, batches[:processes])
    times: list[float] = []
    loop.before_each("seed_step", lambda *_: times.append(time.perf_counter()))
    loop.run()
    steps = [after - before for before, after in itertools.pairwise(times)]
    return {"seconds": statistics.median(steps[1:])} if Accelerator().is_main_process else None


def memory(dataset: Path, folder: Path) -> dict:
    """Resident memory of the process at the beginning of each epoch."""
    epochs = 12
    loop = Loop(dataset, folder / "epochs", "--epochs", str(epochs), "--config_overrides", "backbone=test_resnet")
    resident: list[int] = []
    loop.before_each("set_epoch", lambda *_: resident.append(resident_bytes()))
    loop.run()
    resident.append(resident_bytes())
    return {
        "memory_growth": round(resident[-1] / resident[2], 3),
        "memory_megabytes": [round(size / 1e6) for size in resident[1:]],
    }


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    run(main, Arguments)
