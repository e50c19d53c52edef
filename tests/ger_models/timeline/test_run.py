"""Drawn videos -> folders with timelines: tables, the page in a browser, interruptions, and videos that are odd."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import av
import numpy as np
import pytest
from browser import Browser, chromium
from drawn_videos import scene, write_numbered, write_sound, write_video
from PIL import Image

from ger_datasets.sample.drawing import draw_photo
from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.errors import UserError
from ger_datasets.videos.frames import BadVideo
from ger_models.timeline.options import VIDEO_OPTIONS
from ger_models.timeline.output import pictures
from ger_models.timeline.output.page import clock
from ger_models.timeline.output.pictures import Pictures
from ger_models.timeline.reading import FrameReader
from ger_models.timeline.record import Record
from ger_models.timeline.run import video_timeline

NAMES = ["Negative", "Neutral", "Positive"]
CHANGES = [8.0, 16.0]  # seconds at which the mood changes
CLICK = """{ const place = document.getElementById("time"), r = place.getBoundingClientRect();
  place.dispatchEvent(new MouseEvent("click", { clientX: r.left + r.width * %f, clientY: r.top + 80, bubbles: true }));
}"""
PRESS = "document.getElementById('curve').dispatchEvent(new KeyboardEvent('keydown', { key: '%s', bubbles: true }))"
SOURCE = "document.querySelector('#frame img').src"


def drawn(mood: str, seed: int) -> np.ndarray:
    return np.asarray(draw_photo(np.random.default_rng(seed), mood, 3, size=(320, 240))[0])


@pytest.fixture(scope="module")
def reader(starter: Path) -> FrameReader:
    return FrameReader()


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 seconds: eight of each mood."""
    frames = [each for mood, seed in (("Positive", 1), ("Neutral", 3), ("Positive", 5)) for each in
              [drawn(mood, seed)] * 200]  # fmt: skip
    return write_video(tmp_path_factory.mktemp("video") / "meeting.mp4", frames)


