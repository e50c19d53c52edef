"""HAPPEI: the intensity as a column, classes on request, a round trip in miniature."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from refusals import refused
from round_trip import round_trip

from ger_datasets.happei.builder import HappeiBuilder

VALUES = {"a": 0, "b": 2.4, "c": 2.5, "d": 5}


def photo(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 32), (number, 90, 90)).save(path)
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for split in ("Train", "Val", "Test"):
        for number, name in enumerate(VALUES):
            photo(tmp_path / "raw" / split / f"{name}.jpg", 60 * number)
    rows = "image,intensity\n" + "".join(f"{name}.jpg,{value}\n" for name, value in VALUES.items())
    (tmp_path / "raw" / "Train" / "labels.csv").write_text(rows)
    (tmp_path / "raw" / "val_labels.txt").write_text("B.jpg 1\nz.jpg 3\n")
    return tmp_path / "raw"


def test_intensities(raw: Path) -> None:
    builder = HappeiBuilder(raw)
    found = {record.image_id: record.extras["intensity"] for record in builder.records()}
    train = {f"train/{name}": value for name, value in VALUES.items()}
    assert found == {**train, "validation/b": 1, **dict.fromkeys((f"challenge/{name}" for name in VALUES), None)}
    assert {record.label for record in builder.records()} == {-1}
    assert "val: 3 photos without an intensity, left out." in builder.remarks()
    assert "val: 1 intensities without a photo." in builder.remarks()


def test_classes_on_request_round_halves_up(raw: Path) -> None:
    records = HappeiBuilder(raw, HappeiBuilder.Options(classes="intensity")).records()
    labels = {record.image_id: record.label for record in records if record.split == "train"}
    assert labels == {"train/a": 0, "train/b": 2, "train/c": 3, "train/d": 5}
    assert {record.label for record in records if record.split == "challenge"} == {-1}


def test_class_folders_without_splits(tmp_path: Path) -> None:
    for intensity in range(6):
        for i in range(10):
            photo(tmp_path / str(intensity) / f"{i}.jpg")
    records = HappeiBuilder(tmp_path, HappeiBuilder.Options(classes="intensity")).records()
    assert Counter(record.split for record in records) == {"train": 42, "validation": 12, "test": 6}
    assert all(record.label == record.extras["intensity"] == int(record.path.parent.name) for record in records)
    assert len({record.image_id for record in records}) == 60


def test_a_flat_folder_with_a_label_file(tmp_path: Path) -> None:
    for i in range(10):
        photo(tmp_path / f"{i}.jpg")
    (tmp_path / "labels.txt").write_text("".join(f"{i}.jpg 3.3\n" for i in range(10)))
    records = HappeiBuilder(tmp_path).records()
    assert Counter(record.split for record in records) == {"train": 7, "validation": 2, "test": 1}


def test_refusals(raw: Path, tmp_path: Path) -> None:
    with refused(["unknown classes"]):
        HappeiBuilder.Options(classes="three")
    (raw / "val_labels.txt").write_text("b.jpg 6\n")
    with refused(["val_labels.txt: the intensity of b.jpg is '6', expected 0 to 5"]):
        HappeiBuilder(raw).records()
    (raw / "val_labels.txt").unlink()
    with refused(["no labels in", "Val", "labels.txt", "class folders 0 to 5"]):
        HappeiBuilder(raw).records()
    with refused(["no folder"]):
        HappeiBuilder(tmp_path / "gone").records()


def test_round_trip(raw: Path, tmp_path: Path) -> None:
    rows = round_trip("happei", raw, tmp_path / "out", classes="intensity")
    labels = {(row["intensity"] if row["intensity"] is None else round(row["intensity"], 3), row["label"])
              for row in rows.values()}  # fmt: skip
    assert labels == {(0, 0), (1, 1), (2.4, 2), (2.5, 3), (5, 5), (None, -1)}
