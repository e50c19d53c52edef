"""Video files -> frames as players show them, with their times."""

from __future__ import annotations

import gc
import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from drawn_videos import (
    number_in,
    numbered,
    scene,
    set_display_matrix,
    write_coloured,
    write_combed,
    write_cuts,
    write_numbered,
    write_video,
)
from PIL import Image

from ger_datasets.videos.colors import to_srgb
from ger_datasets.videos.frames import (
    SUFFIXES,
    BadVideo,
    Frame,
    IncompleteVideo,
    frame_differences,
    key_frames,
    video_frames,
)

PQ, HLG, BT2020, BT709, P3 = 16, 18, 9, 1, 12  # numbers of ITU-T H.273


def intact(path: Path, every: int | None = 1) -> tuple[list[Frame], str]:
    """The frames, and why they are not all."""
    frames: list[Frame] = []
    try:
        for frame in video_frames(path, every):
            frames.append(frame)
    except IncompleteVideo as reason:
        return frames, str(reason)
    return frames, ""


def assert_numbered(frames: list[Frame], numbers: list[int], seconds: list[float], tolerance: float = 0.002) -> None:
    """Each frame has the number that is drawn into it, and its time."""
    assert [frame.number for frame in frames] == numbers
    assert [number_in(frame.image) for frame in frames] == numbers
    np.testing.assert_allclose([frame.seconds for frame in frames], seconds, atol=tolerance)


# Times and numbers

