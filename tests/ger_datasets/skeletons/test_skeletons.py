"""Skeletons: each format's limbs lie where the joints are, in OpenPose's colours; broken files never crash."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ger_datasets.preparation.column_sources import skeleton_source
from ger_datasets.records import Record
from ger_datasets.sample.drawing import draw_photo, pose_json
from ger_datasets.skeletons import (
    BODY_25,
    COCO_17,
    COCO_18,
    MPI_15,
    Layout,
    SkeletonFiles,
    SkeletonModel,
    draw_skeletons,
    read_poses,
)
from ger_datasets.skeletons.files import reduction
from ger_datasets.support.errors import BadPhoto, UserError

SIZE = (160, 240)
# A person standing, in COCO-18's order; the neck is the middle of the shoulders.
STANDING = np.array(
    [(80, 30), (80, 60), (60, 60), (45, 90), (40, 120), (100, 60), (115, 90), (120, 120), (68, 125), (66, 170),
     (64, 215), (92, 125), (94, 170), (96, 215), (75, 25), (85, 25), (68, 28), (92, 28)], float,
)  # fmt: skip
TO_BODY_25 = [*range(8), None, *range(8, 18)]
TO_COCO_17 = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]
POSITIONS = {
    COCO_18: STANDING,
    COCO_17: STANDING[TO_COCO_17],
    BODY_25: np.array([(80, 125) if i is None else STANDING[i] for i in TO_BODY_25] + [(0, 0)] * 6, float),
}
LAYOUTS = pytest.mark.parametrize("layout", POSITIONS, ids=lambda layout: layout.name)


def person(layout: Layout) -> np.ndarray:
    """(joints, 3): the standing person, every joint certain; BODY_25's feet hidden."""
    points = POSITIONS[layout]
    return np.column_stack([points, points.any(1)])


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def openpose(*people: np.ndarray, key: str = "pose_keypoints_2d") -> dict:
    return {"version": 1.3, "people": [{key: p.ravel().tolist()} for p in people]}


def colour_at(image: Image.Image, *points: np.ndarray) -> tuple[int, ...]:
    """The colour in the middle of `points`."""
    return image.getpixel(tuple(np.rint(np.mean(points, 0)).astype(int).tolist()))


# --- drawing ----------------------------------------------------------------------------------------------------


@LAYOUTS
def test_limbs_lie_between_their_joints_in_openposes_colours(layout: Layout) -> None:
    image = draw_skeletons(person(layout)[None], SIZE, layout)
    assert image.size == SIZE
    assert image.mode == "RGB"
    neck, right_elbow, right_wrist, left_hip, left_knee, nose = STANDING[[1, 3, 4, 11, 12, 0]]
    assert colour_at(image, right_elbow, right_wrist) == (255, 255, 0)
    assert colour_at(image, left_hip, left_knee) == (0, 85, 255)
    assert colour_at(image, neck, nose) == (255, 0, 85)
    assert colour_at(image, neck) == (255, 0, 0)
    black = np.asarray(image).max(2) == 0
    assert black[:15].all()
    assert black[:, :25].all()
    assert black[:, 135:].all()
    assert black[150:, 75:85].all()


def test_the_same_pose_gives_nearly_the_same_image_in_every_layout() -> None:
    images = {layout: np.asarray(draw_skeletons(person(layout)[None], SIZE, layout), float) for layout in POSITIONS}
    np.testing.assert_array_equal(images[COCO_17], images[COCO_18])
    differing = np.abs(images[BODY_25] - images[COCO_18]).max(2) > 60
    differing[55:135, 62:99] = False  # the trunk: neck to each hip, or neck to the middle of the hips
    assert not differing.any()


def test_feet_are_drawn() -> None:
    feet = person(BODY_25)
    feet[19] = 110, 225, 1
    assert colour_at(draw_skeletons([feet], SIZE, BODY_25), feet[14, :2], feet[19, :2]) == (0, 0, 255)


