"""What a part of bench_gpu.py measures with: its settings, its figures on disk, clocks, memory and profiles."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import logging
import statistics
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from ger_datasets.support.cpu_cores import usable_cores
from ger_datasets.support.errors import UserError

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
LOG_LINES = 40  # of the log of what failed
PROFILED = (
    "cudaLaunchKernel",
    "cuLaunchKernel",
    "cudaLaunchKernelExC",
    "cuLaunchKernelEx",
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaMemcpyAsync",
    "aten::item",
    "aten::nonzero",
    "aten::copy_",
    "aten::to",
)


@dataclass(frozen=True)
class Size:
    """How much is measured; `models`: name in the report -> preset, configuration overrides."""

    photos: dict[str, int]
    rows: int  # of the training split of part `train`: the drawn photos again and again
    batch_size: int | None  # None: the recipe's
    group: int  # steps between two looks at the clock; train.py's own loop waits for the GPU every 10
    groups: int
    seconds: float  # that a measurement is repeated for
    together: int  # photos in a batch of faces
    huge: int  # the batch size that part `batch` begins with
    models: dict[str, tuple[str, str]]


SIZES = {
    "full": Size(
        photos={"train": 128, "validation": 32, "test": 16},
        rows=1920,
        batch_size=None,
        group=10,
        groups=3,
        seconds=1,
        together=32,
        huge=1024,
        models={
            "densenet_emotic": ("densenet_emotic", ""),
            "vit_base": ("densenet_emotic", "backbone=vit_base_patch16_224"),
            "fusion_crossvit": ("fusion_crossvit", ""),
        },
    ),
    "small": Size(
        photos={"train": 6, "validation": 3, "test": 3},
        rows=24,
        batch_size=2,
        group=2,
        groups=1,
        seconds=0,
        together=2,
        huge=4,
        models={
            "densenet_emotic": ("densenet_emotic", "backbone=test_resnet"),
            "vit_base": ("densenet_emotic", "backbone=test_vit"),
            "fusion_crossvit": ("fusion_crossvit_tiny", ""),
        },
    ),
}


class Part:
    """What a part works with; its figures are on disk as soon as there are any."""

    def __init__(self, name: str, device: str, size: str, work: Path) -> None:
        self.name, self.device, self.size, self.full, self.work = name, device, SIZES[size], size == "full", work
        self.own = work / name
        self.figures: dict[str, Any] = {}
        self.workers = min(16, usable_cores()) if self.full else 1

    def put(self, name: str, value: Any) -> None:
        self.figures[name] = value
        unfinished = self.work / f".{self.name}.json"
        unfinished.write_text(json.dumps(self.figures, default=str), encoding="utf-8")
        unfinished.replace(self.work / f"{self.name}.json")

    def measure(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """`work`'s result as the figure `name`; None, and the error as the figure, where it fails."""
        begin = time.perf_counter()
        try:
            result = work(*arguments)
        except Exception:
            logger.exception("%s failed", name)
            self.put(name, {"error": traceback.format_exc().splitlines()[-LOG_LINES:]})
            result = None
        else:
            self.put(name, result)
        logger.info("%s: %s (%.1f s)", name, json.dumps(result, default=str)[:200], time.perf_counter() - begin)
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
        return result

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], Any], warmup: int = 1) -> float:
        """Median of repeats; at full size at least three."""
        for _ in range(warmup):
            work()
        times: list[float] = []
        while len(times) < (3 if self.full else 1) or (sum(times) < self.size.seconds and len(times) < 50):
            self.wait()
            begin = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - begin)
        return statistics.median(times)


@contextlib.contextmanager
def tf32(wanted: bool | None) -> Iterator[None]:
    """TF32 in convolutions and matrix products; None: as PyTorch sets it."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    try:
        for place in places if wanted is not None else ():
            place.allow_tf32 = wanted
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


@contextlib.contextmanager
def measured_memory(part: Part) -> Iterator[dict[str, float]]:
    """A dict that has the peak of the block's GPU memory at its end."""
    memory: dict[str, float] = {}
    if part.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    yield memory
    if part.device == "cuda":
        memory["peak_gigabytes"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)


def speed(seconds: float, images: int) -> dict[str, float]:
    return {"images_per_second": round(images / seconds, 2), "milliseconds": round(seconds * 1000, 3)}


def profiled(part: Part, work: Callable[[], Any]) -> dict[str, Any]:
    """How often `work` launches, copies and waits, and what takes the time."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if part.device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    part.wait()
    with torch.profiler.profile(activities=activities) as profiler:
        begin = time.perf_counter()
        work()
        part.wait()
        wall = time.perf_counter() - begin
    events = profiler.key_averages()
    kernels = [event for event in events if event.device_type == torch.autograd.DeviceType.CUDA]

    def top(events: Sequence[Any], key: str) -> list[list[Any]]:
        slowest = sorted(events, key=lambda event: -getattr(event, key))[:12]
        return [[event.key[:90], event.count, round(getattr(event, key) / 1000, 3)] for event in slowest]

    return {
        "milliseconds": round(wall * 1000, 2),
        "gpu_milliseconds": round(sum(event.self_device_time_total for event in kernels) / 1000, 2),
        "counts": {event.key: event.count for event in events if event.key in PROFILED},
        "top_gpu": top(kernels, "self_device_time_total"),
        "top_cpu": top(events, "self_cpu_time_total"),
    }


@contextlib.contextmanager
def timed(spent: Counter[str], owner: Any, name: str, label: str = "") -> Iterator[None]:
    """Within the block, the seconds in `owner.name` are added to `spent`."""
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            spent[label or name] += time.perf_counter() - begin

    wrapped.__module__, wrapped.__qualname__ = original.__module__, original.__qualname__  # it is pickled by its name
    with mock.patch.object(owner, name, wrapped):
        yield


def load_script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise UserError(f"no scripts/{name}.py in {ROOT}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
