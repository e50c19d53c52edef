"""Single faces by expression, in each form of a download -> records -> a dataset."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, load_dataset
from datasets import Image as ImageFeature
from PIL import Image
from refusals import refused

from ger_datasets import schema
from ger_datasets.builders import BUILDERS
from ger_datasets.expressions import parquet
from ger_datasets.expressions.builder import ExpressionsBuilder
from ger_datasets.expressions.fer2013 import COLUMNS, read_votes
from ger_datasets.expressions.names import EXPRESSIONS, FER2013_ORDER, RAF_DB_ORDER
from ger_datasets.expressions.splits import (
    drawn_for_validation,
    pixel_hash,
    removed_remarks,
    unique_records,
    without_lookalikes,
)  # fmt: skip
from ger_datasets.faces import FaceExtractor, Faces, align_faces
from ger_datasets.preparation.run import prepare
from ger_datasets.records import Record
from ger_datasets.support.errors import BadPhoto

FER2013_HEADER = "emotion,pixels,Usage"


def pixels(number: int, side: int = 48) -> np.ndarray:
    """A grey picture (side, side) uint8 that no other number has."""
    return np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)


def jpeg(number: int, side: int = 48) -> bytes:
    """A grey JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(number, side)).save(buffer, "JPEG")
    return buffer.getvalue()


def save(path: Path, number: int, side: int = 48) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number, side)).save(path)
    return path


def fer_row(emotion: object, number: int, usage: str, side: int = 48) -> str:
    return f"{emotion},{' '.join(map(str, pixels(number, side).ravel()))},{usage}"


def write_fer(folder: Path, rows: Sequence[str], header: str = FER2013_HEADER, end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fer2013.csv"
    path.write_bytes((end.join([header, *rows]) + end).encode())
    return path


def whole_fer(folder: Path) -> Path:
    """FER2013 in small: two training faces of each emotion, one of each in both tests."""
    rows = [fer_row(i % 7, i, "Training") for i in range(14)]
    rows += [fer_row(i, 20 + i, "PublicTest") for i in range(7)] + [
        fer_row(i, 30 + i, "PrivateTest") for i in range(7)
    ]
    return write_fer(folder, rows)


def named(builder: ExpressionsBuilder) -> dict[str, str]:
    """image_id -> the name of its class."""
    return {record.image_id: builder.class_names[record.label] for record in builder.records()}


def numbers(records: Sequence[Record]) -> Counter[str]:
    return Counter(record.split for record in records)


# --- forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("angry", "happy"), ("angry", "happy")),
        (("Anger", "HAPPINESS", "sadness", "surprised"), ("angry", "happy", "sad", "surprise")),
        (("0", "3", "6"), ("angry", "happy", "neutral")),
        (("1", "4", "7"), ("surprise", "happy", "neutral")),
    ],
)
def test_class_folders(tmp_path: Path, folders: tuple[str, ...], classes: tuple[str, ...]) -> None:
    for i, folder in enumerate(folders):
        save(tmp_path / "raw" / "CK+48" / "train" / folder / "a.png", i)
        save(tmp_path / "raw" / "CK+48" / "PublicTest" / folder / "a.png", 10 + i)
        save(tmp_path / "raw" / "CK+48" / "private_test" / folder / "sub" / "a.jpg", 20 + i)
    (tmp_path / "raw" / "CK+48" / "train" / folders[0] / "Thumbs.db").write_bytes(b"x")
    save(tmp_path / "raw" / "CK+48" / "test" / "unlabelled.png", 50)
    save(tmp_path / "raw" / ".hidden" / "a.png", 51)
    builder = ExpressionsBuilder(tmp_path / "raw")
    expected = {}
    for name in classes:
        expected |= {f"train/{name}/a": name, f"validation/{name}/a": name, f"test/{name}/sub/a": name}
    assert named(builder) == expected
    assert all(record.path.is_file() and record.faces == "whole" for record in builder.records())
    remarks = builder.remarks()
    assert "1 photos outside of class folders were left out." in remarks
    assert "1 files in class folders that are not photos were left out." in remarks
    order = {"0": "FER2013", "1": "RAF-DB"}.get(folders[0])
    assert sum("Numbered" in remark for remark in remarks) == (order is not None)
    assert order is None or any(f"in {order}'s order" in remark for remark in remarks)


def test_split_folders_within_class_folders(tmp_path: Path) -> None:
    for i, name in enumerate(("happy", "sad")):
        save(tmp_path / name / "train" / "a.png", i)
        save(tmp_path / name / "val" / "a.png", 10 + i)
    ids = [record.image_id for record in ExpressionsBuilder(tmp_path).records()]
    assert ids == ["train/happy/a", "train/sad/a", "validation/happy/a", "validation/sad/a"]


def test_files_that_differ_in_their_suffix_alone(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "a.jpg", "a-2.png")):
        save(tmp_path / "train" / "happy" / name, number)
    save(tmp_path / "val" / "sad" / "b.png", 9)
    ids = [record.image_id for record in ExpressionsBuilder(tmp_path).records()]
    assert ids == ["train/happy/a", "train/happy/a-2", "train/happy/a-3", "validation/sad/b"]


