"""Every preset goes to a Hub on loopback and comes back by from_pretrained as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer

from ger_models.presets import PRESETS

pytestmark = pytest.mark.slow

TOKEN = "hf_testtokentesttoken"


def test_every_preset_comes_back_from_the_hub(tmp_path: Path) -> None:
    here = Path(__file__).parent
    with HubServer(tmp_path / "hub", token=TOKEN) as hub:
        command = [sys.executable, str(here / "push_presets.py")]
        environment = hub.environment(tmp_path / "home")
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=170)
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(PRESETS, True)
        assert TOKEN not in done.stdout + done.stderr