@pytest.fixture(scope="module")
def folder(meeting: Path, reader: FrameReader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return video_timeline(meeting, tmp_path_factory.mktemp("out"), reader, render=True).folder


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_changes_are_found_within_a_second(folder: Path) -> None:
    segments = rows(folder / "segments.csv")
    assert list(segments[0]) == ["start", "end", "label", "probability"]
    np.testing.assert_allclose([float(row["start"]) for row in segments[1:]], CHANGES, atol=1)
    assert [row["label"] for row in segments] == ["Positive", "Neutral", "Positive"]


def test_the_tables(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "people.csv",
        "segments.csv",
        "timeline.csv",
        "timeline.html",
        "timeline.json",
        "timeline.mp4",
    ]
    curve = rows(folder / "timeline.csv")
    assert list(curve[0]) == ["seconds", *NAMES, "faces"]
    assert len(curve) == 48
    assert all(abs(sum(float(row[name]) for name in NAMES) - 1) < 1e-4 for row in curve)
    assert {row["faces"] for row in curve} == {"3"}
    people = rows(folder / "people.csv")
    wanted = ["person", "first_seconds", "last_seconds", "seconds_visible", "expression", *EXPRESSIONS]
    assert list(people[0]) == wanted
    assert [row["person"] for row in people] == [str(number) for number in range(1, 10)]
    values = json.loads((folder / "timeline.json").read_text())
    assert values["label"] == "Positive"
    assert len(values["lower"]["Neutral"]) == len(values["seconds"]) == 48
    np.testing.assert_allclose(values["cuts"], CHANGES, atol=0.5)


def test_the_rendered_video_plays_in_the_video_s_time(folder: Path) -> None:
    with av.open(str(folder / "timeline.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) == 48
    assert times[-1] == pytest.approx(23.5, abs=0.1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("no Chromium here: the page is not looked at in a browser")
    opened = Browser(program)
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1100, 390])
def test_the_frame_of_a_chosen_moment_is_shown(browser: Browser, folder: Path, width: int) -> None:
    browser.errors.clear()
    browser.open(folder / "timeline.html", width=width)
    first = browser.value(SOURCE)
    assert browser.value("document.documentElement.scrollWidth") == width
    browser.value(CLICK % 0.5)
    assert browser.value("document.getElementById('readout').textContent").startswith("0:12.0 · 3 faces")
    assert browser.value(SOURCE) != first
    assert browser.value("document.querySelectorAll('#frame div').length") == 3
    browser.value(PRESS % "Home")
    assert browser.value(SOURCE) == first
    browser.value(PRESS % "ArrowRight")
    assert browser.value("document.getElementById('curve').getAttribute('aria-valuenow')") == "1"
    browser.value("document.querySelectorAll('[data-seconds]')[2].click()")
    assert "Positive" in browser.value("document.getElementById('curve').getAttribute('aria-valuetext')")
    assert browser.errors == []


class Stopping:
    """A reader that is interrupted after some batches."""

    def __init__(self, reader: FrameReader, batches: int) -> None:
        self.reader, self.batches, self.frames = reader, batches, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.reader, name)

    def read(self, images: list[Image.Image]) -> object:
        if self.batches == 0:
            raise KeyboardInterrupt
        self.batches -= 1
        self.frames += len(images)
        return self.reader.read(images)


@pytest.mark.slow
def test_an_interrupted_run_continues(
    meeting: Path, folder: Path, reader: FrameReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ger_models.timeline.run.FrameReader", Stopping)
    with pytest.raises(KeyboardInterrupt):
        video_timeline(meeting, tmp_path, Stopping(reader, 2), render=True)
    unfinished = tmp_path / "meeting" / ".unfinished" / "frames.jsonl"
    with open(unfinished, "ab") as file:
        file.write(b'{"number": 99, "sec')  # a line that was being written
    rest = Stopping(reader, 9)
    assert video_timeline(meeting, tmp_path, rest, render=True).folder == tmp_path / "meeting"
    assert rest.frames == 48 - 16
    for name in ("timeline.csv", "segments.csv", "people.csv", "timeline.html", "timeline.json"):
        assert (tmp_path / "meeting" / name).read_bytes() == (folder / name).read_bytes(), name
    again = Stopping(reader, 0)
    assert video_timeline(meeting, tmp_path, again, render=True).summary.startswith("Positive"), "it is finished"


def test_videos_of_one_name_get_folders_of_their_own(reader: FrameReader, tmp_path: Path) -> None:
    videos = [write_video(tmp_path / name / "a.mp4", [drawn("Positive", 1)] * 25) for name in ("x", "y")]
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "own.txt").write_text("of the user")
    found = [video_timeline(video, tmp_path / "out", reader).folder.name for video in videos]
    assert found == ["a-2", "a-3"]
    assert [path.name for path in (tmp_path / "out" / "a").iterdir()] == ["own.txt"]


def test_a_video_without_faces(reader: FrameReader, tmp_path: Path) -> None:
    found = video_timeline(write_video(tmp_path / "a.mp4", [scene(1)] * 100), tmp_path, reader)
    assert found.summary == "no face found in 4 s: nothing is known"
    assert {tuple(row[name] for name in NAMES) for row in rows(found.folder / "timeline.csv")} == {("", "", "")}
    assert rows(found.folder / "people.csv") == []


def test_a_video_of_one_frame(reader: FrameReader, tmp_path: Path) -> None:
    found = video_timeline(write_video(tmp_path / "a.mp4", [drawn("Positive", 1)]), tmp_path, reader, render=True)
    assert found.summary == "Positive 0.99 over 0 s: 1 segment, 3 people"


def test_a_video_of_ten_hours_with_a_variable_frame_rate(reader: FrameReader, tmp_path: Path) -> None:
    """A picture each ten minutes, and ten in the last second: memory and work are those of the pictures there are."""
    times = [600_000 * number for number in range(60)] + [36_000_000 + 100 * number for number in range(10)]
    path = write_numbered(tmp_path / "day.mkv", 70, milliseconds=times)
    found = video_timeline(path, tmp_path / "out", reader, fps=2)
    seconds = [float(row["seconds"]) for row in rows(found.folder / "timeline.csv")]
    np.testing.assert_allclose(seconds, [*range(0, 36001, 600), 36000.5], atol=0.01)
    assert "0:00.0 – 10:10:00.5" in (found.folder / "timeline.html").read_text()


def test_a_video_whose_frames_change_their_size(reader: FrameReader, tmp_path: Path) -> None:
    photo = drawn("Positive", 1)
    parts = [write_video(tmp_path / "1.ts", [photo] * 50, codec="mpeg2video"),
             write_video(tmp_path / "2.ts", [np.ascontiguousarray(photo[::-1, ::-1][:120, :160])] * 50,
                         codec="mpeg2video")]  # fmt: skip
    (tmp_path / "a.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    found = video_timeline(tmp_path / "a.ts", tmp_path / "out", reader, render=True, blur_faces=True)
    assert len(rows(found.folder / "timeline.csv")) >= 4
    assert set(map(tuple, sizes_on_the_page(found.folder))) == {(320, 240), (160, 120)}
    with av.open(str(found.folder / "timeline.mp4")) as container:
        assert len({(frame.width, frame.height) for frame in container.decode(video=0)}) == 1


def sizes_on_the_page(folder: Path) -> list[list[int]]:
    """The sizes of the frames on a page."""
    page = (folder / "timeline.html").read_text()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    return [[each["width"], each["height"]] for each in data["pictures"]]


def test_predict_writes_timelines_with_the_same_options(
    reader: FrameReader, tmp_path: Path, run_script: Callable, load_script: Callable
) -> None:
    for name in ("a/talk.mp4", "b/talk.mp4"):
        write_video(tmp_path / "videos" / name, [drawn("Positive", 1)] * 25)
    (tmp_path / "videos" / "notes.txt").write_text("no video")
    options = (
        "--output_dir",
        tmp_path / "out",
        "--device",
        "cpu",
        "--render",
        "--blur_faces",
        "--min_face_pixels",
        24,
    )
    code, figures, log = run_script("predict", "--videos", tmp_path / "videos", *options)
    assert code == 0, log
    assert [each["file"] for each in figures["videos"]] == ["a/talk.mp4", "b/talk.mp4"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["talk", "talk-2"]
    assert (tmp_path / "out" / "talk" / "timeline.mp4").exists()
    values = json.loads((tmp_path / "out" / "talk" / "timeline.json").read_text())["settings"]
    assert (values["blur_faces"], values["min_face_pixels"], values["fps"]) == (True, 24, 2.0)
    for script in ("answer", "predict"):
        assert {field.name for field in fields(load_script(script).Arguments)} >= set(VIDEO_OPTIONS)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--videos a.mp4 --output a.parquet --render", "--render is for --videos with --output_dir"),
        ("--photos a.jpg --output_dir a --smooth 3", "--smooth is for --videos with --output_dir"),
        ("--videos a.mp4 --output_dir a --every 3", "timelines of one model, by --fps; found --every"),
        ("--videos a.mp4 --output_dir a --model x y", "timelines of one model, by --fps; found 2 models"),
        ("--videos 0 --output a.parquet", "a camera or stream needs --output_dir"),
    ],
)
def test_what_predict_refuses(words: str, reason: str, run_script: Callable) -> None:
    code, _, log = run_script("predict", *words.split())
    assert code == 2
    assert reason in log


def test_the_intact_part_of_a_truncated_video(reader: FrameReader, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", [each for seed in range(4) for each in [drawn("Positive", 1 + seed)] * 50])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = video_timeline(path, tmp_path, reader)
    assert "incomplete video: " in found.summary
    assert found.problem
    assert found.problem in (found.folder / "timeline.html").read_text()
    assert json.loads((found.folder / "timeline.json").read_text())["incomplete"] == found.problem


def test_files_without_a_video_leave_no_folder(reader: FrameReader, tmp_path: Path) -> None:
    with pytest.raises(BadVideo, match="only sound"):
        video_timeline(write_sound(tmp_path / "a.mp4"), tmp_path / "out", reader)
    with pytest.raises(BadVideo, match="No such file"):
        video_timeline(tmp_path / "b.mp4", tmp_path / "out", reader)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"fps": 0}, {"fps": float("nan")}, {"smooth": -1}, {"method": "mean"}], ids=lambda wrong: str(wrong)
)
def test_wrong_options(wrong: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must be|unknown smoothing"):
        video_timeline(tmp_path / "a.mp4", tmp_path, **wrong)


def test_faces_are_blurred_in_all_pictures(reader: FrameReader, tmp_path: Path) -> None:
    image = Image.fromarray(drawn("Positive", 1))
    boxes = reader.read([image])[0].hidden_boxes
    kept = []
    for hide in (False, True):
        (tmp_path / str(hide)).mkdir()
        store = Pictures(tmp_path / str(hide), hide)
        store.offer(0, image, boxes)
        kept.append(np.asarray(Image.open(io.BytesIO(store.read()[0])), float))
    assert len(boxes) == 3
    for left, top, right, bottom in boxes.astype(int):
        sharp, blurred = (np.abs(np.diff(each[top:bottom, left:right], axis=1)).mean() for each in kept)
        assert blurred < sharp / 2


def test_the_number_of_pictures_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PICTURES", 8)
    store = Pictures(tmp_path)
    for number in range(100):
        store.offer(number, Image.new("RGB", (32, 24)), np.zeros((0, 4)))
        assert len(store.read()) <= 8
    assert list(store.read()) == [0, 16, 32, 48, 64, 80, 96]


def test_a_record_of_other_settings_is_begun_anew(tmp_path: Path) -> None:
    record = Record(tmp_path / "a.jsonl", {"fps": 2})
    record.end("damaged")
    assert Record(tmp_path / "a.jsonl", {"fps": 2}).problem == "damaged"
    assert Record(tmp_path / "a.jsonl", {"fps": 3}).problem is None
    assert clock(59.96) == "1:00.0"


def test_the_starter_as_the_model_reads_faces_once(reader: FrameReader, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [Image.fromarray(each) for each in (drawn("Positive", 1), scene(1, 320, 240), drawn("Neutral", 3))]
    once = reader.read(images)
    monkeypatch.setattr(reader, "_seen_by_model", lambda *_: None)
    for first, second in zip(once, reader.read(images), strict=True):
        np.testing.assert_allclose(first.expressions, second.expressions, atol=1e-5)
        np.testing.assert_allclose(first.embeddings, second.embeddings, atol=1e-4)
