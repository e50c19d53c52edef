"""Training through `accelerate launch`, in one process and in two."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ger_models.presets import PRESETS

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
LAUNCH = (
    "-m accelerate.commands.launch --num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"
)


def launch(processes: int, script: Path, *arguments: object) -> subprocess.CompletedProcess:
    """Of the launcher: `--cpu --num_processes 2` starts one process; `--multi_gpu` on the CPU starts two."""
    paths = os.pathsep.join(map(str, (HERE.parents[1], HERE.parents[1] / "scripts")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    words = [*LAUNCH.split(), "--dynamo_backend", "no", "--num_processes", processes]
    words += ["--multi_gpu"] if processes > 1 else ["--cpu"]
    command = [sys.executable, *words, script, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=175)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def with_skeletons(drawn_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn photos, six of a split, with each photo in the place of its skeleton image."""
    folder = tmp_path_factory.mktemp("skeletons") / "sample"
    shutil.copytree(drawn_dataset, folder, ignore=shutil.ignore_patterns("README.md"))
    for path in (folder / "data").glob("*.parquet"):
        table = pq.read_table(path).slice(0, 8)
        at = table.column_names.index("skeleton")
        pq.write_table(table.set_column(at, table.schema.field(at), table["image"]), path)
    return folder


@pytest.mark.parametrize("processes", [1, 2])
def test_every_preset_trains_two_steps(processes: int, with_skeletons: Path, tmp_path: Path) -> None:
    done = launch(processes, HERE / "train_presets.py", with_skeletons, tmp_path / "runs")
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told) == set(PRESETS)
    for name, (steps, ran, loss) in told.items():
        assert (steps, ran) == (2, processes), name
        assert math.isfinite(loss), name
        assert (tmp_path / "runs" / name / "model.safetensors").exists()


def test_a_run_of_one_process_goes_on_with_two(run_script: Callable, drawn_dataset: Path, tmp_path: Path) -> None:
    train = HERE.parents[1] / "scripts" / "train.py"
    run = ["--model", "features_crossvit", "--dataset", drawn_dataset, "--output_dir", tmp_path / "run"]
    run += ["--epochs", "3", "--batch_size", "3", "--save_steps", "1", "--keep", "100", "--recipe", "modern"]
    assert run_script("train", *run)[0] == 0
    for name in ("metrics.json", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    for checkpoint in (tmp_path / "run" / "checkpoints").iterdir():
        position = json.loads((checkpoint / "position.json").read_text())
        if (position["epoch"], position["batch"]) > (2, 4):
            shutil.rmtree(checkpoint)
    done = launch(2, train, *run, "--resume")
    assert "the run was started with 1 processes and resumes with 2: not bit-exact" in done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1, "only the first process reports"
    figures = json.loads(lines[0])
    assert (figures["processes"], figures["epochs"]) == (2, 3)
    history = json.loads((tmp_path / "run" / "metrics.json").read_text())["history"]
    assert [entry["batches"] for entry in history] == [6, 3, 3]
    assert sum(map(sum, figures_of(tmp_path)["confusion_matrix"])) == 6


def figures_of(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "run" / "metrics.json").read_text())["validation"]