def test_the_csv_file_of_fer2013(tmp_path: Path) -> None:
    whole_fer(tmp_path / "fer2013")
    builder = ExpressionsBuilder(tmp_path)
    records = builder.records()
    assert numbers(records) == {"train": 14, "validation": 7, "test": 7}
    for record in records:
        row = int(record.image_id.split("/fer")[1])
        emotion = row % 7
        assert builder.class_names[record.label] == FER2013_ORDER[emotion]
        photo = pickle.loads(pickle.dumps(record)).photo()  # noqa: S301
        assert photo.encoded.startswith(b"\x89PNG")
        number = row if row < 14 else 20 + row - 14 if row < 21 else 30 + row - 21
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(photo.encoded))), pixels(number))
    assert builder.remarks() == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_other_csv_files_of_pixels(tmp_path: Path, end: str) -> None:
    def row(emotion: object, number: int) -> str:
        values = " ".join(map(str, pixels(number, 20).ravel()))
        return f'{emotion},"{values}"'

    rows = [row("happiness", 0), row(4, 1), "", *(row(3, 2 + i) for i in range(3))]
    write_fer(tmp_path, rows, "﻿emotion, pixels", end)
    builder = ExpressionsBuilder(tmp_path)
    records = builder.records()
    assert numbers(records) == {"train": 4, "validation": 1}, "one of four happy faces, the sad one stays"
    assert {record.photo().image.size for record in records} == {(20, 20)}
    (remark,) = (remark for remark in builder.remarks() if "validation" in remark)
    assert "1 of 5 faces of train were drawn for it, a tenth of the faces of each class, with seed 0" in remark


def write_votes(folder: Path, rows: Sequence[tuple[str, str, dict[str, int]]]) -> Path:
    """fer2013new.csv; rows are Usage, name and the votes that are not 0."""
    lines = ["Usage,Image name," + ",".join("NF" if column == "nf" else column for column in COLUMNS)]
    lines += [f"{usage},{name},{','.join(str(votes.get(c, 0)) for c in COLUMNS)}" for usage, name, votes in rows]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fer2013new.csv").write_text("\n".join(lines))
    return folder / "fer2013new.csv"


VOTES = [
    ("Training", "fer0000000.png", {"happiness": 9, "neutral": 1}),
    ("Training", "fer0000001.png", {"unknown": 6, "anger": 4}),
    ("Training", "", {"nf": 10}),
    ("Training", "fer0000003.png", {"anger": 5, "fear": 5}),
    ("Training", "fer0000004.png", {"contempt": 7, "anger": 3}),
    ("PublicTest", "fer0000005.png", {"sadness": 4, "fear": 3, "neutral": 3}),
]


@pytest.mark.parametrize("photos", [False, True])
@pytest.mark.parametrize("contempt", [False, True])
def test_votes_of_ferplus(tmp_path: Path, photos: bool, contempt: bool) -> None:
    write_votes(tmp_path, VOTES)
    if photos:
        for number, (_, name, _) in enumerate(VOTES):
            if name:
                save(tmp_path / "angry" / name, number)  # FERPlus, not the folder, tells the expression
        save(tmp_path / "other.png", 99)
    else:
        write_fer(tmp_path, [fer_row(0, number, usage) for number, (usage, _, _) in enumerate(VOTES)])
    builder = ExpressionsBuilder(tmp_path, ExpressionsBuilder.Options(contempt=contempt))
    expected = {"train/fer0000000": "happy", "validation/fer0000005": "sad"}
    assert named(builder) == expected | ({"train/fer0000004": "contempt"} if contempt else {})
    remarks = builder.remarks()
    assert "FERPlus' votes leave out 3 faces: 1 as unknown, 1 as no face, 1 without a majority." in remarks
    assert ("1 faces of contempt were left out." in remarks) != contempt
    assert ("1 photos that FERPlus does not name were left out." in remarks) == photos


@pytest.mark.parametrize(("faces", "aligned"), [("auto", True), ("whole", True), ("detect", False)])
def test_the_list_of_raf_db(tmp_path: Path, faces: str, aligned: bool) -> None:
    lines = [f"train_{i:05d}.jpg {1 + i % 7}" for i in range(1, 15)] + ["test_0001.jpg 4", "test_0002.jpg 4"]
    (tmp_path / "EmoLabel").mkdir()
    (tmp_path / "EmoLabel" / "list_patition_label.txt").write_text("\n".join([*lines, "train_x.jpg 9", ""]))
    for number, line in enumerate(lines[:-1]):  # the photo of the last line is missing
        stem = line.split(".")[0]
        save(tmp_path / "Image" / "aligned" / f"{stem}_aligned.jpg", number, 100)
        save(tmp_path / "Image" / "original" / f"{stem}.jpg", 50 + number, 120)
    builder = ExpressionsBuilder(tmp_path, ExpressionsBuilder.Options(faces=faces))
    records = {record.image_id: record for record in builder.records()}
    assert numbers(list(records.values())) == {"train": 14 - 7 + 1, "validation": 7, "test": 1}
    test = records["test/test_0001"]
    assert builder.class_names[test.label] == "happy"
    assert test.path.parent.name == ("aligned" if aligned else "original")
    assert test.faces == ("whole" if aligned else "largest")
    for name, record in records.items():
        if "train_" in name:
            assert builder.class_names[record.label] == RAF_DB_ORDER[int(name[-5:]) % 7]
    with pytest.raises(BadPhoto, match=r"line 17: 'train_x.jpg 9'; expected"):
        records["train/line00017"].photo()
    assert f"{15 if aligned else 0} of 15 pictures are RAF-DB's aligned ones." in builder.remarks()
    assert "1 photos that RAF-DB's list names are missing." in builder.remarks()


