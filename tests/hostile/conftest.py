"""Scripts that something happens to, a Hub on loopback that fails as it is told, and a disk that is small; and at the
end of a run, how many hostile files each entry point met.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from checks import LEAST, Meeting
from faults import TOKEN, Disk, Do
from hub_server import HubServer

from ger_models.presets import build

HERE = Path(__file__).resolve().parent
CASES: dict[str, Counter[str]] = {}  # file of tests -> entry point -> cases that it met in this process


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests in this folder are slow, but for one that only reads a page."""
    for item in items:
        if item.path.parent == HERE and item.path.name != "test_reliability_page.py":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def running_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub"), token=TOKEN) as server:
        yield server


@pytest.fixture
def hub(running_hub: HubServer) -> HubServer:
    """The Hub that the scripts of `do` see, without faults; its repositories stay from test to test."""
    running_hub.faults.clear()
    running_hub.log.clear()
    return running_hub


@pytest.fixture(scope="session")
def do(running_hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Do]:
    """`do("prepare", ..., signal=9, after=GLOB)`: a script in a child of its own, see fault_driver.py."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": running_hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path_factory.mktemp("home"))}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "ACCELERATE_USE_CPU": "true"}
    environment |= {"PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    driver = subprocess.Popen(
        [sys.executable, HERE / "fault_driver.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    )  # fmt: skip
    assert driver.stdout.readline() == "ready\n"

    def call(*words: object, beside: tuple = (), **happens: object) -> dict:
        argv, other = ([str(word) for word in each] for each in (words, beside))
        print(json.dumps({"argv": argv, "beside": other, **happens}), file=driver.stdin, flush=True)
        told = json.loads(driver.stdout.readline())
        for each in (told, told.get("beside", told)):
            assert "Traceback" not in each["stderr"], each["stderr"]
            assert TOKEN not in each["stdout"] + each["stderr"]
        return told

    yield call
    driver.stdin.close()
    driver.wait(timeout=30)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small scene model, untrained."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    made, processor = build("densenet_emotic", ["Negative", "Neutral", "Positive"], overrides="backbone=test_resnet")
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of its own, and what changes its options; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.name != "posix"
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], capture_output=True).returncode
    ):
        pytest.skip("no right to mount a small disk here")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)

    yield place, remount
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Code that runs shows in the folder that the process works in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ended(
    here: Path, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> Callable[..., None]:
    """`ended(meeting, *folders)` fails with the meeting's failures, and counts its cases."""

    def end(meeting: Meeting, *folders: Path) -> None:
        count = meeting.end(*folders)
        CASES.setdefault(request.path.stem, Counter())[meeting.entry] += count
        record_property("hostile files", [request.path.stem, meeting.entry, count, len(meeting.refused)])

    return end


@pytest.fixture
def enough(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """`enough(tests)`: the file's tests met as many files as they must, unless only some of its tests ran."""

    def check(entries: int) -> None:
        met = CASES.get(request.path.stem, Counter())
        if len(met) < entries:
            pytest.skip("only some of the entry points were asked")
        assert sum(met.values()) >= LEAST[request.path.stem], met

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each entry point: its cases, and how many of them were refused."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    rows = [value for report in reports for name, value in report.user_properties if name == "hostile files"]
    cases: Counter[tuple[str, str]] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    for file, entry, count, no in rows:
        cases[file, entry] += count
        refused[file, entry] += no
    if not cases:
        return
    terminalreporter.write_sep("=", "hostile files")
    for file, entry in cases:
        kind = "parser" if file == "test_parsers" else "entry point"
        terminalreporter.write_line(f"{cases[file, entry]:6,} {refused[file, entry]:6,} refused  {kind} {entry}")
    parsed = sum(count for (file, _), count in cases.items() if file == "test_parsers")
    terminalreporter.write_line(f"{cases.total() - parsed:6,} for the entry points, {parsed:,} for the parsers alone")
