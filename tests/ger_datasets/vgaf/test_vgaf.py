"""VGAF: labels in reverse order, clips of one video, clips and labels that do not match, a round trip in miniature."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from drawn_videos import write_cuts, write_sound
from refusals import refused
from round_trip import round_trip

from ger_datasets.records import Record
from ger_datasets.vgaf.builder import VgafBuilder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 25 frames per second."""
    return write_cuts(tmp_path_factory.mktemp("clip") / "a.mp4", [20], 50)


@pytest.fixture
def raw(tmp_path: Path, clip: Path) -> Path:
    """Three clips of two videos in Train, two clips in Val, one without label in Test."""
    for place in ("Train/1_1", "Train/1_2", "Train/12_3", "Val/7_1", "Val/8_10", "Test/a"):
        path = tmp_path / "raw" / f"{place}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, path)
    (tmp_path / "raw" / "Train_labels.txt").write_text("Vid_name Label\n1_1 1\n1_2 2\n12_3 3\n")
    (tmp_path / "raw" / "Val_labels.txt").write_text("Vid_name Label\n7_1.mp4 3\n8_10.mp4 1\n")
    return tmp_path / "raw"


def clip_of(record: Record) -> str:
    return f"{record.split}/{record.extras['clip']}"


def records(raw: Path, **options: float) -> tuple[VgafBuilder, list]:
    builder = VgafBuilder(raw, VgafBuilder.Options(**options), raw.parent / "work")
    return builder, builder.records()


def test_the_files_order_of_labels_is_the_reverse_of_ours(raw: Path) -> None:
    builder, found = records(raw)
    labels = {clip_of(record): builder.class_names[record.label] for record in found if record.label >= 0}
    assert labels == {
        "train/1_1": "Positive",
        "train/1_2": "Neutral",
        "train/12_3": "Negative",
        "validation/7_1": "Negative",
        "validation/8_10": "Positive",
    }
    for record in found:
        if record.label >= 0:
            assert record.image_id.split("/")[1] == builder.class_names[record.label]


def test_clips_become_frames_with_their_times(raw: Path) -> None:
    builder, found = records(raw)
    assert len(found) == 6 * 2
    times = {record.image_id: record.extras["seconds"] for record in found}
    assert times["train/Positive/1_1/frame_000000"] == 0
    assert times["train/Positive/1_1/frame_000025"] == pytest.approx(1)
    assert times["challenge/a/frame_000025"] == pytest.approx(1)
    assert {clip_of(record): record.group for record in found} == {
        "train/1_1": "1", "train/1_2": "1", "train/12_3": "12", "validation/7_1": "7", "validation/8_10": "8",
        "challenge/a": "a",
    }  # fmt: skip
    assert "12 frames of 6 clips, 1 per second." in builder.remarks()
    assert "This is not the whole dataset: 3 of 2,661 train, 2 of 766 val clips." in builder.remarks()
    assert Counter(record.split for record in records(raw, frames_per_second=5.0)[1])["train"] == 3 * 10


def test_what_does_not_match_is_counted_and_nothing_is_lost(raw: Path, clip: Path) -> None:
    shutil.copy(clip, raw / "Train" / "9_1.mp4")
    shutil.copy(clip, raw / "Train" / "1_1.avi")  # a second clip of this name
    shutil.copy(clip, raw / "Val" / "12_4.mp4")  # another clip of a video in Train
    with (raw / "Val_labels.txt").open("a") as file:
        file.write("12_4.mp4 2\n99_1.mp4 2\n")
    (raw / "Val" / "7_1.mp4").write_bytes(b"no video")
    builder, found = records(raw)
    assert {clip_of(record) for record in found} == {
        "train/1_1.mp4",
        "train/1_1.avi",
        "train/1_2",
        "train/12_3",
        "validation/8_10",
        "validation/12_4",
        "challenge/a",
    }
    remarks = builder.remarks()
    assert "train: 1 clips without a label, left out." in remarks
    assert "val: 1 labels without a clip." in remarks
    assert "train: 1 names stand for several clips, which keep their suffixes." in remarks
    assert any(
        remark.startswith("By their names, clips of 1 of 5 videos are in more than one split") for remark in remarks
    )
    assert any(
        remark.startswith("1 of 8 clips cannot be used and were left out: validation/7_1 (") for remark in remarks
    )


def test_an_incomplete_clip_is_used_and_reported(raw: Path) -> None:
    path = write_cuts(raw / "Train" / "1_2.mp4", [40, 80], 120, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    for _ in range(2):
        builder, found = records(raw)
        assert any(clip_of(record) == "train/1_2" for record in found)
        assert any(remark.startswith("1 clips are incomplete, their intact parts were taken: train/1_2 (")
                   for remark in builder.remarks())  # fmt: skip


def test_folders_within_themselves_and_other_label_files(raw: Path) -> None:
    (raw / "Train").rename(raw / "inner")
    (raw / "Train").mkdir()
    (raw / "inner").rename(raw / "Train" / "Train")
    (raw / "Train_labels.txt").rename(raw / "Train" / "labels.csv")
    (raw / "Train" / "labels.csv").write_text("1_1,Positive\n1_2,neutral\n12_3,NEG\n")
    labels = {clip_of(record): record.label for record in records(raw)[1] if record.split == "train"}
    assert labels == {"train/1_1": 2, "train/1_2": 1, "train/12_3": 0}


def test_refusals(raw: Path, tmp_path: Path) -> None:
    (raw / "Val_labels.txt").write_text("7_1 4\n8_10 4\n")
    with refused(["Val_labels.txt: unknown label 4 (2 lines)", "Negative, Neutral, Positive, 1, 2, 3"]):
        records(raw)
    (raw / "Val_labels.txt").write_text("99_1 1\n")
    with refused(["Val_labels.txt names none of the 2 clips in val, such as 7_1.mp4"]):
        records(raw)
    (raw / "Val_labels.txt").unlink()
    with refused(["no label file of val", "Val_labels.txt"]):
        records(raw)
    for path in (raw / "Val").iterdir():
        path.unlink()
    with refused(["no clips in", "Val"]):
        records(raw)
    with refused(["give a work_folder"]):
        VgafBuilder(raw).records()
    with refused(["frames_per_second must be more than 0, not -1"]):
        VgafBuilder.Options(frames_per_second=-1)
    with refused(["no clips in", "expected the folders train and val"]):
        records(tmp_path / "raw" / "Test")
    with refused(["no folder"]):
        records(tmp_path / "gone")


def test_no_clip_can_be_used(tmp_path: Path) -> None:
    for name in ("1_1", "1_2"):
        (tmp_path / "raw" / "Train").mkdir(parents=True, exist_ok=True)
        write_sound(tmp_path / "raw" / "Train" / f"{name}.mp4")
    (tmp_path / "raw" / "Train_labels.txt").write_text("1_1 1\n1_2 1\n")
    with refused(["none of the 2 clips in", "train/1_1 (it has no video, only sound)"]):
        records(tmp_path / "raw")


def test_round_trip(raw: Path, tmp_path: Path) -> None:
    rows = round_trip("vgaf", raw, tmp_path / "out", frames_per_second=1.0)
    assert len(rows) == 12
    assert {(row["group"], row["clip"]) for row in rows.values()} == {
        ("1", "1_1"), ("1", "1_2"), ("12", "12_3"), ("7", "7_1"), ("8", "8_10"), ("a", "a")}  # fmt: skip
    assert all(row["seconds"] == pytest.approx(int(image_id[-6:]) / 25) for image_id, row in rows.items())