def write_parquet(path: Path, rows: list[dict[str, Any]], group_rows: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group_rows)
    return path


@pytest.mark.parametrize("struct", [False, True])
def test_parquet_with_names(tmp_path: Path, struct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MOST_BYTES", 10_000)  # less than all of them
    rows = []
    for i in range(14):
        image = {"bytes": jpeg(i), "path": None} if struct else jpeg(i)
        split = "train" if i < 10 else "validation"
        rows.append({"name": f"Training_{i}.jpg", "split": split, "label": EXPRESSIONS[i % 7], "image": image})
    rows[1]["name"] = rows[0]["name"]
    write_parquet(tmp_path / "fer2013.parquet", rows)
    builder = ExpressionsBuilder(tmp_path)
    records = {record.image_id: record for record in builder.records()}
    assert numbers(list(records.values())) == {"train": 10, "validation": 4}
    assert records["train/Training_0-2"].photo().encoded == jpeg(1), "the JPEG's bytes as they are"
    for i in [0, 13, *range(2, 13), 0]:
        record = records[f"{'train' if i < 10 else 'validation'}/Training_{i}"]
        assert pickle.loads(pickle.dumps(record)).photo().encoded == jpeg(i)  # noqa: S301
        assert builder.class_names[record.label] == EXPRESSIONS[i % 7]


def test_parquet_as_datasets_writes_it(tmp_path: Path) -> None:
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=["sadness", "joy"])})
    for split, start in (("train", 0), ("test", 10)):
        images = [Image.fromarray(pixels(start + i)) for i in range(4)]
        data = Dataset.from_dict({"image": images, "label": [0, 1, 0, 1]}, features=features)
        data.with_format("arrow").to_parquet(tmp_path / f"{split}-00000-of-00001.parquet")
    builder = ExpressionsBuilder(tmp_path)
    records = builder.records()
    assert numbers(records) == {"train": 2, "validation": 2, "test": 4}
    labels = {record.image_id: builder.class_names[record.label] for record in records}
    assert labels["test/test-00000-of-00001-0000002"] == "happy"
    assert all(record.photo().encoded.startswith(b"\x89PNG") for record in records)


def test_parquet_with_numbers_that_have_no_names(tmp_path: Path) -> None:
    rows = [{"image": jpeg(i), "label": i} for i in range(8)] + [
        {"image": None, "label": 3},
        {"image": b"", "label": 3},
    ]
    write_parquet(tmp_path / "validation.parquet", rows)
    builder = ExpressionsBuilder(tmp_path)
    records = builder.records()
    assert [builder.class_names[record.label] for record in records[:7]] == list(FER2013_ORDER)
    for record, words in zip(records[7:], ("row 8: label 7; known are", "row 9: no bytes", "row 10: no"), strict=True):
        with pytest.raises(BadPhoto, match=words):
            record.photo()


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contempt", [False, True])
def test_valence(tmp_path: Path, contempt: bool) -> None:
    for number, name in enumerate((*EXPRESSIONS, "contempt")):
        save(tmp_path / "train" / name / "a.png", number)
        save(tmp_path / "val" / name / "a.png", 20 + number)
    builder = ExpressionsBuilder(tmp_path, ExpressionsBuilder.Options(classes="valence", contempt=contempt))
    assert tuple(builder.class_names) == schema.CLASS_NAMES
    found = {image_id.split("/")[1]: name for image_id, name in named(builder).items()}
    negative = ["angry", "disgust", "fear", "sad"] + (["contempt"] if contempt else [])
    assert found == dict.fromkeys(negative, "Negative") | {"neutral": "Neutral", "happy": "Positive"}
    assert "2 faces of surprise were left out." in builder.remarks()
    assert ("2 faces of contempt were left out." in builder.remarks()) != contempt


def test_contempt_is_the_eighth_class(tmp_path: Path) -> None:
    write_fer(tmp_path, [fer_row(i, i, usage) for i in range(8) for usage in ("Training",)])
    builder = ExpressionsBuilder(tmp_path, ExpressionsBuilder.Options(contempt=True))
    assert list(builder.class_names) == [*EXPRESSIONS, "contempt"]
    assert named(builder)["train/fer0000007"] == "contempt"


