"""Preparing that is killed, split over processes, given other columns later, or loses its disk."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from datasets import load_dataset
from forked import forked
from PIL import Image

from ger_datasets import records
from ger_datasets.preparation import shards
from ger_datasets.preparation.run import prepare
from ger_datasets.records import Record
from ger_datasets.support.atomic_files import replacing
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import BadPhoto, UserError
from ger_models.encoders.sources import scene_source
from ger_models.presets import build

pytestmark = pytest.mark.slow


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_killed_ten_times_it_ends_byte_identical(
    drawn_raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while a shard is written or soon after one is complete, in turn, and last undisturbed."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 2)
    monkeypatch.setattr(shards, "GROUP_ROWS", 1)
    start = time.monotonic()
    prepare_some(drawn_raw, tmp_path / "undisturbed")
    output, progress = tmp_path / "killed", [0]
    shard_seconds = (time.monotonic() - start) / len(list((tmp_path / "undisturbed" / "data").iterdir()))
    draw = random.Random(7)
    for kill in range(10):
        child = forked(prepare_some, drawn_raw, output)
        wait_for_work(output, child.pid)
        if kill % 2:
            wait_until(lambda pid=child.pid: complete(output) > progress[-1] or has_ended(pid), 60)
        time.sleep(draw.uniform(0, 0.7 * shard_seconds))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        progress.append(complete(output))
    code, _, log = forked(prepare_some, drawn_raw, output).wait()
    assert code == 0, log
    assert progress == sorted(progress), "a whole shard is never lost"
    assert len(set(progress[1:])) > 3, f"the kills fell into the work: {progress}"
    assert digests(output) == digests(tmp_path / "undisturbed")


def complete(output: Path) -> int:
    """How many shards there are."""
    return len(list((output / "manifest").glob("*.json")))


def has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def prepare_some(raw: Path, output: Path) -> None:
    prepare("gaf3", raw, output, num_proc=1, limit=6)


def wait_for_work(output: Path, child: int) -> None:
    """Until a new shard is being written, or the child has ended."""
    before = set(output.rglob(".*.parquet.*.tmp"))
    wait_until(lambda: has_ended(child) or bool(set(output.rglob(".*.parquet.*.tmp")) - before), 60)


def test_workers_end_when_the_parent_is_killed(
    drawn_raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 2)
    parent, workers = forked(lambda: prepare("gaf3", drawn_raw, tmp_path / "out", num_proc=2)), []
    try:
        wait_until(lambda: list((tmp_path / "out" / "manifest").glob("*.json")), 90)
        workers = children(parent.pid)
        assert len(workers) >= 2
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not any(running(worker) for worker in workers), 20)


def wait_until(happened: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    if listed.returncode not in (0, 1):
        pytest.skip("ps is not here")
    return [int(word) for word in listed.stdout.split()]


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def test_a_worker_that_is_killed_while_it_counts(
    raw_folder: Path, tmp_path: Path, quick_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of the common counter is never given back; who waits for it waits for ever."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 2)
    context = type(multiprocessing.get_context("spawn"))
    value, made = context.Value, []

    def remembered(*words: object) -> Any:
        made.append(value(*words))
        return made[-1]

    def hold_and_kill() -> None:
        while not made or not multiprocessing.active_children():
            time.sleep(0.01)
        made[0].get_lock().acquire()
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    monkeypatch.setattr(context, "Value", remembered)
    threading.Thread(target=hold_and_kill, daemon=True).start()
    with pytest.raises(UserError, match="a worker process was killed"):
        prepare("gaf3", raw_folder, tmp_path / "out", num_proc=2)


def test_two_accelerate_processes_write_what_one_writes(
    load_script: Callable[[str], ModuleType], drawn_raw: Path, drawn_dataset: Path, tmp_path: Path
) -> None:
    """Two processes with the variables that `accelerate launch` sets."""
    script = load_script("prepare")
    arguments = ["--dataset", "sample", "--source", drawn_raw, "--output", tmp_path / "two", "--expressions", "none"]

    def run_as_launched() -> None:
        AcceleratorState._reset_state(reset_partial_state=True)  # of scripts that ran in this process
        run(script.main, script.Arguments, list(map(str, arguments)))

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    launched = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    both = [forked(run_as_launched, **launched, RANK=rank, LOCAL_RANK=rank) for rank in ("0", "1")]
    (code, printed, log), (other_code, other_printed, other_log) = [each.wait(170) for each in both]
    assert code == 0, log[-2000:]
    assert other_code == 0, other_log[-2000:]
    assert len([line for line in printed.splitlines() if line.startswith("{")]) == 1
    assert '"complete": true' in printed
    assert other_printed == ""
    assert digests(tmp_path / "two") == digests(drawn_dataset)


def test_parts_of_a_job_array_in_any_order(
    run_script: Callable, raw_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 2)
    common = ("prepare", "--dataset", "gaf3", "--source", raw_folder, "--num_proc", 1)
    assert run_script(*common, "--output", tmp_path / "whole")[0] == 0
    for part in ("3/3", "1/3"):
        code, figures, log = run_script(*common, "--output", tmp_path / "parts", "--shard", part)
        assert code == 0, log
        assert figures["complete"] is False
        assert not (tmp_path / "parts" / "README.md").exists()
    _, figures, _ = run_script(*common, "--output", tmp_path / "parts", "--shard", "2/3")
    assert figures["complete"] is True
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")
    for wrong in ("0/3", "4/3", "3", "a/b", "1/0"):
        code, _, log = run_script(*common, "--output", tmp_path / "parts", "--shard", wrong)
        assert code == 2
        assert "--shard must be i/n" in log


@pytest.fixture(scope="module")
def scene_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene") / "tiny"
    model, processor = build("densenet_emotic", ["a", "b", "c"], overrides="backbone=test_resnet")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_scene_features_at_once_or_later(
    drawn_raw: Path, drawn_dataset: Path, scene_checkpoint: Path, tmp_path: Path, quick_workers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    encoder = scene_source(str(scene_checkpoint), Path())
    prepare("sample", drawn_raw, tmp_path / "at_once", num_proc=2, sources=[encoder])

    shutil.copytree(drawn_dataset, tmp_path / "later")
    with monkeypatch.context() as patch:
        patch.setattr(records, "read_photo", None)  # nothing is read or looked for again
        prepare("sample", drawn_raw, tmp_path / "later", num_proc=1, sources=[encoder])

    before, at_once, later = (load_dataset(str(p)) for p in (drawn_dataset, tmp_path / "at_once", tmp_path / "later"))
    for split in before:
        expected = np.concatenate([encoder.encoder.encode([row["image"]]) for row in before[split]])
        for dataset in (at_once, later):
            np.testing.assert_allclose(np.array(dataset[split]["scene_feature"][:]), expected, atol=1e-5)
        others = [name for name in before[split].column_names if name != "scene_feature"]
        for one, other in zip(before[split].select_columns(others), later[split].select_columns(others), strict=True):
            assert one == other
    assert "Scene features: name tiny" in (tmp_path / "later" / "README.md").read_text()

    model, processor = build("densenet_emotic", ["a", "b", "c"], overrides="backbone=test_resnet")
    model.save_pretrained(tmp_path / "other")
    processor.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="scene_model was"):
        prepare("sample", drawn_raw, tmp_path / "later", sources=[scene_source(str(tmp_path / "other"), Path())])
    with pytest.raises(UserError, match="scene_model was"):
        prepare("sample", drawn_raw, tmp_path / "later")


def test_a_checkpoint_that_is_no_scene_model(tmp_path: Path) -> None:
    model, processor = build("features_crossvit", ["a", "b"])
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="an encoder is a scene model"):
        scene_source(str(tmp_path), Path())


class Painted:
    """A source that paints a skeleton, and refuses some photos."""

    name = "skeletons"

    def __init__(self, colour: str = "red", refuses: Sequence[str] = ()) -> None:
        self.settings = {"colour": colour}
        self.refuses = refuses

    def columns(self, record: Record, image: Image.Image) -> dict[str, Any]:
        if record.image_id in self.refuses:
            raise BadPhoto("skeleton: torn")
        return {"skeleton": Image.new("RGB", image.size, self.settings["colour"])}


def test_skeletons_at_once_or_later(raw_folder: Path, tmp_path: Path) -> None:
    prepare("gaf3", raw_folder, tmp_path / "at_once", num_proc=1, sources=[Painted()])
    prepare("gaf3", raw_folder, tmp_path / "later", num_proc=1)
    prepare("gaf3", raw_folder, tmp_path / "later", num_proc=1, sources=[Painted()])
    for name in ("at_once", "later"):
        rows = load_dataset(str(tmp_path / name), split="train")
        assert all(row["skeleton"].getpixel((5, 5))[0] > 250 for row in rows)
        assert rows[0]["skeleton"].size == rows[0]["image"].size
    data = {path.name: path.read_bytes() for path in (tmp_path / "at_once" / "data").iterdir()}
    assert data == {path.name: path.read_bytes() for path in (tmp_path / "later" / "data").iterdir()}


def test_photos_that_a_source_refuses_go_to_quarantine(raw_folder: Path, tmp_path: Path) -> None:
    torn = Painted(refuses=["train/Neutral/neu_2"])
    figures = prepare("gaf3", raw_folder, tmp_path / "out", num_proc=1, sources=[torn])
    assert (figures["rows"], figures["quarantined"]) == (11, 1)
    assert "skeleton: torn" in (tmp_path / "out" / "quarantine.jsonl").read_text()


def test_a_photo_that_vanishes_stops_the_run(
    raw_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = records.read_photo

    def vanishing(path: Path, lossless: bool) -> object:
        if path.name == "pos_2.jpg":
            path.unlink()
        return real(path, lossless)

    monkeypatch.setattr(records, "read_photo", vanishing)
    with pytest.raises(UserError, match=r"train/Positive/pos_2\.jpg was there when the run began and is gone"):
        prepare("gaf3", raw_folder, tmp_path / "out", num_proc=1)
    assert not list((tmp_path / "out" / "data").iterdir()) or not list((tmp_path / "out").rglob(".*tmp"))


def test_a_read_only_output(raw_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise OSError(30, "Read-only file system")

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(UserError, match=r"cannot .*Read-only file system"):
        prepare("gaf3", raw_folder, tmp_path / "out", num_proc=1)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk(raw_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up while the second shard is written: a clear error, no half shard, and the run can go on."""
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)
    real, calls = shards.pq.ParquetWriter.write_table, []

    def full(writer: Any, table: Any) -> None:
        calls.append(table)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(writer, table)

    with monkeypatch.context() as patch:
        patch.setattr(shards.pq.ParquetWriter, "write_table", full)
        with pytest.raises(UserError, match="No space left on device"):
            prepare("gaf3", raw_folder, tmp_path / "out", num_proc=1)
    assert len(list((tmp_path / "out" / "data").iterdir())) == 1
    prepare("gaf3", raw_folder, tmp_path / "out", num_proc=1)
    assert len(load_dataset(str(tmp_path / "out"), split="train")) == 9


