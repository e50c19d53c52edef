"""Frames at a rate per second of time, written once for each clip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_videos import scene, write_cuts, write_video
from PIL import Image

from ger_datasets.layouts.clips import frames_at, write_clips
from ger_datasets.support.errors import UserError
from ger_datasets.videos.frames import Frame


def test_frames_at_a_rate(tmp_path: Path) -> None:
    path = write_cuts(tmp_path / "a.mp4", [30], 130)  # 25 frames per second, 5.2 seconds
    for rate, numbers in (
        (1.0, [0, 25, 50, 75, 100, 125]),
        (2.0, [0, 13, 25, 38, 50, 63, 75, 88, 100, 113, 125]),
        (0.1, [0]),
        (25.0, list(range(130))),
        (1000.0, list(range(130))),
    ):
        frames = list(frames_at(path, rate))
        assert [frame.number for frame in frames] == numbers
        np.testing.assert_allclose([frame.seconds for frame in frames], np.array(numbers) / 25, atol=1e-3)
    with pytest.raises(UserError, match="frames_per_second must be more than 0, not 0"):
        list(frames_at(path, 0))


def test_a_clip_is_read_once_and_kept_completely_or_not_at_all(tmp_path: Path) -> None:
    videos = {f"train/{i}": write_video(tmp_path / f"{i}.mp4", [scene(i)] * 3) for i in range(3)}
    read: list[str] = []

    def frames(path: Path) -> Iterator[Frame]:
        read.append(path.name)
        for number in range(2):
            yield Frame(number, number / 7, Image.new("RGB", (40, 32)))
        if len(read) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_clips(videos, tmp_path / "work", frames)
    assert [path.name for path in (tmp_path / "work" / "train").iterdir()] == ["0"]
    clips, broken = write_clips(videos, tmp_path / "work", frames)
    assert (read, broken) == (["0.mp4", "1.mp4", "1.mp4", "2.mp4"], {})
    assert write_clips(videos, tmp_path / "work", frames) == (clips, {})
    assert len(read) == 4
    for clip in clips.values():
        assert [(path.name, seconds) for path, seconds in clip.frames] == [
            ("frame_000000.jpg", 0.0),
            ("frame_000001.jpg", 1 / 7),
        ]
