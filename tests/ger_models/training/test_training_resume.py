"""Runs that are stopped and go on: killed, interrupted, with a full disk, with damaged checkpoints."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from torch import nn

from ger_datasets.support.errors import UserError
from ger_models.training import run_folder
from ger_models.training.optimization import make_optimizer
from ger_models.training.recipe import Recipe
from ger_models.training.run_folder import Position, RunFolder
from ger_models.training.weight_averaging import MovingAverage

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
OPTIONS = ("--epochs", "2", "--batch_size", "4")


MODELS = (
    "features_crossvit --epochs 4 --batch_size 4 --gradient_accumulation 2",
    # random crops and flips, dropout, averaged weights, batch statistics
    "densenet_emotic --epochs 2 --batch_size 4 --recipe modern --initial_weights random "
    "--config_overrides backbone=test_resnet,dropout=0.3",
)


def test_killed_at_random_moments(drawn_dataset: Path, tmp_path: Path) -> None:
    """The weights are to the bit those of a run that nobody disturbed, and so is the history."""
    command = [sys.executable, HERE / "kill_train.py", drawn_dataset, tmp_path, "2", *MODELS]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=170)
    assert done.returncode == 0, done.stderr[-3000:]
    for line in done.stdout.splitlines():
        told = json.loads(line)
        logs = "".join(path.read_text() for path in Path(told["folder"]).glob("*.log"))
        assert told["codes"] == [0, *[-signal.SIGKILL] * 2, 0], logs[-3000:]
        assert any(batch for _, batch, _ in told["places"]), "no kill came amid an epoch"
        runs = [Path(told["folder"]) / name for name in ("undisturbed", "killed")]
        assert len({(run / "model.safetensors").read_bytes() for run in runs}) == 1
        newest = [max((run / "checkpoints").glob("checkpoint_*")) for run in runs]
        assert len({(path / "model.safetensors").read_bytes() for path in newest}) == 1, "the last epoch's differ"
        histories = [json.loads((run / "metrics.json").read_text())["history"] for run in runs]
        assert histories[0] == histories[1]


class World:
    """A model of one layer in a run's folder."""

    def __init__(self, path: Path, keep: int = 2) -> None:
        self.accelerator = Accelerator()
        self.folder = RunFolder(path, self.accelerator, keep)
        torch.manual_seed(0)
        self.model = nn.Linear(4, 2)
        self.optimizer = make_optimizer(self.model, **vars(Recipe("adamw", 0.1, 1, 1)))
        self.average = MovingAverage(self.model, 0.9)

    def step(self) -> None:
        self.model(torch.ones(3, 4)).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update(1)

    def save(self, **position: int) -> None:
        self.folder.save(Position(**position), self.model, self.optimizer, self.average)

    def load(self) -> Position | None:
        return self.folder.load(self.model, self.optimizer, self.average)

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.folder.path / "checkpoints").iterdir())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "run")
    with world.folder.begin({"model": "m"}, "epochs: 1\n", resume=False):
        yield world


