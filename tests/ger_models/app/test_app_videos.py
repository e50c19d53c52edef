"""Videos through the app's API: answers equal those of `video_timeline`, and broken or hostile videos harm nobody."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from drawn_videos import write_cuts, write_sound, write_video

pytest.importorskip("gradio", reason="the extra `app` is not installed")

import httpx
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from ger_datasets.support.errors import UserError
from ger_datasets.videos.declared import declared
from ger_datasets.videos.frames import BadVideo
from ger_models.app import video_handlers
from ger_models.app.uploads import UploadFolder
from ger_models.app.video_handlers import check_fps, check_video
from ger_models.timeline.run import video_timeline

pytestmark = pytest.mark.slow

TABLES = {"timeline_csv": "timeline.csv", "segments_csv": "segments.csv", "people_csv": "people.csv"}


@pytest.fixture(scope="module")
def client(app: Any) -> Client:
    return Client(app.url, verbose=False)


def test_the_answer_equals_the_timelines(client: Client, meeting: Path, tmp_path: Path) -> None:
    own = video_timeline(meeting, tmp_path, fps=1, blur_faces=True, batch_size=video_handlers.FRAMES_AT_ONCE).folder
    got = client.predict(video=handle_file(str(meeting)), fps=1, blur_faces=True, api_name="/video")
    expected = json.loads((own / "timeline.json").read_text("utf-8"))
    values = json.loads(Path(got["timeline"]).read_text("utf-8"))
    for each in (expected, values):
        del each["settings"]["video"], each["settings"]["until"]
    assert values == expected
    for key in ("video", "label", "probability", "summary", "note", "incomplete", "start", "end", "segments"):
        assert got[key] == expected[key], key
    assert got["label"] == "Positive"
    assert len(got["segments"]) == 2
    assert [person["seconds_visible"] for person in got["people"]] == [
        person["seconds_visible"] for person in expected["people"]
    ]
    for key, name in TABLES.items():
        assert Path(got[key]).read_text("utf-8") == (own / name).read_text("utf-8")
    assert Path(got["page"]).read_text("utf-8") == (own / "timeline.html").read_text("utf-8")
    assert got["rendered"] is None


def test_a_rendered_video(client: Client, meeting: Path) -> None:
    got = client.predict(video=handle_file(str(meeting)), fps=1, render=True, api_name="/video")
    seen = declared(got["rendered"])
    assert (seen.width, seen.height) == (960, 840)
    assert seen.seconds == pytest.approx(12, abs=1.1)


def test_types_are_published(app: Any) -> None:
    video = httpx.get(f"{app.url}/gradio_api/info").json()["named_endpoints"]["/video"]
    answer = video["returns"][0]["type"]["properties"]
    assert answer["segments"]["items"]["properties"]["start"] == {"type": "number"}
    assert [parameter["parameter_name"] for parameter in video["parameters"]] == [
        "video", "model", "fps", "blur_faces", "render",
    ]  # fmt: skip


def _with_bytes(content: bytes) -> Callable[[Path, Path], Path]:
    def write(folder: Path, meeting: Path) -> Path:
        (folder / "odd.mp4").write_bytes(content)
        return folder / "odd.mp4"

    return write


def _large(folder: Path, meeting: Path) -> Path:
    return write_video(folder / "large.mp4", [np.zeros((2400, 4400, 3), np.uint8)] * 2)


def _half(folder: Path, meeting: Path) -> Path:
    (folder / "half.mp4").write_bytes(meeting.read_bytes()[: meeting.stat().st_size // 2])
    return folder / "half.mp4"


PLAYLIST = b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
BROKEN: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "no bytes": (_with_bytes(b""), "empty"),
    "text": (_with_bytes(b"hello" * 1000), "no video"),
    "a playlist of files of the machine": (_with_bytes(PLAYLIST), "no video"),
    "the beginning of an MP4": (_half, "moov"),
    "sound": (lambda folder, _: write_sound(folder / "sound.mp4"), "only sound"),
    "frames that need too much memory": (_large, "4400 x 2400 pixels"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_and_hostile_videos(case: str, client: Client, app: Any, meeting: Path, tmp_path: Path) -> None:
    make, words = BROKEN[case]
    with pytest.raises(AppError, match=words) as raised:
        client.predict(video=handle_file(str(make(tmp_path, meeting))), api_name="/video")
    assert "\n" not in str(raised.value)
    assert "root:" not in str(raised.value)
    assert app.process.poll() is None


@pytest.mark.parametrize(
    "options",
    [{"fps": 0}, {"fps": 11}, {"model": "../x"}, {"blur_faces": 2}, {"render": "yes"}],
)
def test_options_that_are_refused(options: dict[str, Any], client: Client, meeting: Path) -> None:
    with pytest.raises(AppError):
        client.predict(video=handle_file(str(meeting)), api_name="/video", **options)


def test_photos_do_not_wait_for_videos(app: Any, party: Path, meeting: Path) -> None:
    """Three long videos, of which two are at work; a photo is answered before any of them."""
    clients, ended = [Client(app.url, verbose=False) for _ in range(4)], list[str]()

    def video(client: Client) -> None:
        client.predict(video=handle_file(str(meeting)), fps=4, api_name="/video")
        ended.append("video")

    threads = [threading.Thread(target=video, args=(client,)) for client in clients[1:]]
    for thread in threads:
        thread.start()
    time.sleep(1)
    clients[0].predict(photo=handle_file(str(party)), api_name="/photo")
    ended.append("photo")
    for thread in threads:
        thread.join()
    assert ended == ["photo", "video", "video", "video"]


def test_nothing_is_left_outside_and_only_counts_were_logged(app: Any) -> None:
    """The last test with this app."""
    assert list(app.folder.iterdir()) == []
    assert [path.name for path in app.temporary.iterdir() if not path.name.startswith("group_emotion_")] == []
    assert app.odd_lines() == []
    memory = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{app.process.pid}/status").read_text())
    assert int(memory[1]) < 2 * 2**20  # kB: two videos and a photo at a time


def test_the_limits_of_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_cuts(tmp_path / "a.mp4", [], 30)
    assert check_video(video) == video_handlers.FRAMES_AT_ONCE
    assert check_video(write_video(tmp_path / "b.mp4", [np.zeros((2160, 3840, 3), np.uint8)])) == 1
    monkeypatch.setattr(video_handlers, "MAX_VIDEO_BYTES", 2**20)
    with open(video, "ab") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(BadVideo, match="larger than 1 MB"):
        check_video(video)
    for fps in (0, -1, 10.5, float("nan"), True, "2", None):
        with pytest.raises(UserError, match="above 0, at most 10"):
            check_fps(fps)


def test_one_video_with_large_frames_at_a_time(tmp_path: Path) -> None:
    """Two of them, with a decoder's 16 frames each, would take more than 2 GB."""
    large = write_video(tmp_path / "large.mp4", [np.zeros((2160, 3840, 3), np.uint8)])
    with UploadFolder() as folder:
        videos = video_handlers.VideoHandlers(None, folder)
        file = folder.new_folder() / "large.mp4"
        large.rename(file)
        upload = {"path": str(file), "meta": {"_type": "gradio.FileData"}}
        videos.models = SimpleNamespace(named=lambda name: "starter", frame_reader=lambda name: None)
        with videos._only_one(large=True), pytest.raises(UserError, match="another video with frames above"):
            videos.video(upload)
        assert videos._large.acquire(blocking=False)
