"""Photos of one's own: class folders of any names or a CSV file, splits drawn where they are missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from refusals import refused
from round_trip import round_trip

from ger_datasets.folders.builder import FoldersBuilder


def photos(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 32), (number % 256, 90, 90)).save(folder / name)
    return folder


def ids(raw: Path, seed: int = 0) -> dict[str, int]:
    return {record.image_id: record.label for record in FoldersBuilder(raw, FoldersBuilder.Options(seed)).records()}


def test_splits_and_classes_of_any_names(tmp_path: Path) -> None:
    photos(tmp_path, "Train/loud/a.jpg", "Train/Calm/a.jpg", "val/Loud/b.jpg", "Test/c.jpg")
    builder = FoldersBuilder(tmp_path)
    assert ids(tmp_path) == {"train/Calm/a": 0, "train/loud/a": 1, "validation/loud/b": 1, "challenge/c": -1}
    assert list(builder.class_names) == ["Calm", "loud"]


def test_the_three_classes_keep_their_order(tmp_path: Path) -> None:
    photos(tmp_path, *(f"train/{name}/{i}.jpg" for name in ("positive", "NEGATIVE", "neutral") for i in range(2)))
    assert list(FoldersBuilder(tmp_path).class_names) == ["NEGATIVE", "neutral", "positive"]


def test_missing_splits_are_drawn(tmp_path: Path) -> None:
    raw = photos(tmp_path / "a", *(f"{name}/{i}.jpg" for name in ("Calm", "Loud") for i in range(10)))
    counts = Counter(image_id.rpartition("/")[0] for image_id in ids(raw))
    assert counts == {f"{split}/{name}": count for name in ("Calm", "Loud")
                      for split, count in (("train", 7), ("validation", 2), ("test", 1))}  # fmt: skip
    assert ids(raw) == ids(raw)
    assert ids(raw) != ids(raw, 1)

    photos(raw := tmp_path / "b", *(f"train/{name}/{i}.jpg" for name in ("Calm", "Loud") for i in range(10)),
           "test/Calm/0.jpg")  # fmt: skip
    counts = Counter(image_id.rpartition("/")[0] for image_id in ids(raw))
    assert counts == {"train/Calm": 8, "validation/Calm": 2, "train/Loud": 8, "validation/Loud": 2, "test/Calm": 1}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Forty photos of twenty events, two photos each, in a CSV file."""
    names = [f"pictures/{event}_{i}.jpg" for event in range(20) for i in range(2)]
    photos(tmp_path / "raw", *names)
    rows = [f"{name},{'loud' if number % 4 < 2 else 'calm'},event {number // 2}" for number, name in enumerate(names)]
    (tmp_path / "raw" / "labels.csv").write_text("path,label,group\n" + "\n".join(rows) + "\ngone.jpg,calm,\n")
    return tmp_path / "raw"


def test_a_csv_file_with_groups(table: Path) -> None:
    builder = FoldersBuilder(table)
    records = builder.records()
    splits: dict[str, set[str]] = {}
    for record in records:
        splits.setdefault(record.group, set()).add(record.split)
    assert all(len(its_splits) == 1 for its_splits in splits.values())
    assert Counter(record.split for record in records) == {"train": 28, "validation": 8, "test": 4}
    assert Counter((record.split, record.label) for record in records if record.split == "test") == {
        ("test", 0): 2,
        ("test", 1): 2,
    }
    assert "1 of 41 photos in the CSV file are missing." in builder.remarks()


def test_a_csv_file_with_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = photos(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    rows = "Path;Label;Split;Group\nA.jpg;x;train;g\n.\\b.jpg;y;Val;g\nc.jpg;x;test;\nd.jpg;;challenge;\n"
    (raw / "table.csv").write_text("\ufeff" + rows, encoding="utf-8")
    assert ids(raw) == {"train/A": 0, "validation/b": 1, "test/c": 0, "challenge/d": -1}
    assert "1 groups are in more than one split" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name,label\n", ["table.csv lacks the columns path"]),
        ("", ["table.csv lacks the columns path, label"]),
        ("path,label\nz.jpg,x\n", ["none of the 1 photos in table.csv", "z.jpg"]),
        ("path,label\n../a.jpg,x\n", ["none of the 1 photos"]),
        ("path,label\na.jpg,x\na.jpg,y\n", ["line 3: a.jpg is there twice"]),
        ("path,label,split\na.jpg,x,holdout\n", ["line 2: unknown split holdout"]),
        ("path,label,split\na.jpg,x,train\nb.jpg,x,\n", ["some rows of the CSV file have a split"]),
        ("path,label\na.jpg,\n", ["no labels in"]),
        ('path,label\n"a.jpg,x\n', ["table.csv"]),
    ],
)
def test_refusals_of_tables(tmp_path: Path, content: str, words: list[str]) -> None:
    raw = photos(tmp_path, "a.jpg", "b.jpg")
    (raw / "table.csv").write_text(content)
    with refused(words):
        FoldersBuilder(raw).records()


def test_refusals_of_folders(tmp_path: Path) -> None:
    with refused(["no folder"]):
        FoldersBuilder(tmp_path / "gone").records()
    with refused(["no photos in"]):
        FoldersBuilder(tmp_path).records()
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("path,label\n")
    with refused(["a.csv, b.csv", "keep one of them"]):
        FoldersBuilder(tmp_path).records()


def test_round_trips(table: Path, tmp_path: Path) -> None:
    rows = round_trip("folders", table, tmp_path / "table", split_seed=2)
    assert {row["group"] for row in rows.values()} == {f"event {number}" for number in range(20)}
    raw = photos(tmp_path / "b", "train/Calm/a.jpg", "train/Calm/a.png", "val/Calm/b.jpg", "val/Loud/c.jpg")
    rows = round_trip("folders", raw, tmp_path / "folders")
    assert rows.keys() == {"train/Calm/a.jpg", "train/Calm/a.png", "validation/Calm/b", "validation/Loud/c"}