B_FRAMES = {"bf": "3", "b_strategy": "0", "b-adapt": "0"}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", B_FRAMES),
        ("a.mkv", "libx264", B_FRAMES),
        ("a.avi", "libx264", B_FRAMES),
        ("b.avi", "mpeg4", {"bf": "2"}),
        ("c.avi", "mpeg4", {}),
        ("a.ts", "libx264", B_FRAMES),
        ("a.mpg", "mpeg2video", {"bf": "2"}),
        ("a.vob", "mpeg2video", {"bf": "2"}),
        ("a.m2ts", "mpeg2video", {"bf": "2"}),
        ("a.wmv", "wmv2", {}),
        ("a.3gp", "mpeg4", {}),
        ("a.webm", "libvpx", {}),
    ],
)
def test_numbers_and_times(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = write_numbered(tmp_path / name, 60, codec, codec_options=options)
    numbers = list(range(0, 60, 7))
    assert_numbered(list(video_frames(path, 7)), numbers, [number / 25 for number in numbers])
    assert path.suffix in SUFFIXES | {".ts"}


def test_an_elementary_stream(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mpg", 40, "mpeg2video", codec_options={"bf": "2"}, format="mpeg2video")
    frames = list(video_frames(path, 5))
    assert_numbered(frames, list(range(0, 40, 5)), [number / 25 for number in range(0, 40, 5)])


def test_a_variable_frame_rate(tmp_path: Path) -> None:
    times = [number * 40 if number < 20 else 800 + (number - 20) * 170 for number in range(40)]
    path = write_numbered(tmp_path / "a.mkv", 40, milliseconds=times, codec_options=B_FRAMES)
    frames, incomplete = intact(path)
    assert_numbered(frames, list(range(40)), [time / 1000 for time in times])
    assert not incomplete


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov"])
def test_a_stream_that_starts_late(tmp_path: Path, name: str) -> None:
    path = write_numbered(tmp_path / name, 30, milliseconds=[2000 + 40 * number for number in range(30)])
    frames, incomplete = intact(path, 4)
    assert_numbered(frames, list(range(0, 30, 4)), [2 + number / 25 for number in range(0, 30, 4)])
    assert not incomplete


def test_missing_and_backward_timestamps_go_on_by_the_frame_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    from ger_datasets.videos.times import Clock

    class Any:
        def __init__(self, **values: object) -> None:
            self.__dict__.update(values)

    container = Any(format=Any(name="mov,mp4"), start_time=0)
    clock = Clock(container, Any(average_rate=Fraction(10), guessed_rate=None))  # type: ignore[arg-type]
    pts = [None, 100, 50, None, 100, 600, 600]
    seconds = [clock.seconds(Any(pts=each, time_base=Fraction(1, 1000))) for each in pts]  # type: ignore[arg-type]
    np.testing.assert_allclose(seconds, [0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7])


def test_a_recording_whose_clock_and_size_start_anew(tmp_path: Path) -> None:
    """Two transport streams in one file, as receivers write them: the times go on, and each frame has its own size."""
    first = write_numbered(tmp_path / "a.ts", 30, "mpeg2video")
    second = write_video(tmp_path / "b.ts", [scene(0, 320, 240)] * 30, codec="mpeg2video")
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    frames, _ = intact(path)
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert len(frames) >= 58
    assert np.all(np.diff([frame.seconds for frame in frames]) > 0)
    assert frames[-1].seconds < 3
    assert (frames[0].image.size, frames[-1].image.size) == ((160, 64), (320, 240))
    assert len(frame_differences(path)) == len(frames) - 1


# Pixels


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("a.mp4", "libx264", {"x264-params": "tff=1"}), ("a.mkv", "libx264", {"x264-params": "bff=1"}),
     ("a.mpg", "mpeg2video", {"flags": "+ildct+ilme"})],
)  # fmt: skip
def test_interlaced_frames(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    frames = list(video_frames(write_combed(tmp_path / name, codec, **options), 1))
    assert [frame.number for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(12) / 25, atol=0.002)
    for frame in frames[1:]:  # of the first, the filter does not know what moves
        levels = np.asarray(frame.image)[..., 1].astype(float)
        assert np.abs(2 * levels[1:-1] - levels[:-2] - levels[2:]).mean() < 1  # 24 with combs
        assert levels.max() > 200


def test_an_interlaced_video_of_one_frame(tmp_path: Path) -> None:
    path = write_combed(tmp_path / "a.mp4", length=1, **{"x264-params": "tff=1"})
    assert len(list(video_frames(path))) == len(list(video_frames(path, 1))) == 1


def test_interlaced_and_turned(tmp_path: Path) -> None:
    path = write_combed(tmp_path / "a.mp4", **{"x264-params": "tff=1"})
    set_display_matrix(path, 0, 1, -1, 0)
    assert {frame.image.size for frame in video_frames(path, 1)} == {(96, 128)}


@pytest.mark.parametrize(
    ("aspect", "size"),
    [(Fraction(64, 45), (91, 48)), (Fraction(1, 2), (64, 96)), (Fraction(2), (128, 48)), (Fraction(100), (64, 48))],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mpg"])
def test_pixels_that_are_not_square(tmp_path: Path, aspect: Fraction, size: tuple[int, int], suffix: str) -> None:
    if suffix == ".mpg" and aspect != Fraction(64, 45):
        pytest.skip("MPEG-2 has four aspect ratios of its own")
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg2video" if suffix == ".mpg" else "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3) if suffix == ".mpg" else aspect
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(scene(1), format="rgb24")))
        file.mux(stream.encode())
    (image,) = (frame.image for frame in video_frames(path))
    assert image.size == ((85, 48) if suffix == ".mpg" else size)
    expected = np.asarray(Image.fromarray(scene(1)).resize(image.size, Image.Resampling.BILINEAR), float)
    assert np.abs(np.asarray(image, float) - expected).mean() < 8


def test_stretched_and_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(scene(1), format="rgb24")))
        file.mux(stream.encode())
    set_display_matrix(path, 0, 1, -1, 0)
    (image,) = (frame.image for frame in video_frames(path))
    assert image.size == (48, 128)


COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [128, 128, 128], [230, 180, 150]], np.uint8)


def patches(levels: np.ndarray, height: int = 64) -> np.ndarray:
    """(height, 160, 3): five patches of the levels (5, 3)."""
    return levels.repeat(32, axis=0)[None].repeat(height, axis=0)


