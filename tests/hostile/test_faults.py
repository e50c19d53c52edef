"""What goes wrong around a run, signals, disks, clocks, other processes, costs neither a row nor a file."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ger_datasets.errors import UserError
from ger_datasets.locks import alone
from ger_datasets.prepare import prepare
from ger_models.evaluation.predictions import read_predictions
from ger_models.presets import build

Do = Callable[..., dict]
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def do() -> Iterator[Do]:
    """`do("prepare", ..., signal=9, after=GLOB)`: a script in a child of its own, see fault_driver.py."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    driver = subprocess.Popen(
        [sys.executable, HERE / "fault_driver.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    assert driver.stdout.readline() == "ready\n"

    def call(*words: object, **happens: object) -> dict:
        argv = [str(word) for word in words]
        print(json.dumps({"argv": argv, **happens}), file=driver.stdin, flush=True)
        told = json.loads(driver.stdout.readline())
        assert "Traceback" not in told["stderr"], told["stderr"]
        return told

    yield call
    driver.stdin.close()
    driver.wait(timeout=30)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    made, processor = build("densenet_emotic", ["Negative", "Neutral", "Positive"], overrides="backbone=test_resnet")
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A disk of its own, and what changes its options; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.name != "posix"
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], capture_output=True).returncode
    ):
        pytest.skip("no right to mount a small disk here")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)

    yield place, remount
    subprocess.run(["umount", place], check=True)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".tmp" in path.name]


def preparing(raw: Path, output: Path) -> tuple:
    return ("prepare", "--dataset", "gaf3", "--source", raw, "--output", output, "--num_proc", 1)


def predicting(model: Path, dataset: Path, table: Path) -> tuple:
    return (
        "predict",
        "--model",
        model,
        "--dataset",
        dataset,
        "--split",
        "train",
        "--output",
        table,
        "--device",
        "cpu",
    )


def test_preparing_told_to_end_and_with_a_jumping_clock(do: Do, raw_folder: Path, tmp_path: Path) -> None:
    assert do(*preparing(raw_folder, tmp_path / "calm"))["code"] == 0
    calm, output = digests(tmp_path / "calm"), tmp_path / "out"
    shard = str(output / "data" / "*.parquet")
    told = do(*preparing(raw_folder, output), signal=signal.SIGTERM, after=shard)
    assert told["sent"]
    assert told["code"] == 143, told["stderr"]
    assert half_written(output) == []
    assert not list(output.glob(".*.lock"))
    assert not (output / "README.md").exists()
    assert do(*preparing(raw_folder, output), clock=True)["code"] == 0
    assert digests(output) == calm, "neither the signal nor the clock shows in a byte"


def test_preparing_onto_a_disk_that_is_full_or_read_only(
    do: Do, raw_folder: Path, tmp_path: Path, small_disk: tuple[Path, Callable[[str], None]]
) -> None:
    disk, remount = small_disk
    assert do(*preparing(raw_folder, tmp_path / "calm"))["code"] == 0
    remount("size=40k")
    told = do(*preparing(raw_folder, disk / "out"))
    assert told["code"] == 2
    assert "No space left on device" in told["stderr"]
    assert half_written(disk) == []
    remount("size=20m")
    assert do(*preparing(raw_folder, disk / "out"))["code"] == 0
    assert digests(disk / "out") == digests(tmp_path / "calm")
    remount("ro")
    told = do(*preparing(raw_folder, disk / "more"))
    assert told["code"] == 2
    assert "Read-only file system" in told["stderr"]
    remount("rw")


def test_a_file_that_may_not_grow(do: Do, raw_folder: Path, tmp_path: Path) -> None:
    """A quota, as `ulimit -f` sets it: what a full disk is, for who may not mount one."""
    told = do(*preparing(raw_folder, tmp_path / "out"), fsize=3000)
    assert told["code"] == 2
    assert "File too large" in told["stderr"]
    assert half_written(tmp_path) == []
    assert do(*preparing(raw_folder, tmp_path / "out"))["code"] == 0


