"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest


@pytest.fixture
def trained(load_script: Callable, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that were run, in this process instead of through the launcher."""
    from ger_datasets.support.command_line import run

    module, commands = load_script("train"), []

    def call(command: list[str], **_: object) -> SimpleNamespace:
        at = next(i for i, word in enumerate(command) if word.endswith("train.py"))
        commands.append(command[at + 1 :])
        with pytest.raises(SystemExit) as stop:
            run(module.main, module.Arguments, command[at + 1 :])
        return SimpleNamespace(returncode=stop.value.code)

    monkeypatch.setattr("subprocess.run", call)
    return commands