def test_unknown_options(tmp_path: Path) -> None:
    with refused(["unknown classes 'three'", "expressions, valence"]):
        ExpressionsBuilder(tmp_path, ExpressionsBuilder.Options(classes="three"))
    with refused(["unknown faces 'some'", "auto, detect, whole"]):
        ExpressionsBuilder(tmp_path, ExpressionsBuilder.Options(faces="some"))


# --- splits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "person"), [("S{0:03d}_001_00000011", "S{0:03d}"), ("{1}F{0:02d}{2}S", "F{0:02d}"), ("im{0}", None)]
)
def test_validation_is_drawn_by_persons_where_names_tell_them(tmp_path: Path, name: str, person: str | None) -> None:
    for i in range(20):
        for number, (folder, code, session) in enumerate((("angry", "AN", "A"), ("happy", "HA", "B"))):
            save(tmp_path / folder / f"{name.format(i, session, code)}.png", 2 * i + number)
    records = ExpressionsBuilder(tmp_path).records()
    assert numbers(records) == {"train": 36, "validation": 4}
    validation = [record for record in records if record.split == "validation"]
    assert Counter(record.label for record in validation) == {0: 2, 3: 2}
    assert all(record.image_id.startswith(record.split + "/") for record in records)
    groups = {split: {record.group for record in records if record.split == split} for split in numbers(records)}
    assert not groups["train"] & groups["validation"]
    if person is None:
        assert all(record.group == record.image_id for record in records)
    else:
        assert groups["train"] | groups["validation"] == {person.format(i) for i in range(20)}
    again = ExpressionsBuilder(tmp_path).records()
    assert again == records
    other = ExpressionsBuilder(tmp_path, ExpressionsBuilder.Options(split_seed=1)).records()
    assert {r.image_id for r in other if r.split == "validation"} != {r.image_id for r in validation}


def test_drawing_leaves_the_last_of_a_label_in_train() -> None:
    records = [Record(f"train/{i}", Path("x"), "train", label=int(i == 0)) for i in range(12)]
    drawn = drawn_for_validation(records, 0)
    assert len(drawn) == 1
    assert "train/0" not in drawn
    assert drawn_for_validation(records[::-1], 0) == drawn
    assert drawn_for_validation([Record("a", Path("x"), "train", 0, "S001")] * 2, 0) == set()


def test_a_seed_where_nothing_is_drawn(tmp_path: Path) -> None:
    whole_fer(tmp_path)
    with refused(["no validation split is drawn", "leave split_seed out"]):
        ExpressionsBuilder(tmp_path, ExpressionsBuilder.Options(split_seed=3)).records()


def test_persons_in_several_splits_are_told(tmp_path: Path) -> None:
    for number, (split, name) in enumerate((("train", "happy"), ("val", "sad"))):
        save(tmp_path / split / name / f"S007_00{number}_00000001.png", number)
    builder = ExpressionsBuilder(tmp_path)
    builder.records()
    assert "By their file names, 1 persons are in more than one split." in builder.remarks()


# --- duplicates ----------------------------------------------------------------------------------------------------


def test_pictures_that_are_the_same() -> None:
    def record(name: str, label: int = 0) -> Record:
        return Record(name, Path("x"), name.split("/")[0], label)

    pairs = [
        (record("train/only"), b"1"),
        (record("train/twice_1"), b"2"),
        (record("train/twice_2"), b"2"),
        (record("train/both_labels_1", 0), b"3"),
        (record("train/both_labels_2", 1), b"3"),
        (record("train/both_labels_3", 0), b"3"),
        (record("train/in_validation", 1), b"4"),
        (record("train/in_test"), b"5"),
        (record("train/in_test_again"), b"5"),
        (record("validation/in_train"), b"4"),
        (record("validation/in_test"), b"6"),
        (record("validation/twice_1"), b"7"),
        (record("validation/twice_2"), b"7"),
        (record("test/a"), b"5"),
        (record("test/b"), b"6"),
        (record("train/unreadable_1"), None),
        (record("train/unreadable_2"), None),
    ]
    records, hashes = zip(*pairs, strict=True)
    kept, removed = unique_records(records, hashes)
    assert [one.image_id for one in kept] == [
        "train/only", "train/twice_1", "validation/in_train", "validation/twice_1", "validation/twice_2",
        "test/a", "test/b", "train/unreadable_1", "train/unreadable_2",
    ]  # fmt: skip
    assert removed == Counter(train_elsewhere=3, train_copies=1, train_conflicting=3, validation_in_test=1)
    assert [remark.split()[0] for remark in removed_remarks(removed)] == ["3", "1", "3", "1"]
    assert removed_remarks(Counter()) == []


def test_the_hash_is_of_pixels_and_size() -> None:
    flat = Image.new("RGB", (20, 30))
    assert pixel_hash(flat) == pixel_hash(flat.copy())
    assert pixel_hash(flat) != pixel_hash(Image.new("RGB", (30, 20)))
    assert pixel_hash(flat) != pixel_hash(Image.new("RGB", (20, 30), (0, 0, 1)))


