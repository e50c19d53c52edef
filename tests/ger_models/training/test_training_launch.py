"""Every preset trained, and a run continued, in one process and in two of `accelerate launch`."""

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

from ger_datasets.support import command_line
from ger_models.presets import PRESETS

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
SCRIPTS = HERE.parents[1] / "scripts"
LAUNCH = (
    "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 "
    "--mixed_precision no --dynamo_backend no --main_process_port 0"
)


def launch(*command: object) -> subprocess.CompletedProcess:
    """In two processes: on the CPU, the launcher starts two with `--multi_gpu`, and one with `--cpu`."""
    paths = os.pathsep.join(map(str, (HERE.parents[1], SCRIPTS)))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *LAUNCH.split(), *command]
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


@pytest.fixture(scope="module")
def launched(
    load_script: Callable, with_skeletons: Path, drawn_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess]:
    """Two processes that trained every preset, and then went on with a run that one process had begun."""
    folder = tmp_path_factory.mktemp("launched")
    options = ["--model", "features_crossvit", "--dataset", str(drawn_dataset), "--output_dir", str(folder / "run")]
    options += ["--epochs", "3", "--batch_size", "3", "--save_steps", "1", "--keep", "100", "--recipe", "modern"]
    script = load_script("train")
    with pytest.raises(SystemExit) as stop:
        command_line.run(script.main, script.Arguments, options)
    assert stop.value.code == 0
    for name in ("metrics.json", "model.safetensors"):
        (folder / "run" / name).unlink()
    for checkpoint in (folder / "run" / "checkpoints").iterdir():
        position = json.loads((checkpoint / "position.json").read_text())
        if (position["epoch"], position["batch"]) > (2, 4):
            shutil.rmtree(checkpoint)
    return folder, launch(HERE / "train_presets.py", with_skeletons, folder / "presets", *options, "--resume")


def test_every_preset_trains_two_steps_in_two_processes(launched: tuple) -> None:
    folder, done = launched
    every_preset_was_trained(json.loads(json_lines(done)[0]), 2, folder / "presets")


def test_every_preset_trains_two_steps_in_one_process(
    with_skeletons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (SCRIPTS, HERE):
        monkeypatch.syspath_prepend(place)
    from train_presets import train_presets

    every_preset_was_trained(train_presets(str(with_skeletons), tmp_path / "runs"), 1, tmp_path / "runs")


def every_preset_was_trained(told: dict[str, list], processes: int, runs: Path) -> None:
    assert set(told) == set(PRESETS)
    for name, (steps, ran, loss) in told.items():
        assert (steps, ran) == (2, processes), name
        assert math.isfinite(loss), name
        assert (runs / name / "model.safetensors").exists()


def json_lines(done: subprocess.CompletedProcess) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("{")]


def test_a_run_of_one_process_goes_on_with_two(launched: tuple) -> None:
    folder, done = launched
    assert "the run was started with 1 processes and resumes with 2: not bit-exact" in done.stderr
    assert len(json_lines(done)) == 2, "only the first process reports, on the presets and on this run"
    figures = json.loads(json_lines(done)[1])
    assert (figures["processes"], figures["epochs"]) == (2, 3)
    told = json.loads((folder / "run" / "metrics.json").read_text())
    assert [entry["batches"] for entry in told["history"]] == [6, 3, 3]
    assert sum(map(sum, told["validation"]["confusion_matrix"])) == 6