def test_options_of_another_dataset_are_refused(raw_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gaf3 has no option split_by"):
        prepare("gaf3", raw_folder, tmp_path / "out", options={"split_by": "video", "key_frames": None})


def test_a_shard_cut_short_behind_our_back_is_written_anew(raw_folder: Path, tmp_path: Path) -> None:
    prepare("gaf3", raw_folder, tmp_path / "out", num_proc=1)
    before = digests(tmp_path / "out")
    (path,) = (tmp_path / "out" / "data").glob("train-*")
    path.write_bytes(path.read_bytes()[:100])
    prepare("gaf3", raw_folder, tmp_path / "out", num_proc=1)
    assert digests(tmp_path / "out") == before


def test_files_are_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half of the new")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_scene_encoders_travel_to_workers(scene_checkpoint: Path) -> None:
    encoder = scene_source(str(scene_checkpoint), Path())
    again = pickle.loads(pickle.dumps(encoder))  # noqa: S301 - made here
    image = Image.linear_gradient("L").convert("RGB")
    np.testing.assert_array_equal(again.encoder.encode([image]), encoder.encoder.encode([image]))
    assert str(scene_checkpoint.parent) not in str(encoder.settings)


class Held(Painted):
    """One that waits for the file `go`."""

    def __init__(self, go: Path) -> None:
        super().__init__()
        self.go = go

    def columns(self, record: Record, image: Image.Image) -> dict[str, Any]:
        while not self.go.exists():
            time.sleep(0.01)
        return super().columns(record, image)


def test_an_interrupt_leaves_no_half_files(
    raw_folder: Path, tmp_path: Path, load_script: Callable[[str], ModuleType], quick_workers: None,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """No shard is complete before the signal is sent, however busy the machine: it cannot come after the end."""
    script, output = load_script("prepare"), tmp_path / "out"
    monkeypatch.setattr(script, "open_sources", lambda *_: [Held(tmp_path / "go")])

    def interrupt() -> None:
        try:
            wait_until(lambda: list((output / "data").glob(".*.tmp")), 300)
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            (tmp_path / "go").touch()

    threading.Thread(target=interrupt, daemon=True).start()
    words = ["--dataset", "gaf3", "--source", raw_folder, "--output", output, "--num_proc", "2"]
    with pytest.raises(SystemExit) as stop:
        run(script.main, script.Arguments, list(map(str, words)))
    stdout, stderr = capfd.readouterr()
    assert stop.value.code == 130, stderr
    assert stdout == ""
    assert not (output / "README.md").exists()
    assert not list(output.rglob(".*.tmp"))


class Killed(Painted):
    """One whose worker the kernel kills at a photo of the split validation."""

    def columns(self, record: Record, image: Image.Image) -> dict[str, Any]:
        if record.split == "validation" and multiprocessing.parent_process():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().columns(record, image)


def test_a_worker_that_the_kernel_kills(
    raw_folder: Path, tmp_path: Path, quick_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 1)
    output = tmp_path / "out"
    with pytest.raises(UserError, match="a worker process was killed"):
        prepare("gaf3", raw_folder, output, num_proc=2, sources=[Killed()])
    assert not (output / "README.md").exists()
    whole = list((output / "data").glob("*.parquet"))
    assert 0 < len(whole) < 12, "the kill fell into the work"
    assert prepare("gaf3", raw_folder, output, num_proc=1, sources=[Painted()])["rows"] == 12
    prepare("gaf3", raw_folder, tmp_path / "calm", num_proc=1, sources=[Painted()])
    assert digests(output) == digests(tmp_path / "calm"), "run again, it ends as if nothing had happened"


def test_near_duplicates_across_splits_are_counted_in_the_card(drawn_raw: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(drawn_raw, raw)
    (copied,) = raw.glob("train/Positive/pos_2.jpg")
    with Image.open(copied) as photo:
        photo.save(raw / "val" / "Positive" / "pos_1.jpg", quality=60)  # the same photo, compressed anew
    figures = prepare("gaf3", raw, tmp_path / "out", num_proc=1)
    assert figures["near_duplicates"] == 2
    card = (tmp_path / "out" / "README.md").read_text()
    assert "2 photos look the same as one in another split" in card
    assert "`train/Positive/pos_2` and `validation/Positive/pos_1`" in card
