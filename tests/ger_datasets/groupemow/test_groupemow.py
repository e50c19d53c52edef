"""GroupEmoW: its folders' names, and a round trip in miniature."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from round_trip import round_trip

from ger_datasets.groupemow.builder import GroupEmowBuilder

IDS = {"train/Negative/0": 0, "train/Positive/1": 2, "validation/Neutral/2": 1, "test/Positive/3": 2}


def raw_folder(folder: Path, train: str, val: str, test: str) -> Path:
    for number, place in enumerate((f"{train}/negative", f"{train}/Positive", f"{val}/Neutral", f"{test}/Positive")):
        (folder / place).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48), (40 * number, 90, 120)).save(folder / place / f"{number}.jpg")
    return folder


@pytest.mark.parametrize("names", [("GroupEmoW_Train", "GroupEmoW_Val", "GroupEmoW_Test"), ("train", "val", "test")])
def test_folders(tmp_path: Path, names: tuple[str, str, str]) -> None:
    builder = GroupEmowBuilder(raw_folder(tmp_path, *names))
    assert {record.image_id: record.label for record in builder.records()} == IDS
    assert builder.remarks() == [
        "This is not the whole dataset: 2 of 11,127 train, 1 of 3,178 val, 1 of 1,589 test photos."
    ]


def test_counts_that_differ_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(GroupEmowBuilder, "published", {"train": 3, "val": 1, "test": 2})
    builder = GroupEmowBuilder(raw_folder(tmp_path, "train", "val", "test"))
    builder.records()
    assert builder.remarks() == ["train: 2 photos where 3 are published.", "test: 1 photos where 2 are published."]
    assert "train: 2 photos where 3 are published" in caplog.text


def test_round_trip(tmp_path: Path) -> None:
    raw = raw_folder(tmp_path / "raw", "GroupEmoW_Train", "GroupEmoW_Val", "GroupEmoW_Test")
    rows = round_trip("groupemow", raw, tmp_path / "out")
    assert {image_id: row["label"] for image_id, row in rows.items()} == IDS
    assert {row["group"] for row in rows.values()} == IDS.keys()