def test_the_last_checkpoints_stay(world: World) -> None:
    for step in range(1, 5):
        world.step()
        world.save(step=step)
    assert world.names() == ["checkpoint_000003", "checkpoint_000004"]
    weight = world.model.weight.detach().clone()
    other = World(world.folder.path)
    assert other.load().step == 4
    assert torch.equal(other.model.weight, weight)
    for each in (world, other):
        each.step()
    assert torch.equal(other.model.weight, world.model.weight), "the optimizer's state is part of it"
    assert torch.equal(other.average.average["weight"], world.average.average["weight"])
    world.save(step=5)
    assert world.names() == ["checkpoint_000004", "checkpoint_000005"]


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "unsealed", "nonsense"])
def test_damaged_checkpoints_are_passed_over(world: World, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    for step in (1, 2):
        world.step()
        world.save(step=step)
    newest = world.folder.path / "checkpoints" / "checkpoint_000002"
    file = newest / "optimizer.pt"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    elif damage == "flip":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "gone":
        file.unlink()
    elif damage == "unsealed":
        (newest / "whole.json").unlink()
    else:
        (newest / "whole.json").write_text("[1, 2")
    assert world.load().step == 1
    assert "skipping the checkpoint checkpoint_000002" in caplog.text
    shutil.rmtree(world.folder.path / "checkpoints" / "checkpoint_000001")
    assert world.load() is None


def test_a_checkpoint_is_not_unpickled(world: World, tmp_path: Path) -> None:
    """One that asks for more than tensors is refused, and what it asks for does not happen."""
    world.step()
    world.save(step=1)
    newest = world.folder.path / "checkpoints" / "checkpoint_000001"

    class Evil:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    torch.save({"optimizer": Evil()}, newest / "optimizer.pt")
    (newest / "whole.json").unlink()
    run_folder._seal(newest)
    with pytest.raises(Exception, match="Weights only load failed"):
        world.load()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("at", ["model", "optimizer", "seal", "rename"])
def test_a_disk_that_fills_up(world: World, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.step()
    world.save(step=1)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refuse(error: Exception) -> Callable:
        def call(*arguments: object, **options: object) -> None:
            raise error

        return call

    if at == "model":  # as safetensors tells it
        error = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        monkeypatch.setattr(run_folder, "save_file", refuse(error))
    elif at == "optimizer":  # as torch tells it
        error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")
        monkeypatch.setattr(torch, "save", refuse(error))
    elif at == "seal":
        monkeypatch.setattr(run_folder, "to_disk", refuse(full))
    else:
        monkeypatch.setattr(run_folder.os, "replace", refuse(full))
    with pytest.raises(UserError, match=r"cannot be written .* MB free\).* are kept"):
        world.save(step=2)
    monkeypatch.undo()
    assert world.names() == ["checkpoint_000001"]
    assert world.load().step == 1


def test_a_full_disk_for_real(run_script: Callable, drawn_dataset: Path, tmp_path: Path) -> None:
    """A limit on file sizes stands in for a small disk: writing fails in the middle of a file."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        code, figures, log = run_script(
            "train", "--model", "features_crossvit", "--dataset", drawn_dataset, "--output_dir", tmp_path / "run",
            *OPTIONS,
        )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (code, figures) == (2, None)
    errors = [line for line in log.replace("\r", "\n").splitlines() if "error: " in line]
    assert len(errors) == 1
    assert "cannot be written" in errors[0]
    assert "Traceback" not in log


def train(run_script: Callable, dataset: Path, output: Path, *more: object) -> tuple[int, dict | None, str]:
    common = ("--model", "features_crossvit", "--dataset", dataset, "--output_dir", output)
    return run_script("train", *common, *OPTIONS, *more)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_runs_go_on(
    number: int, code: int, run_script: Callable, drawn_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal amid an epoch: the step is finished, a checkpoint written, and the exit code tells."""
    from ger_models.training import loop

    assert train(run_script, drawn_dataset, tmp_path / "undisturbed")[0] == 0
    seed_step, calls = loop.seed_step, []

    def interrupted(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            os.kill(os.getpid(), number)
        seed_step(*arguments)

    monkeypatch.setattr(loop, "seed_step", interrupted)
    assert train(run_script, drawn_dataset, tmp_path / "run")[:2] == (code, None)
    assert len(calls) == 2
    monkeypatch.undo()
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert json.loads((checkpoint / "position.json").read_text())["step"] == 2
    code, _, log = train(run_script, drawn_dataset, tmp_path / "run", "--resume")
    assert code == 0
    assert "resuming from checkpoint_000001: epoch 1, step 2" in log
    weights = {(tmp_path / name / "model.safetensors").read_bytes() for name in ("undisturbed", "run")}
    assert len(weights) == 1


def test_what_resume_refuses(run_script: Callable, drawn_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(run_script, drawn_dataset, run)[0] == 0
    whole = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for more, words in (
        ((), "is not empty: --resume continues it; or choose another --output_dir"),
        (("--resume", "--learning_rate", "0.5"), "recipe.learning_rate was 0.001 and is now 0.5"),
        (("--resume", "--seed", "3", "--max_steps", "2"), "seed was 0 and is now 3, max_steps was None and is now 2"),
        (("--resume", "--config_overrides", "depth=2"), "config_overrides was '' and is now 'depth=2'"),
    ):
        code, _, log = train(run_script, drawn_dataset, run, *more)
        assert code == 2
        assert words in log
    other = tmp_path / "other"
    shutil.copytree(drawn_dataset, other)
    code, _, log = train(run_script, other, run, "--resume")
    assert code == 2
    assert "dataset was 'sample' and is now 'other'" in log
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == whole
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    code, _, log = train(run_script, drawn_dataset, tmp_path / "mine", "--resume")
    assert code == 2
    assert "is not empty: choose another" in log

    code, figures, log = train(run_script, drawn_dataset, run, "--resume")
    assert code == 0, "a finished run stays as it is"
    assert figures["steps"] == 10
    assert (run / "model.safetensors").read_bytes() == whole[run / "model.safetensors"]


def test_resume_starts_a_run_where_there_is_none(run_script: Callable, drawn_dataset: Path, tmp_path: Path) -> None:
    """So that a job that is started again needs no other command."""
    code, _, log = train(run_script, drawn_dataset, tmp_path / "run", "--resume")
    assert code == 0
    assert "no checkpoint in" in log