def test_copies_in_different_files_are_found(tmp_path: Path) -> None:
    save(tmp_path / "train" / "happy" / "a.png", 1)
    save(tmp_path / "train" / "happy" / "b.bmp", 1)
    save(tmp_path / "train" / "sad" / "c.png", 2)
    save(tmp_path / "test" / "sad" / "d.png", 2)
    save(tmp_path / "val" / "sad" / "e.png", 3)
    builder = ExpressionsBuilder(tmp_path)
    assert sorted(named(builder)) == ["test/sad/d", "train/happy/a", "validation/sad/e"]
    assert builder.remarks()[:2] == [
        "1 faces of train that validation or test hold too, pixel for pixel, were removed.",
        "1 faces of train that train holds before, pixel for pixel, were removed.",
    ]


def test_pictures_that_look_the_same_leave_train() -> None:
    records = [Record(name, Path("x"), name.split("/")[0]) for name in ("train/a", "test/b", "train/c", "train/d")]
    records += [Record("validation/e", Path("x"), "validation"), Record("train/f", Path("x"), "train")]
    hashes = [0b111111, 0b0, 2**64 - 1, 2**64 - 2, 0b1, None]
    kept, count = without_lookalikes(records, hashes)
    assert [record.image_id for record in kept] == ["test/b", "train/c", "train/d", "validation/e", "train/f"]
    assert count == 1
    assert without_lookalikes([], []) == ([], 0)


def test_copies_of_another_quality_are_found(tmp_path: Path) -> None:
    for split, quality in (("train", 90), ("val", 60)):
        for number, name in enumerate(("happy", "sad")):
            path = tmp_path / split / name / "a.jpg"
            path.parent.mkdir(parents=True)
            smooth = Image.fromarray(pixels(number if name == "happy" else 2 + quality, 6)).resize((48, 48))
            smooth.save(path, quality=quality)
    builder = ExpressionsBuilder(tmp_path)
    assert sorted(named(builder)) == ["train/sad/a", "validation/happy/a", "validation/sad/a"]
    assert builder.remarks()[0].startswith("1 faces of train that look the same as one of validation or test")


# --- bad input -----------------------------------------------------------------------------------------------------


def test_unknown_class_folders(tmp_path: Path) -> None:
    save(tmp_path / "train" / "happy" / "a.png", 0)
    save(tmp_path / "train" / "bored" / "a.png", 1)
    with refused(["unknown class folder train/bored", "angry or anger", "happy or happiness or joy", "0 to 6"]):
        ExpressionsBuilder(tmp_path).records()


def test_folders_that_cannot_be_told_apart(tmp_path: Path) -> None:
    save(tmp_path / "a" / "angry" / "a.png", 0)
    save(tmp_path / "a" / "Anger" / "a.png", 1)
    with refused(["two folders for angry of train", "Anger and angry", "keep one"]):
        ExpressionsBuilder(tmp_path / "a").records()
    save(tmp_path / "b" / "train" / "angry" / "a.png", 0)
    save(tmp_path / "b" / "holdout" / "angry" / "a.png", 1)
    with refused(["within split folders and outside of them", "holdout/angry", "train, val, test"]):
        ExpressionsBuilder(tmp_path / "b").records()
    for number in range(8):
        save(tmp_path / "c" / str(number) / "a.png", number)
    with refused(["0 to 7", "AffectNet", "FERPlus", "rename them"]):
        ExpressionsBuilder(tmp_path / "c").records()


def test_one_class(tmp_path: Path) -> None:
    save(tmp_path / "happy" / "a.png", 0)
    save(tmp_path / "happy" / "b.png", 1)
    with refused(["the only class", "happy", "at least two of angry"]):
        ExpressionsBuilder(tmp_path).records()


def test_nothing_or_two_things(tmp_path: Path) -> None:
    with refused(["no folder", "nowhere"]):
        ExpressionsBuilder(tmp_path / "nowhere").records()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "notes.txt").write_text("x")
    with refused(["no labelled faces", "fer2013.csv", "found notes.txt"]):
        ExpressionsBuilder(tmp_path / "raw").records()
    whole_fer(tmp_path / "raw")
    save(tmp_path / "raw" / "happy" / "a.png", 0)
    with refused(["CSV files of pixels and class folders", "fer2013.csv, happy/a.png", "one of them"]):
        ExpressionsBuilder(tmp_path / "raw").records()
    shutil.rmtree(tmp_path / "raw" / "happy")
    shutil.copy(tmp_path / "raw" / "fer2013.csv", tmp_path / "raw" / "icml.csv")
    with refused(["fer2013.csv, icml.csv are of the same form", "keep one"]):
        ExpressionsBuilder(tmp_path / "raw").records()


