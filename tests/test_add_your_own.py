"""docs/add_your_own.md: its modules, entry points and commands work as written, and no product file is edited."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "add_your_own.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, re.S))
COMMANDS = [shlex.split(line) for line in re.search(r"```bash\n(.*?)```", PAGE, re.S)[1].splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw folder, the page's modules, installed as a package, but not into this environment."""
    folder = tmp_path_factory.mktemp("mine")
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("validation", 2), ("test", 2)):
        for shift, name in ((0, "Calm"), (120, "Excited")):
            (folder / "RAW" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(shift, shift + 120, (60, 80, 3), np.uint8)
                Image.fromarray(pixels).save(folder / "RAW" / split / name / f"{number}.jpg")
    (folder / "my_parts").mkdir()
    for name, content in FILES.items():
        (folder / "my_parts" / name).write_text(content)
    assert ["pip", "install", "-e", "my_parts"] in COMMANDS
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", folder / "installed", folder / "my_parts"], check=True, timeout=120)
    return folder


def run(folder: Path, script: str) -> dict:
    """The figures of the page's command that runs `script`."""
    (words,) = [words for words in COMMANDS if f"scripts/{script}.py" in words]
    command = [sys.executable, *(str(ROOT / word) if word.startswith("scripts/") else word for word in words[1:])]
    paths = os.pathsep.join([str(folder / "installed"), str(ROOT)])
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_parts_are_used_by_the_scripts(folder: Path) -> None:
    assert len(COMMANDS) == 5
    figures = run(folder, "prepare")
    assert (figures["rows"], figures["faces"]) == (16, 16)
    assert json.loads((folder / "moods" / "manifest.json").read_text())["settings"]["detector"] == {"name": "centre"}
    run(folder, "train")
    assert "loss: focal" in (folder / "runs" / "small_max" / "recipe.yaml").read_text()
    assert json.loads((folder / "runs" / "small_max" / "config.json").read_text())["pooling"] == "max"
    run(folder, "predict")
    run(folder, "evaluate_predictions")
    report = json.loads((folder / "report" / "report.json").read_text())
    assert report["class_names"] == ["Calm", "Excited"]
    assert 0 <= report["metrics"]["worst_recall"] <= 1
    page = (folder / "report" / "report.html").read_text()
    assert "<strong>Worst recall:</strong> Recall of the class" in page
    assert '<span class="quiet">Worst recall</span><b>' in page
    assert "| Worst recall | " in (folder / "report" / "card.md").read_text()
    assert json.loads((folder / "runs" / "small_max" / "metrics.json").read_text())["best_by"] == "worst_recall"
