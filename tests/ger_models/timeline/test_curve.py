"""Class probabilities of frames -> a curve with a band, cuts and segments, on simulated groups."""

from __future__ import annotations

import time
from itertools import combinations, pairwise

import numpy as np
import pytest
from drawn_videos import scene
from PIL import Image

from ger_datasets.support.errors import UserError
from ger_models.timeline.curve import SMOOTHINGS, Curve, group_curve, scenes, wilson_band
from ger_models.timeline.cuts import scene_cuts, scene_distance, scene_signature
from ger_models.timeline.segments import find_segments, optimal_cuts

MOODS = np.array([[0.7, 0.2, 0.1], [0.15, 0.7, 0.15], [0.05, 0.2, 0.75]])  # negative, neutral, positive


def simulated(
    moods: list[int],
    changes: list[float],
    length: float,
    fps: float,
    people: int,
    rng: np.random.Generator,
    lasting: float = 0.0,
    level: float = 0.8,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seconds, probabilities and faces of a group whose mood changes at known times, as a noisy network sees it.

    `lasting`: seconds in which the noise falls to 1/e of itself; 0: it is another in every frame. `level`: its
    standard deviation in the logits of one face.
    """
    seconds = np.arange(0, length, 1 / fps)
    mood = np.array(moods)[np.searchsorted(changes, seconds, "right")]
    faces = rng.binomial(people, 0.85, len(seconds))
    noise = rng.normal(0, level, (len(seconds), 3))
    kept = np.exp(-1 / fps / lasting) if lasting else 0.0
    for i in range(1, len(seconds)):
        noise[i] = kept * noise[i - 1] + np.sqrt(1 - kept**2) * noise[i]
    logits = np.log(MOODS[mood]) + noise / np.sqrt(np.maximum(faces, 1))[:, None]
    shares = np.exp(logits)
    return seconds, shares / shares.sum(axis=1, keepdims=True), faces


def flat(values: list[float]) -> np.ndarray:
    """(frames, 2): a class of these probabilities, and the rest."""
    return np.column_stack([values, 1 - np.array(values)])


@pytest.mark.parametrize("method", SMOOTHINGS)
def test_smoothing_lessens_noise_and_keeps_the_sum(method: str, rng: np.random.Generator) -> None:
    seconds, shares, faces = simulated([2], [], 60, 4, 5, rng)
    curve = group_curve(seconds, shares, faces, 4, method)
    assert isinstance(curve, Curve)
    np.testing.assert_allclose(curve.probabilities.sum(axis=1), 1)
    assert curve.probabilities.std(axis=0).max() < shares.std(axis=0).max() / 2
    assert np.all(curve.lower <= curve.probabilities)
    assert np.all(curve.probabilities <= curve.upper)


@pytest.mark.parametrize("method", SMOOTHINGS)
def test_no_window_gives_the_values_themselves(method: str, rng: np.random.Generator) -> None:
    seconds, shares, faces = simulated([0, 2], [10], 20, 2, 4, rng)
    faces[3] = 0
    curve = group_curve(seconds, shares, faces, 0, method)
    np.testing.assert_array_equal(np.delete(curve.probabilities, 3, 0), np.delete(shares, 3, 0))
    assert np.isnan(curve.probabilities[3]).all()
    assert (curve.lower[3].tolist(), curve.upper[3].tolist()) == ([0, 0, 0], [1, 1, 1])
    np.testing.assert_array_equal(curve.faces, faces)


@pytest.mark.parametrize("method", SMOOTHINGS)
def test_nothing_is_smoothed_across_a_cut(method: str) -> None:
    seconds, shares = np.arange(20) / 2, flat([0.9] * 10 + [0.1] * 10)
    cut = group_curve(seconds, shares, np.full(20, 4), 4, method, [10])
    np.testing.assert_allclose(cut.probabilities, shares)
    whole = group_curve(seconds, shares, np.full(20, 4), 4, "exponential")
    assert 0.5 < whole.probabilities[9, 0] < 0.7


def test_exponential_weights_at_irregular_times() -> None:
    seconds, shares, faces = np.array([0.0, 1.0, 3.0]), flat([0.2, 0.6, 0.9]), np.array([1, 2, 4])
    weights = np.exp(-np.abs(seconds[:, None] - seconds) / 2)
    curve = group_curve(seconds, shares, faces, 4)
    np.testing.assert_allclose(curve.probabilities, weights @ (shares * faces[:, None]) / (weights @ faces)[:, None])
    np.testing.assert_allclose(curve.faces, weights @ faces / weights.sum(axis=1))


def test_the_median_ignores_a_single_frame() -> None:
    shares = flat([0.8] * 5 + [0.0] + [0.8] * 5)
    curve = group_curve(np.arange(11) / 2, shares, np.full(11, 3), 2, "median")
    np.testing.assert_allclose(curve.probabilities, flat([0.8] * 11))


@pytest.mark.parametrize("method", SMOOTHINGS)
def test_frames_without_faces_are_bridged_where_others_are_near(method: str) -> None:
    shares, faces = flat([0.8, 0.8, 0.123, 0.8, 0.8, 0.4]), np.array([3, 3, 0, 3, 3, 0])
    curve = group_curve(np.arange(6) / 2, shares, faces, 2, method, [5])
    np.testing.assert_allclose(curve.probabilities[:5], flat([0.8] * 5))
    assert curve.faces[2] < 3
    assert np.isnan(curve.probabilities[5]).all(), "nothing is known of a scene without faces"


def test_the_band_widens_with_few_faces() -> None:
    shares = np.full((4, 1), 0.7)
    lower, upper = wilson_band(shares, np.array([0, 1, 5, 50]))
    widths = (upper - lower)[:, 0]
    assert widths[0] == 1
    assert np.all(np.diff(widths) < 0)
    # Wilson's interval of 35 of 50 at 90 %, by hand: (0.7 + 1.645^2 / 100 +- 1.645 sqrt(...)) / (1 + 1.645^2 / 50)
    np.testing.assert_allclose([lower[3, 0], upper[3, 0]], [0.584, 0.795], atol=0.002)


def test_smoothing_does_not_narrow_the_band() -> None:
    """Ten frames of the same two people are no twenty people."""
    shares, faces = flat([0.7] * 20), np.full(20, 2)
    narrow, wide = (group_curve(np.arange(20.0), shares, faces, window) for window in (0, 10))
    np.testing.assert_allclose(narrow.upper - narrow.lower, wide.upper - wide.lower)


def test_wrong_arguments() -> None:
    seconds, shares, faces = np.arange(3.0), flat([0.5] * 3), np.ones(3)
    with pytest.raises(UserError, match="unknown smoothing 'mean': there are exponential, median"):
        group_curve(seconds, shares, faces, 2, "mean")
    with pytest.raises(UserError, match="must be 0 or more seconds, not -1"):
        group_curve(seconds, shares, faces, -1)
    for wrong in ((seconds[::-1], shares, faces), (seconds, shares[:2], faces), (seconds, shares, faces[:1])):
        with pytest.raises(ValueError, match="must be of the same frames"):
            group_curve(*wrong)


def test_curves_of_no_and_of_one_frame() -> None:
    for method in SMOOTHINGS:
        assert group_curve(np.zeros(0), np.zeros((0, 3)), np.zeros(0), 2, method).probabilities.shape == (0, 3)
        np.testing.assert_allclose(group_curve(np.zeros(1), MOODS[:1], np.ones(1), 2, method).probabilities, MOODS[:1])
    assert list(scenes(0, [])) == []


# Scene cuts


def test_cuts_are_found_and_movement_is_none(rng: np.random.Generator) -> None:
    pictures = []
    for seed in (1, 2, 3):
        wide = Image.fromarray(scene(seed, 320, 192)).resize((640, 384))
        for step in range(10):  # the camera moves, and light flickers
            view = np.asarray(wide.crop((step * 4, 0, 400 + step * 4, 300)), float)
            pictures.append(Image.fromarray((view * rng.uniform(0.95, 1.05)).clip(0, 255).astype(np.uint8)))
    signatures = [scene_signature(picture) for picture in pictures]
    distances = np.array([scene_distance(a, b) for a, b in pairwise(signatures)])
    assert scene_cuts(distances).tolist() == [10, 20]
    assert scene_distance(signatures[0], signatures[0]) == 0


def test_restless_pictures_have_no_cuts(rng: np.random.Generator) -> None:
    assert scene_cuts(rng.uniform(0.4, 0.8, 100)).tolist() == []
    assert scene_cuts(np.zeros(0)).tolist() == []
    assert scene_cuts(np.array([0.9])).tolist() == [1]


def test_a_cut_may_be_the_first_or_last_step() -> None:
    assert scene_cuts(np.array([0.8, 0.01, 0.01, 0.01, 0.9])).tolist() == [1, 5]


# Segments


@pytest.mark.parametrize("fps", [2, 5])
@pytest.mark.parametrize("people", [3, 8])
@pytest.mark.parametrize("lasting", [0, 0.5, 1])
def test_change_points_lie_within_a_second(fps: float, people: int, lasting: float) -> None:
    changes, moods = [8.0, 15.5, 31.0, 38.0], [1, 2, 0, 1, 2]
    for seed in range(10):
        found = find_segments(*simulated(moods, changes, 60, fps, people, np.random.default_rng(seed), lasting))
        starts = [segment.start for segment in found[1:]]
        assert len(starts) == len(changes), (seed, starts)
        np.testing.assert_allclose(starts, changes, atol=1.0)
        assert [segment.label for segment in found] == moods
        assert all(segment.end - segment.start >= 3 for segment in found)
        assert [segment.end for segment in found[:-1]] == starts
        assert (found[0].start, found[-1].end) == (0, pytest.approx(60))
        assert all(segment.probability > 0.5 for segment in found)


@pytest.mark.parametrize("fps", [2, 5])
@pytest.mark.parametrize("level", [0.0, 0.2, 0.4, 0.8])
def test_three_moods_of_five_seconds(fps: float, level: float) -> None:
    """Changes all the time: no part of the video is quiet for longer than a segment."""
    found_all = 0
    for seed in range(20):
        moods = [[2, 0, 1], [0, 2, 0], [1, 2, 1], [2, 1, 0]][seed % 4]
        rng = np.random.default_rng(seed)
        found = find_segments(*simulated(moods, [5.0, 10.0], 15, fps, 6, rng, level=level))
        starts = [segment.start for segment in found]
        found_all += len(starts) == 3 and np.allclose(starts, [0, 5, 10], atol=1)
    assert found_all >= (19 if level == 0.8 else 20)


def test_a_long_video_that_changes_every_five_seconds() -> None:
    for seed in range(5):
        moods, changes = [0, 2] * 12, [5.0 * number for number in range(1, 24)]
        found = find_segments(*simulated(moods, changes, 120, 4, 6, np.random.default_rng(seed), level=0.4))
        np.testing.assert_allclose([segment.start for segment in found[1:]], changes, atol=1)


@pytest.mark.slow
@pytest.mark.parametrize("length", [10, 15, 30, 120])
@pytest.mark.parametrize("people", [1, 3, 8])
def test_false_alarms(length: float, people: int) -> None:
    """A steady group is cut in no more than 5 of 100 videos, however loud the noise."""
    alarms = 0
    for seed in range(100):
        level, fps = (0.2, 0.4, 0.8)[seed % 3], (2, 5)[seed % 2]
        series = simulated([seed % 3], [], length, fps, people, np.random.default_rng(seed), level=level)
        alarms += len([each for each in find_segments(*series) if each.label is not None]) > 1
    assert alarms <= 5


@pytest.mark.parametrize("lasting", [0, 0.5])
def test_a_steady_group_is_one_segment(lasting: float) -> None:
    for seed in range(20):
        found = find_segments(*simulated([1], [], 300, 2, 4, np.random.default_rng(seed), lasting))
        assert [(segment.first, segment.last, segment.label) for segment in found] == [(0, 599, 1)]


def test_a_quiet_curve_is_not_cut_for_little() -> None:
    shares = flat([0.70] * 20 + [0.74] * 20)
    assert len(find_segments(np.arange(40) / 2, shares, np.full(40, 5))) == 1
    shares = flat([0.70] * 20 + [0.3] * 20)
    assert [s.start for s in find_segments(np.arange(40) / 2, shares, np.full(40, 5))] == [0, 10]


def test_no_segment_is_shorter_than_three_seconds() -> None:
    seconds, faces = np.arange(46) / 2, np.full(46, 5)
    assert len(find_segments(seconds, flat([0.9] * 20 + [0.1] + [0.9] * 25), faces)) == 1, "a wild frame"
    for outburst in (2, 4, 6, 8):
        found = find_segments(seconds, flat([0.9] * 20 + [0.1] * outburst + [0.9] * (26 - outburst)), faces)
        assert all(segment.end - segment.start >= 3 for segment in found)
        if outburst >= 6:
            assert [(s.start, s.label) for s in found] == [(0, 0), (10, 1), (10 + outburst / 2, 0)]


def test_stretches_without_faces_are_segments_without_a_class() -> None:
    faces = np.array([3] * 20 + [0] * 10 + [3] * 20 + [0] * 2 + [3] * 10)
    found = find_segments(np.arange(62) / 2, flat([0.9] * 62), faces)
    assert [(segment.start, segment.end, segment.label) for segment in found] == [
        (0, 10, 0),
        (10, 15, None),
        (15, 31, 0),
    ]
    assert np.isnan(found[1].probability)
    assert np.isnan(found[1].probabilities).all()
    np.testing.assert_allclose(found[2].probabilities, [0.9, 0.1])


def test_the_mean_counts_faces() -> None:
    found = find_segments(np.arange(2) / 2, flat([0.9, 0.6]), np.array([1, 3]))
    np.testing.assert_allclose(found[0].probabilities, [0.675, 0.325])


@pytest.mark.parametrize("length", [0, 1, 2])
@pytest.mark.parametrize("faces", [0, 4])
def test_videos_of_few_frames(length: int, faces: int) -> None:
    found = find_segments(np.arange(length) / 2, flat([0.9] * length).reshape(-1, 2), np.full(length, faces))
    assert len(found) == min(1, length)
    assert all(segment.label == (0 if faces else None) for segment in found)


def best_cuts(values: np.ndarray, weights: np.ndarray, times: np.ndarray, least: float, penalty: float) -> list[int]:
    """As `optimal_cuts`, by trying all there are."""

    def cost(cuts: tuple[int, ...]) -> float:
        total = penalty * len(cuts)
        for a, b in pairwise([0, *cuts, len(values)]):
            if times[b] - times[a] < least:
                return np.inf
            mean = weights[a:b] @ values[a:b] / weights[a:b].sum()
            total += float(weights[a:b] @ np.square(values[a:b] - mean).sum(axis=1))
        return total

    inner = range(1, len(values))
    every = (cuts for count in range(len(values)) for cuts in combinations(inner, count))
    return list(min(every, key=cost))


def test_the_cuts_are_the_best_there_are(rng: np.random.Generator) -> None:
    """Pruning changes nothing."""
    for _ in range(20):
        least, penalty = float(rng.choice([1, 2, 3])), float(rng.uniform(0.05, 1))
        values, weights = rng.normal(0, 1, (10, 2)), rng.uniform(0.5, 2, 10)
        times = np.cumsum(rng.uniform(0.4, 1.6, 11))
        expected = best_cuts(values, weights, times, least, penalty)
        assert optimal_cuts(values, weights, times, least, penalty) == expected


def test_hours_take_seconds(rng: np.random.Generator) -> None:
    moods = [number % 3 for number in range(120)]
    changes = [60.0 * number for number in range(1, 120)]
    series = simulated(moods, changes, 7200, 2, 4, rng)
    start = time.perf_counter()
    found = find_segments(*series)
    assert time.perf_counter() - start < 5
    assert len(found) == 120