@pytest.mark.parametrize(
    "joint",
    [(45, 90, 0), (45, 90, 0.05), (0, 0, 1), (np.nan, 90, 1), (np.inf, 90, 1), (45, -np.inf, 1), (45, 90, np.nan),
     (1e300, 90, 1), (-1e300, 1e300, 1)],
)  # fmt: skip
@LAYOUTS
def test_hidden_and_impossible_joints_hide_their_limbs_only(layout: Layout, joint: tuple[float, ...]) -> None:
    people = person(layout)[None].copy()
    people[0, 8 if layout is COCO_17 else 3] = joint  # the right elbow
    image = draw_skeletons(people, SIZE, layout)
    assert colour_at(image, STANDING[2], STANDING[3]) == (0, 0, 0)
    assert colour_at(image, STANDING[3], STANDING[4]) == (0, 0, 0)
    assert colour_at(image, STANDING[5], STANDING[6]) == (85, 255, 0)
    assert colour_at(image, STANDING[6], STANDING[7]) == (0, 255, 0)


def test_a_hidden_shoulder_hides_the_neck_of_coco_17() -> None:
    people = person(COCO_17)[None].copy()
    people[0, 5, 2] = 0
    assert colour_at(draw_skeletons(people, SIZE, COCO_17), STANDING[1]) == (0, 0, 0)


@pytest.mark.parametrize("far", [300.0, 5000.0, 999_999.0])
def test_limbs_are_cut_at_the_edge(far: float) -> None:
    people = person(COCO_18)
    people[4, :2] = -far, 90  # the right wrist, level with the elbow
    image = draw_skeletons([people], SIZE, COCO_18)
    assert image.getpixel((1, 90)) == (255, 255, 0)
    assert image.getpixel((30, 90)) == (255, 255, 0)
    people[[3, 4], :2] = (-far, -50), (far, -50)  # passes by
    assert np.asarray(draw_skeletons([people], SIZE, COCO_18))[:10].max() == 0


def test_lines_grow_with_the_photo() -> None:
    """A photo twice as large has the same skeleton, twice as large."""
    people = person(COCO_18)[None]
    small = draw_skeletons(people * (4, 4, 1), (640, 960), COCO_18)
    large = draw_skeletons(people * (8, 8, 1), (1280, 1920), COCO_18).resize(small.size, Image.Resampling.BOX)
    difference = np.abs(np.asarray(small, float) - np.asarray(large, float))
    assert difference.mean() < 0.5
    huge = draw_skeletons(people * (25, 25, 1), (4000, 6000), COCO_18)  # too large for supersampling
    difference = np.abs(np.asarray(small, float) - np.asarray(huge.resize(small.size, Image.Resampling.BOX), float))
    assert difference.mean() < 1


def test_nobody_is_black_and_tiny_photos_are_no_trouble() -> None:
    assert draw_skeletons([], SIZE, COCO_18).getextrema() == ((0, 0),) * 3
    assert draw_skeletons(person(BODY_25)[None], (16, 16), BODY_25).size == (16, 16)


def test_drawn_people_wear_their_skeletons(tmp_path: Path) -> None:
    for seed, count in ((1, 3), (5, 7), (9, 12)):
        photo, people = draw_photo(np.random.default_rng(seed), "Positive", count, size=(900, 640))
        poses = read_poses(written(tmp_path / "a_keypoints.json", pose_json(people)))
        assert poses.layout is COCO_18
        image = np.asarray(draw_skeletons(poses.people, photo.size, poses.layout))
        limbs = 0
        far = np.ones(image.shape[:2], bool)
        for drawn in people:
            seen = drawn.joints[:, 2] > 0
            for start, end in COCO_18.limbs:
                if seen[start] and seen[end]:
                    x, y = drawn.joints[[start, end], :2].mean(0).round().astype(int)
                    assert image[y, x].max() > 200
                    limbs += 1
            if seen.any():
                (left, top), (right, bottom) = drawn.joints[seen, :2].min(0), drawn.joints[seen, :2].max(0)
                far[max(0, int(top) - 10) : int(bottom) + 11, max(0, int(left) - 10) : int(right) + 11] = False
        assert limbs > 5 * count
        assert image[far].max() == 0


# --- JSON -------------------------------------------------------------------------------------------------------


@LAYOUTS
def test_every_format_is_told_by_its_numbers(tmp_path: Path, layout: Layout) -> None:
    two = person(layout) + np.array([(0, 0, 0), (5, 5, 0)])[:, None]
    for content in (openpose(*two), openpose(*two, key="pose_keypoints")):
        poses = read_poses(written(tmp_path / "a.json", content))
        assert (poses.layout, poses.relative, poses.confident) == (layout, None, True)
        np.testing.assert_allclose(poses.people, two)


