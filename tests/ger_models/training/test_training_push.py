"""A run goes to a Hub on loopback as it trains, and a connection that is lost costs nothing but the push."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import CLOSE, Fault, HubServer

from ger_datasets.support.errors import UserError
from ger_models.sharing import uploads
from ger_models.sharing.uploads import Uploads

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "hf_testtokentesttoken"
PUSHED = {
    "config.json", "model.safetensors", "preprocessor_config.json", "metrics.json", "recipe.yaml", "curves.png",
    "README.md",
}  # fmt: skip


def test_private_each_epoch_and_again_after_a_lost_connection(drawn_dataset: Path, tmp_path: Path) -> None:
    """One process that trains four times, so that the interpreter starts once."""
    script = """
import json, sys, time
import train
from ger_datasets.support.command_line import run
from ger_models.training import run_report
run_report.plot_curves = lambda *_: b"no picture"  # drawing takes half of the time
real = time.sleep
time.sleep = lambda seconds: real(min(seconds, 0.01))  # between the many tries
for words in json.loads(sys.argv[1]):
    try:
        run(train.main, train.Arguments, words)
    except SystemExit as stop:
        print(json.dumps({"code": stop.code}))
"""
    common = ["--model", "features_crossvit", "--dataset", str(drawn_dataset), "--epochs", "2", "--batch_size", "9"]
    runs = [
        [*common, "--output_dir", "one", "--push_to_hub", "me/one"],
        [*common, "--output_dir", "two", "--push_to_hub", "me/two", "--public"],
        [*common, "--output_dir", "lost", "--push_to_hub", "me/lost"],
        [*common, "--output_dir", "lost", "--push_to_hub", "me/back", "--resume"],
    ]
    with HubServer(tmp_path / "hub", token=TOKEN) as hub:
        hub.faults.append(Fault(r"\w+ /api/models/me/lost", CLOSE))
        command = [sys.executable, "-c", script, json.dumps(runs)]
        environment = hub.environment(tmp_path / "home", PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'scripts'}")
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=170)
        assert done.returncode == 0, done.stderr[-3000:]
        figures = [json.loads(line) for line in done.stdout.splitlines()]
        assert [each["code"] for each in figures if "code" in each] == [0, 0, 0, 0], done.stderr[-3000:]
        assert [each["pushed"] for each in figures if "pushed" in each] == [True, True, False, True]
        repos = hub.store.repos
        assert {name: repo["private"] for name, repo in repos.items() if "lost" not in name} == {
            "models/me/one": True, "models/me/two": False, "models/me/back": True,
        }  # fmt: skip
        for name in ("models/me/one", "models/me/back"):
            tree = hub.store.tree(name, repos[name]["refs"]["main"])
            assert set(tree) - {".gitattributes"} == PUSHED
    assert "was NOT pushed to me/lost" in done.stderr
    assert 'pipeline("group-emotion", model="me/one")' in (tmp_path / "one" / "README.md").read_text()
    assert TOKEN not in done.stdout + done.stderr
    assert json.loads((tmp_path / "lost" / "metrics.json").read_text())["finished"]
    assert not list(tmp_path.glob("*/.push_*"))
    for name in PUSHED - {"model.safetensors", "curves.png"}:
        assert str(tmp_path) not in (tmp_path / "one" / name).read_text()


@pytest.fixture
def run_files(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    for name in PUSHED:
        (tmp_path / name).write_text("first")
    return tmp_path


def test_training_does_not_wait(run_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pushed is what was there when the push began, however late it comes to read it."""
    gate, arrived = threading.Event(), []

    def slow(files: dict[str, Path], repo: str, kind: str, private: bool) -> dict:
        gate.wait(30)
        arrived.append({name: path.read_text() for name, path in files.items()})
        return {"url": repo}

    monkeypatch.setattr(uploads, "push_files", slow)
    pushing, began = Uploads("me/x", sorted(PUSHED)), time.monotonic()
    pushing.start(run_files)
    pushing.start(run_files)  # one is on its way: this one is left to the next epoch
    assert time.monotonic() - began < 5
    (run_files / "new").write_text("second")
    os.replace(run_files / "new", run_files / "metrics.json")
    gate.set()
    assert pushing.finish(run_files)
    assert [each["metrics.json"] for each in arrived] == ["first", "second"]
    assert set(arrived[0]) == PUSHED
    assert not list(run_files.glob(".push_*"))


def test_a_push_that_fails_is_a_warning(
    run_files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> Callable:
        raise UserError("the connection failed")

    monkeypatch.setattr(uploads, "push_files", fail)
    pushing = Uploads("me/x", sorted(PUSHED))
    pushing.start(run_files)
    assert not pushing.finish(run_files)
    assert "a push failed: the connection failed" in caplog.text


def test_the_end_of_a_run_does_not_wait_for_ever(
    run_files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()

    def silent(*_: object, **__: object) -> dict:
        gate.wait(60)
        return {"url": "me/x"}

    monkeypatch.setattr(uploads, "push_files", silent)
    monkeypatch.setattr(uploads, "PATIENCE_SECONDS", 0.1)
    pushing, began = Uploads("me/x", sorted(PUSHED)), time.monotonic()
    pushing.start(run_files)
    assert not pushing.finish(run_files)
    assert time.monotonic() - began < 10
    assert "was NOT pushed to me/x" in caplog.text
    gate.set()


def test_a_push_says_nothing_after_the_end_of_its_run(
    run_files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it would log to may be closed by then."""
    gate = threading.Event()

    def late(*_: object, **__: object) -> dict:
        gate.wait(60)
        raise UserError("too late")

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        monkeypatch.setattr(uploads, "push_files", late)
        monkeypatch.setattr(uploads, "PATIENCE_SECONDS", 0.1)
        pushing = Uploads("me/x", sorted(PUSHED))
        pushing.start(run_files)
        assert not pushing.finish(run_files)
        stream.close()
        gate.set()
        pushing.running.join(30)
        assert not pushing.running.is_alive()
    finally:
        logging.getLogger().removeHandler(handler)
    assert "Logging error" not in capsys.readouterr().err


def test_a_push_that_finds_no_room_is_a_warning(
    run_files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is pushed is set aside beside the run, for which a full disk has no room."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(uploads.os, "link", full)
    monkeypatch.setattr(uploads.shutil, "copy2", full)
    pushing = Uploads("me/x", sorted(PUSHED))
    pushing.start(run_files)
    assert not pushing.finish(run_files)
    assert "a push failed: " in caplog.text
    assert "No space left on device" in caplog.text
    assert not list(run_files.glob(".push_*"))
