"""Many photos: memory and open files do not grow with their number. The full measure is benchmarks/bench_load.py."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from checks import forget_peak, peak_bytes

from ger_datasets.preparation.run import prepare

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_load", ROOT / "benchmarks" / "bench_load.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_preparing_more_photos_takes_no_more_memory_and_leaks_no_handle(bench: ModuleType, tmp_path: Path) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("the system does not list open files")
    peaks, handles, threads = [], [], []
    for photos in (100, 100, 400):
        place = tmp_path / str(len(peaks))
        bench.draw(place / "raw", photos)
        forget_peak()
        assert prepare("gaf3", place / "raw", place / "out", num_proc=1)["rows"] == photos + 3
        peaks.append(peak_bytes())
        handles.append(len(os.listdir("/proc/self/fd")))
        threads.append(threading.active_count())
    assert peaks[2] < peaks[1] + 60_000_000, "four times as many photos"
    assert len(set(handles)) == 1
    assert len(set(threads)) == 1


def test_the_figures_are_those_of_the_looks(bench: ModuleType) -> None:
    steady = [bench.Look(0.1 * i, 10 * i, 1_000_000, 7, 0.05 * i) for i in range(1001)]
    assert bench.told(steady, 10_000)["last_to_first"] == pytest.approx(1, abs=0.01)
    assert bench.told(steady, 10_000)["photos_per_second"] == pytest.approx(100, rel=0.01)
    seconds = np.cumsum(np.linspace(0.1, 0.3, 1001))  # thrice as slow in the end
    slower = [bench.Look(at, 10 * i, 1_000_000 + 1000 * i, 7 + i // 100, 0.05 * i) for i, at in enumerate(seconds)]
    told = bench.told(slower, 10_000)
    assert told["last_to_first"] == pytest.approx(0.38, abs=0.03)
    assert told["last_to_first_cpu"] == pytest.approx(1, abs=0.01)
    assert told["memory_growth"] > 1.5
    assert told["handles_growth"] == 8
