"""EMOTIC: annotations in three forms and photos in their original folders -> records -> a prepared dataset."""

from __future__ import annotations

import contextlib
import csv
import math
import pickle
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from datasets import load_dataset
from PIL import Image
from refusals import refused
from scipy.io import loadmat, savemat

from ger_datasets.builders import BUILDERS
from ger_datasets.emotic.annotations import CATEGORIES
from ger_datasets.emotic.builder import EmoticBuilder, valence_label
from ger_datasets.preparation.run import prepare
from ger_datasets.support.errors import BadPhoto, UserError

WIDTH, HEIGHT = 64, 48
COCO = "COCO_train2014_000000562243.jpg"


def person(
    box: tuple[float, ...] = (4, 5, 40, 44),
    categories: tuple[str, ...] = ("Peace",),
    continuous: tuple[float, ...] = (5, 3, 9),
    gender: str = "Male",
    age: str = "Adult",
    annotators: tuple[tuple[float, ...], ...] = (),
) -> dict[str, Any]:
    """One person; with `annotators`, one valence, arousal and dominance from each, `continuous` combines them."""
    return locals()


# split -> folder, filename, people
WORLD = {
    "train": [
        ("mscoco/images", COCO, [person(categories=("Disconnection", "Doubt/Confusion"), continuous=(6, 4, 7))]),
        (
            "framesdb/images",
            "frame_1.jpg",
            [
                person((-3, -2, 90, 60), ("Disquitement", "Fear"), (2, 8, 3), "Female", "Kid"),
                person((50, 5, 20, 44), ("Anger",), (math.nan, math.nan, math.nan)),
                person(continuous=(4, 5, 5)),
            ],
        ),
        ("ade20k/images", "sun_1.jpg", [person(continuous=(math.nan, math.nan, math.nan))]),
    ],
    "val": [
        (
            "emodb_small/images",
            "happy.jpg",
            [
                person(categories=("Happiness", "Yearning"), continuous=(8, 6, 7), annotators=((9, 6, 7), (7, 6, 7))),
                person(categories=("Joy", "Esteem"), continuous=(7, 6, 7), annotators=((7, 6, 7),)),
            ],
        )
    ],
    "test": [
        (
            "mscoco/images",
            "COCO_val2014_000000000042.jpg",
            [
                person(continuous=(13 / 3, 5, 5), annotators=((4, 5, 5), (4, 5, 5), (5, 5, 5))),
                person(continuous=(14 / 3, 5, 5), annotators=((4, 5, 5), (5, 5, 5), (5, 5, 5))),
            ],
        ),
    ],
}
LABELS = {
    f"train/mscoco/images/{COCO[:-4]}": 1,
    "train/framesdb/images/frame_1": 0,
    "train/ade20k/images/sun_1": -1,
    "validation/emodb_small/images/happy": 2,
    "test/mscoco/images/COCO_val2014_000000000042": 1,
}


def cell(values: list[Any]) -> np.ndarray:
    array = np.empty((1, len(values)), dtype=object)
    array[0] = values
    return array


def structs(values: list[dict[str, Any]]) -> np.ndarray:
    """A 1 x N MATLAB array of structs."""
    array = np.empty((1, len(values)), dtype=[(name, object) for name in values[0]])
    for i, value in enumerate(values):
        array[0, i] = tuple(value.values())
    return array


def ratings(values: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(("valence", "arousal", "dominance"), values, strict=True))


def person_struct(who: dict[str, Any]) -> dict[str, Any]:
    categories = {"categories": cell(list(who["categories"]))}
    told = {"body_bbox": np.array([who["box"]], dtype=float)}
    if who["annotators"]:
        told["annotations_categories"] = structs([categories] * len(who["annotators"]))
        told["combined_categories"] = cell(list(who["categories"]))
        told["annotations_continuous"] = structs([ratings(values) for values in who["annotators"]])
        told["combined_continuous"] = structs([ratings(who["continuous"])])
    else:
        told["annotations_categories"] = structs([categories])
        told["annotations_continuous"] = structs([ratings(who["continuous"])])
    return {**told, "gender": who["gender"], "age": who["age"]}


