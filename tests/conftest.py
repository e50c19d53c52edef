"""What the tests share: no network, one thread, a small prepared dataset, and scripts as functions."""

from __future__ import annotations

import os
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", OMP_NUM_THREADS="1", ACCELERATE_USE_CPU="true")
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="ger_tests_")  # before anything of Hugging Face's is imported

import gc
import importlib.util
import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

import ger_models  # noqa: F401 - registers the models, before a script that a test loads defers that

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"  # real photos, for those who have them

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it; tests send Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> None:
    """Each training ends with a full collection, which takes half a second with all that the tests have imported."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos; the test is skipped where it is not."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real photos is not here")
    return SHARED


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """`load_script("train")`: the module of scripts/train.py."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def run_script(load_script: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]) -> Callable:
    """`run_script("prepare", "--dataset", ...)` as the command line: exit code, last JSON line or None, stderr."""
    from ger_datasets.support.command_line import run

    def call(name: str, *arguments: object) -> tuple[int, dict | None, str]:
        module = load_script(name)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(module.main, module.Arguments, [str(argument) for argument in arguments])
        printed = capsys.readouterr()
        lines = printed.out.splitlines()
        return stop.value.code, json.loads(lines[-1]) if lines else None, printed.err

    return call


@pytest.fixture(scope="session")
def drawn_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw folder of drawn photos in the GAF 3.0 layout: 18 to train, 6 to validate, 6 to test."""
    from ger_datasets.sample.drawing import draw_sample

    folder = tmp_path_factory.mktemp("drawn") / "raw"
    draw_sample(folder, {"train": 18, "validation": 6, "test": 6}, seed=1)
    return folder


@pytest.fixture(scope="session")
def drawn_dataset(drawn_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn photos, prepared."""
    from ger_datasets.preparation.run import prepare

    folder = tmp_path_factory.mktemp("prepared") / "sample"
    prepare("sample", drawn_raw, folder, num_proc=1)
    return folder


@pytest.fixture(scope="session")
def starter() -> Path:
    """The checkpoint that comes with the package; the test is skipped in a checkout without its weights."""
    from ger_models import STARTER

    if not (Path(STARTER) / "model.safetensors").exists():
        pytest.skip("the weights of ger_models/starter are not here")
    return Path(STARTER)


@pytest.fixture(scope="session")
def expression_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small expression model of the groups Negative, Neutral and Positive that has learnt nothing."""
    from ger_models.presets import build

    folder = tmp_path_factory.mktemp("expressions") / "small"
    torch.manual_seed(0)
    model, processor = build("face_expressions", ["Negative", "Neutral", "Positive"])
    torch.nn.init.normal_(model.expression_head.weight)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def raw_folder(tmp_path: Path) -> Path:
    """A raw folder in the GAF 3.0 layout whose photos are plain colours: nine to train, three in val, no lists."""
    for split, count in (("train", 3), ("val", 1)):
        for i, name in enumerate(("Negative", "Neutral", "Positive")):
            folder = tmp_path / "raw" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                colour = (60 * i + 20, 40 * number + 20, 90)
                Image.new("RGB", (64, 48), colour).save(folder / f"{name[:3].lower()}_{number + 1}.jpg")
    return tmp_path / "raw"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
