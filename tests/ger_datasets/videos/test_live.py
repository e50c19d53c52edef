"""Cameras and streams -> their newest frames: loopback streams in three formats, a camera that is a file, losses."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from drawn_videos import number_in, numbered, write_numbered
from live_sources import Streams, streams

from ger_datasets.support.errors import UserError
from ger_datasets.videos import live
from ger_datasets.videos.decoding import BadVideo
from ger_datasets.videos.live import LiveFrames, live_source


@pytest.fixture
def server() -> Iterator[Streams]:
    with streams() as server:
        yield server


def watch(source: str, fps: float = 5, **options: object) -> LiveFrames:
    found = live_source(source)
    assert found is not None
    return LiveFrames(found, fps, **options)


FAST = {"preset": "ultrafast", "tune": "zerolatency", "g": "12"}
FORMATS = ["a.mp4", "a.ts", "photos"]


def add(server: Streams, name: str, folder: Path, length: int) -> str:
    """A stream of numbered frames, 25 per second, sent in its own time."""
    if name == "photos":
        server.add_photos("/photos", [numbered(number) for number in range(length)], 25)
    else:
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"} if name.endswith("mp4") else {}
        path = write_numbered(folder / name, length, codec_options=FAST, options=options)
        server.add_video(f"/{name}", path, length / 25)
    return server.address(f"/{name}")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_streams_are_watched_in_their_own_time(server: Streams, name: str, tmp_path: Path) -> None:
    began = time.monotonic()
    frames = watch(add(server, name, tmp_path, 50), 5)
    seen = list(frames)
    assert 1.5 < time.monotonic() - began < 8
    assert frames.problem == ""
    numbers = [number_in(frame.image) for frame in seen]
    assert numbers == sorted(set(numbers))
    assert 5 <= len(numbers) <= 11
    assert seen[0].seconds == 0
    if name != "photos":  # FFmpeg gives these the times of 25 per second, too, but collects some before it begins
        np.testing.assert_allclose([frame.seconds for frame in seen], (np.array(numbers) - numbers[0]) / 25, atol=0.4)
    assert np.diff([frame.seconds for frame in seen]).min() > 0


@pytest.mark.slow
def test_a_file_that_arrives_at_once_plays_in_its_own_time(server: Streams, tmp_path: Path) -> None:
    server.add_video("/a.mp4", write_numbered(tmp_path / "a.mp4", 50, options={"movflags": "faststart"}), 0)
    seen = list(watch(server.address("/a.mp4"), 4))
    numbers = [number_in(frame.image) for frame in seen]
    np.testing.assert_allclose([frame.seconds for frame in seen], np.array(numbers) / 25, atol=0.3)
    assert 5 <= len(numbers) <= 8


@pytest.mark.slow
def test_what_is_not_taken_in_time_is_skipped(server: Streams, tmp_path: Path) -> None:
    frames = watch(add(server, "a.ts", tmp_path, 25), 25)
    seen = []
    for frame in frames:
        seen.append(frame)
        time.sleep(0.25)
    assert len(seen) <= 5
    assert frames.skipped > 10
    assert frames._newest is None


@pytest.mark.slow
def test_it_stops_after_so_many_seconds_and_when_told(server: Streams, tmp_path: Path) -> None:
    source = live_source(add(server, "a.ts", tmp_path, 100))
    frames = LiveFrames(source, 5, seconds=1)
    seen = list(frames)
    assert 3 <= len(seen) <= 5
    assert frames.problem == ""
    stopped = threading.Event()
    frames = LiveFrames(source, 5, stopped=stopped)
    next(frames)
    stopped.set()
    assert list(frames) == []
    assert frames.problem == ""


@pytest.mark.slow
def test_a_stream_that_ends_early(server: Streams, tmp_path: Path) -> None:
    frames = watch(add(server, "a.ts", tmp_path, 25), 5, seconds=60)
    assert len(list(frames)) > 2
    assert frames.problem == "the stream ended before the 60 s were over, after 1 s"


@pytest.mark.slow
def test_a_stream_that_breaks_off(server: Streams, tmp_path: Path) -> None:
    address = add(server, "a.ts", tmp_path, 25)
    server.breaking.add("/a.ts")
    frames = watch(address, 5)
    assert len(list(frames)) > 2
    assert frames.problem == "the stream was closed, after 1 s"


@pytest.mark.slow
def test_a_stream_that_stalls(server: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PATIENCE", 2.0)
    address = add(server, "a.ts", tmp_path, 25)
    server.stalling.add("/a.ts")
    frames = watch(address, 5)
    began = time.monotonic()
    assert len(list(frames)) > 2
    assert time.monotonic() - began < 8
    assert frames.problem.startswith("no new picture for 2 s, after ")


@pytest.mark.slow
def test_a_stream_that_never_begins(server: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PATIENCE", 1.0)
    server.chunks["/silent"] = "video/mp4", 0.0, []
    server.stalling.add("/silent")
    with pytest.raises(BadVideo, match="no answer within 1 s"):
        next(watch(server.address("/silent"), 5))


def refused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp"])
def test_refused_connections_do_not_show_passwords(scheme: str) -> None:
    source = live_source(f"{scheme}://me:secret@127.0.0.1:{refused_port()}/secret?key=secret")
    with pytest.raises(BadVideo, match="the stream cannot be opened: Connection refused; check its address") as error:
        next(LiveFrames(source, 5))
    assert error.value.__cause__ is None
    shown = f"{error.value} {source.name} {source.stem} {source}"
    assert "secret" not in shown
    assert "me" not in source.name


def test_only_the_given_address_is_opened(server: Streams) -> None:
    """Neither redirections nor playlists are followed."""
    server.chunks["/list.m3u8"] = "application/vnd.apple.mpegurl", 0.0, [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + server.address("/elsewhere").encode() + b"\n"]  # fmt: skip
    for name in ("/moved", "/list.m3u8", "/missing"):
        with pytest.raises(BadVideo, match="the stream cannot be opened"):
            next(watch(server.address(name), 5))
    assert "/elsewhere" not in server.asked


@pytest.mark.slow
def test_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_numbered(tmp_path / "a.avi", 25, "mpeg4")
    opened = []
    monkeypatch.setattr(live, "open_camera", lambda number: (opened.append(number), av.open(str(path)))[1])
    seen = list(watch("1", 5))
    assert opened == [1]
    assert 3 <= len(seen) <= 6


def test_no_such_camera() -> None:
    with pytest.raises(BadVideo, match="there is no camera 987: found"):
        next(watch("987", 5))


def test_a_stream_of_sound_only(server: Streams, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.ts"), "w") as container:
        stream = container.add_stream("mp2", rate=44100)
        for number in range(40):
            frame = av.AudioFrame(format="s16", layout="stereo", samples=1152)
            frame.sample_rate, frame.pts = 44100, number * 1152
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    server.add_video("/a.ts", tmp_path / "a.ts", 0)
    with pytest.raises(BadVideo, match="it has no video that can be read"):
        next(watch(server.address("/a.ts"), 5))


@pytest.mark.parametrize(
    ("word", "name", "stem"),
    [
        ("0", "camera 0", "camera-0"),
        ("rtsp://10.0.0.7:554/user=me_password=secret.sdp", "rtsp://10.0.0.7:554", "10.0.0.7-554"),
        ("RTSPS://me:secret@[fe80::1]/x", "rtsps://fe80::1", "fe80-1"),
        ("https://example.org/cam?key=secret", "https://example.org", "example.org"),
    ],
)
def test_names(word: str, name: str, stem: str) -> None:
    source = live_source(word)
    assert (source.name, source.stem) == (name, stem)


def test_files_are_no_live_sources() -> None:
    for word in ("a.mp4", "./0", "0.mp4", "1234", "ftp://a/b", "C:\\a.mp4"):
        assert live_source(word) is None
    for word in ("rtsp://", "http:///a", "http://a:port/"):
        with pytest.raises(UserError, match="names no host"):
            live_source(word)