def photo_struct(folder: str, filename: str, people: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "filename": filename,
        "folder": folder,
        "image_size": structs([{"n_col": WIDTH, "n_row": HEIGHT}]),
        "original_database": structs([{"name": folder.split("/")[0], "info": structs([{"image_id": 562243}])}]),
        "person": structs([person_struct(who) for who in people]),
    }


def write_mat(raw: Path, world: dict[str, Any] = WORLD) -> Path:
    path = raw / "Annotations" / "Annotations.mat"
    path.parent.mkdir(exist_ok=True)
    contents = {split: structs([photo_struct(*photo) for photo in photos]) for split, photos in world.items()}
    savemat(path, contents, do_compression=True)
    return path


def write_csv(raw: Path) -> None:
    (raw / "emotic_pre").mkdir()
    header = ["Index", "Folder", "Filename", "Image Size", "BBox"]
    header += ["Categorical_Labels", "Continuous_Labels", "Gender", "Age"]
    for split, photos in WORLD.items():
        with (raw / "emotic_pre" / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            people = [(folder, filename, who) for folder, filename, all_people in photos for who in all_people]
            for index, (folder, filename, who) in enumerate(people):
                told = [list(who["box"]), list(who["categories"]), [float(value) for value in who["continuous"]]]
                writer.writerow([index, folder, filename, [HEIGHT, WIDTH], *told, who["gender"], who["age"]])


def write_arrays(raw: Path, scale: float = 1.0, size: bool = True) -> None:
    """As published in arrays, in a folder `archive`: rows per person, photos at `scale`, categories in columns."""
    (raw / "archive" / "annots_arrs").mkdir(parents=True)
    (raw / "archive" / "img_arrs").mkdir()
    names = sorted(CATEGORIES, key=len)  # not the alphabetical order
    header = ["Index", "Folder", "Filename", *(["Width", "Height"] if size else []), "Age", "Gender", "Valence"]
    header += ["Arousal", "Dominance", *names, "X_min", "Y_min", "X_max", "Y_max", "Arr_name", "Crop_name"]
    for split, photos in WORLD.items():
        with (raw / "archive" / "annots_arrs" / f"annot_arrs_{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            people = [(folder, filename, who) for folder, filename, all_people in photos for who in all_people]
            for index, (folder, filename, who) in enumerate(people):
                arrays = f"img_arr_{split}_{index}.npy", f"crop_arr_{split}_{index}.npy"
                photo = Image.open(raw / "emotic" / folder / filename).resize(
                    (int(WIDTH * scale), int(HEIGHT * scale))
                )
                np.save(raw / "archive" / "img_arrs" / arrays[0], np.asarray(photo))
                np.save(raw / "archive" / "img_arrs" / arrays[1], np.zeros((8, 8, 3), np.uint8))
                felt = ["Disquietment" if name == "Disquitement" else name for name in who["categories"]]
                told = [index, f"{folder}", filename, *([WIDTH, HEIGHT] if size else []), who["age"], who["gender"]]
                writer.writerow(
                    [*told, *who["continuous"], *(int(name in felt) for name in names), *who["box"], *arrays]
                )


def write_npz(raw: Path) -> None:
    for split, photos in WORLD.items():
        people = [(folder, name, who["continuous"][0]) for folder, name, all_people in photos for who in all_people]
        folders, images, valences = zip(*people, strict=True)
        np.savez(raw / "emotic" / f"{split}_annotations.npz", image=images, folder=folders, valence=valences)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The photos of `WORLD` in their folders, without annotations."""
    raw = tmp_path / "raw"
    for number, (folder, filename, _) in enumerate(photo for photos in WORLD.values() for photo in photos):
        (raw / "emotic" / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (40 * number, 90, 120)).save(raw / "emotic" / folder / filename)
    return raw


@pytest.fixture
def raw(photos: Path) -> Path:
    write_mat(photos)
    return photos


def people_of(builder: EmoticBuilder, image_id: str) -> list[dict[str, Any]]:
    (record,) = [record for record in builder.records() if record.image_id == image_id]
    return record.extras["people"]


def test_the_written_file_is_nested_as_the_original(raw: Path) -> None:
    contents = loadmat(raw / "Annotations" / "Annotations.mat")
    photo = contents["val"][0, 0]
    assert contents["train"].shape == (1, 3)
    assert photo["filename"][0] == "happy.jpg"
    assert photo["image_size"]["n_row"][0, 0][0, 0] == HEIGHT
    who = photo["person"][0, 0]
    assert who.dtype.names[:3] == ("body_bbox", "annotations_categories", "combined_categories")
    assert who["annotations_categories"][0, 1]["categories"][0, 1][0] == "Yearning"
    assert who["annotations_continuous"].shape == (1, 2)
    assert who["combined_continuous"][0, 0]["valence"][0, 0] == 8


@pytest.mark.parametrize("write", [write_mat, write_csv, write_npz])
def test_every_form_of_annotations_gives_the_same_labels(photos: Path, write: Callable[[Path], object]) -> None:
    write(photos)
    records = EmoticBuilder(photos).records()
    assert {record.image_id: record.label for record in records} == LABELS
    assert [record.image_id for record in records] == sorted(LABELS)
    assert Counter(record.split for record in records) == {"train": 3, "validation": 1, "test": 1}
    for record in records:
        assert record.path.is_file()
        assert record.group == record.image_id
    assert EmoticBuilder(photos / "emotic").records() == records


@pytest.mark.parametrize("write", [write_mat, write_csv])
def test_people(photos: Path, write: Callable[[Path], object]) -> None:
    write(photos)
    builder = EmoticBuilder(photos)
    first, second, third = people_of(builder, "train/framesdb/images/frame_1")
    assert first["box"] == [0, 0, WIDTH, HEIGHT]
    assert [CATEGORIES[index] for index in first["categories"]] == ["Disquietment", "Fear"]
    assert (first["valence"], first["arousal"], first["dominance"]) == (2, 8, 3)
    assert (first["gender"], first["age"]) == ("Female", "Kid")
    assert second["box"] is None
    assert second["valence"] is second["arousal"] is second["dominance"] is None
    assert third["box"] == [4, 5, 40, 44]
    remarks = " ".join(builder.remarks())
    assert "1 people have no usable box" in remarks
    assert "1 photos have no known valence" in remarks
    assert "left out: Joy (1)." in remarks
    assert str(photos) not in remarks


def test_several_annotators_are_counted_and_taken_as_combined(raw: Path) -> None:
    first, second = people_of(EmoticBuilder(raw), "validation/emodb_small/images/happy")
    assert (first["annotators"], second["annotators"]) == (2, 1)
    assert first["valence"] == 8
    assert [CATEGORIES[index] for index in first["categories"]] == ["Happiness", "Yearning"]
    assert people_of(EmoticBuilder(raw), "train/ade20k/images/sun_1")[0]["annotators"] == 1


def test_without_combined_ratings_the_annotators_are_averaged(photos: Path) -> None:
    who = person(continuous=(math.nan,) * 3, categories=(), annotators=((9, math.nan, 7), (7, 6, 7)))
    write_mat(photos, {"val": [("emodb_small/images", "happy.jpg", [who])]})
    (row,) = people_of(EmoticBuilder(photos), "validation/emodb_small/images/happy")
    assert (row["valence"], row["arousal"], row["dominance"], row["categories"]) == (8, 6, 7, [])


@pytest.mark.parametrize(
    ("valences", "label"),
    [
        *(([1], 0), ([4], 0), ([4.49], 0), ([4, 5], 1), ([5], 1), ([7], 1), ([7, 7.9], 1), ([7, 8], 2), ([10], 2)),
        *(([], -1), ([math.nan], -1), ([math.nan, 8], 2), ([13 / 3, 14 / 3], 1), ([1, 10], 1)),
    ],
)
def test_the_label_is_the_mean_valence_rounded(valences: list[float], label: int) -> None:
    assert valence_label(valences) == label


def test_people_are_counted_beside_those_expected(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ger_datasets.emotic.builder.EXPECTED_PEOPLE", {"train": 5, "validation": 3, "test": 1})
    builder = EmoticBuilder(raw)
    builder.records()
    assert builder.remarks()[:3] == [
        "train: 5 people are annotated in 3 photos, as many as expected.",
        "validation: 2 people are annotated in 1 photos, 1 fewer than the 3 expected.",
        "test: 2 people are annotated in 1 photos, 1 more than the 1 expected.",
    ]
    remarks = builder.remarks()
    builder.records()
    assert builder.remarks() == remarks


def test_missing_photos_are_named_and_left_out(raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    (raw / "emotic" / "framesdb" / "images" / "frame_1.jpg").unlink()
    builder = EmoticBuilder(raw)
    assert len(builder.records()) == 4
    words = (
        "train: 1 annotated photos with 3 people are not in the download and were left out: framesdb/images/frame_1"
    )
    assert words in caplog.text
    assert any(words in remark for remark in builder.remarks())


def test_a_photo_listed_twice_is_one_with_all_its_people(photos: Path) -> None:
    first, second = person(continuous=(1, 1, 1)), person(continuous=(9, 1, 1))
    entries = [("mscoco/images", COCO, [first]), ("emotic\\mscoco/images/", COCO, [second])]
    write_mat(photos, {"train": entries, "val": [("mscoco/images", COCO, [first])]})
    builder = EmoticBuilder(photos)
    one, two = builder.records()
    assert (one.split, one.label, [who["valence"] for who in one.extras["people"]]) == ("train", 1, [1, 9])
    assert two.split == "validation"
    assert any("1 photos are in more than one split" in remark for remark in builder.remarks())


def test_two_files_of_one_stem_keep_apart(photos: Path) -> None:
    folder = photos / "emotic" / "mscoco" / "images"
    shutil.copy(folder / COCO, (folder / COCO).with_suffix(".png"))
    names = [COCO, COCO.replace(".jpg", ".png")]
    write_mat(photos, {"train": [("mscoco/images", name, [person()]) for name in names]})
    ids = [record.image_id for record in EmoticBuilder(photos).records()]
    assert ids == [f"train/mscoco/images/{name}" for name in names]


def test_names_of_any_case(raw: Path) -> None:
    (raw / "emotic").rename(raw / "EMOTIC")
    (raw / "Annotations" / "Annotations.mat").rename(raw / "Annotations" / "annotations.MAT")
    (raw / "Annotations").rename(raw / "ANNOTATIONS")
    folder = raw / "EMOTIC" / "mscoco"
    folder.rename(folder.with_name("MSCOCO"))
    assert {record.image_id: record.label for record in EmoticBuilder(raw).records()} == LABELS
    assert len(EmoticBuilder(raw / "EMOTIC").records()) == 5


def test_no_name_leads_out_of_the_download(photos: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(photos / "private.jpg")
    write_mat(photos, {"train": [("..", "private.jpg", [person()]), ("mscoco/images", COCO, [person()])]})
    assert [record.path.name for record in EmoticBuilder(photos).records()] == [COCO]


@pytest.mark.parametrize("change", ["resized", "turned", "damaged"])
def test_boxes_of_photos_that_are_not_as_annotated_are_left_empty(raw: Path, change: str) -> None:
    path = raw / "emotic" / "mscoco" / "images" / COCO
    if change == "damaged":
        path.write_bytes(b"no photo")
    else:
        exif = Image.Exif()
        exif[0x0112] = 6 if change == "turned" else 1
        size = (WIDTH, HEIGHT) if change == "turned" else (WIDTH // 2, HEIGHT // 2)
        Image.new("RGB", size).save(path, exif=exif)
    builder = EmoticBuilder(raw)
    (who,) = people_of(builder, f"train/mscoco/images/{COCO[:-4]}")
    assert who["box"] is None
    assert who["valence"] == 6
    assert any(remark.startswith("1 photos are turned by EXIF") for remark in builder.remarks())


def test_empty_fields_and_ratings_out_of_range(photos: Path) -> None:
    entry = photo_struct("mscoco/images", COCO, [person(continuous=(0, 11, 5))])
    who = entry["person"][0, 0]
    who["body_bbox"] = who["gender"] = who["age"] = np.zeros((0, 0))
    who["annotations_categories"] = np.zeros((0, 0))
    entry["image_size"] = np.zeros((0, 0))
    nobody = {**photo_struct("framesdb/images", "frame_1.jpg", [person()]), "person": np.zeros((0, 0))}
    path = photos / "Annotations.mat"
    savemat(path, {"train": structs([entry, nobody]), "val": np.zeros((0, 0))})
    builder = EmoticBuilder(photos)
    empty, record = builder.records()
    assert (empty.label, empty.extras["people"]) == (-1, [])
    (row,) = record.extras["people"]
    assert row == {
        "box": None,
        "categories": [],
        "valence": None,
        "arousal": None,
        "dominance": 5,
        "gender": None,
        "age": None,
        "annotators": 1,
    }
    assert any("2 ratings of valence, arousal or dominance" in remark for remark in builder.remarks())


def wrong_field(name: str, value: object) -> Callable[[Path], None]:
    def change(raw: Path) -> None:
        entry = photo_struct("mscoco/images", COCO, [person()])
        struct = entry if name in entry else entry["person"][0, 0]
        struct[name] = value
        savemat(raw / "Annotations" / "Annotations.mat", {"train": structs([entry])})

    return change


def without_field(raw: Path) -> None:
    entry = photo_struct("mscoco/images", COCO, [person()])
    del entry["folder"]
    savemat(raw / "Annotations" / "Annotations.mat", {"train": structs([entry])})


def mat_bytes(content: bytes) -> Callable[[Path], object]:
    return lambda raw: (raw / "Annotations" / "Annotations.mat").write_bytes(content)


MAT_73 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
ZEROS = zlib.compress(bytes(1_000_000))
BOMB = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(ZEROS)) + ZEROS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: shutil.rmtree(raw), ["cannot be listed", "give the folder that holds emotic"]),
        (lambda raw: shutil.rmtree(raw / "Annotations"), ["no annotations in", "Annotations.mat", "found emotic"]),
        (
            lambda raw: shutil.rmtree(raw / "emotic"),
            ["none of the 5 photos in Annotations.mat", "mscoco", "found Annotations"],
        ),
        (mat_bytes(b""), ["Annotations.mat has 0 bytes"]),
        (mat_bytes(b"x" * 500), ["Annotations.mat cannot be read as a MATLAB file"]),
        (mat_bytes(MAT_73), ["MATLAB 7.3", "-v7"]),
        (mat_bytes(BOMB), ["unpacks to more than", "download it again"]),
        (lambda raw: savemat(raw / "Annotations" / "Annotations.mat", {"a": 1}), ["holds a", "train, val, test"]),
        (lambda raw: savemat(raw / "Annotations" / "Annotations.mat", {"train": "b"}), ["train holds text"]),
        (lambda raw: savemat(raw / "Annotations" / "Annotations.mat", {"train": np.zeros((0, 0))}), ["no photos"]),
        (without_field, ["Annotations.mat, train(1): no field folder, found filename, image_size"]),
        (wrong_field("filename", 3.0), ["train(1)", "filename holds numbers, expected text"]),
        (wrong_field("filename", ""), ["train(1)", "filename is empty"]),
        (wrong_field("person", "nobody"), ["train(1)", "person holds text, expected structs"]),
        (wrong_field("body_bbox", "left"), ["body_bbox holds text, expected four numbers"]),
        (wrong_field("gender", cell(["Male", "Female"])), ["gender holds 2 texts, expected one"]),
        (wrong_field("annotations_continuous", structs([{"valence": "high"}])), ["valence holds text"]),
        (wrong_field("annotations_continuous", structs([{"valence": [1, 2]}])), ["valence holds 2 values"]),
    ],
)
def test_refusals_say_what_there_is(
    raw: Path, change: Callable[[Path], object], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ger_datasets.emotic.mat_reader.MAX_INFLATED_BYTES", 999_999)
    change(raw)
    with refused(words):
        EmoticBuilder(raw).records()


def test_arrays_give_what_the_matlab_file_gives(raw: Path) -> None:
    expected = {record.image_id: record.extras["people"] for record in EmoticBuilder(raw).records()}
    write_arrays(raw, scale=0.5)
    shutil.rmtree(raw / "Annotations")
    records = EmoticBuilder(raw / "archive").records()
    records = pickle.loads(pickle.dumps(records))  # noqa: S301 - as worker processes get them
    assert {record.image_id for record in records} == expected.keys()
    for record in records:
        assert record.photo().image.size == (WIDTH // 2, HEIGHT // 2)
        for found, wanted in zip(record.extras["people"], expected[record.image_id], strict=True):
            box = None if wanted["box"] is None else [x / 2 for x in wanted["box"]]
            assert found == {**wanted, "box": pytest.approx(box), "annotators": None, "valence": found["valence"],
                             "arousal": found["arousal"], "dominance": found["dominance"]}  # fmt: skip
            assert found["valence"] == pytest.approx(wanted["valence"])
    assert {record.image_id: record.label for record in records} == LABELS


def test_people_added_to_train_and_photos_whose_size_is_unknown(photos: Path) -> None:
    write_arrays(photos, size=False)
    folder = photos / "archive" / "annots_arrs"
    shutil.move(folder / "annot_arrs_val.csv", folder / "annot_arrs_extra_train.csv")
    records = {record.image_id: record for record in EmoticBuilder(photos).records()}
    assert Counter(record.split for record in records.values()) == {"train": 4, "test": 1}
    assert records[f"train/mscoco/images/{COCO[:-4]}"].extras["people"][0]["box"] == [4, 5, 40, 44]
    # the box of one of its people lies outside the array: none of them can be trusted
    assert [who["box"] for who in records["train/framesdb/images/frame_1"].extras["people"]] == [None] * 3


class Executed:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("executed",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros((0, 4, 3), np.uint8), "not a photo: uint8 of shape (0, 4, 3)"),
        (np.zeros((40, 40, 4), np.uint8), "not a photo: uint8 of shape (40, 40, 4)"),
        (np.zeros((40, 40), np.float32), "not a photo: float32"),
        (np.array([Executed()], object), "Python objects"),
        (b"", "damaged"),
        (b"no array", "damaged"),
        (b"PK\x03\x04", "damaged"),
        (
            b"\x93NUMPY\x01\x00\x46\x00{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 99999, 3)}  ",
            "damaged",
        ),
    ],
)
def test_arrays_that_are_no_photos_go_to_quarantine(
    photos: Path, tmp_path: Path, content: np.ndarray | bytes, reason: str
) -> None:
    write_arrays(photos)
    path = photos / "archive" / "img_arrs" / "img_arr_val_0.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    (record,) = [record for record in EmoticBuilder(photos).records() if record.split == "validation"]
    assert all(who["box"] is None for who in record.extras["people"])
    with pytest.raises(BadPhoto) as error:
        record.photo()
    assert reason in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_a_damaged_mat_file_is_refused(raw: Path, rng: np.random.Generator) -> None:
    path = raw / "Annotations" / "Annotations.mat"
    whole = path.read_bytes()
    damaged = [whole[: int(length)] for length in rng.integers(1, len(whole), 30)]
    for position in rng.integers(128, len(whole), 100):
        damaged.append(whole[:position] + bytes([whole[position] ^ 1 << rng.integers(8)]) + whole[position + 1 :])
    for content in damaged:
        path.write_bytes(content)
        # cut between two variables it is whole, with fewer photos; and a bit that only pads means nothing
        with contextlib.suppress(UserError):
            assert {record.image_id: record.label for record in EmoticBuilder(raw).records()}.items() <= LABELS.items()


def test_fields_that_are_not_read_may_hold_anything(raw: Path) -> None:
    entry = photo_struct("mscoco/images", COCO, [person()])
    entry["original_database"] = scipy.sparse.csc_array(np.eye(3))
    entry["big"] = np.zeros((300, 300), np.uint8)
    entry["complex"] = np.array([1 + 2j, 3])
    savemat(raw / "Annotations" / "Annotations.mat", {"x": "y", "train": structs([entry])}, do_compression=False)
    (record,) = EmoticBuilder(raw).records()
    assert record.label == 1
    assert record.extras["people"][0]["box"] == [4, 5, 40, 44]


def test_every_kind_of_number(raw: Path) -> None:
    entry = photo_struct("mscoco/images", COCO, [person()])
    who = entry["person"][0, 0]
    for dtype in (np.uint8, np.int16, np.int32, np.float32, np.float64, np.int64):
        who["body_bbox"] = np.array([[1, 2, 30, 40]], dtype)
        savemat(raw / "Annotations" / "Annotations.mat", {"train": structs([entry])})
        (record,) = EmoticBuilder(raw).records()
        assert record.extras["people"][0]["box"] == [1, 2, 30, 40]


CSV_HEADER = "Folder,Filename,BBox,Categorical_Labels,Continuous_Labels,Gender,Age\n"


def csv_file(content: str) -> Callable[[Path], object]:
    return lambda photos: (photos / "train.csv").write_text(content)


def array_file(content: str) -> Callable[[Path], object]:
    return lambda photos: (photos / "annot_arrs_test.csv").write_text(content)


def npz_file(**arrays: object) -> Callable[[Path], object]:
    return lambda photos: np.savez(photos / "train_annotations.npz", **arrays)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (csv_file("Folder,Name\na,b\n"), ["train.csv lacks the columns Filename, Continuous_Labels", "folder, name"]),
        (csv_file(CSV_HEADER + "mscoco/images,,[],[],[],,\n"), ["train.csv, line 2: no file name"]),
        (csv_file(CSV_HEADER + 'a,b.jpg,[],[],"[1, 2]",,\n'), ["line 2", "'[1, 2]'", "valence, arousal"]),
        (csv_file(CSV_HEADER + 'a,b.jpg,[],[],__import__("os"),,\n'), ["line 2", "Continuous_Labels is"]),
        (csv_file(CSV_HEADER + '"' + "x" * 200_000), ["train.csv cannot be read as CSV"]),
        (csv_file(""), ["train.csv has 0 bytes"]),
        (array_file("Arr_name,Valence,Arousal\n"), ["lacks the columns Dominance", "arrname, valence"]),
        (array_file("Arr_name,Valence,Arousal,Dominance\n,1,2,3\n"), ["line 2: Arr_name is ''", "a .npy file"]),
        (array_file("Arr_name,Valence,Arousal,Dominance\n../a.npy,1,2,3\n"), ["line 2: Arr_name is '../a.npy'"]),
        (array_file("Arr_name,Valence,Arousal,Dominance\na.npy,1,2,3\n"), ["none of the 1 photos", "for a.npy"]),
        (npz_file(image=["a.jpg"], folder=["b"]), ["lacks the arrays valence, found image, folder"]),
        (npz_file(image=["a.jpg"], folder=["b"], valence=[1, 2]), ["1, 1 and 2 entries"]),
        (npz_file(image=["a.jpg"], folder=["b"], valence=["c"]), ["valence has the type", "expected numbers"]),
        (npz_file(image=[""], folder=["b"], valence=[1]), ["an entry of image is empty"]),
        (
            npz_file(image=np.array(["a.jpg"], dtype=object), folder=["b"], valence=[1]),
            ["image holds Python objects", "nothing in it was executed"],
        ),
        (lambda photos: (photos / "train_annotations.npz").write_bytes(b"x"), ["cannot be read as an npz file"]),
    ],
)
def test_refusals_of_tables(photos: Path, write: Callable[[Path], object], words: list[str]) -> None:
    write(photos)
    with refused(words):
        EmoticBuilder(photos).records()


def test_tables_as_others_write_them(photos: Path) -> None:
    labels = "\"['Peace', np.str_('Fear')]\",\"[np.float64(8.0), nan, 5.]\""
    csv_file(f'\ufeff{CSV_HEADER}mscoco/images,{COCO},"[1, 2, 30, inf]",{labels},nan,Teenager\n')(photos)
    (record,) = EmoticBuilder(photos).records()
    (who,) = record.extras["people"]
    assert (who["valence"], who["arousal"], who["dominance"]) == (8, None, 5)
    assert [CATEGORIES[index] for index in who["categories"]] == ["Fear", "Peace"]
    assert (who["box"], who["gender"], who["age"], who["annotators"]) == (None, None, "Teenager", None)

    (photos / "train.csv").unlink()
    npz_file(image=np.array([COCO.encode()]), folder=["mscoco/images"], valence=np.array([[8]], np.uint8))(photos)
    (record,) = EmoticBuilder(photos).records()
    assert record.label == 2
    assert record.extras["people"][0]["box"] is None


def test_prepared_arrays_load_pixel_for_pixel(photos: Path, tmp_path: Path) -> None:
    write_arrays(photos)
    shutil.rmtree(photos / "emotic")
    prepare("emotic", photos, tmp_path / "emotic", num_proc=1)
    row = load_dataset(str(tmp_path / "emotic"), split="validation")[0]
    array = np.load(photos / "archive" / "img_arrs" / "img_arr_val_0.npy")
    np.testing.assert_array_equal(np.asarray(row["image"]), array)
    assert [who["box"] for who in row["people"]] == [[4, 5, 40, 44]] * 2
    assert "The photos are the published arrays" in (tmp_path / "emotic" / "README.md").read_text(encoding="utf-8")


def test_prepared_people_load_and_stream(raw: Path, tmp_path: Path) -> None:
    damaged = raw / "emotic" / "ade20k" / "images" / "sun_1.jpg"
    damaged.write_bytes(damaged.read_bytes()[:200])
    output = tmp_path / "emotic"
    report = prepare("emotic", raw, output, num_proc=1)
    assert (report["rows"], report["quarantined"]) == (4, 1)
    assert BUILDERS["emotic"] is EmoticBuilder

    loaded = load_dataset(str(output))
    assert set(loaded) == {"train", "validation", "test"}
    assert loaded["train"].features["people"] == EmoticBuilder(raw).extra_features["people"]
    assert loaded["train"].features["people"].feature["categories"].feature.names == list(CATEGORIES)
    expected = {record.image_id: record for record in EmoticBuilder(raw).records()}
    for split in loaded:
        streamed = load_dataset(str(output), split=split, streaming=True)
        for rows in (loaded[split], streamed):
            for row in rows:
                record = expected[row["image_id"]]
                assert row["label"] == record.label
                assert row["image"].size == (WIDTH, HEIGHT)
                wanted = record.extras["people"]
                assert [who["box"] for who in row["people"]] == [who["box"] for who in wanted]
                assert [who["categories"] for who in row["people"]] == [who["categories"] for who in wanted]
                assert [who["valence"] for who in row["people"]] == pytest.approx([who["valence"] for who in wanted])
                assert [who["age"] for who in row["people"]] == [who["age"] for who in wanted]
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "# EMOTIC" in card
    assert "fewer than the 23,266 expected" in card
    assert str(tmp_path) not in card
