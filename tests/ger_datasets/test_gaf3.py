"""GAF 3.0 folders -> records."""

from __future__ import annotations

import os
import pickle
import shutil
from collections import Counter
from pathlib import Path

import pytest

from ger_datasets.builders import BUILDERS, builder_class
from ger_datasets.errors import UserError
from ger_datasets.gaf3.builder import Gaf3Builder
from ger_datasets.schema import CLASS_NAMES


def test_without_lists_all_of_val_is_validation(raw_folder: Path) -> None:
    records = Gaf3Builder(raw_folder).records()
    assert Counter(record.split for record in records) == {"train": 9, "validation": 3}
    first = records[0]
    assert (first.image_id, first.label, first.group) == ("train/Negative/neg_1", 0, "train/Negative/neg_1")
    assert first.path == raw_folder / "train" / "Negative" / "neg_1.jpg"
    assert [record.image_id for record in records] == sorted({record.image_id for record in records})
    for record in records:
        assert CLASS_NAMES[record.label] == record.path.parent.name


def test_lists_cut_val(raw_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (raw_folder / "val_list").write_bytes(pickle.dumps(["NEG_1.JPG"]))
    (raw_folder / "test_list.pkl").write_bytes(pickle.dumps(["pos_1.jpg", "pos_99.jpg"]))
    ids = {record.image_id for record in Gaf3Builder(raw_folder).records() if record.split != "train"}
    assert ids == {"validation/Negative/neg_1", "test/Positive/pos_1"}
    assert "1 photos that no list names, left out: neu_1.jpg" in caplog.text
    assert "1 listed names without a photo: pos_99.jpg" in caplog.text


def test_folders_of_any_case_and_stray_files(raw_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (raw_folder / "train").rename(raw_folder / "Train")
    (raw_folder / "Train" / "Positive").rename(raw_folder / "Train" / "POSITIVE")
    (raw_folder / "Train" / "POSITIVE" / "Thumbs.db").write_bytes(b"x")
    (raw_folder / "Train" / "POSITIVE" / "._pos_1.jpg").write_bytes(b"x")
    (raw_folder / "Train" / "__MACOSX").mkdir()
    (raw_folder / "Train" / ".ipynb_checkpoints").mkdir()
    records = Gaf3Builder(raw_folder).records()
    assert Counter(record.split for record in records) == {"train": 9, "validation": 3}
    assert "train/Positive/pos_1" in {record.image_id for record in records}
    assert "2 files that are no photos" in caplog.text


def test_two_files_of_one_stem_keep_apart(raw_folder: Path) -> None:
    folder = raw_folder / "train" / "Neutral"
    shutil.copy(folder / "neu_1.jpg", folder / "neu_1.png")
    ids = [record.image_id for record in Gaf3Builder(raw_folder).records()]
    assert {"train/Neutral/neu_1.jpg", "train/Neutral/neu_1.png"} <= set(ids)
    assert len(set(ids)) == len(ids)


def test_a_name_that_is_no_utf8(raw_folder: Path) -> None:
    folder = os.fsencode(raw_folder / "train" / "Neutral")
    os.rename(folder + b"/neu_1.jpg", folder + b"/neu_\xff.jpg")
    ids = [record.image_id for record in Gaf3Builder(raw_folder).records()]
    assert "train/Neutral/neu_\\xff" in ids


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: shutil.rmtree(raw), ["no folder", "train and val"]),
        (lambda raw: [shutil.rmtree(raw / split) for split in ("train", "val")], ["expected the folders", "nothing"]),
        (lambda raw: (raw / "train" / "Happy").mkdir(), ["unknown class folder Happy", "Negative, Neutral, Positive"]),
        (lambda raw: [p.unlink() for p in (raw / "val").rglob("*.jpg")], ["no photos in", "val", "Negative, Neutral"]),
        (lambda raw: (raw / "val_list").write_bytes(b"cos\nsystem\n(S'true'\ntR."), ["val_list", "executed"]),
        (lambda raw: (raw / "test_list").write_bytes(pickle.dumps(["nobody.jpg"])), ["split test is empty"]),
        (
            lambda raw: [(raw / f"{n}_list").write_bytes(pickle.dumps(["neg_1.jpg"])) for n in ("val", "test")],
            ["1 names stand in both lists", "neg_1.jpg"],
        ),
    ],
    ids=["missing", "no-splits", "unknown-class", "empty-split", "malicious-list", "list-of-nobody", "both-lists"],
)
def test_refusals_say_what_there_is(raw_folder: Path, change: object, words: list[str]) -> None:
    change(raw_folder)
    with pytest.raises(UserError) as error:
        Gaf3Builder(raw_folder).records()
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_datasets_are_answered_with_those_there_are() -> None:
    with pytest.raises(UserError, match="unknown dataset 'gaf4': there are gaf3, sample"):
        builder_class("gaf4")
    for name in ("gaf3", "sample"):
        assert list(BUILDERS[name].class_names) == list(CLASS_NAMES)