def shown(path: Path) -> np.ndarray:
    """(5, 3): the levels of the patches in the video's only key frame."""
    (image,) = (frame.image for frame in video_frames(path))
    return np.asarray(image, float)[image.height // 2, 16::32]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 5])
def test_ordinary_colours(tmp_path: Path, pix_fmt: str, full_range: bool, matrix: int) -> None:
    pixels = patches(COLOURS.astype(np.uint16) * 257)
    path = write_coloured(tmp_path / "a.mp4", pixels, pix_fmt, matrix, 1, 1, full_range)
    np.testing.assert_allclose(shown(path), COLOURS, atol=4)


def test_large_frames_that_do_not_name_their_matrix_are_bt709(tmp_path: Path) -> None:
    """As players take them; FFmpeg alone takes them for BT.601."""
    path, pixels = tmp_path / "a.mp4", patches(COLOURS.astype(np.uint16) * 257, height=720)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 720, "yuv420p"
        rgb = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
        frame = rgb.reformat(format="yuv420p", dst_colorspace=1)
        frame.colorspace = 2
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    np.testing.assert_allclose(shown(path), COLOURS, atol=4)


def srgb(light: np.ndarray) -> np.ndarray:
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def pq_codes(nits: np.ndarray) -> np.ndarray:
    powers = (nits / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * powers) / (1 + 2392 / 128 * powers)) ** (2523 / 32)


def hlg_codes(nits: np.ndarray) -> np.ndarray:
    """Of greys, on a display of 1,000 cd/m2."""
    scene_light = (nits / 1000) ** (1 / 1.2)
    logarithmic = 0.17883277 * np.log(np.maximum(12 * scene_light - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene_light <= 1 / 12, np.sqrt(3 * scene_light), logarithmic)


@pytest.mark.parametrize(("transfer", "codes"), [(PQ, pq_codes), (HLG, hlg_codes)], ids=["PQ", "HLG"])
def test_high_dynamic_range(tmp_path: Path, transfer: int, codes: object) -> None:
    """Greys up to 0.6 of the reference white are those of sRGB; brighter ones stay apart, and below 255."""
    light = np.array([0.05, 0.2, 0.5, 1.0, 4.0])
    levels = (codes(light * 203) * 65535).astype(np.uint16)[:, None].repeat(3, axis=1)
    path = write_coloured(tmp_path / "a.mp4", patches(levels), "yuv420p10le", BT2020, transfer, BT2020)
    found = shown(path)
    assert np.ptp(found, axis=1).max() <= 3, "greys stay grey"
    np.testing.assert_allclose(found[:3, 1], srgb(light[:3]), atol=4)
    assert found[2, 1] < 200 < 225 < found[3, 1] < found[4, 1] - 10 < 250


def test_high_dynamic_range_keeps_hues() -> None:
    """A skin tone of sRGB, coded in PQ with BT.2020's primaries, comes back; a bright one keeps its proportions."""
    to_2020 = np.linalg.inv([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    levels = np.array([200, 140, 110]) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    codes = [pq_codes(to_2020 @ light * 203 * factor) * 65535 for factor in (1, 8)]
    found = to_srgb(np.array([codes]).astype(np.uint16), PQ, BT2020)[0]
    np.testing.assert_allclose(found[0], levels * 255, atol=2)
    coded = found[1] / 255
    bright = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(bright / bright[0], light / light[0], atol=0.02)


@pytest.mark.parametrize("primaries", [BT2020, P3])
def test_wide_primaries_of_ordinary_range(tmp_path: Path, primaries: int) -> None:
    """The green of BT.2020 or P3 at half its light is more than sRGB's; greys stay."""
    levels = np.array([[128] * 3, [30] * 3, [230] * 3, [40, 128, 40], [128, 40, 40]], np.uint16) * 257
    path = write_coloured(tmp_path / "a.mp4", patches(levels), "yuv420p10le", BT709, 14, primaries)
    found = shown(path)
    np.testing.assert_allclose(found[:3], [[128] * 3, [30] * 3, [230] * 3], atol=4)
    assert found[3, 1] >= 129.5
    assert found[3, 0] < 10
    assert found[4, 0] > 137


def test_large_high_dynamic_range_frames_are_converted_in_strips(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 65536, (1100, 1000, 3), dtype=np.uint16)
    whole = to_srgb(pixels, HLG, BT2020)
    np.testing.assert_array_equal(whole[700:720], to_srgb(pixels[700:720], HLG, BT2020))


def test_frames_do_not_wait_for_the_garbage_collector(tmp_path: Path) -> None:
    """Of 1080p, hundreds would: a gigabyte that Python does not know of."""
    path = write_numbered(tmp_path / "a.mp4", 60)
    set_display_matrix(path, 0, 1, -1, 0)
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in video_frames(path, 1)) == 60
        assert sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects()) < 5
    finally:
        gc.enable()


# Missing ends and damage


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.webm", "libvpx", {}),
        ("a.mkv", "libx264", {}),
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mov", "mpeg4", {"movflags": "faststart"}),
        ("b.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.avi", "mpeg4", {}),
        ("a.flv", "flv", {}),
        ("a.mpg", "mpeg2video", {}),
        ("a.wmv", "wmv2", {}),
    ],
)
def test_a_file_that_was_cut_short(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    path = write_numbered(tmp_path / name, 100, codec, codec_options={"g": "10"}, options=options)
    assert intact(path)[1] == "", "a whole file is complete"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    frames, incomplete = intact(path)
    assert 20 < len(frames) < 80
    drawn = [number_in(frame.image) for frame in frames]
    # Between the last frames some may be missing: frames are stored in another order than they are shown
    assert drawn[:-3] == list(range(len(frames) - 3))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.array(drawn) / 25, atol=0.09)
    assert "incomplete: it ends after" in incomplete or "damaged" in incomplete
    if name in ("a.webm", "a.mp4"):
        assert "of 4.00 s" in incomplete
    assert len(frame_differences(path)) == len(frames) - 1
    keys, incomplete_too = intact(path, None)
    assert [frame.number for frame in keys] == key_frames(path)
    assert incomplete_too == incomplete


