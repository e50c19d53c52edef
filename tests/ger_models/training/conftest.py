"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest


@pytest.fixture
def drawn_curves() -> None:
    """For tests that look at `curves.png`; drawing it takes half of the time of the small trainings here."""


@pytest.fixture(autouse=True)
def quick_curves(request: pytest.FixtureRequest) -> Iterator[None]:
    """`curves.png` holds no picture, except in tests that ask for `drawn_curves`."""
    from ger_models.training import run_report

    with pytest.MonkeyPatch.context() as patch:
        if "drawn_curves" not in request.fixturenames:
            patch.setattr(run_report, "plot_curves", lambda *_: b"no picture")
        yield


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
