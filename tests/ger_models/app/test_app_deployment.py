"""The app elsewhere: as a Space, whose files run as they are, and by the steps of the Dockerfile."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hub_server import HubServer
from packaging.requirements import Requirement

pytest.importorskip("gradio", reason="the extra `app` is not installed")

from gradio_client import Client, handle_file

from ger_datasets.support.errors import UserError
from ger_models.sharing.space import write_space

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "hf_testtokentesttoken"


def happy(url: str, party: Path) -> bool:
    client = Client(url, verbose=False)
    return client.predict(photo=handle_file(str(party)), api_name="/photo")["label"] == "Positive"


def test_a_space_is_pushed_private_and_its_files_run(
    start_app: Callable, starter: Path, party: Path, tmp_path: Path
) -> None:
    with HubServer(tmp_path / "hub", token=TOKEN) as hub:
        command = [sys.executable, str(ROOT / "scripts" / "push.py"), "--space", "team/mood", "--model", "starter"]
        environment = {**hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        figures = json.loads(done.stdout.splitlines()[-1])
        assert figures["private"] is True
        assert figures["url"].endswith("/spaces/team/mood")
        code = (
            "from huggingface_hub import snapshot_download as d; d('team/mood', repo_type='space', local_dir='space')"
        )
        subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, timeout=100)
    space = tmp_path / "space"
    assert TOKEN not in done.stdout + done.stderr
    where = [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('ger_models').origin)"]
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(where, cwd=space, env=alone, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(space))
    options = {"PYTHONPATH": "", "GRADIO_SERVER_PORT": "0", "GRADIO_SERVER_NAME": "127.0.0.1"}
    with start_app(tmp_path / "app", script=space / "app.py", **options) as running:
        assert happy(running.url, party)


def test_the_files_of_a_space(tmp_path: Path) -> None:
    files = {path.relative_to(tmp_path).as_posix() for path in write_space(tmp_path, "team/model")}
    assert {"README.md", "app.py", "requirements.txt", "ger_models/starter/model.safetensors"} <= files
    assert not [name for name in files if "__pycache__" in name or name.endswith((".parquet", ".jpg"))]
    front = yaml.safe_load((tmp_path / "README.md").read_text("utf-8").split("---")[1])
    assert (front["sdk"], front["app_file"], front["models"]) == ("gradio", "app.py", ["team/model"])
    pinned = [Requirement(line) for line in (tmp_path / "requirements.txt").read_text().splitlines()]
    assert {"torch", "transformers", "pillow"} <= {requirement.name for requirement in pinned}
    assert all(re.search("[<=]=|<", str(requirement.specifier)) for requirement in pinned)
    compile((tmp_path / "app.py").read_text(), "app.py", "exec")
    for wrong in ("model", "../x", "a/b/c", "team/mo'del"):
        with pytest.raises(UserError):
            write_space(tmp_path, wrong)


def test_what_push_is_to_push_is_said(run_script: Callable) -> None:
    for words in ([], ["--dataset", "x"], ["--space", "a/b", "--repo", "a/b", "--dataset", "x"]):
        code, _, log = run_script("push", *words)
        assert code == 2
        assert "--dataset" in log


def steps() -> Iterator[tuple[str, str]]:
    """The instructions of the Dockerfile and their arguments, in order."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


def test_the_steps_of_the_dockerfile(start_app: Callable, starter: Path, party: Path, tmp_path: Path) -> None:
    """They are executed in order in a fresh folder; what pip would download is installed here already."""
    build, done, variables = tmp_path / "build", [], {}
    for name, rest in steps():
        done.append(name)
        if name == "ARG" or name == "ENV":
            variables.update(pair.split("=", 1) for pair in shlex.split(rest))
        elif name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                assert _is_sent(source), f"{source} is left out by .dockerignore"
                place = build / target / ("" if (ROOT / source).is_dir() else source)
                place.parent.mkdir(parents=True, exist_ok=True)
                ignored = shutil.ignore_patterns("__pycache__", "data", "frames")
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place, ignore=ignored)
                else:
                    shutil.copy(ROOT / source, place)
        elif name == "RUN" and rest.startswith("pip install") and " torch " in rest:
            assert "${TORCH_INDEX}" in rest
            assert "/cpu" in variables["TORCH_INDEX"]
        elif name == "RUN" and rest.startswith("pip install"):
            assert '".[app]"' in rest
            offline = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(tmp_path / "site"), "."]
            subprocess.run(
                [sys.executable, "-m", "pip", "install", "-q", *offline], cwd=build, check=True, timeout=100
            )
        elif name == "ENTRYPOINT":
            entry = json.loads(rest)
        elif name == "HEALTHCHECK":
            health = json.loads(rest[rest.index("[") :])
    assert done.index("USER") < done.index("ENTRYPOINT")
    assert done[0] == "FROM"
    assert entry[:2] == ["group-emotion", "app"]
    site = tmp_path / "site"
    script = tmp_path / "entry.py"
    script.write_text("from ger_datasets.support.commands import main\nmain()\n")
    more = {"PYTHONPATH": str(site)}
    with start_app(tmp_path / "app", *entry[1:], "--port", "0", script=script, **more) as running:
        local = re.sub(r"0\.0\.0\.0", "127.0.0.1", running.url)
        port = local.rpartition(":")[2]
        healthy = subprocess.run([sys.executable, *health[1:]], env={**os.environ, "PORT": port}, timeout=30)
        assert healthy.returncode == 0
        assert happy(local, party)
        assert "anyone who reaches 0.0.0.0" in running.log.read_text()
    assert subprocess.run(
        [sys.executable, *health[1:]], env={**os.environ, "PORT": port}, timeout=30, capture_output=True
    ).returncode


def _is_sent(source: str) -> bool:
    return f"!{source}" in (ROOT / ".dockerignore").read_text().split()
