"""Raw folders -> Parquet datasets, whole, resumable and the same whatever the number of processes."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from ger_datasets import records, schema
from ger_datasets.faces import FaceExtractor
from ger_datasets.preparation import shards
from ger_datasets.preparation.card import read_notice
from ger_datasets.preparation.run import prepare
from ger_datasets.preparation.shards import plan_shards
from ger_datasets.records import Record
from ger_datasets.support.errors import UserError


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def from_the_folder_above(drawn_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(drawn_dataset.parent)


def test_whole_by_split_and_streaming() -> None:
    whole = load_dataset("sample")
    assert {split: len(rows) for split, rows in whole.items()} == {"train": 18, "validation": 6, "test": 6}
    assert whole["train"].features == schema.features()
    test = load_dataset("sample", split="test")
    streamed = list(load_dataset("sample", split="test", streaming=True))
    assert [row["image_id"] for row in streamed] == test["image_id"][:]
    assert [len(row["aligned_faces"]) for row in streamed] == [len(faces) for faces in test["face_boxes"]]


@pytest.mark.slow
def test_every_column(drawn_raw: Path) -> None:
    rows = load_dataset("sample")
    seen = {True: 0, False: 0}
    extractor = FaceExtractor()
    for split in rows:
        for row in rows[split]:
            folder, name, stem = row["image_id"].split("/")
            assert folder == split
            assert schema.CLASS_NAMES[row["label"]] == name
            assert row["group"] == row["image_id"]
            source = drawn_raw / ("train" if split == "train" else "val") / name / f"{stem}.jpg"
            image = row["image"]
            np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(source)))
            (faces,) = extractor.extract([image])
            assert len(row["face_boxes"]) == len(faces)
            assert bool(row["sampled_patches"]) != bool(row["face_boxes"])
            seen[bool(row["face_boxes"])] += 1
            for name in ("face_scores", "face_landmarks", "face_features", "face_crops", "aligned_faces"):
                assert len(row[name]) == len(faces), name
            if len(faces):
                np.testing.assert_allclose(row["face_boxes"], faces.boxes)
                np.testing.assert_allclose(row["face_features"], faces.features, atol=1e-5)
                np.testing.assert_allclose(np.array(row["face_landmarks"]).reshape(-1, 5, 2), faces.landmarks)
                assert {face.size for face in row["aligned_faces"]} == {(96, 112)}
                x1, y1, x2, y2 = row["face_boxes"][0]
                assert row["face_crops"][0].width == pytest.approx(x2 - x1, abs=2)
                assert row["face_crops"][0].height == pytest.approx(y2 - y1, abs=2)
            else:
                assert [patch.size for patch in row["sampled_patches"]] == [(112, 96)] * 4
            assert row["skeleton"] is None
            assert row["scene_feature"] is None
    assert seen[True] >= 20
    assert seen[False] >= 1, "some drawn photos show backs only"


def test_the_card(drawn_dataset: Path) -> None:
    card = (drawn_dataset / "README.md").read_text(encoding="utf-8")
    assert "test pattern" in card
    assert "| train | 6 | 6 | 6 | 18 |" in card
    assert "drawn" in read_notice(str(drawn_dataset))
    assert str(drawn_dataset.parent) not in card


def test_nothing_of_this_machine_is_in_the_dataset(drawn_dataset: Path, drawn_raw: Path) -> None:
    for path in drawn_dataset.rglob("*"):
        if path.is_file():
            assert str(drawn_raw.parent).encode() not in path.read_bytes(), path.name


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_as_one(
    drawn_dataset: Path, drawn_raw: Path, tmp_path: Path, quick_workers: None
) -> None:
    prepare("sample", drawn_raw, tmp_path / "two", num_proc=2)
    assert digests(tmp_path / "two") == digests(drawn_dataset)


def test_min_face_pixels_is_a_setting_of_the_dataset(raw_folder: Path, drawn_raw: Path, tmp_path: Path) -> None:
    first = prepare("sample", drawn_raw, tmp_path / "sample", num_proc=1, limit=2)
    large = prepare("sample", drawn_raw, tmp_path / "large", num_proc=1, limit=2, min_face_pixels=400)
    assert first["faces"] > large["faces"]
    settings = json.loads((tmp_path / "large" / "manifest.json").read_text())["settings"]
    assert settings["detector"]["min_face_pixels"] == 400
    assert "min_face_pixels 400" in (tmp_path / "large" / "README.md").read_text()
    with pytest.raises(UserError, match="other settings: detector was"):
        prepare("sample", drawn_raw, tmp_path / "large", num_proc=1, limit=2)


def test_row_groups_stay_below_what_the_hubs_viewer_opens(
    raw_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shards.GROUP_BYTES <= 100_000_000
    whole = prepare("gaf3", raw_folder, tmp_path / "whole", num_proc=1)
    largest = max(map(shards.image_bytes, stored_rows(tmp_path / "whole" / "data")))
    monkeypatch.setattr(shards, "GROUP_BYTES", 3 * largest)
    small = prepare("gaf3", raw_folder, tmp_path / "small", num_proc=1)
    assert small["rows"] == whole["rows"]
    assert stored_rows(tmp_path / "small" / "data") == stored_rows(tmp_path / "whole" / "data")
    (train,) = (tmp_path / "small" / "data").glob("train-*")
    file = pq.ParquetFile(train)
    groups = [file.read_row_group(number).to_pylist() for number in range(file.num_row_groups)]
    assert len(groups) > 1
    assert max(sum(map(shards.image_bytes, group)) for group in groups) <= 3 * largest


def stored_rows(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_a_stopped_run_goes_on_and_ends_the_same(
    raw_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 2)
    prepare("gaf3", raw_folder, tmp_path / "undisturbed", num_proc=1)

    real, calls = records.read_photo, []

    def stops(path: Path, lossless: bool) -> object:
        calls.append(path)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(path, lossless)

    monkeypatch.setattr(records, "read_photo", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare("gaf3", raw_folder, tmp_path / "stopped", num_proc=1)
    assert not list((tmp_path / "stopped").rglob("*.tmp"))
    assert not (tmp_path / "stopped" / "README.md").exists()
    done = len(list((tmp_path / "stopped" / "data").glob("*.parquet")))
    assert done == 3  # of one photo, two and two

    prepare("gaf3", raw_folder, tmp_path / "stopped", num_proc=1)
    assert len(calls) == 6 + 12 - 5, "the photos of the shards that were done are not read again"
    assert digests(tmp_path / "stopped") == digests(tmp_path / "undisturbed")


def test_a_finished_dataset_is_left_alone_and_other_settings_are_refused(raw_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "gaf3"
    prepare("gaf3", raw_folder, output, num_proc=1)
    before = {path: path.stat().st_mtime_ns for path in (output / "data").iterdir()}
    prepare("gaf3", raw_folder, output, num_proc=1)
    assert {path: path.stat().st_mtime_ns for path in (output / "data").iterdir()} == before
    with pytest.raises(UserError, match="photos was 12 and is now 4"):
        prepare("gaf3", raw_folder, output, num_proc=1, limit=2)


def test_files_that_prepare_did_not_write_are_never_overwritten(raw_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine"
    output.mkdir()
    (output / "README.md").write_text("my notes")
    with pytest.raises(UserError, match=r"README\.md.*nothing was overwritten"):
        prepare("gaf3", raw_folder, output, num_proc=1)
    assert (output / "README.md").read_text() == "my notes"
    (output / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="not a manifest"):
        prepare("gaf3", raw_folder, output, num_proc=1)


def test_bad_photos_go_to_quarantine_and_the_run_goes_on(raw_folder: Path, tmp_path: Path) -> None:
    folder = raw_folder / "train" / "Positive"
    (folder / "pos_1.jpg").write_bytes(b"")
    (folder / "pos_2.jpg").write_bytes((folder / "pos_3.jpg").read_bytes()[:-60])
    Image.new("RGB", (1, 1)).save(folder / "pos_4.png")
    figures = prepare("gaf3", raw_folder, tmp_path / "gaf3", num_proc=1)
    assert (figures["rows"], figures["quarantined"], figures["faceless"]) == (10, 3, 10)
    lines = [json.loads(line) for line in (tmp_path / "gaf3" / "quarantine.jsonl").read_text().splitlines()]
    reasons = {line["file"]: line["reason"] for line in lines}
    assert set(reasons) == {f"train/Positive/pos_{i}" for i in ("1.jpg", "2.jpg", "4.png")}
    assert "0 bytes" in reasons["train/Positive/pos_1.jpg"]
    assert "damaged" in reasons["train/Positive/pos_2.jpg"]
    assert "1 x 1" in reasons["train/Positive/pos_4.png"]
    ids = load_dataset(str(tmp_path / "gaf3"), split="train")["image_id"]
    assert len(ids) == 7
    assert not set(ids) & {line["image_id"] for line in lines}


def test_a_split_of_bad_photos_alone_is_an_error(raw_folder: Path, tmp_path: Path) -> None:
    for path in (raw_folder / "val").rglob("*.jpg"):
        path.write_bytes(b"no photo")
    with pytest.raises(UserError, match="split validation is empty"):
        prepare("gaf3", raw_folder, tmp_path / "gaf3", num_proc=1)


def test_the_order_is_mixed_and_limits_take_all_classes() -> None:
    records = [
        Record(f"train/{name}/{i}", Path(f"{i}.jpg"), "train", label)
        for label, name in enumerate(schema.CLASS_NAMES)
        for i in range(500)
    ]
    shards = plan_shards(records)
    assert [shard.name for shard in shards][:1] == ["train-00000-of-00015.parquet"]
    assert sorted(r.image_id for shard in shards for r in shard.records) == sorted(r.image_id for r in records)
    for shard in shards:
        assert {record.label for record in shard.records} == {0, 1, 2}
    assert plan_shards(records[::-1]) == shards
    (first,) = plan_shards(records, limit=30)
    assert list(first.records) == [record for shard in shards for record in shard.records][:30]


@pytest.mark.parametrize("options", [{"num_proc": 0}, {"limit": 0}])
def test_numbers_that_make_no_sense(raw_folder: Path, tmp_path: Path, options: dict) -> None:
    with pytest.raises(UserError, match="must be 1 or more"):
        prepare("gaf3", raw_folder, tmp_path / "gaf3", **options)


def test_an_output_that_cannot_be_written(raw_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write"):
        prepare("gaf3", raw_folder, tmp_path / "file" / "gaf3", num_proc=1)


def test_lists_make_a_test_split(raw_folder: Path, tmp_path: Path) -> None:
    (raw_folder / "val_list").write_bytes(pickle.dumps(["neg_1.jpg", "neu_1.jpg"]))
    (raw_folder / "test_list").write_bytes(pickle.dumps(["pos_1.jpg"]))
    prepare("gaf3", raw_folder, tmp_path / "gaf3", num_proc=1)
    shutil.rmtree(raw_folder)  # the dataset stands on its own
    loaded = load_dataset(str(tmp_path / "gaf3"))
    assert list(loaded) == ["train", "validation", "test"]
    assert loaded["test"]["image_id"][:] == ["test/Positive/pos_1"]
    assert loaded["test"][0]["image"].size == (64, 48)
