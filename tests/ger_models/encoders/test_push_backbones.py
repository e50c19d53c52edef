"""Scene models with backbones of transformers and of timm go to a Hub on loopback and come back as they were."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


def test_every_kind_of_backbone_comes_back_from_the_hub(tmp_path: Path) -> None:
    with HubServer(tmp_path / "hub", token="hf_testtokentesttoken") as hub:
        command = [sys.executable, str(Path(__file__).with_name("push_backbones.py"))]
        environment = hub.environment(tmp_path / "home", PYTHONPATH=str(ROOT))
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) > 10
    assert {name: checks for name, checks in found.items() if not all(checks)} == {}
