"""What the tests of faults share: commands, and looks at what a script left."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

Do = Callable[..., dict]  # do("prepare", ..., signal=9, after=GLOB): see fault_driver.py
Disk = tuple[Path, Callable[[str], None]]  # a small disk, and what changes its options
TOKEN = "hf_testtokentesttoken"


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".tmp" in path.name]


def refused(told: dict, *words: str) -> None:
    """The script ended in one line that says `words`, with exit code 2."""
    assert told["code"] == 2, told["stderr"]
    lines = [line for line in told["stderr"].replace("\r", "\n").splitlines() if "error: " in line]
    assert len(lines) == 1, told["stderr"]
    assert told["stdout"] == ""
    for word in words:
        assert word in lines[0], lines[0]


def preparing(raw: Path, output: Path, *more: object) -> tuple:
    return ("prepare", "--dataset", "gaf3", "--source", raw, "--output", output, "--num_proc", 1, *more)


def training(dataset: object, output: Path, *more: object) -> tuple:
    return ("train", "--model", "features_crossvit", "--dataset", dataset, "--output_dir", output, *more)


def predicting(model: object, dataset: object, table: Path, *more: object) -> tuple:
    common = ("--split", "train", "--output", table, "--device", "cpu")
    return ("predict", "--model", model, "--dataset", dataset, *common, *more)