def test_coco_results(tmp_path: Path) -> None:
    entry = {"image_id": 7, "category_id": 1, "keypoints": person(COCO_17).ravel().tolist(), "score": 0.9}
    poses = read_poses(written(tmp_path / "a.json", [entry, entry]))
    assert (len(poses.people), poses.layout) == (2, COCO_17)
    with pytest.raises(BadPhoto, match="2 photos in one file"):
        read_poses(written(tmp_path / "a.json", [entry, {**entry, "image_id": 8}]))


def test_nobody_found(tmp_path: Path) -> None:
    for content in ({"people": []}, [], {"people": [{"pose_keypoints_2d": []}]}):
        poses = read_poses(written(tmp_path / "a.json", content))
        assert draw_skeletons(poses.people, SIZE, poses.layout).getextrema() == ((0, 0),) * 3


STANDING_MPI = np.vstack([(80, 20), STANDING[1:14], (80, 95)])  # head, neck, arms and legs as COCO-18, chest


def test_mpi_15(tmp_path: Path) -> None:
    poses = read_poses(written(tmp_path / "a.json", openpose(np.column_stack([STANDING_MPI, np.ones(15)]))))
    assert poses.layout is MPI_15
    image = draw_skeletons(poses.people, SIZE, poses.layout)
    assert colour_at(image, STANDING[3], STANDING[4]) == (255, 255, 0)
    assert colour_at(image, STANDING[12], STANDING[13]) == (0, 85, 255)
    assert colour_at(image, STANDING_MPI[1], STANDING_MPI[14]) == (0, 0, 255)


@pytest.mark.parametrize("joints", [135, 133])
def test_hands_and_faces_after_and_beside_the_body_are_ignored(tmp_path: Path, joints: int) -> None:
    body = person(COCO_17)
    rest = np.full((joints - 17, 3), 5.0)
    poses = read_poses(written(tmp_path / "a.json", openpose(np.vstack([body, rest]))))
    assert poses.layout is COCO_17
    np.testing.assert_array_equal(poses.people, body[None])
    content = openpose(person(COCO_18))
    content["people"][0] |= {"face_keypoints_2d": [7.0] * 210, "hand_left_keypoints_2d": [7.0] * 63}
    np.testing.assert_array_equal(read_poses(written(tmp_path / "a.json", content)).people, person(COCO_18)[None])


def test_the_json_of_openpose_1_0(tmp_path: Path) -> None:
    content = {"version": 0.1, "people": [{"body_parts": person(COCO_18).ravel().tolist()}]}
    np.testing.assert_array_equal(read_poses(written(tmp_path / "a.json", content)).people, person(COCO_18)[None])


def yaml_of(people: np.ndarray) -> str:
    """As OpenCV's FileStorage writes it: four numbers a line."""
    numbers = [f"{number:.8e}" if number else "0." for number in people.ravel()]
    lines = ",\n       ".join(", ".join(numbers[i : i + 4]) for i in range(0, len(numbers), 4))
    sizes = ", ".join(map(str, people.shape))
    return f"%YAML:1.0\n---\npose_0: !!opencv-nd-matrix\n   sizes: [ {sizes} ]\n   dt: f\n   data: [ {lines} ]\n"