BAD_ROWS: dict[str, tuple[Callable[[], str], str]] = {
    "missing pixels": (lambda: "3,1 2 3,Training", "line 16: 3 pixels where 2,304 are expected"),
    "no pixels": (lambda: "3,,Training", "line 16: 0 pixels where"),
    "one field": (lambda: "3", "line 16: Usage is ''; Training"),
    "another size": (lambda: fer_row(3, 99, "Training", 49), "line 16: 2,401 pixels where 2,304"),
    "a word": (lambda: fer_row(3, 99, "Training").replace(" ", " x", 1), "line 16: pixels must be numbers"),
    "256": (lambda: "3," + " ".join(["256"] * 2304) + ",Training", "line 16: pixels must be numbers from 0"),
    "label 7": (lambda: fer_row(7, 99, "Training"), "line 16: emotion is '7'; known are 0 angry"),
    "label -1": (lambda: fer_row(-1, 99, "Training"), "line 16: emotion is '-1'"),
    "usage": (lambda: fer_row(3, 99, "Holdout"), "line 16: Usage is 'Holdout'; Training, PublicTest"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_rows_that_cannot_be_used_are_quarantined(tmp_path: Path, case: str) -> None:
    make, reason = BAD_ROWS[case]
    path = whole_fer(tmp_path / "raw")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:15], make(), *lines[15:]]))
    figures = prepare("expressions", tmp_path / "raw", tmp_path / "out", num_proc=1)
    assert (figures["rows"], figures["quarantined"], figures["photos"]) == (28, 1, 29)
    (line,) = map(json.loads, (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines())
    assert line["file"] == "fer2013.csv"
    assert line["image_id"] == "train/fer0000014"
    assert line["reason"].startswith(reason)


def test_tables_of_which_no_row_can_be_used(tmp_path: Path) -> None:
    write_fer(tmp_path / "a", ["9,1 2 3 4,Training", "3,,Training"])
    with refused(["none of the 2 rows of fer2013.csv", "4 pixels", "16 x 16"]):
        ExpressionsBuilder(tmp_path / "a").records()
    write_fer(tmp_path / "b", [fer_row(9, 0, "Training"), fer_row(8, 1, "Training")])
    with refused(["none of the 2 rows", "line 2: emotion is '9'"]):
        ExpressionsBuilder(tmp_path / "b").records()
    write_fer(tmp_path / "c", [])
    with refused(["none of the 0 rows"]):
        ExpressionsBuilder(tmp_path / "c").records()
    write_fer(tmp_path / "d", ["3," + " ".join(["x"] * 2304) + ",Training"] * 2)
    with refused(["none of the 2 faces", "can be read"]):
        ExpressionsBuilder(tmp_path / "d").records()


def test_votes_of_another_copy(tmp_path: Path) -> None:
    write_votes(tmp_path, VOTES)
    write_fer(tmp_path, [fer_row(3, 0, "Training")])
    with refused(["has 1 rows", "FERPlus votes beside it 6"]):
        ExpressionsBuilder(tmp_path).records()
    write_fer(tmp_path, [fer_row(3, i, "Training") for i in range(6)])  # the last is PublicTest in the votes
    records = ExpressionsBuilder(tmp_path, ExpressionsBuilder.Options(contempt=True)).records()
    with pytest.raises(BadPhoto, match="line 7: train here, but validation in the FERPlus votes"):
        next(record for record in records if record.image_id == "train/fer0000005").photo()
    (tmp_path / "fer2013.csv").unlink()
    with refused(["none of the 5 photos", "fer0000000.png"]):
        ExpressionsBuilder(tmp_path).records()
    for folder in ("a", "b"):
        save(tmp_path / folder / "fer0000000.png", 0)
    with refused(["a/fer0000000.png and b/fer0000000.png", "keep one"]):
        ExpressionsBuilder(tmp_path).records()


def test_votes_that_are_none(tmp_path: Path) -> None:
    path = write_votes(tmp_path, [("Training", "a.png", {"anger": 1})])
    path.write_text(path.read_text().replace(",1,", ",x,"))
    with refused(["fer2013new.csv, line 2", "numbers of votes"]):
        read_votes(path)


def test_lists_that_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "list_patition_label.txt").write_text("train_00001.jpg 5\n")
    with refused(["none of the 1 lines of list_patition_label.txt", "unpack aligned or original"]):
        ExpressionsBuilder(tmp_path).records()


