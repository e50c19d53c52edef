"""What the tests of training share."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
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


@pytest.fixture(scope="session")
def start_child() -> Callable[[Callable[[], object], Path], int]:
    """`start_child(job, log)`: the id of a child of this process that does the job and writes what it says to `log`.

    It ends with the exit code of the job's SystemExit, 0 without one, or 1 after another error.
    """

    def start(job: Callable[[], object], log: Path) -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            sys.stdout = sys.stderr = open(log, "a", buffering=1)  # noqa: SIM115 - until the child's end
            os.dup2(sys.stdout.fileno(), 1)
            os.dup2(sys.stdout.fileno(), 2)
            job()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:  # noqa: BLE001 - the child may not go on with the parent's tests
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    return start


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
