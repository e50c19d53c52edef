"""Videos -> frames per second of their time, from a thread."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from drawn_videos import number_in, write_cuts, write_numbered

from ger_datasets.support.errors import UserError
from ger_datasets.videos.frames import BadVideo, IncompleteVideo
from ger_models.timeline.sampling import sample_durations, sampled_frames


@pytest.mark.parametrize("fps", [0.5, 2, 4, 10, 25, 100])
def test_frames_per_second_of_time(tmp_path: Path, fps: float) -> None:
    path = write_numbered(tmp_path / "a.mp4", 100)
    frames = list(sampled_frames(path, fps))
    due = np.arange(0, 4, 1 / min(fps, 25))
    expected = np.ceil(due * 25 - 1e-6).astype(int)
    assert [frame.number for frame in frames] == expected.tolist()
    assert [number_in(frame.image) for frame in frames] == expected.tolist()
    np.testing.assert_allclose([frame.seconds for frame in frames], expected / 25, atol=0.001)


def test_a_variable_frame_rate_is_sampled_by_time(tmp_path: Path) -> None:
    """Ten frames in the first second, then one each second: each of these is given once."""
    times = [100 * number for number in range(10)] + [1000 * number for number in range(1, 6)]
    path = write_numbered(tmp_path / "a.mkv", 15, milliseconds=times)
    frames = list(sampled_frames(path, 2))
    assert [number_in(frame.image) for frame in frames] == [0, 5, 10, 11, 12, 13, 14]
    np.testing.assert_allclose([frame.seconds for frame in frames], [0, 0.5, 1, 2, 3, 4, 5], atol=0.002)


def test_a_late_start(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mkv", 50, milliseconds=[2300 + 40 * number for number in range(50)])
    frames = list(sampled_frames(path, 2))
    np.testing.assert_allclose([frame.seconds for frame in frames], [2.3, 2.5, 3.02, 3.5, 4.02], atol=0.002)


def test_the_intact_part_comes_before_the_error(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.webm", 100, "libvpx")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = sampled_frames(path, 5)
    seen = []
    with pytest.raises(IncompleteVideo, match=r"of 4\.00 s"):  # noqa: PT012 (what came before is wanted)
        for frame in frames:
            seen.append(frame.number)
    assert 5 < len(seen) < 18
    assert seen == list(range(0, 5 * len(seen), 5))


def test_bad_videos_and_wrong_rates(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(BadVideo, match="no video"):
        list(sampled_frames(tmp_path / "a.mp4", 2))
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UserError, match="fps must be a number above 0"):
            sampled_frames(tmp_path / "a.mp4", fps)


def decoding_threads() -> int:
    return sum(thread.name == "decoding" for thread in threading.enumerate())


def test_no_more_is_decoded_than_somebody_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread waits for its frames to be taken, and ends when nobody wants more."""
    from ger_models.timeline import sampling

    converted = []
    shown_pixels = sampling.shown_pixels
    monkeypatch.setattr(sampling, "shown_pixels", lambda *a: (converted.append(1), shown_pixels(*a))[1])
    frames = sampled_frames(write_cuts(tmp_path / "a.mp4", [], 60), 25, waiting=3)
    before = decoding_threads()
    next(frames)
    threading.Event().wait(0.3)
    assert len(converted) == 1 + 3 + 1, "one is taken, three wait, and one waits for its place"
    assert decoding_threads() == before + 1
    frames.close()
    assert decoding_threads() == before


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Of what Python and NumPy allocate; one frame takes 31 KB."""
    peaks = []
    for length in (60, 600):
        path = write_numbered(tmp_path / f"{length}.mp4", length)
        tracemalloc.start()
        try:
            assert sum(1 for _ in sampled_frames(path, 25)) == length
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert max(peaks) < 1_000_000  # 600 frames: 18 MB


def test_durations() -> None:
    assert sample_durations(np.zeros(0)).tolist() == []
    assert sample_durations(np.array([3.0])).tolist() == [0.0]


@pytest.mark.parametrize(
    ("limits", "words", "frames"),
    [({"until": 2.0}, r"only its first 0\.03\d+ minutes", 10), ({"within": 0.0}, "takes more than 0 minutes", 0)],
)
def test_reading_stops_at_a_second_of_the_video_or_after_a_time(
    limits: dict[str, float], words: str, frames: int, tmp_path: Path
) -> None:
    seen = []
    with pytest.raises(BadVideo, match=words):  # noqa: PT012 (what came before is wanted)
        for frame in sampled_frames(write_numbered(tmp_path / "a.mp4", 100), 5, **limits):
            seen.append(frame.seconds)
    assert len(seen) == frames
