"""Training curves in trackio, on this machine."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_trackio_keeps_the_curves_on_this_machine(drawn_dataset: Path, tmp_path: Path) -> None:
    """In a process of its own, as trackio prints when a process ends, and starts threads."""
    pytest.importorskip("trackio")
    command = [
        *(sys.executable, ROOT / "scripts" / "train.py", "--model", "features_crossvit", "--dataset", drawn_dataset),
        *("--output_dir", tmp_path / "runs" / "a", "--epochs", 2, "--batch_size", 9, "--trackers", "trackio"),
    ]
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["epochs"] == 2
    with sqlite3.connect(tmp_path / "trackio" / "runs.db") as database:
        logged = [json.loads(metrics) for (metrics,) in database.execute("select metrics from metrics")]
        names = {name for (name,) in database.execute("select run_name from metrics")}
        (settings,) = (json.loads(config) for (config,) in database.execute("select config from configs"))
    assert names == {"runs/a"}
    assert {"train/loss", "train/learning_rate", "validation/accuracy"} <= {name for each in logged for name in each}
    assert settings["optimizer"] == "adamw"
    assert str(tmp_path) not in str(settings)
