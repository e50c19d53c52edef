from __future__ import annotations

import hashlib
import json
import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from ger_datasets.sample.drawing import PHOTOS, draw_photo, draw_sample, plan_photo, pose_json
from ger_datasets.schema import CLASS_NAMES, SPLITS
from ger_datasets.support.errors import UserError

SMALL = {"train": 5, "validation": 3, "test": 4}


def _digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawing") / "sample"
    draw_sample(folder, SMALL, seed=3)
    return folder


def test_same_seed_same_bytes(sample, tmp_path):
    (tmp_path / "again").mkdir()  # an empty folder is welcome
    draw_sample(tmp_path / "again", SMALL, seed=3)
    assert _digests(tmp_path / "again") == _digests(sample)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_more_photos_leave_the_earlier_ones_as_they_are(sample, tmp_path):
    draw_sample(tmp_path / "fewer", {"train": 2}, seed=3)
    photos = {
        name: digest for name, digest in _digests(tmp_path / "fewer").items() if name.startswith(("train", "poses"))
    }
    assert len(photos) == 4
    assert photos.items() <= _digests(sample).items()


def test_another_seed_draws_other_photos(sample, tmp_path):
    draw_sample(tmp_path / "other", {"train": 1}, seed=4)
    name = "train/Negative/neg_1.jpg"
    assert _digests(tmp_path / "other")[name] != _digests(sample)[name]


def test_layout(sample):
    photos = [path.relative_to(sample).as_posix() for path in sorted(sample.rglob("*.jpg"))]
    assert len(photos) == sum(SMALL.values())
    assert {"train/Negative/neg_1.jpg", "train/Neutral/neu_2.jpg", "val/Positive/pos_2.jpg"} <= set(photos)
    lists = {name: pickle.loads((sample / name).read_bytes()) for name in ("val_list", "test_list")}  # noqa: S301
    assert {name: len(names) for name, names in lists.items()} == {"val_list": 3, "test_list": 4}
    in_val = sorted(path.name for path in (sample / "val").rglob("*.jpg"))
    assert sorted(lists["val_list"] + lists["test_list"]) == in_val
    with Image.open(sample / photos[0]) as photo:
        assert photo.mode == "RGB"
        assert 640 <= photo.width <= 1000


@pytest.mark.parametrize("mood", CLASS_NAMES)
def test_the_class_is_the_mood_most_people_share(mood):
    for people in (1, 2, 5, 12):
        _, group = draw_photo(np.random.default_rng(people), mood, people, size=(320, 240))
        assert len(group) == people
        assert sum(person.mood == mood for person in group) * 2 > people


def test_poses_are_openpose_json_inside_the_photo(sample):
    for path in sample.glob("*/*/*.jpg"):
        with Image.open(path) as photo:
            width, height = photo.size
        name = path.relative_to(sample).with_name(f"{path.stem}_keypoints.json")
        pose = json.loads((sample / "poses" / name).read_text(encoding="utf-8"))
        assert pose["people"]
        for person in pose["people"]:
            joints = np.array(person["pose_keypoints_2d"]).reshape(18, 3)
            seen = joints[:, 2] > 0
            assert seen.sum() >= 3, name
            assert (joints[~seen] == 0).all()
            assert ((joints[seen, :2] >= 0) & (joints[seen, :2] < (width, height))).all()


def test_classes_take_turns_and_every_kind_of_photo_occurs():
    plans = {split: [plan_photo(0, split, i)[0] for i in range(PHOTOS[split])] for split in SPLITS}
    for split, planned in plans.items():
        assert set(Counter(plan.mood for plan in planned).values()) == {PHOTOS[split] // 3}
        for mood in CLASS_NAMES:
            kinds = {(plan.people, plan.faces_visible) for plan in planned if plan.mood == mood}
            assert (1, True) in kinds, (split, mood)
            assert (12, True) in kinds, (split, mood)
            assert any(not faces for _, faces in kinds), (split, mood)


def test_one_face_twelve_faces_no_face():
    for people, faces_visible in ((1, True), (12, True), (4, False)):
        _, group = draw_photo(np.random.default_rng(1), "Positive", people, faces_visible)
        assert [person.face is not None for person in group] == [faces_visible] * people
        ears_only = [person.joints[[0, 14, 15], 2].sum() == 0 for person in group]
        assert faces_visible or all(ears_only)
    assert len(pose_json(group)["people"]) == 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mtcnn_finds_the_faces_and_little_else():
    pytest.importorskip("torch")
    facenet = pytest.importorskip("facenet_pytorch")
    detector = facenet.MTCNN(keep_all=True)
    there = found = false_alarms = 0
    for index in range(12):
        plan, rng = plan_photo(11, "train", index)
        photo, people = draw_photo(rng, plan.mood, plan.people, plan.faces_visible)
        boxes, _ = detector.detect(photo)
        centres = (
            np.zeros((0, 2)) if boxes is None else np.stack([(b[:2] + b[2:]) / 2 for b in np.asarray(boxes, float)])
        )
        explained = np.zeros(len(centres), bool)
        for person in people:
            if person.face is None:
                continue
            face = np.array(person.face)
            inside = ((centres > face[:2]) & (centres < face[2:])).all(axis=1)
            explained |= inside
            if person.visible > 0.95:
                there, found = there + 1, found + bool(inside.any())
        false_alarms += int((~explained).sum())
    assert there > 30
    assert found >= 0.9 * there
    assert false_alarms <= 2


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"new or an empty folder, found notes\.txt"):
        draw_sample(tmp_path, {"train": 1})
    with pytest.raises(UserError, match="found a file"):
        draw_sample(tmp_path / "notes.txt", {"train": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ger_datasets.sample.drawing.draw_photo", interrupt)
    with pytest.raises(KeyboardInterrupt):
        draw_sample(tmp_path / "sample", {"train": 1})
    assert not list(tmp_path.iterdir())


def test_numbers_that_make_no_sense(tmp_path):
    with pytest.raises(UserError, match="no split is called dev"):
        draw_sample(tmp_path / "sample", {"dev": 1})
    with pytest.raises(UserError, match="0 or more"):
        draw_sample(tmp_path / "sample", {"train": -1})
    with pytest.raises(UserError, match="1 to 12, not 13"):
        draw_photo(np.random.default_rng(0), "Neutral", people=13)
    with pytest.raises(UserError, match="'Happy' is not a class"):
        draw_photo(np.random.default_rng(0), "Happy")