def test_parquet_that_cannot_be_used(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a" / "x.parquet", [{"image": jpeg(0), "klass": 1}])
    with refused(["x.parquet lacks the columns label", "found image, klass"]):
        ExpressionsBuilder(tmp_path / "a").records()
    write_parquet(tmp_path / "b" / "x.parquet", [{"image": jpeg(0), "label": "bored"}])
    with refused(["unknown class 'bored'", "angry or anger"]):
        ExpressionsBuilder(tmp_path / "b").records()
    write_parquet(tmp_path / "c" / "x.parquet", [{"image": jpeg(0), "label": "sad", "split": "holdout"}])
    with refused(["unknown split 'holdout'"]):
        ExpressionsBuilder(tmp_path / "c").records()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.parquet").write_bytes(b"PAR1 no")
    with refused(["x.parquet cannot be read"]):
        ExpressionsBuilder(tmp_path / "d").records()


def test_a_parquet_file_that_vanishes_stops_the_run(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", [{"image": jpeg(i), "label": i % 7} for i in range(9)])
    record = ExpressionsBuilder(tmp_path).records()[0]
    path.unlink()
    with pytest.raises(BadPhoto, match=r"row \d cannot be read"):
        record.photo()


def test_links_out_of_the_folder_are_left_out(tmp_path: Path) -> None:
    outside = save(tmp_path / "outside.png", 9)
    for number, name in enumerate(("happy", "sad")):
        save(tmp_path / "raw" / name / "a.png", number)
    (tmp_path / "raw" / "happy" / "link.png").symlink_to(outside)
    builder = ExpressionsBuilder(tmp_path / "raw")
    assert sorted(named(builder)) == ["train/happy/a", "train/sad/a"]
    assert "1 links to folders or out of the source folder were left out." in builder.remarks()


# --- faces and columns ---------------------------------------------------------------------------------------------


def test_every_column_of_whole_faces(tmp_path: Path) -> None:
    sizes = {"a": (48, 48), "b": (100, 180), "c": (16, 30)}
    for number, (stem, (width, height)) in enumerate(sizes.items()):
        for split, name in (("train", "happy"), ("val", "sad")):
            path = tmp_path / "raw" / split / name / f"{stem}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(number + 10 * (split == "val"), 200)[:height, :width]).save(path, quality=90)
    figures = prepare("expressions", tmp_path / "raw", tmp_path / "out", num_proc=1)
    assert (figures["rows"], figures["faces"], figures["quarantined"]) == (6, 6, 0)
    extractor = FaceExtractor()
    data = load_dataset(str(tmp_path / "out"))
    assert data["train"].features == schema.features(EXPRESSIONS)
    raw = data["train"].cast_column("image", ImageFeature(decode=False))
    streamed = list(load_dataset(str(tmp_path / "out"), split="train", streaming=True))
    assert [row["image_id"] for row in streamed] == data["train"]["image_id"][:]
    for split, name in (("train", "happy"), ("validation", "sad")):
        for row in data[split]:
            stem = row["image_id"].rsplit("/", 1)[1]
            assert row["image_id"] == row["group"] == f"{split}/{name}/{stem}"
            assert EXPRESSIONS[row["label"]] == name
            image = row["image"]
            assert (image.mode, image.size) == ("L", sizes[stem])
            (faces,) = extractor.whole_pictures([image.convert("RGB")])
            assert row["face_boxes"] == [[0, 0, *image.size]]
            assert row["face_scores"] == [1]
            np.testing.assert_allclose(row["face_landmarks"], faces.landmarks.reshape(1, 10), rtol=1e-5)
            np.testing.assert_allclose(row["face_features"], faces.features, atol=1e-5)
            np.testing.assert_array_equal(np.asarray(row["face_crops"][0]), np.asarray(image))
            (aligned,) = align_faces(image.convert("RGB"), faces.landmarks)
            difference = np.asarray(row["aligned_faces"][0], int) - np.asarray(aligned)
            assert row["aligned_faces"][0].size == (96, 112)
            assert np.abs(difference).mean() < 3, "as JPEG"
            assert row["sampled_patches"] == []
            assert row["skeleton"] is None
            assert row["scene_feature"] is None
    for row in raw:  # the very bytes of the file
        source = tmp_path / "raw" / "train" / "happy" / f"{row['image_id'][-1]}.jpg"
        assert row["image"]["bytes"] == source.read_bytes()


@pytest.fixture(scope="module")
def group_photo(drawn_raw: Path) -> Path:
    """A drawn photo in which at least two faces of different sizes are found."""
    extractor = FaceExtractor()
    for path in sorted(drawn_raw.rglob("*.jpg")):
        (faces,) = extractor.extract([Image.open(path)])
        if len(faces) > 1 and faces.largest().boxes.tolist() != faces.boxes[:1].tolist():
            return path
    raise AssertionError("no such photo")


@pytest.mark.parametrize("faces", ["auto", "detect", "whole"])
def test_faces_of_photos(tmp_path: Path, group_photo: Path, faces: str) -> None:
    for name, number in (("happy", 1), ("sad", 2)):
        for split in ("train", "val"):
            save(tmp_path / "raw" / split / name / "crop.png", number + 10 * (split == "val"))
    shutil.copy(group_photo, tmp_path / "raw" / "train" / "happy" / "photo.jpg")
    save(tmp_path / "raw" / "train" / "sad" / "faceless.png", 5, 120)
    prepare("expressions", tmp_path / "raw", tmp_path / "out", num_proc=1, options={"faces": faces})
    rows = {row["image_id"]: row for row in load_dataset(str(tmp_path / "out"), split="train")}
    assert all(len(row["face_boxes"]) == 1 for row in rows.values())
    photo = rows["train/happy/photo"]
    whole = [[0, 0, *photo["image"].size]]
    (found,) = FaceExtractor().extract([Image.open(group_photo)])
    if faces == "whole":
        assert photo["face_boxes"] == whole
    else:
        np.testing.assert_allclose(photo["face_boxes"], found.largest().boxes)
        np.testing.assert_allclose(photo["face_scores"], found.largest().scores)
        assert photo["face_crops"][0].size != photo["image"].size
    assert rows["train/sad/faceless"]["face_boxes"] == [[0, 0, 120, 120]], "no face is found: the whole picture"
    assert rows["train/sad/crop"]["face_boxes"] == [[0, 0, 48, 48]]
    assert rows["train/sad/crop"]["image"].mode == ("RGB" if faces == "detect" else "L")


def test_whole_pictures_are_described_as_faces_that_are_found(group_photo: Path) -> None:
    extractor = FaceExtractor()
    image = Image.open(group_photo)
    (found,) = extractor.extract([image])
    x1, y1, x2, y2 = found.largest().boxes[0]
    side, x, y = max(x2 - x1, y2 - y1), (x1 + x2) / 2, (y1 + y2) / 2
    square = image.crop((round(x - side / 2), round(y - side / 2), round(x + side / 2), round(y + side / 2)))
    (whole,) = extractor.whole_pictures([square])
    expected = found.largest().landmarks[0] - [round(x - side / 2), round(y - side / 2)]
    assert np.abs(whole.landmarks[0] - expected).max() < 0.1 * side
    assert whole.boxes.tolist() == [[0, 0, *square.size]]
    assert whole.scores.tolist() == [1]


def test_whole_pictures_do_not_depend_on_each_other() -> None:
    images = [np.repeat(pixels(i, side)[..., None], 3, 2) for i, side in enumerate((48, 30, 48, 90, 48) * 5)]
    images.append(images[0][:, :20])
    extractor = FaceExtractor()
    together = extractor.whole_pictures(images)
    for image, faces in zip(images, together, strict=True):
        (alone,) = extractor.whole_pictures([image])
        assert faces.boxes.tolist() == [[0, 0, image.shape[1], image.shape[0]]]
        np.testing.assert_allclose(faces.landmarks, alone.landmarks, atol=1e-4)
        np.testing.assert_allclose(faces.features, alone.features, atol=1e-5)
        assert {array.dtype for array in vars(faces).values()} == {np.dtype(np.float32)}
    assert extractor.whole_pictures([]) == []


def test_the_largest_face() -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 9, 9], [5, 5, 14, 14]], np.float32)
    faces = Faces(boxes, np.array([0.9, 0.8, 0.7]), np.zeros((3, 5, 2)), np.zeros((3, 256)))
    assert faces.largest().boxes.tolist() == [[0, 0, 9, 9]]
    assert len(Faces.none().largest()) == 0


