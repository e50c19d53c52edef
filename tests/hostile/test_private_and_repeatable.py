"""The whole way twice, in two folders, beside a Hub that listens: the same bytes, no path, no token, no request."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hub_server import HubServer
from PIL import Image

from ger_datasets.preparation.push import _texts

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_neverrepeatthistoken"
PLACES = ("a_secret_place_of_mine", "another_secret_place")
# Tell how long the training took, and what follows from that
TIMED = ("run/README.md", "run/metrics.json", "/position.json", "/whole.json")

# Each step as a user runs it; the scripts' own last lines go to stdout
STEPS = """
import contextlib, io, runpy, sys
from pathlib import Path
root, scripts = Path(sys.argv[1]), Path(sys.argv[2])
def run(name, *words):
    sys.argv = [str(scripts / f"{name}.py"), *map(str, words)]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise RuntimeError(f"{name} ended with {stop.code}") from stop
for place in sys.argv[3:]:
    here = root / place
    run("prepare", "--dataset", "gaf3", "--source", here / "raw", "--output", here / "prepared", "--num_proc", 1)
    model, drawn = here / "run", here / "drawn"
    run("train", "--model", "features_crossvit", "--dataset", drawn, "--output_dir", model, "--epochs", 2)
    table = here / "p.parquet"
    run("predict", "--model", model, "--dataset", drawn, "--split", "test", "--output", table, "--device", "cpu")
    run("predict", "--model", here / "run", "--photos", here / "raw" / "val", "--output_dir", here / "pictures",
        "--device", "cpu")
    run("evaluate_predictions", "--predictions", table, "--output_dir", here / "report")
"""


@pytest.fixture(scope="module")
def done(
    drawn_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.CompletedProcess, list[str]]]:
    """The folder that holds both places, the process, and what the Hub was asked."""
    root = tmp_path_factory.mktemp("user_jane_doe")
    for place in PLACES:
        for i, name in enumerate(("Negative", "Neutral", "Positive")):
            for split, count in (("train", 2), ("val", 1)):
                folder = root / place / "raw" / split / name
                folder.mkdir(parents=True)
                for number in range(count):
                    Image.new("RGB", (64, 48), (60 * i, 90 * number, 9)).save(folder / f"{split}_{i}_{number}.jpg")
            (root / place / "raw" / "train" / name / "broken.jpg").write_bytes(b"no photo")
        shutil.copytree(drawn_dataset, root / place / "drawn")
    with HubServer(root / "hub", token=TOKEN) as hub:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(root / "home")}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        command = [sys.executable, "-c", STEPS, root, ROOT / "scripts", *PLACES]
        ended = subprocess.run(
            list(map(str, command)), env=environment, cwd=root, capture_output=True, text=True, timeout=400
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        yield root, ended, list(hub.log)


def outputs(place: Path) -> dict[str, Path]:
    """What the scripts wrote, by its path in the place."""
    made = [
        path
        for path in place.rglob("*")
        if path.is_file() and path.relative_to(place).parts[0] not in ("raw", "drawn")
    ]
    return {str(path.relative_to(place)): path for path in made}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_folders_hold_the_same_bytes(done: tuple) -> None:
    root, _, _ = done
    one, other = (outputs(root / place) for place in PLACES)
    assert one.keys() == other.keys()
    assert {"prepared/README.md", "run/model.safetensors", "p.parquet", "report/report.json"} <= one.keys()
    differ = [name for name in one if digest(one[name]) != digest(other[name])]
    assert [name for name in differ if not name.endswith(TIMED)] == []
    weights = [name for name in one if name.endswith(".safetensors")]
    assert weights
    assert not set(weights) & set(differ)


def test_no_path_and_no_token_in_what_was_written(done: tuple) -> None:
    root, _, _ = done
    marks = [TOKEN, str(root), *PLACES, str(Path.home())] if len(str(Path.home())) > 5 else [TOKEN, str(root), *PLACES]
    looked = 0
    for place in PLACES:
        for name, path in outputs(root / place).items():
            content = path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                with pq.ParquetFile(path) as file:
                    content += "\n".join(_texts(file))
            assert not [mark for mark in marks if mark in content], name
            looked += 1
    assert looked > 30


def test_no_token_in_what_was_said(done: tuple) -> None:
    _, ended, _ = done
    assert TOKEN not in ended.stdout + ended.stderr
    assert len([line for line in ended.stdout.splitlines() if line.startswith("{")]) == 5 * len(PLACES)
    assert all(json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{"))


def test_nothing_leaves_the_machine_unless_it_is_pushed(done: tuple) -> None:
    _, _, asked = done
    assert [request for request in asked if not request.startswith(("GET", "HEAD"))] == [], "nothing was sent"
    assert not [request for request in asked if any(place in request for place in PLACES)]
