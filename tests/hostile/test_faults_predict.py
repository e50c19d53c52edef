"""What goes wrong around predicting costs neither a row nor a file."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from faults import Disk, Do, predicting, refused

from ger_datasets.support.locks import alone
from ger_models.evaluation.predictions import read_predictions
from ger_models.inference.predict_run import alone_with


def test_predicting_that_is_killed_or_told_to_end(do: Do, drawn_dataset: Path, model: Path, tmp_path: Path) -> None:
    calm, table = tmp_path / "calm.parquet", tmp_path / "out.parquet"
    assert do(*predicting(model, drawn_dataset, calm, "--batch_size", 2), small_parts=True)["code"] == 0
    words = predicting(model, drawn_dataset, table, "--batch_size", 2)
    parts = str(tmp_path / ".out.parquet.parts-*" / "*.json")
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)):
        told = do(*words, small_parts=True, signal=number, after=parts)
        assert told["sent"]
        assert told["code"] == code, told["stderr"]
        assert not table.exists(), "no half table under its name"
    told = do(*words, small_parts=True, clock=True)
    assert told["code"] == 0
    assert "resuming an interrupted run" in told["stderr"]
    assert table.read_bytes() == calm.read_bytes(), "no row lost or doubled"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calm.parquet", "out.parquet"]


def test_predicting_onto_a_disk_that_is_full_or_read_only(
    do: Do, drawn_dataset: Path, model: Path, small_disk: Disk
) -> None:
    disk, remount = small_disk
    table = disk / "out.parquet"
    remount("size=8k")
    refused(do(*predicting(model, drawn_dataset, table)), "No space left on device")
    assert not table.exists()
    remount("size=5m")
    assert do(*predicting(model, drawn_dataset, table))["code"] == 0
    assert len(read_predictions(table)) == 18
    remount("ro")
    refused(do(*predicting(model, drawn_dataset, disk / "more.parquet")), "Read-only file system")
    remount("rw")


def test_a_table_that_may_not_grow(do: Do, drawn_dataset: Path, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.parquet"
    refused(do(*predicting(model, drawn_dataset, table), fsize=4000), "File too large")
    assert not table.exists()
    assert do(*predicting(model, drawn_dataset, table))["code"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_two_processes_predict_into_one_table(do: Do, drawn_dataset: Path, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.parquet"
    words = predicting(model, drawn_dataset, table)
    with alone_with([table]):
        refused(do(*words), f"another process is predicting into {table}: wait until it has ended")
    told = do(*words, beside=words)
    codes = {told["code"], told["beside"]["code"]}
    assert 0 in codes, told
    assert codes <= {0, 2}, told
    assert len(read_predictions(table)) == 18
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_two_processes_predict_into_one_folder_of_pictures(
    do: Do, raw_folder: Path, model: Path, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    words = ("predict", "--model", model, "--photos", raw_folder / "val", "--output_dir", pictures, "--device", "cpu")
    with alone_with([pictures / "predictions.parquet"]):
        refused(do(*words), "another process is predicting into")
    assert list(pictures.iterdir()) == []
    (pictures / ".predictions.parquet.lock").touch()  # of a process that was killed
    assert do(*words)["code"] == 0
    assert len(list(pictures.rglob("*.png"))) == 3
    assert not list(pictures.glob(".*"))


def test_locks_of_all_tables_are_let_go_of(tmp_path: Path) -> None:
    tables = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with (
        alone(tmp_path / ".b.parquet.lock", "busy"),
        pytest.raises(Exception, match=r"another process is predicting into .*b\.parquet"),
        alone_with(tables),
    ):
        pass
    with alone_with(tables):
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []
