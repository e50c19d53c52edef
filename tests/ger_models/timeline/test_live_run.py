"""Cameras and streams -> timelines and a curve in the terminal: through the functions, and the two command lines."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_videos import scene
from live_sources import Streams, streams

from ger_datasets.sample.drawing import draw_photo
from ger_datasets.support.command_line import run
from ger_datasets.videos import live as sources
from ger_datasets.videos.decoding import BadVideo
from ger_datasets.videos.live import LiveFrames, live_source
from ger_models.timeline.live import ended_by_signals, live_timeline
from ger_models.timeline.options import Options
from ger_models.timeline.output.terminal import LiveLine
from ger_models.timeline.reading import FrameReader, FrameReading
from ger_models.timeline.record import ReadFrame

ROOT = Path(__file__).resolve().parents[3]
NAMES = ["Negative", "Neutral", "Positive"]


@pytest.fixture(scope="module")
def reader(starter: Path) -> FrameReader:
    return FrameReader()


@pytest.fixture
def server() -> Iterator[Streams]:
    """With `/room`: 2.4 seconds of three glad people, in its own time."""
    photo = np.asarray(draw_photo(np.random.default_rng(1), "Positive", 3, size=(320, 240))[0])
    with streams() as server:
        server.add_photos("/room", [photo] * 60, 25)
        yield server


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_the_timeline_of_a_stream(server: Streams, reader: FrameReader, tmp_path: Path) -> None:
    source = live_source(server.address("/room", "me:secret@"))
    shown: list[ReadFrame] = []
    found = live_timeline(source, tmp_path / "out", reader, Options(fps=4), show=shown.append)
    assert found.folder == tmp_path / "out" / f"127.0.0.1-{server.server_port}"
    assert found.summary.startswith("Positive 0.9")
    assert found.problem == ""
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "people.csv", "segments.csv", "timeline.csv", "timeline.html", "timeline.json"]  # fmt: skip
    curve = rows(found.folder / "timeline.csv")
    assert 3 <= len(curve) == len(shown) <= 10
    assert {row["faces"] for row in curve} == {"3"}
    assert len(rows(found.folder / "people.csv")) == 3
    assert b"secret" not in everything(tmp_path / "out")
    again = live_timeline(source, tmp_path / "out", reader, Options(fps=1), seconds=0.5)
    assert again.folder.name.endswith("-2"), "nothing is overwritten"


def test_a_source_without_a_picture_leaves_no_folder(server: Streams, reader: FrameReader, tmp_path: Path) -> None:
    for address in (server.address("/missing"), "987"):
        with pytest.raises(BadVideo):
            live_timeline(live_source(address), tmp_path / "out", reader, Options())
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_a_stream_that_is_lost_keeps_what_was_seen(
    server: Streams, reader: FrameReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PATIENCE", 2.0)
    server.stalling.add("/room")
    found = live_timeline(live_source(server.address("/room")), tmp_path, reader, Options())
    assert found.problem.startswith("no new picture for 2 s, after")
    assert "incomplete" in found.summary


def test_signals_end_once_and_act_as_usual_then() -> None:
    with ended_by_signals() as stopped:
        signal.raise_signal(signal.SIGINT)
        assert stopped.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def command(script: str, *words: object, cwd: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    call = [sys.executable, ROOT / "scripts" / f"{script}.py", *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(call, cwd=cwd, stdout=pipe, stderr=pipe, text=True, env=environment)


@pytest.mark.slow
def test_ctrl_c_writes_what_was_seen(server: Streams, starter: Path, tmp_path: Path) -> None:
    """A line each second where stderr is no terminal, and an end like any other."""
    kind, seconds, chunks = server.chunks["/room"]
    server.chunks["/room"] = kind, seconds, chunks * 50  # it would last for two minutes
    words = ("--videos", server.address("/room", "me:secret@"), "--device", "cpu")
    process = command("answer", *words, cwd=tmp_path)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if " faces" in line:
            process.send_signal(signal.SIGINT)
            break
    out, rest = process.communicate(timeout=60)
    log = "".join(lines) + rest
    assert process.returncode == 0, log
    assert "Positive 0." in log
    assert "\r" not in log
    name = f"http://127.0.0.1:{server.server_port}"
    line, figures = out.splitlines()
    assert line.startswith(f"{name}  Positive")
    (video,) = json.loads(figures)["videos"]
    assert video["file"] == name
    assert len(rows(tmp_path / video["folder"] / "timeline.csv")) >= 1
    assert "secret" not in out + log


@pytest.mark.slow
def test_both_commands_watch(
    server: Streams, starter: Path, run_script: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = server.address("/room")
    for script in ("answer", "predict"):
        options = ("--videos", address, "--seconds", 1, "--output_dir", script, "--device", "cpu", "--blur_faces")
        code, figures, log = run_script(script, *options)
        assert code == 0, log
        assert figures["videos"][0]["label"] == "Positive"
        assert figures["failed_videos"] == []
        assert Path(figures["videos"][0]["folder"], "timeline.html").exists()


@pytest.mark.parametrize("script", ["answer", "predict"])
def test_no_such_camera(
    script: str, starter: Path, load_script: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load_script(script)
    with pytest.raises(SystemExit) as stop:
        run(module.main, module.Arguments, ["--videos", "987", "--output_dir", str(tmp_path), "--device", "cpu"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "no video can be used, of 1: camera 987: there is no camera 987: found" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["answer", "predict"])
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--videos 0 a.mp4", "a camera or stream is watched alone, found 2 videos, among them camera 0"),
        ("--videos 0 --render", "--render needs a video file"),
        ("--videos 0 --seconds 0", "--seconds must be a number above 0"),
        ("--videos a.mp4 --seconds 3", "--seconds is for cameras and streams"),
        ("--videos rtsp://me:secret@", "names no host"),
        ("--videos 0 --smoothing mean", "unknown smoothing 'mean'"),
    ],
)
def test_what_does_not_fit(script: str, words: str, reason: str, run_script: Callable) -> None:
    code, _, log = run_script(script, *words.split(), "--output_dir", "none")
    assert code == 2
    assert reason in log
    assert "secret" not in log


# The curve in the terminal


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def read(seconds: float, shares: list[float], faces: int) -> ReadFrame:
    empty = np.zeros((faces, 4), np.float32)
    reading = FrameReading(np.array(shares), empty, np.zeros((faces, 7)), np.zeros((faces, 8)), empty)
    return ReadFrame(0, seconds, (64, 48), 0.0, reading)


@pytest.mark.parametrize("columns", [20, 60, 100, 200])
def test_a_terminal_shows_one_line(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    line = LiveLine(NAMES, 0, stream)
    for number in range(40):
        line.add(read(number / 2, [0.1, 0.2, 0.7], 3))
    line.add(read(20.0, [0.8, 0.2, 0.0], 1))
    line.end()
    *_, last = stream.getvalue().rstrip("\n").split("\r")
    assert stream.getvalue().count("\n") == 1
    assert all(len(each) < columns for each in stream.getvalue().rstrip("\n").split("\r"))
    assert last.startswith("0:20.0  Negative 0.80"[: columns - 1])
    if columns >= 100:
        assert "▇" in last
        assert last.rstrip().endswith("1 face")


def test_elsewhere_a_line_is_written_each_second() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    line = LiveLine(NAMES, 2, stream)
    for number in range(12):
        line.add(read(number / 4, [0.1, 0.2, 0.7], 3 if number < 5 else 0))
    line.end()
    lines = stream.buffer.getvalue().decode().splitlines()
    assert [each.split()[0] for each in lines] == ["0:00.0", "0:01.0", "0:02.0"]
    assert lines[0].endswith("3 faces")
    assert lines[2].endswith("no face")
    assert "Positive 0.70" in lines[2], "what was seen lately still counts"


def test_nothing_is_known_before_a_face_and_long_after() -> None:
    stream = Terminal()
    line = LiveLine(NAMES, 2, stream)
    line.add(read(0, [0.1, 0.2, 0.7], 0))
    assert "Positive   ?" in stream.getvalue()
    line.add(read(1, [0.1, 0.2, 0.7], 2))
    line.add(read(60, [0.1, 0.2, 0.7], 0))
    assert "Positive   ?" in stream.getvalue().split("\r")[-1]


@pytest.mark.slow
def test_memory_is_that_of_one_frame(server: Streams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody takes frames, no more than one of them is kept."""
    made: list[int] = []
    convert = sources.shown_pixels
    monkeypatch.setattr(sources, "shown_pixels", lambda *a: (made.append(1), convert(*a))[1])
    server.add_photos("/photos", [scene(number) for number in range(60)], 60)
    frames = LiveFrames(live_source(server.address("/photos")), 50)
    deadline = time.monotonic() + 10
    while frames._end is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(made) > 10
    assert len(list(frames)) == 1
    assert frames.skipped == len(made) - 1
