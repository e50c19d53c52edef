"""MultiEmoVA: five classes or three, splits that are drawn, a round trip in miniature."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from refusals import refused
from round_trip import round_trip

from ger_datasets.multiemova.builder import FOLDERS, MultiEmovaBuilder
from ger_datasets.support.errors import UserError


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Ten photos in each class folder, whose names are spelt in several ways."""
    for number, name in enumerate(("HighNegative", "medium_negative", "Neutral", "Medium Positive", "High-Positive")):
        folder = tmp_path / "raw" / "MultiEmoVA" / name
        folder.mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (40, 32), (50 * number, 20 * i, 90)).save(folder / f"{i}.jpg")
    return tmp_path / "raw"


def test_five_classes_or_three(raw: Path) -> None:
    records = MultiEmovaBuilder(raw).records()
    assert Counter(record.label for record in records) == dict.fromkeys(range(5), 10)
    assert Counter(record.split for record in records) == {"train": 35, "validation": 10, "test": 5}
    assert {(record.split, record.label) for record in records if record.split == "test"} == {
        ("test", label) for label in range(5)
    }
    three = MultiEmovaBuilder(raw, MultiEmovaBuilder.Options(classes="valence"))
    labels = {record.image_id.split("/")[1]: record.label for record in three.records()}
    assert labels == dict(zip(FOLDERS, (0, 0, 1, 2, 2), strict=True))
    assert three.class_names == ("Negative", "Neutral", "Positive")
    assert "The splits were drawn 70/20/10 within each class with seed 0." in three.remarks()


def test_the_seed_draws_other_splits(raw: Path) -> None:
    def ids(seed: int) -> set[str]:
        return {
            record.image_id for record in MultiEmovaBuilder(raw, MultiEmovaBuilder.Options(split_seed=seed)).records()
        }

    assert ids(0) == ids(0)
    assert ids(0) != ids(1)


def test_refusals(raw: Path) -> None:
    with refused(["unknown classes", "'two'", "five, valence"]):
        MultiEmovaBuilder.Options(classes="two")
    (raw / "MultiEmoVA" / "VeryPositive").mkdir()
    with pytest.raises(UserError, match="unknown class folder VeryPositive"):
        MultiEmovaBuilder(raw).records()


def test_round_trip(raw: Path, tmp_path: Path) -> None:
    rows = round_trip("multiemova", raw, tmp_path / "out", classes="valence", split_seed=3)
    assert len(rows) == 50
    assert Counter(row["label"] for row in rows.values()) == {0: 20, 1: 10, 2: 20}
