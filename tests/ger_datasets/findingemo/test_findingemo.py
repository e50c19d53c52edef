"""FindingEmo: annotations of photos that are partly gone, and a round trip in miniature."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image
from refusals import refused
from round_trip import round_trip

from ger_datasets.findingemo.builder import FindingEmoBuilder

HEADING = ["index", "user", "image_path", "reject", "tag", "age", "valence", "arousal", "emotion", "dec_factors",
           "ambiguity", "fmri_candidate", "datetime"]  # fmt: skip
VALENCES = (-3, -1, 0, 1, 3)


def write_annotations(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADING, restval="")
        writer.writeheader()
        writer.writerows(rows)


def annotation(number: int, **changed: object) -> dict[str, object]:
    row = {
        "index": number,
        "user": "u1",
        "image_path": f"/Run_{number % 2 + 1}/Happy people, {number % 3}/{number}.jpg",
    }
    row |= {
        "reject": "Keep",
        "valence": VALENCES[number % 5],
        "arousal": number % 7,
        "emotion": "Joy",
        "age": "Adults",
    }
    return row | {"dec_factors": "Facial expression, Bodily expression", "ambiguity": 0} | changed


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Fifty photos in a folder `images`, and the annotations of these and five others."""
    rows = [annotation(number) for number in range(55)]
    for row in rows[:50]:
        path = tmp_path / "raw" / "images" / str(row["image_path"]).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 32), (5 * int(str(row["index"])), 90, 90)).save(path)
    write_annotations(tmp_path / "raw" / "annotations_single.ann", rows)
    return tmp_path / "raw"


def test_the_sign_of_the_valence_is_the_label(raw: Path) -> None:
    builder = FindingEmoBuilder(raw)
    records = builder.records()
    assert Counter(record.label for record in records) == {0: 20, 1: 10, 2: 20}
    for record in records:
        assert record.label == (record.extras["valence"] > 0) - (record.extras["valence"] < 0) + 1
        assert record.image_id == f"{record.split}/{record.path.relative_to(raw / 'images').with_suffix('')}"
    assert Counter(record.split for record in records) == {"train": 35, "validation": 10, "test": 5}
    assert "5 of 55 annotated photos are not in the download." in builder.remarks()
    assert any("not the whole dataset: 22 of 8,469 Negative" in remark for remark in builder.remarks())


def test_photos_beside_the_annotations_and_rows_that_are_left_out(raw: Path) -> None:
    (raw / "images" / "Run_1").rename(raw / "Run_1")
    write_annotations(
        raw / "annotations.csv", [annotation(0), annotation(0, valence=3), annotation(2, reject="Reject")]
    )
    (raw / "annotations_single.ann").unlink()
    builder = FindingEmoBuilder(raw)
    (record,) = builder.records()
    assert record.label == 0
    assert "1 more annotations of photos that have one, left out." in builder.remarks()
    assert "1 photos that their annotators rejected, left out." in builder.remarks()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], ["annotations_single.ann names no photos"]),
        ([annotation(0, valence="4")], ["annotations_single.ann, line 2: valence is '4', expected -3 to 3"]),
        ([annotation(0, valence="")], ["line 2: valence is ''"]),
        ([annotation(0, image_path="")], ["line 2: image_path is empty"]),
        ([annotation(0, image_path="../../etc/passwd.jpg")], ["none of the 1 photos", "../../etc/passwd.jpg"]),
    ],
)
def test_refusals(raw: Path, rows: list[dict[str, object]], words: list[str]) -> None:
    write_annotations(raw / "annotations_single.ann", rows)
    with refused(words):
        FindingEmoBuilder(raw).records()


def test_refusals_of_folders(raw: Path) -> None:
    (raw / "annotations_single.ann").write_text("image_path,valence\n")
    with refused(["annotations_single.ann lacks the columns arousal, emotion"]):
        FindingEmoBuilder(raw).records()
    (raw / "annotations_single.ann").unlink()
    with refused(["no annotations in", "found images"]):
        FindingEmoBuilder(raw).records()
    with refused(["no folder"]):
        FindingEmoBuilder(raw / "gone").records()


def test_round_trip(raw: Path, tmp_path: Path) -> None:
    rows = round_trip("findingemo", raw, tmp_path / "out", split_seed=1)
    for row in rows.values():
        number = int(row["image_id"].rpartition("/")[2])
        wanted = annotation(number)
        assert (row["valence"], row["arousal"]) == (wanted["valence"], wanted["arousal"])
        assert (row["emotion"], row["age"], row["ambiguity"], row["tag"]) == ("Joy", "Adults", "0", None)
        assert row["dec_factors"] == wanted["dec_factors"]