def test_two_processes_prepare_into_one_folder(raw_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with alone(output / ".part-1-of-1.lock", "preparing"):
        with pytest.raises(UserError, match=r"another process is preparing into .*out: wait until it has ended"):
            prepare("gaf3", raw_folder, output, num_proc=1)
        assert not (output / "data").exists()
    assert prepare("gaf3", raw_folder, output, num_proc=1)["complete"]
    assert not list(output.glob(".*.lock"))


def test_a_worker_that_the_kernel_kills(raw_folder: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, threading, time\nfrom pathlib import Path\nfrom ger_datasets import shards\n"
        "from ger_datasets.prepare import prepare\nfrom ger_datasets.errors import UserError\n"
        "def kill():\n"
        "    while True:\n"
        "        time.sleep(0.05)\n"
        "        listed = Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text().split()\n"
        "        for pid in map(int, listed):\n"
        "            if 'spawn_main' in Path(f'/proc/{pid}/cmdline').read_text():\n"
        "                os.kill(pid, signal.SIGKILL)\n                return\n"
        "if __name__ == '__main__':\n"
        "    shards.SHARD_ROWS = 2\n    threading.Thread(target=kill, daemon=True).start()\n"
        "    try:\n        prepare('gaf3', Path(sys.argv[1]), Path(sys.argv[2]), num_proc=2)\n"
        "    except UserError as error:\n        print(error)\n"
    )
    if not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists():
        pytest.skip("the system does not list a process's children")
    (tmp_path / "run.py").write_text(code)
    done = subprocess.run(
        [sys.executable, tmp_path / "run.py", raw_folder, tmp_path / "out"], capture_output=True, text=True,
        timeout=120, env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
    )  # fmt: skip
    assert "a worker process was killed" in done.stdout, done.stderr[-2000:]
    assert not (tmp_path / "out" / "README.md").exists()
    assert prepare("gaf3", raw_folder, tmp_path / "more", num_proc=1)["rows"] == 12


def test_predicting_that_is_killed_or_told_to_end(do: Do, drawn_dataset: Path, model: Path, tmp_path: Path) -> None:
    calm = tmp_path / "calm.parquet"
    assert do(*predicting(model, drawn_dataset, calm), small_parts=True)["code"] == 0
    table = tmp_path / "out.parquet"
    words = (*predicting(model, drawn_dataset, table), "--batch_size", 2)
    calm_words = (*predicting(model, drawn_dataset, calm), "--batch_size", 2)
    assert do(*calm_words, small_parts=True)["code"] == 0
    parts = str(tmp_path / ".out.parquet.parts-*" / "*.json")
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        told = do(*words, small_parts=True, signal=number, after=parts)
        assert told["sent"]
        assert told["code"] == code, told["stderr"]
        assert not table.exists(), "no half table under its name"
    assert do(*words, small_parts=True, clock=True)["code"] == 0
    assert table.read_bytes() == calm.read_bytes(), "no row lost or doubled"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calm.parquet", "out.parquet"]


def test_predicting_onto_a_disk_that_is_full_or_read_only(
    do: Do, drawn_dataset: Path, model: Path, small_disk: tuple[Path, Callable[[str], None]]
) -> None:
    disk, remount = small_disk
    table = disk / "out.parquet"
    remount("size=8k")
    told = do(*predicting(model, drawn_dataset, table))
    assert told["code"] == 2
    assert "No space left on device" in told["stderr"]
    assert not table.exists()
    remount("size=5m")
    assert do(*predicting(model, drawn_dataset, table))["code"] == 0
    assert len(read_predictions(table)) == 18
    remount("ro")
    told = do(*predicting(model, drawn_dataset, disk / "more.parquet"))
    assert told["code"] == 2
    assert "Read-only file system" in told["stderr"]
    remount("rw")


def test_training_with_a_jumping_clock_and_onto_a_read_only_disk(
    do: Do, drawn_dataset: Path, tmp_path: Path, small_disk: tuple[Path, Callable[[str], None]]
) -> None:
    disk, remount = small_disk
    words = ("train", "--model", "features_crossvit", "--dataset", drawn_dataset, "--epochs", 2, "--output_dir")
    for name, happens in (("calm", {}), ("jumping", {"clock": True})):
        told = do(*words, tmp_path / name, **happens)
        assert told["code"] == 0, told["stderr"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("calm", "jumping")]
    assert weights[0] == weights[1]
    remount("ro")
    told = do(*words, disk / "run")
    assert told["code"] == 2
    assert "Read-only file system" in told["stderr"]
    remount("rw")