def test_a_record_knows_which_faces_there_are() -> None:
    with pytest.raises(ValueError, match="faces must be one of all, largest, whole, not 'some'"):
        Record("a", Path("a"), "train", faces="some")


def test_from_the_command_line(tmp_path: Path, run_script: Callable) -> None:
    raw = whole_fer(tmp_path / "raw").parent
    words = ("--dataset", "expressions", "--source", raw, "--output", tmp_path / "out", "--num_proc", 1)
    code, figures, _ = run_script("prepare", *words, "--classes", "valence", "--faces", "whole")
    assert (code, figures["rows"], figures["faces"]) == (0, 24, 24)
    data = load_dataset(str(tmp_path / "out"))
    assert data["train"].features["label"].names == list(schema.CLASS_NAMES)
    assert {split: len(rows) for split, rows in data.items()} == {"train": 12, "validation": 6, "test": 6}
    card = (tmp_path / "out" / "README.md").read_text()
    for words_of_card in ("4 faces of surprise were left out.", "Goodfellow", "65 ± 5 %", "classes valence"):
        assert words_of_card in card
    code, _, error = run_script("prepare", *words, "--contempt")
    assert code == 2
    assert "prepared with other settings" in error
    other = ("--dataset", "sample", "--source", tmp_path / "s", "--output", tmp_path / "o", "--faces", "whole")
    code, _, error = run_script("prepare", *other)
    assert code == 2
    assert "sample has no option faces" in error


def test_it_is_registered() -> None:
    assert BUILDERS["expressions"] is ExpressionsBuilder


@pytest.mark.slow
def test_the_real_fer2013(shared: Path, tmp_path: Path) -> None:
    """The counts in docs/datasets.md; comparing all 32,298 faces takes about ten seconds."""
    source = shared / "data" / "fer2013"
    if not (source / "fer2013.parquet").is_file():
        pytest.skip("FER2013 is not here")
    figures = prepare("expressions", source, tmp_path / "out", num_proc=1, limit=30)
    assert (figures["rows"], figures["faces"], figures["quarantined"]) == (60, 60, 0)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "351 faces of train that validation or test hold too" in card
    assert "1,105 faces of train that train holds before" in card
    assert "83 faces of train that train holds with different labels" in card
    assert "291 faces of train that look the same as one of validation or test" in card
    row = load_dataset(str(tmp_path / "out"), split="train")[0]
    assert (row["image"].mode, row["image"].size) == ("L", (48, 48))
