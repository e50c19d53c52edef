"""The notebooks in examples/ run from top to bottom, and what is saved in them belongs to no machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ger_datasets.preparation.push import LOCAL_PATH

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SECONDS = 170  # for a cell, on a machine that does other things too
OF_A_MACHINE = re.compile(rf"{LOCAL_PATH.pattern}|hf_\w{{10,}}|\w/s\b")  # the last: progress bars


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook: Path, starter: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbmake")
    shutil.copy(notebook, tmp_path)
    command = [sys.executable, "-m", "pytest", "--nbmake", f"--nbmake-timeout={SECONDS}", "-q", notebook.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path / "ipython")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_saved_outputs(notebook: Path) -> None:
    cells = code_cells(notebook)
    assert "%pip install -q group-emotion" in "".join(cells[0]["source"]), "it also runs where nothing is installed"
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "saved after one run"
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any(kind.startswith("image/") for output in outputs for kind in output.get("data", {}))
    for output in outputs:
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr", output["text"]
        for text in ("".join(output.get("text", "")), *map(str, text_of(output))):
            assert not OF_A_MACHINE.search(text), text


def text_of(output: dict[str, Any]) -> list[str]:
    return ["".join(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/")]


def test_every_example_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\(\.\./examples/(\w+\.ipynb)\)", page)) == {path.name for path in NOTEBOOKS}
    assert len(NOTEBOOKS) == 5