def test_the_yaml_of_openpose_1_0(tmp_path: Path) -> None:
    two = person(COCO_18) + np.array([(0, 0, 0), (5, 5, 0)])[:, None]
    poses = read_poses(written(tmp_path / "a_pose.yml", yaml_of(two)))
    assert poses.layout is COCO_18
    np.testing.assert_allclose(poses.people, two, rtol=1e-7)
    nobody = "%YAML:1.0\n---\npose_0: !!opencv-nd-matrix\n   sizes: [  ]\n   dt: f\n   data: [  ]\n"
    assert len(read_poses(written(tmp_path / "a_pose.yml", nobody)).people) == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no matrix pose_0"),
        ("a: !!python/object/apply:os.mkdir [x]", "no matrix pose_0"),
        (yaml_of(np.ones((1, 18, 3))).replace("18", "17"), "54 numbers for sizes 1, 17, 3"),
        (yaml_of(np.ones((1, 18, 3))).replace("dt", "xx"), "no matrix"),
        (yaml_of(np.ones((1, 18, 3))).replace("1.0000", "one", 1), "something else than numbers"),
        ("pose_0: !!opencv-nd-matrix sizes: [" * 100_000, "no matrix"),
        (yaml_of(np.ones((1, 9, 3))), "people of 27 numbers"),
    ],
)
def test_hostile_yaml_is_refused_with_its_reason(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(BadPhoto, match=f"^skeleton: .*{reason}"):
        read_poses(written(tmp_path / "a.yml", content))


@pytest.mark.parametrize("layout", [*POSITIONS, MPI_15], ids=lambda layout: layout.name)
def test_joints_without_confidences_are_certain_with_a_remark(
    raw_folder: Path, tmp_path: Path, layout: Layout
) -> None:
    points = STANDING_MPI if layout is MPI_15 else POSITIONS[layout]
    poses = read_poses(written(tmp_path / "poses/train/Negative/neg_1.json", openpose(points)))
    assert (poses.layout, poses.confident) == (layout, False)
    np.testing.assert_array_equal(poses.people[0, :, 2], points.any(1))  # joints at 0, 0 stay hidden
    source = skeleton_source(str(tmp_path / "poses"), raw_folder)
    assert source.remarks() == ["Joints without confidences count as certain: 1 of the first 1 skeleton files."]
    written(tmp_path / "poses/train/Negative/neg_1.json", openpose(person(COCO_18)))
    assert source.remarks() == []


@pytest.mark.parametrize("low", [0, -1])
def test_shares_of_the_photo_become_pixels(raw_folder: Path, tmp_path: Path, low: int) -> None:
    size = np.array(SIZE) - 1
    people = person(COCO_18)
    people[:, :2] = people[:, :2] / size * (1 - low) + low
    people[7] = 0, 0, 0  # hidden
    path = written(tmp_path / "poses" / "train" / "Negative" / "neg_1.json", openpose(people))
    assert read_poses(path).relative == (low, 1)
    source = SkeletonFiles(tmp_path / "poses", raw_folder)
    image = source.columns(photo_record(raw_folder, "train/Negative/neg_1.jpg"), Image.new("RGB", SIZE))["skeleton"]
    expected = person(COCO_18)
    expected[7] = 0
    difference = np.abs(np.asarray(image, float) - np.asarray(draw_skeletons([expected], SIZE, COCO_18), float))
    assert difference.mean() < 0.1


def coco(*photos: tuple[str, list[np.ndarray]], **image: object) -> dict:
    images = [{"id": number, "file_name": name, **image} for number, (name, _) in enumerate(photos)]
    people = [
        {"id": 0, "image_id": number, "keypoints": who.ravel().tolist(), "face_kpts": [0] * 204}
        for number, (_, all_people) in enumerate(photos)
        for who in all_people
    ]
    return {"images": images, "annotations": [*people, {"image_id": 0, "bbox": [1, 2, 3, 4]}], "categories": []}


def test_one_file_of_ms_coco_for_a_whole_dataset(raw_folder: Path, tmp_path: Path) -> None:
    who = person(COCO_17)
    who[:, 2] = 2
    who[9, 2] = 0  # the left wrist is not labelled
    file = written(
        tmp_path / "coco.json",
        coco(("train\\negative\\neg_1.jpg", [who]), ("val/Neutral/neu_1.jpg", []), ("neg_3.jpg", [who, who])),
    )
    source = pickle.loads(pickle.dumps(skeleton_source(str(file), raw_folder)))  # noqa: S301 - as a worker gets it

    def skeleton(name: str) -> Image.Image | None:
        return source.columns(photo_record(raw_folder, name), Image.new("RGB", SIZE))["skeleton"]

    image = skeleton("train/Negative/neg_1.jpg")
    assert colour_at(image, STANDING[3], STANDING[4]) == (255, 255, 0)
    assert colour_at(image, STANDING[6], STANDING[7]) == (0, 0, 0)
    assert skeleton("val/Neutral/neu_1.jpg").getextrema() == ((0, 0),) * 3
    assert skeleton("train/Neutral/neu_1.jpg") is None
    assert skeleton("train/Negative/neg_3.jpg") is not None
    assert source.settings["kind"] == "coco"
    assert source.remarks() == []
    file = written(tmp_path / "coco.json", coco(("neg_3.jpg", [who[:, :2]])))
    remark = "Joints without confidences count as certain: 1 of 1 photos with people."
    assert skeleton_source(str(file), raw_folder).remarks() == [remark]

    twice = written(tmp_path / "coco.json", coco(("neg_3.jpg", [who * (2, 2, 1)]), width=320, height=480))
    source = skeleton_source(str(twice), raw_folder)
    np.testing.assert_array_equal(np.asarray(skeleton("train/Negative/neg_3.jpg")), np.asarray(image))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not a file of MS COCO's keypoints"),
        ([], "is not a file of MS COCO's keypoints"),
        ({"people": []}, "is not a file of MS COCO's keypoints"),
        ({"images": [{"id": []}], "annotations": []}, "is not a file of MS COCO's keypoints"),
        ({"images": 3, "annotations": None}, "is not a file of MS COCO's keypoints"),
        ({"images": [], "annotations": []}, "has no keypoints"),
        (coco(("mona_lisa.jpg", [person(COCO_17)])), "none of the 1 images .* images mona_lisa; photos neg_1"),
    ],
)
def test_files_that_are_not_ms_cocos(raw_folder: Path, tmp_path: Path, content: object, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        skeleton_source(str(written(tmp_path / "coco.json", content)), raw_folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"people": [{"pose_keypoints_2d": [1, 2', "not JSON"),
        ("[" * 200_000, "not JSON"),
        ("9" * 10_000, "not JSON"),
        ("\ud800", "not JSON"),
        ("3", "neither"),
        ("null", "neither"),
        ({}, "neither"),
        ({"people": {"a": 1}}, "neither"),
        ({"people": [3]}, "a person without"),
        ({"people": [{}]}, "a person without"),
        ([[1, 2, 3]], "a person without"),
        ({"people": [{"pose_keypoints_2d": "abc"}]}, "list of numbers"),
        ({"people": [{"pose_keypoints_2d": ["1"] * 54}]}, "list of numbers"),
        ({"people": [{"pose_keypoints_2d": [None] * 54}]}, "list of numbers"),
        ({"people": [{"pose_keypoints_2d": [[1, 2, 3]] * 18}]}, "list of numbers"),
        ({"people": [{"pose_keypoints_2d": [True] * 54}]}, "list of numbers"),
        ({"people": [{"pose_keypoints_2d": [5] * 53}]}, "people of 53 numbers"),
        ({"people": [{"pose_keypoints_2d": [5] * 54}, {"pose_keypoints_2d": [5] * 75}]}, "54 and 75"),
        ({"people": [{"pose_keypoints_2d": [10**400] * 54}]}, "too large"),
        ({"people": [{"pose_keypoints_2d": []}] * 5000}, "5,000 people"),
        ("[" + " " * (9 * 2**20) + "]", "at most"),
    ],
)
def test_hostile_json_is_refused_with_its_reason(tmp_path: Path, content: object, reason: str) -> None:
    path = tmp_path / "a_keypoints.json"
    if isinstance(content, str):
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
    else:
        written(path, content)
    with pytest.raises(BadPhoto, match=f"^skeleton: .*{reason}") as error:
        read_poses(path)
    assert str(tmp_path) not in str(error.value)


def test_numbers_that_json_allows_and_photos_do_not(tmp_path: Path) -> None:
    row = [str(value) for value in person(COCO_18).ravel()]
    row[9:12] = "NaN", "-Infinity", "1e999"  # the right elbow
    path = written(tmp_path / "a.json", f'{{"people": [{{"pose_keypoints_2d": [{", ".join(row)}]}}]}}')
    poses = read_poses(path)
    image = draw_skeletons(poses.people, SIZE, poses.layout)
    assert colour_at(image, STANDING[2], STANDING[3]) == (0, 0, 0)
    assert colour_at(image, STANDING[5], STANDING[6]) == (85, 255, 0)


# --- files ------------------------------------------------------------------------------------------------------


def photo_record(raw: Path, name: str) -> Record:
    return Record(name.rsplit(".", 1)[0], raw / name, name.split("/")[0])


def test_a_skeleton_lies_where_its_photo_does(drawn_raw: Path) -> None:
    source = skeleton_source(str(drawn_raw / "poses"), drawn_raw)
    photos = sorted(path for split in ("train", "val") for path in (drawn_raw / split).rglob("*.jpg"))
    for path in photos:
        record = photo_record(drawn_raw, path.relative_to(drawn_raw).as_posix())
        with Image.open(path) as image:
            skeleton = source.columns(record, image)["skeleton"]
        assert skeleton.size == image.size
        poses = read_poses(drawn_raw / "poses" / f"{record.image_id}_keypoints.json")
        drawn = draw_skeletons(poses.people, image.size, poses.layout)
        np.testing.assert_array_equal(np.asarray(skeleton), np.asarray(drawn))
    assert source.settings["files"] == len(photos) == 30
    assert str(drawn_raw) not in json.dumps(dict(source.settings))


def test_names_alone_are_used_only_where_nobody_shares_them(
    raw_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    poses = tmp_path / "poses"
    Image.new("RGB", (64, 48)).save(raw_folder / "train/Negative/only.png")
    written(poses / "flat" / "only_keypoints.json", openpose(person(COCO_18) * (0.2, 0.2, 1)))
    for stem in ("neg_1", "neg_2"):  # photos of both splits are called neg_1
        written(poses / "flat" / f"{stem}.json", openpose(person(COCO_18) * (0.2, 0.2, 1)))
    written(poses / "TRAIN/Neutral/neu_1.json", openpose(person(COCO_18) * (0.2, 0.2, 1)))
    written(poses / "a" / "pos_2.json", openpose())
    written(poses / "b" / "pos_2.json", openpose())
    source = skeleton_source(str(poses), raw_folder)
    image = Image.new("RGB", (64, 48))
    found = {
        name: source.columns(photo_record(raw_folder, f"{name}.jpg"), image)["skeleton"] is not None
        for name in ("train/Negative/only", "train/Negative/neg_1", "val/Negative/neg_1", "train/Negative/neg_2",
                     "train/Neutral/neu_1", "val/Neutral/neu_1", "train/Positive/pos_2", "train/Positive/pos_3")
    }  # fmt: skip
    assert [name for name, there in found.items() if there] == [
        "train/Negative/only",
        "train/Negative/neg_2",
        "train/Neutral/neu_1",
    ]
    assert [record.message.split(" in ")[0] for record in caplog.records] == ["3 names"]


def test_json_goes_before_rendered_images(raw_folder: Path, tmp_path: Path) -> None:
    poses = tmp_path / "poses" / "train" / "Negative"
    image, record = Image.new("RGB", (64, 48)), photo_record(raw_folder, "train/Negative/neg_1.jpg")

    def skeleton() -> Image.Image:
        return SkeletonFiles(tmp_path / "poses", raw_folder).columns(record, image)["skeleton"]

    poses.mkdir(parents=True)
    Image.new("RGB", (32, 24), "blue").save(poses / "neg_1.png")
    assert skeleton().getpixel((40, 40)) == (0, 0, 255)
    assert skeleton().size == (64, 48)
    Image.new("RGB", (64, 48), "red").save(poses / "neg_1_rendered.png")
    assert skeleton().getpixel((40, 40)) == (255, 0, 0)
    written(poses / "neg_1_keypoints.json", openpose())
    assert skeleton().getpixel((40, 40)) == (0, 0, 0)


def test_broken_files_are_the_photos_trouble(raw_folder: Path, tmp_path: Path) -> None:
    poses = tmp_path / "poses" / "train" / "Negative"
    written(poses / "neg_1_rendered.png", "no picture")
    written(poses / "neg_2_keypoints.json", "no JSON")
    source = skeleton_source(str(tmp_path / "poses"), raw_folder)
    for number, reason in (
        (1, "neg_1_rendered.png: not an image"),
        (2, "neg_2_keypoints.json: not JSON"),
    ):
        with pytest.raises(BadPhoto, match=f"^skeleton: train/Negative/{reason}"):
            source.columns(photo_record(raw_folder, f"train/Negative/neg_{number}.jpg"), Image.new("RGB", (64, 48)))


def test_photos_are_no_skeletons(raw_folder: Path) -> None:
    with pytest.raises(UserError, match="no skeletons in"):
        skeleton_source(str(raw_folder), raw_folder)
    source = skeleton_source(str(raw_folder / "train"), raw_folder)
    with pytest.raises(UserError, match="are the photos"):
        source.columns(photo_record(raw_folder, "train/Negative/neg_2.jpg"), Image.new("RGB", (64, 48)))


def test_coordinates_follow_a_photo_that_is_stored_reduced(tmp_path: Path) -> None:
    size = (6000, 9000)
    Image.new("1", size).save(tmp_path / "raw.png")  # turned or not: only its number of pixels counts
    stored = 4082, 6123
    assert reduction(tmp_path / "raw.png", stored) == pytest.approx(4082 / 6000, abs=1e-4)
    assert reduction(tmp_path / "raw.png", stored[::-1]) == pytest.approx(4082 / 6000, abs=1e-4)
    assert reduction(tmp_path / "gone.png", stored) == 1
    assert reduction(tmp_path / "raw.png", (640, 480)) == 1
    poses = written(tmp_path / "poses" / "raw.json", openpose(person(COCO_18) * (37.5, 37.5, 1))).parent
    image = Image.new("RGB", stored)
    skeleton = SkeletonFiles(poses, tmp_path).columns(photo_record(tmp_path, "raw.png"), image)["skeleton"]
    elbow, wrist = STANDING[[3, 4]] * 37.5 * 4082 / 6000
    assert colour_at(skeleton, elbow, wrist) == (255, 255, 0)


def test_what_the_argument_stands_for(raw_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    written(tmp_path / "other" / "readme.txt", "")
    written(tmp_path / "strangers" / "mona_lisa_keypoints.json", openpose())
    for text, reason in (
        (tmp_path / "empty", "found nothing"),
        (tmp_path / "other", "found readme.txt"),
        (tmp_path / "strangers", "none of the 1 skeletons .* skeletons of mona_lisa; photos neg_1"),
        (tmp_path / "gone", "no folder"),
        ("./gone", "no folder"),
        ("a/b/c", "no folder"),
        ("owner/model,./gone", "no folder"),
        ("", "neither"),
        (",owner/model", "neither"),
        ("owner/model,", "neither"),
        ("owner/no-such-model", "no pose model can be loaded"),
    ):
        with pytest.raises(UserError, match=reason) as error:
            skeleton_source(str(text), raw_folder)
        assert "\n" not in str(error.value)


# --- pose model -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny ViTPose and a tiny YOLOS with random weights; every box of the YOLOS is a person."""
    from transformers import (
        VitPoseBackboneConfig,
        VitPoseConfig,
        VitPoseForPoseEstimation,
        VitPoseImageProcessor,
        YolosConfig,
        YolosForObjectDetection,
        YolosImageProcessor,
    )

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoints")
    pose, detector = folder / "tiny-pose", folder / "tiny-detector"
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    backbone = VitPoseBackboneConfig(image_size=[64, 48], patch_size=[16, 16], out_indices=[1], **small)
    config = VitPoseConfig(backbone_config=backbone, num_labels=17)
    model = VitPoseForPoseEstimation(config)
    model.head.conv.bias.data.fill_(0.5)  # every joint is sure
    model.save_pretrained(pose)
    VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(pose)

    config = YolosConfig(
        **small,
        intermediate_size=16,
        image_size=[64, 64],
        num_detection_tokens=5,
        use_mid_position_embeddings=False,
        id2label={0: "person", 1: "dog"},
        label2id={"person": 0, "dog": 1},
    )
    yolos = YolosForObjectDetection(config)
    yolos.class_labels_classifier.layers[-1].bias.data[:] = torch.tensor([5.0, 0.0, 0.0])
    yolos.save_pretrained(detector)
    YolosImageProcessor(size={"shortest_edge": 48, "longest_edge": 64}).save_pretrained(detector)
    return pose, detector


def changed(folder: Path, copy: Path, **values: object) -> str:
    """A copy of the checkpoint in `folder` whose configuration says otherwise."""
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **values}))
    return str(copy)


def test_a_pose_model_draws_what_it_finds(checkpoints: tuple[Path, Path], raw_folder: Path) -> None:
    pose, detector = checkpoints
    source = skeleton_source(f"{pose},{detector}", raw_folder)
    assert source.settings["kind"] == "pose_model"
    assert (source.settings["pose"], source.settings["detector"]) == ("tiny-pose", "tiny-detector")
    assert str(pose.parent) not in json.dumps(dict(source.settings))

    image = draw_photo(np.random.default_rng(0), "Neutral", 3, size=(320, 240))[0]
    people = source.find_people(image)
    assert people.shape == (5, 17, 3)
    assert np.isfinite(people).all()
    skeleton = source.columns(photo_record(raw_folder, "train/Negative/neg_1.jpg"), image)["skeleton"]
    assert skeleton.size == image.size
    drawn = draw_skeletons(people, image.size, COCO_17, 0.3)
    np.testing.assert_array_equal(np.asarray(skeleton), np.asarray(drawn))
    assert np.asarray(skeleton).max() == 255
    # a copy for another process holds no weights and finds the same
    content = pickle.dumps(source)
    assert len(content) < 2000
    np.testing.assert_array_equal(pickle.loads(content).find_people(image), people)  # noqa: S301


def test_joints_lie_where_the_heatmap_peaks(checkpoints: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people: the heatmaps' middles are the middles of their boxes."""
    source = SkeletonModel(*map(str, checkpoints))
    image = Image.new("RGB", (320, 240))
    source.find_people(image)
    boxes = np.array([(20.0, 30.0, 60.0, 80.0), (200.0, 100.0, 60.0, 80.0)])
    monkeypatch.setattr(source, "_boxes", lambda networks, image: boxes)

    def peaked(pixel_values: torch.Tensor) -> object:
        assert pixel_values.shape == (2, 3, 64, 48)
        heatmaps = torch.zeros(2, 17, 17, 13)
        heatmaps[:, :, 8, 6] = 1
        return type("Outputs", (), {"heatmaps": heatmaps})()

    monkeypatch.setattr(source._networks.pose, "forward", peaked)
    people = source.find_people(image)
    np.testing.assert_allclose(people[0, :, :2], np.tile((50, 70), (17, 1)), atol=0.5)
    np.testing.assert_allclose(people[1, :, :2], np.tile((230, 140), (17, 1)), atol=0.5)
    np.testing.assert_allclose(people[..., 2], 1)


def test_a_photo_without_people_is_black(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    pose, detector = checkpoints
    dogs = changed(detector, tmp_path / "dogs", id2label={"0": "dog", "1": "person"})
    source = SkeletonModel(str(pose), dogs)
    image = Image.new("RGB", (320, 240), "grey")
    assert source.find_people(image).shape == (0, 17, 3)
    skeleton = source.columns(Record("a", tmp_path / "a.jpg", "train"), image)["skeleton"]
    assert skeleton.getextrema() == ((0, 0),) * 3


def test_models_that_are_something_else(checkpoints: tuple[Path, Path], raw_folder: Path, tmp_path: Path) -> None:
    pose, detector = checkpoints
    fewer = changed(pose, tmp_path / "fewer", id2label={"0": "nose"}, label2id={"nose": 0})
    cats = changed(detector, tmp_path / "cats", id2label={"0": "cat", "1": "dog"})
    for text, reason in (
        (f"{detector},{detector}", "is a yolos model"),
        (f"{fewer},{detector}", "finds 1 joints"),
        (f"{pose},{cats}", "no label person, but cat, dog"),
        (f"{pose}", "no detector can be loaded"),  # the default is not at hand
    ):
        with pytest.raises(UserError, match=reason):
            skeleton_source(text, raw_folder)


def test_weights_that_are_missing_or_damaged(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    pose, detector = checkpoints
    image = Image.new("RGB", (64, 48))
    damaged = Path(changed(pose, tmp_path / "damaged"))
    (damaged / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(UserError, match="no pose model can be loaded"):
        SkeletonModel(str(damaged), str(detector)).find_people(image)

    from transformers import YolosModel

    headless = tmp_path / "headless"
    changed(detector, headless)
    YolosModel.from_pretrained(detector).save_pretrained(tmp_path / "body")
    (headless / "model.safetensors").write_bytes((tmp_path / "body" / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="lacks weights"):
        SkeletonModel(str(pose), str(headless)).find_people(image)


def test_files_travel_to_other_processes(drawn_raw: Path) -> None:
    source = skeleton_source(str(drawn_raw / "poses"), drawn_raw)
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    path = next((drawn_raw / "train").rglob("*.jpg"))
    record = photo_record(drawn_raw, path.relative_to(drawn_raw).as_posix())
    image = Image.open(path)
    assert copy.settings == source.settings
    first, second = (np.asarray(s.columns(record, image)["skeleton"]) for s in (source, copy))
    np.testing.assert_array_equal(first, second)
