"""benchmarks/bench_gpu.py on the CPU at its small size: that it runs, not what it measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "bench_gpu.py"


def test_a_part_that_fails_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    """A minute: seven processes, each of which imports everything."""
    command = [sys.executable, SCRIPT, "--device", "cpu", "--size", "small", "--limit", "300"]
    command += ["--parts", "resume=0.2,train,step,predict,encode", "--output", tmp_path / "report.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=170)
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    parts = report["parts"]
    assert list(parts) == ["data", "resume", "train", "step", "predict", "encode"]
    assert report["failed"] == ["resume"], done.stderr[-4000:]
    assert parts["resume"]["error"] == "not finished after 0 seconds"
    assert parts["train"]["end to end"]["images_per_second"] > 0
    assert parts["step"]["fusion_crossvit loop bf16"]["images_per_second"] > 0
    assert parts["predict"]["photos"]["photos"] == 4
    assert parts["predict"]["split"]["photos"] == 6
    assert parts["encode"]["starter, faces"]["images_per_second"] > 0
    assert report["summary"]["encoder to its network"] > 0
    assert 0 < report["summary"]["predict split to decoding"] < 1
    assert not [path for path in tmp_path.iterdir() if path.name != "report.json"], "what it made is taken away"


def test_an_unknown_part_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--parts", "face"], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode != 0
    assert "--parts has face: there are data, train, step, faces" in done.stderr
    assert "Traceback" not in done.stderr
