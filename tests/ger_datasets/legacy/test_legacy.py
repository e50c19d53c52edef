"""The original's intermediate folders, written as it wrote them, become the columns that would be computed."""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, load_dataset
from PIL import Image

from ger_datasets.faces import Faces, align_faces, crop_faces
from ger_datasets.faces.columns import encoded, photo_columns
from ger_datasets.legacy.source import FACE_COLUMNS, LegacySource
from ger_datasets.records import Record
from ger_datasets.schema import features
from ger_datasets.support.errors import BadPhoto, UserError

WIDTH, HEIGHT = 120, 90
NAME = "train/Negative/neg_1"
# eyes, nose, mouth corners as shares of a box
LAYOUT = np.array([[0.32, 0.4], [0.68, 0.4], [0.5, 0.6], [0.36, 0.8], [0.65, 0.8]])


class World:
    """A raw folder of one photo with three faces, and the original's files of it."""

    def __init__(self, root: Path) -> None:
        self.raw, self.legacy = root / "raw", root / "legacy"
        rng = np.random.default_rng(5)
        pixels = rng.integers(0, 256, (HEIGHT // 10, WIDTH // 10, 3), np.uint8)
        self.image = Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        self.record = self.photo(NAME)
        self.boxes = np.array(
            [[-3.5, 10, 30.2, 50, 0.9], [40, 20.5, 70, 60, 0.99], [80, 30, 110, 70, 0.75]], np.float32
        )
        corners, size = self.boxes[:, None, :2], self.boxes[:, None, 2:4] - self.boxes[:, None, :2]
        self.points = corners + LAYOUT * size  # (3, 5, 2)
        self.landmarks = self.points.transpose(0, 2, 1).reshape(3, 10)  # five x, five y
        self.features = rng.normal(size=(3, 256)).astype(np.float32)
        self.crops = [rng.integers(0, 256, (20 + i, 15 + 2 * i, 3), np.uint8) for i in range(3)]

    def photo(self, name: str) -> Record:
        """The photo, saved under another name."""
        path = self.raw / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.image.save(path)
        split, class_name, stem = name.split("/")
        return Record(f"{split}/{class_name}/{stem}", path, split)

    def file(self, folder: str, name: str = NAME, suffix: str = ".npz") -> Path:
        path = self.legacy / folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save(self, folder: str, **arrays: Any) -> None:
        np.savez(self.file(folder), **arrays)

    def write(self) -> World:
        """Everything but aligned faces."""
        self.save("FaceCoordinates", a=self.boxes, b=self.landmarks)
        self.save("FaceFeatures", a=self.features)
        faces = np.empty(len(self.crops), object)
        faces[:] = self.crops
        self.save("CroppedFaces", a=faces, b=self.boxes)
        self.save("GlobalFeatures", a=np.arange(2208, dtype=np.float32))
        return self

    def write_aligned(self, size: tuple[int, int], first: int = 0, count: int = 3) -> list[Image.Image]:
        images = [Image.new("RGB", size, (60 * i + 30, 20, 200 - 60 * i)) for i in range(count)]
        for i, image in enumerate(images):
            image.save(self.file("AlignedCroppedImages", f"{NAME}_{i + first}", ".jpg"))
        return images

    @property
    def source(self) -> LegacySource:
        return LegacySource(self.legacy, self.raw)

    def columns(self) -> dict[str, Any]:
        return self.source.columns(self.record, self.image)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.mode == other.mode and one.tobytes() == other.tobytes()


ORDER = [1, 0, 2]  # by score


def test_every_column_comes_from_the_files_sorted_by_score(world: World) -> None:
    columns = world.write().columns()
    assert columns.keys() == {*FACE_COLUMNS, "scene_feature"}
    clipped = world.boxes[ORDER, :4].copy()
    clipped[1, 0] = 0
    np.testing.assert_array_equal(columns["face_boxes"], clipped)
    np.testing.assert_array_equal(columns["face_scores"], world.boxes[ORDER, 4])
    np.testing.assert_allclose(columns["face_landmarks"], world.points.reshape(3, 10)[ORDER], atol=1e-5)
    np.testing.assert_array_equal(columns["face_features"], world.features[ORDER])
    assert all(same(columns["face_crops"][i], Image.fromarray(world.crops[row])) for i, row in enumerate(ORDER))
    aligned = align_faces(world.image, world.points[ORDER].astype(np.float32))
    assert all(same(one, other) for one, other in zip(columns["aligned_faces"], aligned, strict=True))
    assert columns["sampled_patches"] == []
    assert columns["scene_feature"] == list(range(2208))


def test_the_columns_fit_the_schema(world: World) -> None:
    columns = {**photo_columns(world.image, Faces.none()), **world.write().columns()}
    row = {**dict.fromkeys(features()), "image_id": "x", "label": 0, "group": "x", **encoded(columns)}
    (read,) = Dataset.from_list([row], features=features())
    assert [face.size for face in read["face_crops"]] == [(17, 21), (15, 20), (19, 22)]
    assert [face.size for face in read["aligned_faces"]] == [(96, 112)] * 3
    assert np.shape(read["face_landmarks"]) == (3, 10)


@pytest.mark.parametrize("change", ["float64", "a leading axis", "arr_0", "interleaved", "other case", "compressed"])
def test_what_varies_between_files(world: World, change: str) -> None:
    expected = world.write().columns()
    if change == "float64":
        world.save("FaceCoordinates", a=world.boxes.astype(np.float64), b=world.landmarks.astype(np.float64))
        world.save("FaceFeatures", a=world.features.astype(np.float64))
    elif change == "a leading axis":
        world.save("FaceCoordinates", a=world.boxes[None], b=world.landmarks[None])
        world.save("FaceFeatures", a=world.features[None])
        world.save("GlobalFeatures", a=np.arange(2208, dtype=np.float32)[None, :, None, None])
    elif change == "arr_0":
        np.savez(world.file("FaceCoordinates"), world.boxes, world.landmarks)
        np.savez(world.file("FaceFeatures"), world.features)
    elif change == "interleaved":
        world.save("FaceCoordinates", a=world.boxes, b=world.points.reshape(3, 10))
    elif change == "other case":
        for folder in list(world.legacy.iterdir()):
            (folder / "train/Negative/neg_1.npz").rename(folder / "train/Negative/NEG_1.NPZ")
            (folder / "train/Negative").rename(folder / "train/negative")
            folder.rename(world.legacy / folder.name.upper())
    else:
        np.savez_compressed(world.file("FaceCoordinates"), a=world.boxes, b=world.landmarks)
    columns = world.columns()
    for name in ("face_boxes", "face_scores", "face_features", "scene_feature"):
        assert columns[name] == expected[name]
    np.testing.assert_allclose(columns["face_landmarks"], expected["face_landmarks"], atol=1e-5)


@pytest.mark.parametrize("layout", ["original", "interleaved"])
@pytest.mark.parametrize("corner", [(0, 0), (40, 40), (80, 5), (5, 50)])
def test_the_layout_of_landmarks_is_told_from_the_faces(world: World, layout: str, corner: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(corner))
    for _ in range(20):
        points = np.array(corner) + LAYOUT * 30 + rng.normal(scale=1.2, size=(5, 2))
        stored = points.T.ravel() if layout == "original" else points.ravel()
        world.save("FaceCoordinates", a=[[*corner, corner[0] + 30, corner[1] + 30, 0.9]], b=[stored])
        world.save("FaceFeatures", a=world.features[:1])
        np.testing.assert_allclose(world.columns()["face_landmarks"], points.reshape(1, 10), atol=1e-4)


def test_landmarks_that_coincide_are_read_as_the_original_laid_them_out(world: World) -> None:
    world.write().save("FaceCoordinates", a=world.boxes, b=np.tile([30.0] * 5 + [40.0] * 5, (3, 1)))
    assert world.columns()["face_landmarks"] == [[30, 40] * 5] * 3


@pytest.mark.parametrize("empty", [np.zeros((0,)), np.zeros((0, 5)), np.array([], dtype=np.float32), np.zeros((1, 0))])
def test_photos_without_faces(world: World, empty: np.ndarray) -> None:
    world.write()
    world.save("FaceCoordinates", a=empty, b=empty)
    world.save("FaceFeatures", a=empty)
    world.save("CroppedFaces", a=empty[:0])
    columns = world.columns()
    assert all(columns[name] == [] for name in FACE_COLUMNS if name != "sampled_patches")
    assert len(columns["sampled_patches"]) == 4
    for folder in ("FaceFeatures", "CroppedFaces"):  # they need not be there
        world.file(folder).unlink()
    assert len(world.columns()["sampled_patches"]) == 4
    world.save("CroppedFaces", a=np.array([], dtype=object))
    assert world.columns()["face_crops"] == []


# Aligned faces and crops


@pytest.mark.parametrize("first", [0, 1])
def test_aligned_faces_of_the_right_size_are_kept(world: World, first: int) -> None:
    world.write()
    written = world.write_aligned((96, 112), first)
    kept = world.columns()["aligned_faces"]
    for row, image in zip(ORDER, kept, strict=True):
        assert image.size == (96, 112)
        np.testing.assert_allclose(image.getpixel((5, 5)), written[row].getpixel((5, 5)), atol=3)


def test_aligned_faces_of_another_size_are_computed_anew(world: World) -> None:
    without = world.write().columns()["aligned_faces"]
    world.write_aligned((112, 96))
    columns = world.columns()
    assert all(same(one, other) for one, other in zip(columns["aligned_faces"], without, strict=True))


def test_more_than_nine_aligned_faces_are_in_the_order_of_their_numbers(world: World) -> None:
    world.boxes = np.tile(world.boxes[1], (12, 1))
    world.landmarks, world.features = np.tile(world.landmarks[1], (12, 1)), np.tile(world.features[1], (12, 1))
    world.crops = world.crops * 4
    world.write()
    for i in range(12):
        image = Image.new("RGB", (96, 112), (20 * i, 20 * i, 20 * i))
        image.save(world.file("AlignedCroppedImages", f"{NAME}_{i}", ".jpg"))
    greys = [image.getpixel((9, 9))[0] for image in world.columns()["aligned_faces"]]
    np.testing.assert_allclose(greys, np.arange(12) * 20, atol=2)


def test_aligned_faces_of_a_photo_whose_name_begins_alike(world: World) -> None:
    world.write()
    for name in ("neg_10_0", "neg_1_1_0", "neg_1_x", "neg_1"):
        Image.new("RGB", (96, 112)).save(world.file("AlignedCroppedImages", f"train/Negative/{name}", ".jpg"))
    assert len(world.columns()["aligned_faces"]) == 3


@pytest.mark.parametrize("numbers", [(0, 1, 3), (2, 3, 4)])
def test_aligned_faces_with_a_gap(world: World, numbers: tuple[int, ...]) -> None:
    world.write()
    for number in numbers:
        Image.new("RGB", (96, 112)).save(world.file("AlignedCroppedImages", f"{NAME}_{number}", ".jpg"))
    with pytest.raises(BadPhoto, match=r"legacy: AlignedCroppedImages.*: images numbered"):
        world.columns()


def test_a_damaged_aligned_face(world: World) -> None:
    world.write()
    world.write_aligned((96, 112))
    world.file("AlignedCroppedImages", f"{NAME}_1", ".jpg").write_bytes(b"")
    with pytest.raises(BadPhoto, match=r"legacy: AlignedCroppedImages.*_1.jpg: the file is empty"):
        world.columns()


# Sampled patches


PATCHES = "FaceFeatures_Crop_sampling"


def write_patches(world: World, numbers: Sequence[int] = range(4), size: tuple[int, int] = (112, 96)) -> None:
    for number in numbers:
        Image.new("RGB", size, (40 * number + 20, 0, 0)).save(world.file(PATCHES, f"{NAME}_{number}", ".jpg"))


def reds(columns: dict[str, Any]) -> list[int]:
    return [round(patch.getpixel((9, 9))[0] / 40 - 0.5) for patch in columns["sampled_patches"]]


@pytest.mark.parametrize("first", [0, 1])
def test_patches_of_a_photo_without_faces_come_from_the_files(world: World, first: int) -> None:
    world.save("FaceCoordinates", a=np.zeros((0, 5)), b=np.zeros((0, 10)))
    world.save("FaceFeatures", a=np.zeros((0, 256)))
    write_patches(world, range(first, first + 4))
    columns = world.columns()
    assert reds(columns) == list(range(first, first + 4))
    assert [patch.size for patch in columns["sampled_patches"]] == [(112, 96)] * 4
    assert PATCHES in world.source.settings["legacy"]


def test_patches_of_a_photo_with_faces_are_not_read(world: World) -> None:
    world.write()
    write_patches(world, [0])
    assert world.columns()["sampled_patches"] == []


def test_patches_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    write_patches(world)
    columns = world.columns()
    assert columns.keys() == {"sampled_patches"}, "the faces are computed"
    assert reds(columns) == [0, 1, 2, 3]
    assert caplog.records == []
    world.photo("train/Negative/neg_2")
    other = Record("neg_2", world.raw / "train/Negative/neg_2.png", "train")
    assert world.source.columns(other, world.image) == {}


@pytest.mark.parametrize("numbers", [(0, 1, 2), (0, 1, 3, 4), (2, 3, 4, 5), (0, 1, 2, 3, 4)])
def test_missing_and_surplus_patches(world: World, numbers: tuple[int, ...]) -> None:
    write_patches(world, numbers)
    with pytest.raises(BadPhoto, match=r"Crop_sampling.*: images numbered .*; expected 4, numbered from 0 or from 1"):
        world.columns()


def test_patches_of_another_size_are_sampled_from_the_photo(world: World) -> None:
    write_patches(world)
    write_patches(world, [2], size=(96, 112))
    assert world.columns() == {}
    write_patches(world, [2])
    world.file(PATCHES, f"{NAME}_1", ".jpg").write_bytes(b"\xff\xd8\xff no photo")
    with pytest.raises(BadPhoto, match=r"legacy: FaceFeatures_Crop_sampling.*_1.jpg"):
        world.columns()


@pytest.mark.parametrize("count", [1, 3])
def test_crops_of_one_size(world: World, count: int) -> None:
    world.boxes, world.landmarks, world.features = world.boxes[:count], world.landmarks[:count], world.features[:count]
    world.crops = [world.crops[0] // (i + 1) for i in range(count)]
    world.write()
    order = ORDER if count == 3 else [0]
    for array in (np.array(world.crops, dtype=object), np.array(world.crops), np.array(world.crops, np.float32)):
        world.save("CroppedFaces", a=array)
        crops = world.columns()["face_crops"]
        assert all(same(crop, Image.fromarray(world.crops[i])) for crop, i in zip(crops, order, strict=True))


def test_a_crop_without_pixels_is_cut_from_the_photo(world: World) -> None:
    world.crops[0] = np.zeros((0, 20, 3), np.uint8)  # a slice that began at -3
    crops = world.write().columns()["face_crops"]
    assert [crop.size for crop in crops] == [(17, 21), (31, 40), (19, 22)]
    assert same(crops[1], crop_faces(world.image, np.array([[0, 10, 30.2, 50]]))[0])


@pytest.mark.parametrize(
    ("crop", "reason"),
    [
        (np.zeros((4, 4), np.uint8), r"a face of shape \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"a face of shape \(4, 4, 4\)"),
        (np.full((4, 4, 3), 0.5), "whole numbers"),
        (np.full((4, 4, 3), np.nan), "whole numbers"),
        (np.full((4, 4, 3), 256), "whole numbers"),
        (np.full((4, 4, 3), -1), "whole numbers"),
        (np.zeros((4, 4, 3), bool), "a face of shape"),
        (np.zeros((4, 4, 3), np.complex64), "not|executed"),
        (np.zeros((6000, 6000, 3), np.uint8), "larger than a photo"),
        ("a string", "executed"),
        (None, "executed"),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)
def test_crops_that_are_no_faces(world: World, crop: Any, reason: str) -> None:
    world.write()
    faces = np.empty(3, object)
    faces[:] = world.crops
    faces[2] = crop
    world.save("CroppedFaces", a=faces)
    with pytest.raises(BadPhoto, match=f"legacy: CroppedFaces.*: .*({reason})"):
        world.columns()


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("folder", ["FaceCoordinates", "FaceFeatures", "CroppedFaces", "GlobalFeatures"])
def test_files_that_would_run_code_are_refused_and_run_nothing(world: World, tmp_path: Path, folder: str) -> None:
    array = np.empty(3, object)
    array[:] = [*world.crops[:2], Malicious(tmp_path / "executed")]
    world.write().save(folder, a=array)
    with pytest.raises(BadPhoto, match=f"legacy: {folder}/.*: .*nothing in it was executed"):
        world.columns()
    assert not (tmp_path / "executed").exists()


# Files that disagree, or hold something else


@pytest.mark.parametrize(
    ("folder", "arrays", "reason"),
    [
        ("FaceFeatures", {"a": np.zeros((4, 256))}, "3 face coordinates but 4 features in FaceFeatures"),
        ("FaceFeatures", {"a": np.zeros(0)}, "3 face coordinates but 0 features in FaceFeatures"),
        ("FaceFeatures", {"a": np.zeros((3, 128))}, r": an array of shape \(3, 128\) where \(faces, 256"),
        ("FaceFeatures", {"a": np.full((3, 256), np.nan)}, ": numbers must be finite"),
        ("FaceFeatures", {"a": np.full((3, 256), 1e300)}, ": numbers must be finite"),
        ("FaceFeatures", {"a": np.zeros((1001, 256))}, ": 1001 faces; at most 1000"),
        ("FaceFeatures", {"x": np.zeros((3, 256))}, r": no array a or arr_0 in it, but 'x\.npy'"),
        ("CroppedFaces", {"a": np.zeros((2, 9, 9, 3), np.uint8)}, "3 face coordinates but 2 cropped faces in Cropped"),
        ("GlobalFeatures", {"a": np.zeros(1024)}, r": an array of shape \(1024,\)"),
        ("GlobalFeatures", {"a": np.full(2208, np.inf)}, ": numbers must be finite"),
    ],
)
def test_files_that_disagree(world: World, folder: str, arrays: dict[str, np.ndarray], reason: str) -> None:
    world.write().save(folder, **arrays)
    with pytest.raises(BadPhoto, match=f"^legacy: .*{reason}"):
        world.columns()


@pytest.mark.parametrize(
    ("rows", "columns", "value", "reason"),
    [
        (slice(0, 1), slice(0, 1), 1e6, "this photo of 120 x 90"),
        (slice(0, 1), slice(0, 1), -300, "do not fit this photo"),
        (slice(0, 1), slice(4, 5), 1.5, "scores must be probabilities"),
        (slice(0, 1), slice(4, 5), -0.1, "scores must be probabilities"),
        (slice(0, 1), slice(1, 2), np.nan, "FaceCoordinates.*: numbers must be finite"),
    ],
)
def test_coordinates_of_another_photo(world: World, rows: slice, columns: slice, value: float, reason: str) -> None:
    world.write()
    world.boxes[rows, columns] = value
    world.save("FaceCoordinates", a=world.boxes, b=world.landmarks)
    with pytest.raises(BadPhoto, match=f"legacy: .*{reason}"):
        world.columns()


def test_fewer_landmarks_than_boxes(world: World) -> None:
    world.write().save("FaceCoordinates", a=world.boxes, b=world.landmarks[:2])
    with pytest.raises(BadPhoto, match=r"legacy: .*: 3 face coordinates but 2 landmarks"):
        world.columns()


def test_fewer_aligned_faces_than_boxes(world: World) -> None:
    world.write()
    world.write_aligned((112, 96), count=2)
    with pytest.raises(BadPhoto, match=r"legacy: .*: 3 face coordinates but 2 aligned faces"):
        world.columns()


def test_faces_outside_the_photo_are_left_out_of_every_column(world: World) -> None:
    world.boxes[1, :4] = [130, 20, 150, 40]
    columns = world.write().columns()
    np.testing.assert_array_equal(columns["face_scores"], world.boxes[[0, 2], 4])
    np.testing.assert_array_equal(columns["face_features"], world.features[[0, 2]])
    assert [face.size for face in columns["face_crops"]] == [(15, 20), (19, 22)]
    assert all(len(columns[name]) == 2 for name in FACE_COLUMNS if name != "sampled_patches")


# Files and folders that are missing


@pytest.mark.parametrize("missing", ["FaceCoordinates", "FaceFeatures"])
def test_without_coordinates_or_features_faces_are_computed_which_is_said_once(
    world: World, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    world.write()
    shutil.rmtree(world.legacy / missing)
    with caplog.at_level(logging.WARNING):
        source = world.source
        assert source.columns(world.record, world.image).keys() == {"scene_feature"}
        pickle.dumps(source)
    assert [f"has no {missing}: all face columns are computed" in message for message in caplog.messages] == [True]
    assert source.settings == {"legacy": ["GlobalFeatures"]}
    assert source.remarks() == []


def test_scene_features_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.save("GlobalFeatures", a=np.arange(2208))
    assert world.columns() == {"scene_feature": list(range(2208))}
    assert not caplog.messages


def test_without_crops_they_are_cut_from_the_photo(world: World) -> None:
    world.write()
    shutil.rmtree(world.legacy / "CroppedFaces")
    shutil.rmtree(world.legacy / "GlobalFeatures")
    columns = world.columns()
    assert columns.keys() == set(FACE_COLUMNS)
    expected = crop_faces(world.image, np.array(columns["face_boxes"]))
    assert all(same(one, other) for one, other in zip(columns["face_crops"], expected, strict=True))


def test_a_photo_without_files_is_computed(world: World) -> None:
    world.write()
    assert world.source.columns(world.photo("train/Negative/neg_2"), world.image) == {}
    world.file("FaceFeatures").unlink()
    assert world.columns().keys() == {"scene_feature"}


def test_coordinates_without_landmarks_are_not_used(world: World) -> None:
    world.write().save("FaceCoordinates", a=world.boxes)
    assert world.columns().keys() == {"scene_feature"}


def test_a_photo_that_was_turned_has_other_pixels_than_its_files(world: World) -> None:
    world.write()
    exif = Image.Exif()
    for orientation, used in ((1, True), (3, False), (6, False), (9, True)):
        exif[0x0112] = orientation
        world.image.save(world.record.path, exif=exif)
        assert ("face_boxes" in world.columns()) is used
    half = world.image.resize((WIDTH // 2, HEIGHT // 2))
    assert world.source.columns(world.record, half).keys() == {"scene_feature"}


@pytest.mark.parametrize("folders", [(), ("train",)])
def test_a_folder_without_intermediates(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        (tmp_path / "legacy" / folder).mkdir(parents=True)
    with pytest.raises(UserError, match=r"FaceCoordinates, FaceFeatures") as error:
        LegacySource(tmp_path / "legacy", tmp_path)
    assert "\n" not in str(error.value)


# How files are found


@pytest.mark.parametrize(
    ("photo", "file", "found"),
    [
        ("train/Negative/neg_1", "Train/negative/neg_1", True),
        ("Validation/Positive/pos_1", "val/Positive/pos_1", True),
        ("val/Positive/pos_1", "val/Positive/Positive/pos_1", True),
        ("train/Negative/neg_1", "neg_1", True),
        ("train/Negative/neg_1", "other/NEG_1", True),
        ("train/Negative/neg_1", "train/Negative/neg_10", False),
    ],
)
def test_a_file_is_found_by_path_or_by_name(world: World, photo: str, file: str, found: bool) -> None:
    world.record.path.unlink()
    record = world.photo(photo)
    np.savez(world.file("GlobalFeatures", file), a=np.zeros(2208))
    assert bool(world.source.columns(record, world.image)) is found


def test_a_name_alone_is_not_enough_where_two_photos_or_files_have_it(world: World) -> None:
    one, other = world.photo("train/Negative/x_1"), world.photo("val/Negative/x_1")
    np.savez(world.file("GlobalFeatures", "val/Negative/x_1"), a=np.zeros(2208))
    assert world.source.columns(one, world.image) == {}
    assert world.source.columns(other, world.image).keys() == {"scene_feature"}
    other.path.unlink()
    assert world.source.columns(one, world.image).keys() == {"scene_feature"}
    np.savez(world.file("GlobalFeatures", "test/x_1"), a=np.zeros(2208))
    assert world.source.columns(one, world.image) == {}


def test_photos_that_differ_in_their_suffix_alone_share_no_file(world: World) -> None:
    world.write()
    world.image.save(world.record.path.with_suffix(".jpg"))
    assert world.columns() == {}


def test_photos_from_elsewhere_are_found_by_name(world: World, tmp_path: Path) -> None:
    world.write()
    source = LegacySource(world.legacy, tmp_path / "none")
    assert "face_boxes" in source.columns(world.record, world.image)


def test_intermediates_inside_the_raw_folder(world: World) -> None:
    world.legacy = world.raw
    world.write()
    world.write_aligned((96, 112))
    Image.new("RGB", (96, 112)).save(world.file("AlignedCroppedImages", "neg_1", ".jpg"))  # no photo
    np.savez(world.file("GlobalFeatures", "neg_1"), a=np.ones(2208))
    world.file("GlobalFeatures").unlink()
    assert world.columns()["scene_feature"] == [1] * 2208


# The source itself


def test_the_source_can_be_sent_to_a_worker(world: World) -> None:
    source = world.write().source
    before = len(pickle.dumps(source))
    columns = source.columns(world.record, world.image)
    assert len(pickle.dumps(source)) == before  # what it has looked up stays here
    there, here = multiprocessing.Pipe()
    there.send(source)
    received = here.recv()
    again = received.columns(world.record, world.image)
    assert again["face_features"] == columns["face_features"]
    assert received.settings == source.settings


def test_settings_and_remarks(world: World, tmp_path: Path) -> None:
    source = world.write().source
    assert source.settings == {"legacy": ["FaceCoordinates", "FaceFeatures", "CroppedFaces", "GlobalFeatures"]}
    (remark,) = source.remarks()
    assert "more than half of them belong to another face" in remark
    assert str(tmp_path) not in remark


@pytest.mark.parametrize("folder", ["FaceCoordinates", "FaceFeatures", "CroppedFaces", "GlobalFeatures", "Aligned"])
def test_damage_gives_columns_or_a_reason(world: World, folder: str) -> None:
    world.write()
    world.write_aligned((96, 112))
    path = world.file(folder) if folder != "Aligned" else world.file("AlignedCroppedImages", f"{NAME}_1", ".jpg")
    rng = np.random.default_rng(11)
    whole = path.read_bytes()
    source, reasons = world.source, 0
    for turn in range(60):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(content[: rng.integers(len(content))] if turn % 10 == 0 else content))
        try:
            columns = source.columns(world.record, world.image)
        except BadPhoto:
            reasons += 1
        else:
            assert all(len(columns[name]) == 3 for name in FACE_COLUMNS if name != "sampled_patches")
    assert reasons > 5


@pytest.mark.parametrize("name", ["a", "b"])
def test_damaged_numbers_give_columns_or_a_reason(world: World, name: str) -> None:
    world.write()
    rng = np.random.default_rng(13)
    for _ in range(60):
        arrays = {"a": world.boxes.copy(), "b": world.landmarks.astype(np.float32)}
        damaged = arrays[name].view(np.uint32)
        damaged.flat[rng.integers(damaged.size)] ^= np.uint32(1 << rng.integers(32))
        world.save("FaceCoordinates", **arrays)
        try:
            columns = world.columns()
        except BadPhoto:
            continue
        boxes = np.array(columns["face_boxes"])
        assert (boxes >= 0).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()
        assert len(columns["aligned_faces"]) == len(boxes)
        encoded(columns)


def test_pickled_lists_of_pixels_are_read_quickly() -> None:
    from ger_datasets.legacy.pickled_arrays import read_pickled_array

    buffer = io.BytesIO()
    pickle.dump(np.zeros((1, 700, 700, 3), np.uint8).astype(object), buffer, 4)  # 1.5 million Python numbers
    assert read_pickled_array(buffer.getvalue()).shape == (1, 700, 700, 3)


def test_patches_by_command_line(run_script: Callable, drawn_raw: Path, tmp_path: Path) -> None:
    raw, patches = tmp_path / "raw", tmp_path / "legacy" / PATCHES / "train" / "Positive"
    for folder in (raw / "train" / "Positive", patches):
        folder.mkdir(parents=True)
    drawn = sorted((drawn_raw / "train" / "Positive").iterdir())[0]
    shutil.copy(drawn, raw / "train" / "Positive" / "pos_1.jpg")
    Image.new("RGB", (300, 200), "grey").save(raw / "train" / "Positive" / "pos_2.jpg")
    Image.new("RGB", (300, 200), "grey").save(raw / "train" / "Positive" / "pos_3.jpg")
    for stem, count in (("pos_1", 4), ("pos_2", 4), ("pos_3", 3)):
        for i in range(count):
            Image.new("RGB", (112, 96), "red").save(patches / f"{stem}_{i}.jpg")
    output = tmp_path / "gaf3"
    arguments = ("--dataset", "gaf3", "--source", raw, "--output", output, "--legacy", tmp_path / "legacy")
    code, _, log = run_script("prepare", *arguments)
    assert code == 0, log
    assert "expected 4, numbered from 0 or from 1" in (output / "quarantine.jsonl").read_text()
    rows = {row["image_id"][-1]: row for row in load_dataset(str(output), split="train")}
    assert rows.keys() == {"1", "2"}
    assert len(rows["1"]["face_boxes"]) > 0
    assert rows["1"]["sampled_patches"] == [], "faces come first"
    assert [patch.getpixel((50, 50))[0] > 240 for patch in rows["2"]["sampled_patches"]] == [True] * 4
