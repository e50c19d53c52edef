"""Videos -> key frames."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from drawn_videos import scene, set_display_matrix, write_cuts, write_sound, write_video
from PIL import Image

from ger_datasets.support.errors import UserError
from ger_datasets.videos import decoding
from ger_datasets.videos import frames as video
from ger_datasets.videos.decoding import decoded_frames
from ger_datasets.videos.display import View
from ger_datasets.videos.frames import (
    KEY_FRAME_RULES,
    BadVideo,
    frame_differences,
    key_frames,
    rgb_to_luv,
    write_key_frames,
)


def test_luv_of_known_colours() -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [128, 128, 128], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    expected = [[0, 0, 0], [100, 0, 0], [53.59, 0, 0], [53.2, 175.1, 37.8], [87.7, -83.1, 107.4], [32.3, -9.4, -130.4]]
    np.testing.assert_allclose(rgb_to_luv(colours), expected, atol=0.1)
    assert rgb_to_luv(colours.reshape(2, 3, 3)).shape == (2, 3, 3)


def test_differences_are_those_of_neighbouring_frames(tmp_path: Path) -> None:
    path = write_cuts(tmp_path / "a.mp4", [7, 20], 30)
    differences = frame_differences(path)
    assert differences.shape == (29,)
    assert differences.dtype == np.float64
    assert set(np.argsort(differences)[-2:]) == {6, 19}
    pixels = [rgb_to_luv(scene(i)) * [255 / 100, 255 / 354, 255 / 262] for i in (0, 1)]
    assert differences[6] == pytest.approx(np.abs(pixels[1] - pixels[0]).mean(), rel=0.1)  # the video is compressed


def test_large_frames_are_reduced_before_they_are_compared(tmp_path: Path) -> None:
    frames = [scene(seed, 64, 48).repeat(10, axis=0).repeat(10, axis=1) for seed in (0, 0, 1)]
    large = frame_differences(write_video(tmp_path / "large.mp4", frames))
    small = frame_differences(write_video(tmp_path / "small.mp4", [frame[::10, ::10] for frame in frames]))
    assert large[1] == pytest.approx(small[1], rel=0.05)
    assert video._reduced(640, 480) == (256, 192)
    assert video._reduced(20000, 10) == (256, 1)
    assert video._reduced(100, 50) == (100, 50)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm"])
def test_cuts_are_key_frames(tmp_path: Path, suffix: str) -> None:
    codec = "libvpx" if suffix == ".webm" else "mpeg4"
    path = write_cuts(tmp_path / f"a{suffix}", [60, 150, 240], 300, codec=codec)
    found = key_frames(path)
    for cut in (60, 150, 240):
        assert min(abs(frame - cut) for frame in found) <= 2
    assert len(found) < 20


def test_a_lone_cut_is_a_maximum_where_it_is() -> None:
    for length in (30, 49, 50, 51, 200):
        differences = np.zeros(length)
        differences[length // 2] = 9.0
        assert KEY_FRAME_RULES["local_maxima"](differences).tolist() == [length // 2 + 1]


def test_cuts_near_the_ends_stay_where_they_are() -> None:
    differences = np.zeros(200)
    differences[[5, 194]] = 9.0
    assert KEY_FRAME_RULES["local_maxima"](differences).tolist() == [6, 195]


def test_level_curves_have_no_maximum() -> None:
    for value in (0.0, 0.1, 123.456):
        assert KEY_FRAME_RULES["local_maxima"](np.full(500, value)).tolist() == []


def test_threshold_takes_jumps_of_six_tenths() -> None:
    differences = np.array([0.0, 0.0, 1.0, 2.0, 5.0, 4.0, 9.99, 0.0, 0.1])
    # 0 -> 1 is a rise of all of it, 1 -> 2 of 0.5, 2 -> 5 of 0.6, 4 -> 9.99 of 0.5996
    assert KEY_FRAME_RULES["threshold"](differences).tolist() == [3, 5, 9]


def test_top_takes_fifty_but_none_that_does_not_differ(rng: np.random.Generator) -> None:
    differences = rng.permutation(200).astype(float)
    found = KEY_FRAME_RULES["top"](differences)
    assert len(found) == 50
    assert found.tolist() == sorted(found.tolist())
    assert sorted(differences[found - 1]) == list(range(150, 200))
    assert KEY_FRAME_RULES["top"](np.array([0.0, 3.0, 0.0])).tolist() == [2]


@pytest.mark.parametrize("rule", KEY_FRAME_RULES)
@pytest.mark.parametrize("length", [0, 1, 2, 60])
def test_rules_on_curves_that_are_flat_or_short(rule: str, length: int) -> None:
    assert KEY_FRAME_RULES[rule](np.zeros(length)).tolist() == []


@pytest.mark.parametrize("rule", KEY_FRAME_RULES)
@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_video_in_which_nothing_happens_gives_its_middle_frame(tmp_path: Path, rule: str, length: int) -> None:
    black = np.zeros((48, 64, 3), np.uint8)
    path = write_video(tmp_path / "still.mp4", [black] * length)
    assert key_frames(path, rule) == [(length - 1) // 2]


def test_frames_are_written_as_they_look(tmp_path: Path) -> None:
    path = write_cuts(tmp_path / "a.mp4", [60], 120)
    written = write_key_frames(path, tmp_path / "out" / "deep")
    numbers = [int(file.stem.removeprefix("frame_")) for file in written]
    assert numbers == key_frames(path)
    assert all(file.parent == tmp_path / "out" / "deep" and file.suffix == ".jpg" for file in written)
    number = next(n for n in numbers if abs(n - 60) <= 2)
    with Image.open(tmp_path / "out" / "deep" / f"frame_{number:06d}.jpg") as image:
        assert (image.mode, image.size, image.format) == ("RGB", (64, 48), "JPEG")
        after, before = (np.abs(np.asarray(image, float) - scene(seed)).mean() for seed in (1, 0))
    assert after < 8 < before


def test_the_quality_is_that_of_the_jpegs(tmp_path: Path) -> None:
    path = write_cuts(tmp_path / "a.mp4", [30], 60)
    sizes = [
        sum(file.stat().st_size for file in write_key_frames(path, tmp_path / str(q), quality=q)) for q in (95, 30)
    ]
    assert sizes[0] > 1.2 * sizes[1]


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((1, 0, 0, 1), lambda pixels: pixels),
        ((0, 1, -1, 0), lambda pixels: np.rot90(pixels, -1)),  # a phone held upright
        ((-1, 0, 0, -1), lambda pixels: np.rot90(pixels, 2)),
        ((0, -1, 1, 0), lambda pixels: np.rot90(pixels, 1)),
        ((-1, 0, 0, 1), lambda pixels: pixels[:, ::-1]),
        ((1, 0, 0, -1), lambda pixels: pixels[::-1]),
        ((0, 1, 1, 0), lambda pixels: pixels.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1)),
    ],
    ids=["none", "right", "half", "left", "mirrored", "upside-down", "transposed", "transversed"],
)
def test_frames_are_upright(tmp_path: Path, matrix: tuple[int, int, int, int], upright: object) -> None:
    path = write_video(tmp_path / "a.mp4", [scene(3)] * 3)
    set_display_matrix(path, *matrix)
    (file,) = write_key_frames(path, tmp_path / "out", "top")[:1]
    with Image.open(file) as image:
        shown = np.asarray(image, float)
    expected = upright(scene(3))
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).mean() < 8


@pytest.mark.slow
def test_a_video_is_never_held_in_memory(tmp_path: Path, rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (8, 240, 320, 3), dtype=np.uint8)
    path = write_video(tmp_path / "long.mp4", [noise[i % 8] for i in range(400)])  # 92 MB as RGB
    del noise
    tracemalloc.start()
    try:
        written = write_key_frames(path, tmp_path / "out", "top")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(written) == 50
    assert peak < 12e6


def test_frames_come_one_at_a_time_and_reading_ends_with_the_last_that_is_wanted(tmp_path: Path) -> None:
    path = write_cuts(tmp_path / "a.mp4", [], 60)
    seen = []

    def see(frame: av.VideoFrame, view: View) -> np.ndarray:
        seen.append(frame.pts)
        return np.zeros(0)

    frames = decoded_frames(path, see)
    next(frames)
    next(frames)
    assert len(seen) == 2
    frames.close()
    assert [number for number, *_ in decoded_frames(path, see, lambda number, _: number in (3, 9))] == [3, 9]
    assert len(seen) == 4


def _truncated(path: Path) -> None:
    content = write_cuts(path, [20], 60).read_bytes()
    path.write_bytes(content[: len(content) // 2])  # the index stood at its end


def _truncated_after_the_index(path: Path) -> None:
    frames = [scene(seed) for seed in range(60)]
    content = write_video(path, frames, codec="libx264", options={"movflags": "faststart"}).read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])


def _playlist(path: Path) -> None:
    write_cuts(path.with_name("other.mp4"), [], 10)
    os.chdir(path.parent)
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b""), r"empty \(0 bytes\)"),
        (lambda path: path.write_bytes(b"no video at all " * 1000), "no video, or damaged from its start"),
        (_truncated, r"an MP4 file without its index \(the moov box\)"),
        (_truncated_after_the_index, r"incomplete: it ends after 1\.[0-9]+ of 2\.40 s"),
        (lambda path: write_sound(path), "no video, only sound"),
        (lambda path: Image.new("RGB", (64, 48)).save(path, format="JPEG"), "no video, or damaged"),
        (lambda path: path.write_text("#EXTM3U\n#EXTINF:9,\nhttp://localhost/a.ts\n"), "no video, or damaged"),
        (_playlist, "no video, or damaged"),
    ],
    ids=["missing", "folder", "empty", "text", "truncated", "cut-off", "sound", "photo", "hls", "concat"],
)
def test_files_that_are_no_videos(tmp_path: Path, make: object, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.mp4"
    make(path)
    with pytest.raises(BadVideo, match=words) as error:
        write_key_frames(path, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_damage_of_any_kind_is_a_bad_video(tmp_path: Path, rng: np.random.Generator) -> None:
    whole = write_cuts(tmp_path / "a.mp4", [10], 20).read_bytes()
    for i in range(40):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            content[place] = rng.integers(256)
        path = tmp_path / f"{i}.mp4"
        path.write_bytes(content)
        with contextlib.suppress(BadVideo):
            assert key_frames(path)


def test_tags_that_are_no_utf8_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Geburtstag"
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(0), format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert b"Geburtstag" in content
    path.write_bytes(content.replace(b"Geburtstag", b"Gr\xfc\xdfe 2019"))
    assert len(frame_differences(path)) == 2


def test_the_cover_of_a_sound_file_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=44100)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value  # older PyAVs take the number alone
        frame = av.VideoFrame.from_ndarray(scene(0), format="rgb24")
        frame.pts = 0
        container.mux(cover.encode(frame))
        container.mux(cover.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 44100, 0
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with av.open(str(path)) as container:
        assert container.streams.video
    with pytest.raises(BadVideo, match="only sound"):
        key_frames(path)


def test_huge_frames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_cuts(tmp_path / "a.mp4", [], 5)
    monkeypatch.setattr(decoding, "MAX_FRAME_PIXELS", 64 * 48 - 1)
    with pytest.raises(BadVideo, match="frames of 64 x 48 pixels: more than 3,071"):
        key_frames(path)


def test_names_that_ffmpeg_would_misread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_cuts(tmp_path / "a.mp4", [], 5)
    for name in (b"concat:a.mp4", b"http:b.mp4", b"\xff.mp4", b"%03d.mp4"):
        os.rename(path, os.fsencode(tmp_path) + b"/" + name)
        path = Path(os.fsdecode(name))
        assert len(frame_differences(path)) == 4


def test_unknown_rules_and_folders_that_cannot_be_written(tmp_path: Path) -> None:
    path = write_cuts(tmp_path / "a.mp4", [], 5)
    with pytest.raises(UserError, match="unknown key_frames 'best': there are local_maxima, threshold, top"):
        key_frames(path, "best")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UserError, match="cannot write"):
        write_key_frames(path, tmp_path / "file")
