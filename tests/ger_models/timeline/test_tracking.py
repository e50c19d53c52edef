"""Faces of frames -> people, on simulated walks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ger_models.timeline.people import find_people
from ger_models.timeline.sampling import sample_durations
from ger_models.timeline.tracking import Tracker, buffered_overlap

SIZE = 60.0  # pixels, of a face


class Walks:
    """People who move, as a detector and the starter network see them: jittering boxes, embeddings that differ between
    people by no more than the starter's do (cosine 0.66 between two, 0.97 between sightings of one)."""

    def __init__(self, paths: list[object], rng: np.random.Generator, fps: float = 4.0) -> None:
        self.paths, self.rng, self.fps = paths, rng, fps
        common = rng.normal(0, 1, 64)
        self.looks = [1.4 * common / np.linalg.norm(common) + _unit(rng.normal(0, 1, 64)) for _ in paths]

    def frame(self, seconds: float) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Boxes, embeddings, and who they are, in an order of chance."""
        seen = [(number, path(seconds)) for number, path in enumerate(self.paths)]
        there = [(number, centre) for number, centre in seen if centre is not None]
        self.rng.shuffle(there)
        boxes, looks = [], []
        for number, (x, y) in there:
            dx, dy, grow = self.rng.normal(0, 0.05, 3)
            half = SIZE / 2 * (1 + grow)
            boxes.append([x + dx * SIZE - half, y + dy * SIZE - half, x + dx * SIZE + half, y + dy * SIZE + half])
            looks.append(self.looks[number] + 0.3 * _unit(self.rng.normal(0, 1, 64)))
        return np.array(boxes).reshape(-1, 4), np.array(looks).reshape(-1, 64), [number for number, _ in there]

    def ids(self, length: float) -> list[set[int]]:
        """The ids that each person has had."""
        tracker, had = Tracker(), [set() for _ in self.paths]
        for seconds in np.arange(0, length, 1 / self.fps):
            boxes, looks, who = self.frame(seconds)
            given = tracker.update(float(seconds), boxes, looks)
            assert len(set(given.tolist())) == len(given)
            for number, id in zip(who, given.tolist(), strict=True):
                had[number].add(id)
        return had


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def sitting(x: float, y: float = 200.0, away: tuple[float, float] = (0, 0)) -> object:
    """Somebody who sways a little, and is not seen from the first to the second moment of `away`."""
    return lambda t: None if away[0] <= t < away[1] else (x + 6 * np.sin(t), y + 4 * np.cos(1.3 * t))


def walking(x: float, y: float, speed: float, away: tuple[float, float] = (0, 0)) -> object:
    return lambda t: None if away[0] <= t < away[1] else (x + speed * t, y)


def assert_one_each(had: list[set[int]]) -> None:
    assert all(len(ids) == 1 for ids in had), had
    assert len(set.union(*had)) == len(had), had


@pytest.mark.parametrize("fps", [2, 4, 10])
@pytest.mark.parametrize("seed", range(3))
def test_a_seated_group_keeps_its_ids(fps: float, seed: int) -> None:
    paths = [sitting(100 + 90 * column, 150 + 100 * row) for column in range(5) for row in range(2)]
    assert_one_each(Walks(paths, np.random.default_rng(seed), fps).ids(20))


@pytest.mark.parametrize("fps", [2, 4, 10])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("seconds", [1.0, 1.9])
def test_every_track_survives_an_occlusion(fps: float, seed: int, seconds: float) -> None:
    """One after the other is out of sight: seated people among neighbours, and one who walks on meanwhile."""
    paths = [sitting(100 + 90 * column, away=(3 + column, 3 + column + seconds - 1 / fps)) for column in range(5)]
    paths.append(walking(50, 420, 60, away=(4, 4 + seconds - 1 / fps)))
    assert_one_each(Walks(paths, np.random.default_rng(seed), fps).ids(12))


@pytest.mark.parametrize("fps", [2, 4, 10])
@pytest.mark.parametrize("speed", [30, 60, 120])
@pytest.mark.parametrize("seed", range(3))
def test_two_people_who_cross_are_not_merged(fps: float, speed: float, seed: int) -> None:
    """They walk through one point; for half a second around it the one behind is hidden."""
    meet = 150 / speed
    hidden = (meet - 0.25, meet + 0.25)
    paths = [walking(150, 200, speed), walking(450, 210, -speed, away=hidden)]
    assert_one_each(Walks(paths, np.random.default_rng(seed), fps).ids(2 * meet))


@pytest.mark.parametrize("seed", range(3))
def test_who_is_away_for_longer_comes_back_as_another(seed: int) -> None:
    paths = [sitting(100, away=(3, 5.5)), sitting(300)]
    had = Walks(paths, np.random.default_rng(seed)).ids(8)
    assert [len(ids) for ids in had] == [2, 1]


def test_nobody_is_followed_across_a_cut() -> None:
    tracker, box, look = Tracker(), np.array([[10, 10, 50, 50]]), np.ones((1, 8))
    assert tracker.update(0, box, look).tolist() == [0]
    assert tracker.update(0.5, box, look).tolist() == [0]
    assert tracker.update(1, box, look, cut=True).tolist() == [1]
    assert tracker.update(1.5, box, look).tolist() == [1]


@pytest.mark.parametrize("between", [2.001, 4.0, 60.0])
def test_frames_far_apart(between: float, rng: np.random.Generator) -> None:
    """At a low rate, or on a slow computer, people keep their numbers from frame to frame, but for no longer."""
    walks = Walks([sitting(100), sitting(300)], rng, fps=1 / between)
    assert [len(ids) for ids in walks.ids(5 * between)] == [1, 1]
    gone = Walks([sitting(100, away=(0.5 * between, 1.5 * between)), sitting(300)], rng, fps=1 / between)
    assert [len(ids) for ids in gone.ids(5 * between)] == [2, 1]


def test_another_face_in_the_same_place_is_another_person() -> None:
    tracker, box = Tracker(), np.array([[10, 10, 50, 50]])
    tracker.update(0, box, np.eye(8)[:1])
    assert tracker.update(0.5, box, np.eye(8)[1:2]).tolist() == [1]


def test_a_face_elsewhere_or_of_another_size_is_another_person() -> None:
    tracker, look = Tracker(), np.ones((1, 8))
    tracker.update(0, np.array([[100, 100, 150, 150]]), look)
    assert tracker.update(0.5, np.array([[400, 100, 450, 150]]), look).tolist() == [1]
    assert tracker.update(1.0, np.array([[50, 50, 200, 200]]), look).tolist() == [2]


def test_frames_without_faces() -> None:
    tracker, box, look = Tracker(), np.array([[10, 10, 50, 50]]), np.ones((1, 8))
    assert tracker.update(0, np.zeros((0, 4)), np.zeros((0, 8))).tolist() == []
    assert tracker.update(0.5, box, look).tolist() == [0]
    assert tracker.update(1, np.zeros((0, 4)), np.zeros((0, 8))).tolist() == []
    assert tracker.update(1.5, box, look).tolist() == [0]
    with pytest.raises(ValueError, match="1 boxes and 2 embeddings"):
        tracker.update(2, box, np.ones((2, 8)))


def test_a_long_video_leaves_no_tracks_behind(rng: np.random.Generator) -> None:
    tracker = Tracker()
    for second in range(500):  # everybody is new
        corners = rng.uniform(0, 500, (3, 2))
        tracker.update(float(second * 3), np.hstack([corners, corners + 40]), np.ones((3, 4)))
    assert len(tracker._tracks) <= 6  # those of the last two frames


def test_overlaps() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], float)
    np.testing.assert_allclose(buffered_overlap(boxes, boxes, np.zeros(2)), np.eye(2))
    enlarged = buffered_overlap(boxes, boxes, np.array([0.0, 1.0]))  # sides of 30, 20 apart: they share 10 x 30
    np.testing.assert_allclose(enlarged[:, 1], [300 / 1500, 1])


# People


def test_people_and_their_seconds() -> None:
    seconds = np.array([0.0, 0.5, 1.0, 2.0])
    ids, frames = np.array([0, 1, 0, 1, 1]), np.array([0, 0, 1, 2, 3])
    boxes, expressions = np.arange(20.0).reshape(5, 4), np.eye(5, 7)
    first, second = find_people(ids, frames, boxes, expressions, seconds, sample_durations(seconds))
    assert (first.id, first.seconds.tolist(), first.seconds_visible) == (0, [0, 0.5], 1.0)
    assert (second.id, second.seconds.tolist(), second.seconds_visible) == (1, [0, 1, 2], 2.0)
    np.testing.assert_array_equal(second.boxes, boxes[[1, 3, 4]])
    np.testing.assert_allclose(first.mean_expressions, expressions[[0, 2]].mean(axis=0))
    with pytest.raises(ValueError, match="person 0 is in a frame twice"):
        find_people(np.zeros(2, int), np.zeros(2, int), boxes[:2], expressions[:2], seconds, seconds)
    assert find_people(np.zeros(0), np.zeros(0, int), boxes[:0], expressions[:0], seconds, seconds) == []


def test_expressions_and_embeddings_of_faces(rng: np.random.Generator) -> None:
    """The expressions are those of the column `face_expressions`; the same face has the same embedding."""
    from ger_models.encoders.face_expressions import CheckpointExpressions
    from ger_models.starter import STARTER

    images = [Image.fromarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)) for _ in range(3)]
    boxes = [[[10, 10, 60, 60], [70, 20, 130, 90]], [], [[10, 10, 60, 60]]]
    reader = CheckpointExpressions(STARTER)
    readings = reader.read(images, boxes)
    assert [each.embeddings.shape for each in readings] == [(2, 224), (0, 224), (1, 224)]
    for reading, expressions in zip(readings, reader.batch_columns(images, boxes)["face_expressions"], strict=True):
        np.testing.assert_array_equal(reading.expressions, np.reshape(expressions, (-1, 7)))
        np.testing.assert_allclose(reading.expressions.sum(1), 1, atol=1e-5)
    (again,) = reader.read(images[:1], boxes[:1])
    np.testing.assert_allclose(again.embeddings, readings[0].embeddings, atol=1e-4)
    np.testing.assert_allclose(again.expressions, readings[0].expressions, atol=1e-5)
    assert reader.read([], []) == []
