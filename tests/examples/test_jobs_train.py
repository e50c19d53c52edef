"""The self-contained script trains on a dataset of a Hub on loopback and pushes the probe there."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import HubServer

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "jobs_train.py"
TOKEN = "hf_testtokentesttoken"


def test_the_header_names_the_package_and_its_python() -> None:
    """PEP 723: a comment block of TOML, which uv reads."""
    text = SCRIPT.read_text(encoding="utf-8")
    (block,) = re.findall(r"^# /// script\n((?:# .*\n)+)# ///$", text, re.M)
    fields = dict(line.removeprefix("# ").split(" = ") for line in block.splitlines())
    assert ast.literal_eval(fields["dependencies"]) == ["group-emotion"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"requires-python = {fields['requires-python']}" in project


@pytest.mark.parametrize("pushed", [True, False])
def test_a_run_that_did_not_arrive_is_kept(
    pushed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace = runpy.run_path(str(SCRIPT))
    made = []

    def training(words: list[str]) -> None:
        run = Path(words[words.index("--output_dir") + 1])
        run.mkdir(parents=True)
        made.append(run)
        print(json.dumps({"pushed": pushed}))
        sys.exit(0)

    monkeypatch.setitem(namespace["train"].__globals__, "group_emotion", training)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["jobs_train.py", "--dataset", "me/sample", "--repo", "me/probe"])
    with pytest.raises(SystemExit) as stop:
        namespace["main"]()
    assert stop.value.code == (0 if pushed else 1)
    assert made[0].exists() is not pushed
    assert (f"{made[0]} was not pushed to me/probe" in capsys.readouterr().err) is not pushed


@pytest.mark.slow
def test_a_probe_goes_to_the_hub(starter: Path, drawn_raw: Path, run_script: Callable, tmp_path: Path) -> None:
    """Over vectors of the network that comes with the package, as no other weights are at hand."""
    prepared = ("--source", drawn_raw, "--output", tmp_path / "sample", "--face_features", f"mood={starter}")
    code, _, told = run_script("prepare", "--dataset", "sample", *prepared, "--num_proc", 1)
    assert code == 0, told
    shutil.copy(next(drawn_raw.rglob("*.jpg")), tmp_path / "party.jpg")
    with HubServer(tmp_path / "hub", token=TOKEN) as hub:
        hub.hold("datasets/me/sample", tmp_path / "sample")
        probe = ("--model", "scene_and_faces", "--config_overrides", "face_column=mood")
        options = (*probe, "--epochs", "1", "--batch_size", "9")
        command = [sys.executable, str(SCRIPT), "--dataset", "me/sample", "--repo", "me/probe", *options]
        environment = hub.environment(tmp_path / "home", PYTHONPATH=str(ROOT))
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=170)
        assert done.returncode == 0, done.stderr[-3000:]
        repo = hub.store.repos["models/me/probe"]
        files = hub.store.tree("models/me/probe", repo["refs"]["main"])
        card = (hub.store.blobs / files["README.md"]["sha256"]).read_text(encoding="utf-8")
        (example,) = re.findall(r"```python\n(.*?)```", card, re.S)
        command = [sys.executable, "-c", example]
        used = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert repo["private"]
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "metrics.json"} <= set(files)
    assert json.loads(done.stdout.splitlines()[-1])["pushed"] is True
    assert 'pipeline("group-emotion", model="me/probe")' in card
    assert 'answer("party.jpg")' in card, "the checkpoint names the encoder of its vectors, so that a photo is enough"
    assert used.returncode == 0, used.stderr[-3000:]
    assert used.stdout.count("'label'") == 1
    assert "- me/sample" in card
    assert "license: apache-2.0" in card
    assert "> **drawn test pattern" in card, "as the card of the dataset says"
    assert TOKEN not in done.stdout + done.stderr + card
