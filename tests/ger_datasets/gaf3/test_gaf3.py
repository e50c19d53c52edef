"""GAF 3.0 folders -> records."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
from refusals import refused

from ger_datasets.builders import BUILDERS
from ger_datasets.gaf3.builder import PHOTOS, Gaf3Builder
from ger_datasets.legacy.name_lists import read_name_list
from ger_datasets.sample.builder import SampleBuilder
from ger_datasets.schema import CLASS_NAMES
from ger_datasets.support.errors import UserError


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


def test_lists_of_paths_in_any_case_and_spelling(raw_folder: Path) -> None:
    (raw_folder / "val_list.txt").write_bytes(b'\xef\xbb\xbf"D:\\GAF\\Val\\NEGATIVE\\neg_1.JPG"\r')
    test_list = pickle.dumps(["/home/me/gaf/val/Positive/POS_1.Jpg"], 0).replace(b"\n", b"\r\n")
    (raw_folder / "test_list").write_bytes(test_list)
    ids = {record.image_id for record in Gaf3Builder(raw_folder).records() if record.split != "train"}
    assert ids == {"validation/Negative/neg_1", "test/Positive/pos_1"}


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
    assert "2 files that are not photos" in caplog.text


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
            ["1 names", "both lists", "neg_1.jpg"],
        ),
    ],
    ids=["missing", "no-splits", "unknown-class", "empty-split", "malicious-list", "list-of-nobody", "both-lists"],
)
def test_refusals_say_what_there_is(raw_folder: Path, change: object, words: list[str]) -> None:
    change(raw_folder)
    with refused(words):
        Gaf3Builder(raw_folder).records()


def layout(folder: Path, *names: str) -> Path:
    """Empty files at `names` below `folder`: records() opens no photo."""
    paths = [folder / name for name in names]
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.touch()
    return folder


def placed(folder: Path) -> dict[str, tuple[str, int]]:
    """image_id -> split, label; ids begin with the split, and every path is a file."""
    records = Gaf3Builder(folder).records()
    assert all(record.path.is_file() for record in records)
    assert all(record.image_id.startswith(f"{record.split}/") for record in records)
    return {record.image_id: (record.split, record.label) for record in records}


FIVE = {
    "train/Negative/neg_1": ("train", 0),
    "train/Positive/pos_1": ("train", 2),
    "validation/Neutral/neu_1": ("validation", 1),
    "challenge/test_1": ("challenge", -1),
    "challenge/test_2": ("challenge", -1),
}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Validation", "Test_Images"),
        ("TRAIN", "valid", "test/test_shared"),
        ("GAF_3.0/train", "GAF_3.0/val", "GAF_3.0/test_shared"),
        ("download/GAF_3.0/Train", "download/GAF_3.0/Val", "download/GAF_3.0/Test/images"),
        ("Train/Train", "Val/GAF_3.0_val", "Test/Test"),
    ],
)
def test_layouts(tmp_path: Path, train: str, val: str, test: str) -> None:
    layout(
        tmp_path / "raw",
        f"{train}/Negative/neg_1.jpg",
        f"{train}/POSITIVE/pos_1.JPG",
        f"{val}/neutral/neu_1.jpeg",
        f"{test}/test_1.jpg",
        f"{test}/test_2.jpg",
        "__MACOSX/train/._x.jpg",
        ".cache/x",
    )
    assert placed(tmp_path / "raw") == FIVE


def test_class_folders_within_themselves(tmp_path: Path) -> None:
    layout(tmp_path, "Train/Positive/Positive/pos_1.jpg", "Train/Negative/negative/neg_1.jpg", "Train/Positive/a.txt")
    assert set(placed(tmp_path)) == {"train/Positive/pos_1", "train/Negative/neg_1"}
    layout(tmp_path, "Train/Positive/pos_2.jpg")
    with pytest.raises(UserError, match="Positive and in Positive within it: keep them in one"):
        Gaf3Builder(tmp_path).records()


def test_a_class_folder_alone_is_no_wrapping(tmp_path: Path) -> None:
    assert set(placed(layout(tmp_path, "train/Positive/pos_1.jpg"))) == {"train/Positive/pos_1"}


def test_gaf2_and_other_names(tmp_path: Path) -> None:
    """Arbitrary file names, the same in several classes, no lists; a labelled test folder is an ordinary split."""
    layout(tmp_path, "train/Positive/12 (3).jpg", "train/Negative/12 (3).jpg", "val/Neutral/Ünï 😀.png")
    layout(tmp_path, "train/Neutral/two\nlines.jpg", "test/Neutral/any.jpg")
    builder = Gaf3Builder(tmp_path)
    assert {record.image_id for record in builder.records()} == {
        "train/Positive/12 (3)",
        "train/Negative/12 (3)",
        "validation/Neutral/Ünï 😀",
        "train/Neutral/two\\nlines",
        "test/Neutral/any",
    }
    assert builder.remarks() == []


def test_a_labelled_test_folder_beside_lists(tmp_path: Path) -> None:
    layout(tmp_path, "val/Neutral/neu_1.jpg", "val/Positive/pos_1.jpg", "test/Neutral/neu_9.jpg")
    (tmp_path / "val_list.txt").write_text("neu_1.jpg")
    (tmp_path / "eval_list.txt").write_text("pos_1.jpg")
    assert placed(tmp_path) == {
        "validation/Neutral/neu_1": ("validation", 1),
        "test/Positive/pos_1": ("test", 2),
        "challenge/Neutral/neu_9": ("challenge", 1),
    }


@pytest.mark.parametrize("place", [".", "..", "val"], ids=["beside", "outside the wrapping folder", "in val"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("TEST_LIST", pickle.dumps(["neg_1.jpg"])),
        ("eval_list.pickle", pickle.dumps(["Negative/neg_1.jpg"])),
        ("test_list.txt", b"\xef\xbb\xbfval/Negative/NEG_1.jpg\r\n\r\n"),
        ("Eval_List.csv", b"name,label\nNegative\\neg_1.jpg,0\n"),
    ],
    ids=["pickle", "pickle with classes", "text", "table"],
)
def test_lists_in_every_form_and_place(tmp_path: Path, place: str, name: str, content: bytes) -> None:
    layout(tmp_path / "raw" / "GAF", *(f"val/{c}/{c[:3].lower()}_1.jpg" for c in CLASS_NAMES))
    (tmp_path / "raw" / "GAF" / place / name).write_bytes(content)
    (tmp_path / "raw" / "GAF" / place / "val_list.npy").write_bytes(b"x")
    builder = Gaf3Builder(tmp_path / "raw")
    splits = {record.image_id for record in builder.records()}
    # there is no val_list: what test_list does not name is validation
    assert splits == {"test/Negative/neg_1", "validation/Neutral/neu_1", "validation/Positive/pos_1"}
    assert not any("left out" in remark for remark in builder.remarks()), "the lists themselves are no stray files"


def test_lists_that_are_unclear(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout(tmp_path, "val/Neutral/1.jpg", "val/Positive/1.jpg", "val/Positive/2.jpg")
    (tmp_path / "val_list.txt").write_text("1.jpg\n")
    with pytest.raises(UserError, match=r"could be any of 2 photos of val: write the class folder .* Neutral/1\.jpg"):
        Gaf3Builder(tmp_path).records()
    (tmp_path / "val_list.txt").write_text("Neutral/1.jpg\n")
    assert set(placed(tmp_path)) == {"validation/Neutral/1"}
    (tmp_path / "val" / "val_list").write_bytes(pickle.dumps(["neutral/1.jpg"]))  # twice the same: fine
    assert set(placed(tmp_path)) == {"validation/Neutral/1"}
    (tmp_path / "val" / "val_list").write_bytes(pickle.dumps(["2.jpg"]))
    with pytest.raises(UserError, match=r"val_list\.txt and val_list both make the split validation"):
        Gaf3Builder(tmp_path).records()
    (tmp_path / "val" / "val_list").rename(tmp_path / "val" / "val_list.npy")
    Gaf3Builder(tmp_path).records()
    assert "val_list.npy is not read" in caplog.text


@pytest.mark.parametrize(
    ("train", "val", "labels"),
    [
        ("train_labels.txt", "val_label.csv", "neg_1.jpg Negative\npos_1.jpg Positive\n"),
        ("train/labels.txt", "Val/Labels.tsv", "Image\tLabel\nTRAIN\\NEG_1.jpg\t3\npos_1.jpg\t1\n"),
        ("train/Train_Labels.csv", "validation_labels.csv", "neg_1,neg\npos_1,pos\n"),
    ],
    ids=["beside", "in the folders, by numbers", "csv"],
)
def test_flat_folders_with_label_files(tmp_path: Path, train: str, val: str, labels: str) -> None:
    layout(tmp_path, *(f"{split}/{name}_1.jpg" for split in ("train", "Val") for name in ("neg", "pos")))
    layout(tmp_path, "test/test_1.jpg")
    for file in (train, val):
        (tmp_path / file).write_text(labels)
    builder = Gaf3Builder(tmp_path)
    assert {record.image_id: (record.split, record.label) for record in builder.records()} == {
        "train/Negative/neg_1": ("train", 0),
        "train/Positive/pos_1": ("train", 2),
        "validation/Negative/neg_1": ("validation", 0),
        "validation/Positive/pos_1": ("validation", 2),
        "challenge/test_1": ("challenge", -1),
    }
    assert not any("left out" in remark for remark in builder.remarks())


def test_flat_folders_with_lists_and_gaps(tmp_path: Path) -> None:
    """Lists cut a flat val too; photos and labels that do not match are counted."""
    layout(tmp_path, *(f"val/{name}.jpg" for name in ("neg_1", "pos_1", "pos_2")), "test/any.jpg")
    (tmp_path / "val_labels.txt").write_text("neg_1.jpg Negative\npos_1.jpg Positive\nneu_9.jpg Neutral\n")
    (tmp_path / "test_list.txt").write_text("Positive/pos_1.jpg\n")
    (tmp_path / "test_labels.txt").write_text("any.jpg Neutral\n")
    assert placed(tmp_path) == {
        "validation/Negative/neg_1": ("validation", 0),
        "test/Positive/pos_1": ("test", 2),
        "challenge/Neutral/any": ("challenge", 1),
    }
    builder = Gaf3Builder(tmp_path)
    builder.records()
    assert "val: 1 photos without a label in val_labels.txt, left out." in builder.remarks()
    assert "val: 1 labels in val_labels.txt without a photo." in builder.remarks()


def test_flat_folders_that_are_unclear(tmp_path: Path) -> None:
    layout(tmp_path, "train/a.jpg")
    with pytest.raises(UserError, match=r"no photos .*or photos and train_labels\.txt"):
        Gaf3Builder(tmp_path).records()
    (tmp_path / "train_labels.txt").write_text("b.jpg Negative\n")
    with pytest.raises(UserError, match=r"train_labels\.txt names none of the 1 photos, such as a\.jpg"):
        Gaf3Builder(tmp_path).records()
    for file in ("train_labels.txt", "train/labels.csv"):
        (tmp_path / file).write_text("a.jpg Negative\n")
    with pytest.raises(UserError, match=r"labels\.csv, train_labels\.txt all hold labels of train: keep one"):
        Gaf3Builder(tmp_path).records()


def test_two_folders_for_one_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Valid, val in .* are all val: keep one"):
        Gaf3Builder(layout(tmp_path, "val/Neutral/1.jpg", "Valid/Neutral/2.jpg")).records()


def test_links_are_followed_inside_the_source_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout(tmp_path, "elsewhere/Neutral/neu_1.jpg", "raw/store/abc", "raw/train/Neutral/neu_2.jpg")
    folder = tmp_path / "raw" / "train" / "Neutral"
    (folder / "neu_1.jpg").symlink_to(tmp_path / "elsewhere" / "Neutral" / "neu_1.jpg")
    (folder / "neu_3.jpg").symlink_to(Path("..", "..", "store", "abc"))
    (folder / "neu_4.jpg").symlink_to("neu_4.jpg")  # in a circle
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    builder = Gaf3Builder(tmp_path / "link")  # the source itself may be one
    assert {record.path.name for record in builder.records()} >= {"neu_2.jpg", "neu_3.jpg"}
    assert "neu_1.jpg" not in {record.path.name for record in builder.records()}
    assert "neu_1.jpg" in caplog.text
    assert any("links out of the source" in remark for remark in builder.remarks())
    (tmp_path / "raw" / "val").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="val is a link that leads out of the source folder"):
        builder.records()


def whole(folder: Path, lists: Path) -> Path:
    """GAF 3.0 in empty files: train and test with the published counts, val with the names of the lists and five."""
    for class_name, count in PHOTOS["train"].items():
        layout(folder, *(f"train/{class_name}/{class_name[:3].lower()}_{i}.jpg" for i in range(count)))
    layout(folder, *(f"test/test_{i}.jpg" for i in range(3011)), *(f"val/Neutral/neu_x{i}.jpg" for i in range(5)))
    names = [name for one in ("val_list", "test_list") for name in read_name_list(lists / one)]
    by_prefix = {name[:3].lower(): name for name in CLASS_NAMES}
    layout(folder, *(f"val/{by_prefix[name[:3]]}/{name}" for name in names))
    for one in ("val_list", "test_list"):
        shutil.copyfile(lists / one, folder / one)
    return folder


@pytest.mark.slow
def test_the_whole_with_the_distributed_lists(shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    builder = Gaf3Builder(whole(tmp_path / "raw", shared / "data" / "gaf3_lists"))
    start = time.perf_counter()
    records = builder.records()
    assert time.perf_counter() - start < 5, "17,000 photos are listed in well under a second"
    assert Counter(record.split for record in records) == {
        "train": 9815,
        "validation": 3341,
        "test": 1000,
        "challenge": 3011,
    }
    assert builder.remarks() == ["val: 5 photos that no list names, left out."]

    # in text the same
    for one in ("val_list", "test_list"):
        path = tmp_path / "raw" / one
        path.with_suffix(".txt").write_text("\r\n".join(read_name_list(path)))
        path.unlink()
    assert Gaf3Builder(tmp_path / "raw").records() == records

    for i in range(7):
        (tmp_path / "raw" / "train" / "Neutral" / f"neu_{i}.jpg").unlink()
    (tmp_path / "raw" / "test_list.txt").write_text("\n".join(read_name_list(tmp_path / "raw" / "test_list.txt")[1:]))
    caplog.clear()
    builder.records()
    train, listed, left_out = builder.remarks()
    assert train == (
        "train holds 9,808 photos where 9,815 are published (Negative 2,758 of 2,758, Neutral 3,073 of 3,080, "
        "Positive 3,977 of 3,977); copies with 9,808 are known."
    )
    assert train[:-1] in caplog.text
    assert listed.startswith("test_list.txt names 999 photos; the distributed list")
    assert left_out.startswith("val: 6 photos")


def test_a_part_of_it_is_told_without_a_warning(raw_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    builder = Gaf3Builder(raw_folder)
    builder.records()
    builder.records()  # remarks are not told twice
    assert builder.remarks() == ["This is not the whole of GAF 3.0: 9 of 9,815 train photos, 3 of 4,346 val photos."]
    assert not caplog.records
    sample = SampleBuilder(raw_folder)
    assert len(sample.records()) == 12
    assert sample.remarks() == []


def test_unknown_datasets_are_answered_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'gaf4'.*gaf3, sample"):
        BUILDERS["gaf4"]
    for name in ("gaf3", "sample"):
        assert list(BUILDERS[name].class_names) == list(CLASS_NAMES)
