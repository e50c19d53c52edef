"""Scripts start fast: `--help` and the scoring of tables import neither torch nor other slow packages."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ger_models.evaluation.predictions import Predictions, write_predictions

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))
SLOW_PACKAGES = {"torch", "torchvision", "timm", "accelerate", "datasets", "evaluate", "matplotlib", "sklearn"}
SHARE = 0.6  # of the time of `import torch, transformers`; measured 0.31 to 0.38, see docs/results.md


def imported_packages(command: Sequence[object]) -> set[str]:
    """The packages that a Python process imports, from `-X importtime`; the command must succeed."""
    words = [sys.executable, "-X", "importtime", *map(str, command)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, "\n".join(
        line for line in done.stderr.splitlines() if not line.startswith("import time:")
    )
    return set(re.findall(r"^import time:.*\|\s+(\w+)", done.stderr, re.MULTILINE))


@pytest.fixture(scope="module")
def unavoidable() -> set[str]:
    """What transformers alone imports: nothing slow, but torch in its oldest version that is supported."""
    return imported_packages(["-c", "import transformers"])


def skip_if_torch(imported: set[str]) -> None:
    if "torch" in imported:
        pytest.skip("this version of transformers imports torch")


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_imports_no_slow_package(name: str, unavoidable: set[str]) -> None:
    assert imported_packages([f"scripts/{name}.py", "--help"]) & SLOW_PACKAGES <= unavoidable


def processor_seconds(command: Sequence[str]) -> float:
    """The least processor time of two runs, which other processes of the machine disturb less than the clock."""
    seconds = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


@pytest.mark.slow
def test_help_takes_a_fraction_of_importing_torch(unavoidable: set[str]) -> None:
    skip_if_torch(unavoidable)
    whole = processor_seconds(["-c", "import torch, transformers"])
    assert processor_seconds(["scripts/ensemble.py", "--help"]) < SHARE * whole


@pytest.fixture
def tables(tmp_path: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    paths = [tmp_path / f"m{number}.parquet" for number in range(2)]
    for path in paths:
        logits = generator.normal(size=(60, 3)) + np.eye(3)[labels]
        splits = ["validation"] * 30 + ["test"] * 30
        names = [f"photo_{row}" for row in range(60)]
        write_predictions(path, Predictions(names, splits, labels, logits, path.stem, ["a", "b", "c"]))
    return paths


@pytest.mark.slow
def test_scoring_tables_imports_no_torch(tables: list[Path], tmp_path: Path, unavoidable: set[str]) -> None:
    skip_if_torch(unavoidable)
    common = ["--predictions", *tables, "--output_dir"]
    found = imported_packages(["scripts/ensemble.py", *common, tmp_path / "e", "--nested_folds", 0])
    assert "ger_models" in found
    assert "torch" not in found
    asked = [*common, tmp_path / "r", "--ensemble", tmp_path / "e" / "ensemble.json", "--split", "test"]
    assert "torch" not in imported_packages(["scripts/evaluate_predictions.py", *asked])


@pytest.mark.slow
def test_importing_the_package_registers_its_models() -> None:
    """In a user's program the import alone is enough; after a script's command line, the first use is."""
    plain = "import ger_models\nfrom transformers import AutoConfig\nAutoConfig.for_model('ger_scene')"
    script = (
        "import ger_datasets.support.command_line, sys\n"
        "from ger_models import STARTER\n"
        "assert 'torch' not in sys.modules\n"
        "from ger_models import GerSceneConfig, GroupEmotionPipeline\n"
        "from transformers import AutoConfig\n"
        "AutoConfig.for_model('ger_scene')"
    )
    for code in (plain, script):
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