def test_a_file_that_was_cut_before_its_first_frame(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mkv", 100)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"\x1f\x43\xb6\x75") + 40])  # the first cluster begins, and no more
    with pytest.raises(
        BadVideo, match=r"^incomplete: it ends after 0\.\d\d of 4\.00 s, and no frame could be read$"
    ) as error:
        list(video_frames(path, 1))
    assert not isinstance(error.value, IncompleteVideo)


def test_sound_that_is_longer_than_the_video_is_no_missing_end(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.mp4"):
        with av.open(str(tmp_path / name), "w") as file:
            video = file.add_stream("libx264", rate=25)
            video.width, video.height, video.pix_fmt = 160, 64, "yuv420p"
            sound = file.add_stream("aac", rate=44100)
            for number in range(25):
                file.mux(video.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
            file.mux(video.encode())
            for number in range(130):  # three seconds
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts = 44100, number * 1024
                file.mux(sound.encode(silence))
            file.mux(sound.encode())
        frames, incomplete = intact(tmp_path / name)
        assert (len(frames), incomplete) == (25, "")


def test_damage_in_the_middle_gives_what_comes_before(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "a.mp4", 100, codec_options={"g": "10"}, options={"movflags": "faststart"})
    content = bytearray(path.read_bytes())
    middle = len(content) * 6 // 10
    content[middle : middle + 300] = b"\xff" * 300
    path.write_bytes(content)
    frames, incomplete = intact(path)
    assert 10 < len(frames) < 90
    assert "damaged after" in incomplete


def _without_index(content: bytes) -> bytes:
    return content[: content.index(b"moov") - 4]


def _damaged_index(content: bytes) -> bytes:
    return content.replace(b"trak", b"tr\xffk").replace(b"mvhd", b"xxxx")


def _index_of_noise(content: bytes) -> bytes:
    start = content.index(b"moov") + 4
    noise = np.random.default_rng(0).bytes(len(content) - start)
    return content[:start] + noise


@pytest.mark.parametrize(
    ("damage", "words"),
    [(_without_index, "without its index"), (_damaged_index, "damaged index"), (_index_of_noise, "damaged index")],
)
def test_an_mp4_with_a_damaged_index(tmp_path: Path, damage: object, words: str) -> None:
    path = write_cuts(tmp_path / "a.mp4", [10], 20)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadVideo, match=words):
        list(video_frames(path, 1))


# GIF and WebP


def write_animation(path: Path, length: int, milliseconds: int | list[int], **options: object) -> Path:
    first, *others = (Image.fromarray(numbered(number)) for number in range(length))
    first.save(path, save_all=True, append_images=others, duration=milliseconds, **options)
    return path


@pytest.mark.parametrize(("suffix", "options"), [(".gif", {}), (".webp", {"lossless": True}), (".webp", {})])
def test_animations(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    durations = [40 if number % 2 else 120 for number in range(20)]
    path = write_animation(tmp_path / f"a{suffix}", 20, durations, **options)
    starts = np.concatenate([[0], np.cumsum(durations)[:-1]]) / 1000
    assert_numbered(list(video_frames(path, 3)), list(range(0, 20, 3)), list(starts[::3]))
    assert len(frame_differences(path)) == 19
    assert suffix in SUFFIXES


def test_an_animation_by_another_name(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "a.gif", 5, 100).rename(tmp_path / "a.mp4")
    assert len(list(video_frames(path, 1))) == 5


def test_transparency_is_laid_on_white_and_frames_without_duration_last_a_tenth(tmp_path: Path) -> None:
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    other = image.copy()
    other.paste((255, 0, 0, 255), (0, 0, 16, 32))
    image.save(tmp_path / "a.gif", save_all=True, append_images=[other], disposal=2, duration=0)
    first, second = video_frames(tmp_path / "a.gif", 1)
    assert (second.seconds, second.image.getpixel((4, 4))) == (pytest.approx(0.1), (255, 0, 0))
    assert first.image.getpixel((4, 4)) == second.image.getpixel((20, 4)) == (255, 255, 255)


def test_a_cut_gif_gives_its_intact_part(tmp_path: Path, rng: np.random.Generator) -> None:
    noise = [Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)) for _ in range(20)]
    path = tmp_path / "a.gif"
    noise[0].save(path, save_all=True, append_images=noise[1:], duration=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, incomplete = intact(path)
    assert 7 <= len(frames) <= 11
    assert incomplete


def test_a_cut_webp_says_so(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "a.webp", 20, 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadVideo, match="its end is missing"):
        list(video_frames(path, 1))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_still_picture_is_no_video(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(numbered(3)).save(tmp_path / f"a{suffix}")
    with pytest.raises(BadVideo, match="a still picture, not a video: give it as a photo"):
        list(video_frames(tmp_path / f"a{suffix}", 1))


# Sizes


@pytest.mark.parametrize(("width", "height"), [(64, 8), (8, 64), (14, 14)])
def test_small_frames_are_refused_as_small_photos_are(tmp_path: Path, width: int, height: int) -> None:
    from ger_datasets.photos.reading import decode_photo
    from ger_datasets.support.errors import BadPhoto

    pixels = np.zeros((height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    with pytest.raises(BadPhoto) as photo:
        decode_photo(buffer.getvalue())
    paths = [write_video(tmp_path / "a.mp4", [pixels] * 3), tmp_path / "a.gif"]
    Image.fromarray(pixels).save(paths[1], save_all=True, append_images=[Image.fromarray(pixels + 9)])
    for path in paths:
        with pytest.raises(BadVideo) as video:
            list(video_frames(path, 1))
        assert str(video.value) == f"frames of {photo.value}"


def test_strips_are_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [np.zeros((16, 1024, 3), np.uint8)] * 2)
    with pytest.raises(BadVideo, match="frames of 1024 x 16 pixels: a strip, not a photo"):
        list(video_frames(path))
