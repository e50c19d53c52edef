"""The app as a process of its own, in an empty folder and with a temporary folder of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from drawn_videos import write_video

from ger_datasets.sample.drawing import draw_photo

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "app.py"
SECONDS = 120  # that the start may take
USUAL_LINES = (
    "loading the model and the page",
    r"(photos|videos) answered: \d+; not usable: \d+",
    r"a request failed: \w+ at \w+:\d+",
)


@dataclass
class Running:
    """An app that runs."""

    url: str
    process: subprocess.Popen
    folder: Path  # empty; the app's current folder
    temporary: Path  # the system's folder of temporary files, as the app sees it
    log: Path

    def odd_lines(self) -> list[str]:
        """What was logged besides the start, counts, and the kinds and places of failures."""
        lines = [line for line in self.log.read_text().splitlines() if not line.startswith("open http")]
        return [line for line in lines if not re.fullmatch("|".join(USUAL_LINES), line)]


@contextmanager
def running_app(
    place: Path, *options: str, script: Path = ROOT / "scripts" / "app.py", **more: str
) -> Iterator[Running]:
    """The app while a `with` block lasts."""
    folder, temporary, log = place / "current", place / "temporary", place / "log"
    folder.mkdir(parents=True)
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "HF_HUB_OFFLINE": "1", **more}
    with open(log, "w") as opened:
        process = subprocess.Popen(
            [sys.executable, str(script), *options],
            cwd=folder, env=environment, stdout=opened, stderr=opened, start_new_session=True,
        )  # fmt: skip
    try:
        end, found = time.monotonic() + SECONDS, None
        while found is None and process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
            found = re.search(r"^open (http\S+)/ in a browser", log.read_text(), re.M)
        assert found, log.read_text()[-3000:]
        yield Running(found[1], process, folder, temporary, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def start_app() -> Callable:
    """`running_app`; the test is skipped where Gradio is not installed."""
    pytest.importorskip("gradio", reason="the extra `app` is not installed")
    return running_app


@pytest.fixture(scope="module")
def app(start_app: Callable, starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The app with the model that comes with the package."""
    with start_app(tmp_path_factory.mktemp("app"), "--port", "0", "--device", "cpu") as running:
        yield running


@pytest.fixture(scope="session")
def party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn photo, party.jpg, in which the package's model finds happy faces."""
    file = tmp_path_factory.mktemp("photos") / "party.jpg"
    draw_photo(np.random.default_rng(0), "Positive", 4)[0].save(file)
    return file


@pytest.fixture(scope="session")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn video, meeting.mp4, of 12 seconds: eight happy ones, then four of another mood."""
    frames = []
    for mood, seed, seconds in (("Positive", 1, 8), ("Neutral", 3, 4)):
        image = draw_photo(np.random.default_rng(seed), mood, 3, size=(320, 240))[0]
        frames += [np.asarray(image)] * (25 * seconds)
    return write_video(tmp_path_factory.mktemp("videos") / "meeting.mp4", frames)
