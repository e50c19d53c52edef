"""The folder of a training run: its identity, its checkpoints, and the best model so far.

    run.json             model, dataset, seed: a resumed run must have the same
    recipe.yaml          the effective recipe; can be used as a recipe file
    checkpoints/NAME/    complete state: weights, optimizer, average, position; `whole.json` is written last
    config.json, model.safetensors, preprocessor_config.json
                         the best epoch's model, for `from_pretrained`
    metrics.json, curves.png, README.md
                         written at the end: figures, curves and card

Files are written under a temporary name, synced to disk and then renamed, so that earlier files stay intact if the run
is killed or the disk is full.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, broadcast
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError, listing, one_line
from ger_datasets.support.locks import LOCK, alone

from ..inference.saving import UNFINISHED, disk_errors, finish_files, put_files, to_disk
from .weight_averaging import MovingAverage

logger = logging.getLogger(__name__)

RUN, RECIPE, METRICS, CHECKPOINTS, WHOLE = "run.json", "recipe.yaml", "metrics.json", "checkpoints", "whole.json"


@dataclass
class Position:
    """The progress of a run, JSON.

    Attributes:
        epoch: the current epoch, from 1.
        batch: number of its batches that each process has finished.
        step: optimizer steps of the whole run.
        loss_sum, batches, right, rows: of the epoch so far, over all processes: sum of the batches' losses, number of
            batches, correctly classified rows, and rows.
        history: one entry for each finished epoch.
        best: the entry of the best epoch, with all its validation figures.
        processes: number of processes.
        seconds: duration of the training, validation included.
        finished: whether the run has ended.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    batches: int = 0
    right: int = 0
    rows: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    processes: int = 1
    seconds: float = 0.0
    finished: bool = False

    def next_epoch(self) -> None:
        """Move to the first batch of the next epoch, and reset the sums."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum, self.batches, self.right, self.rows = 0.0, 0, 0, 0


class RunFolder:
    """The folder `path` of a run.

    Args:
        path: on a file system that all processes share.
        accelerator: only its main process writes, except for sharded state.
        keep: how many of the newest checkpoints are kept.
    """

    def __init__(self, path: Path, accelerator: Accelerator, keep: int = 2) -> None:
        self.path, self.accelerator, self.keep = path, accelerator, keep
        self.sharded = accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)

    @contextlib.contextmanager
    def begin(self, run: Mapping[str, Any], recipe: str, resume: bool) -> Iterator[None]:
        """Create the folder for a new run, or find the same run in it, and lock it within the block.

        Args:
            run: what identifies the run, JSON.
            recipe: the text of its recipe.yaml.
            resume: whether to continue the run in the folder, if there is one.

        Raises:
            UserError: the folder holds something else, or another run (the message names the differences), another
                process trains there, or it cannot be created.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file: choose another --output_dir")
        lock = alone(self.path / LOCK, f"training into {self.path}")
        with lock if self.accelerator.is_main_process else contextlib.nullcontext():
            taken = self._refuse_foreign(run, resume)
            self.accelerator.wait_for_everyone()  # before the main process writes, all have checked
            if self.accelerator.is_main_process and taken:  # unfinished files of a killed run
                finish_files(self.path)
                for pattern in (".push_*", UNFINISHED, f"{CHECKPOINTS}/.*.tmp"):
                    for path in self.path.glob(pattern):
                        shutil.rmtree(path, ignore_errors=True)
            elif self.accelerator.is_main_process:
                write_text(self.path / RECIPE, recipe)
                write_text(self.path / RUN, json.dumps(run, indent=1) + "\n")
            yield

    def _refuse_foreign(self, run: Mapping[str, Any], resume: bool) -> bool:
        """Whether the folder already holds the same run; UserError if it holds something else."""
        taken = self.path.exists() and any(path.name != LOCK for path in self.path.iterdir())
        described = self.path / RUN
        if taken and not (resume and described.exists()):
            way = "--resume continues it; or " if described.exists() else ""
            raise UserError(f"{self.path} is not empty: {way}choose another --output_dir, or move its content away")
        if taken:
            self._refuse_another(run)
        return taken

    def _refuse_another(self, run: Mapping[str, Any]) -> None:
        try:
            before = _flat(json.loads((self.path / RUN).read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{self.path / RUN} cannot be read, so the run in this folder is unknown") from error
        now = _flat(json.loads(json.dumps(run)))
        changes = [
            f"{name} was {before.get(name)!r} and is now {now.get(name)!r}"
            for name in {**before, **now}
            if before.get(name) != now.get(name)
        ]
        if changes:
            raise UserError(
                f"the run in {self.path} is another: {listing(changes, 4)}; resume it with the same options, or "
                "choose another --output_dir"
            )

    def save(self, position: Position, model: nn.Module, optimizer: Optimizer, average: MovingAverage) -> None:
        """Write a checkpoint, then delete the oldest beyond `keep`. All processes call it.

        Raises:
            UserError: the disk is full, or the folder is not writable; earlier checkpoints stay intact.
        """
        parent = self.path / CHECKPOINTS
        name = f"checkpoint_{1 + max((_number(path) for path in self._all()), default=0):06d}"
        made, final = parent / f".{name}.tmp", parent / name
        self.accelerator.wait_for_everyone()  # all have counted the checkpoints
        with self.writing(made):
            if self.accelerator.is_main_process:
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir(parents=True)
            if self.sharded:
                self.accelerator.wait_for_everyone()
                self.accelerator.save_state(str(made))
                if average.decay:
                    rank = self.accelerator.process_index
                    save_file(_local(average.average), made / f"average_{rank}.safetensors")
                self.accelerator.wait_for_everyone()
            elif self.accelerator.is_main_process:
                state = self.accelerator.unwrap_model(model).state_dict()
                save_file({key: value.contiguous() for key, value in state.items()}, made / "model.safetensors")
                scaler = self.accelerator.scaler
                torch.save(
                    {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict() if scaler else None},
                    made / "optimizer.pt",
                )
                if average.decay:
                    save_file(average.average, made / "average.safetensors")
            if self.accelerator.is_main_process:
                (made / "position.json").write_text(json.dumps(asdict(position)), encoding="utf-8")
                _seal(made)
                os.replace(made, final)
                to_disk(parent)
        if self.accelerator.is_main_process:
            for old in self._all()[: -self.keep]:
                (old / WHOLE).unlink(missing_ok=True)  # skipped from here on, even if deleting is interrupted
                shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def load(self, model: nn.Module, optimizer: Optimizer, average: MovingAverage) -> Position | None:
        """Load the state of the newest complete checkpoint; None if there is none.

        Incomplete or damaged checkpoints are skipped with a warning.

        Raises:
            UserError: the checkpoint was written by another kind of training, such as FSDP.
        """
        found = 0
        if self.accelerator.is_main_process:
            for path in reversed(self._all()):
                fault = _fault(path)
                if not fault:
                    found = _number(path)
                    break
                logger.warning("skipping the checkpoint %s: %s", path.name, fault)
        found = int(broadcast(torch.tensor([found], device=self.accelerator.device)).item())
        if not found:
            return None
        path = self.path / CHECKPOINTS / f"checkpoint_{found:06d}"
        position = _position(path / "position.json")
        if self.sharded == (path / "optimizer.pt").exists():
            raise UserError(
                f"{path} was written {'without' if self.sharded else 'with'} FSDP or DeepSpeed: resume it the same way"
            )
        try:
            self._load_state(path, position, model, optimizer, average)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # torch and safetensors raise many types on invalid files
            reason = one_line(error)
            raise UserError(
                f"{path} is complete but invalid ({reason}): move it away to resume from the one before"
            ) from error
        logger.info("resuming from %s: epoch %d, step %d", path.name, position.epoch, position.step)
        return position

    def _load_state(
        self, path: Path, position: Position, model: nn.Module, optimizer: Optimizer, average: MovingAverage
    ) -> None:
        if self.sharded:
            self.accelerator.load_state(str(path))
            averages = path / f"average_{self.accelerator.process_index}.safetensors"
            if average.decay and position.processes == self.accelerator.num_processes:
                average.load(load_file(averages))
            elif average.decay:
                logger.warning("the moving average restarts: it was sharded over %d processes", position.processes)
                average.restart()
        else:
            self.accelerator.unwrap_model(model).load_state_dict(load_file(path / "model.safetensors"))
            state = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
            optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler and state["scaler"]:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            if average.decay:
                average.load(load_file(path / "average.safetensors"))

    def _all(self) -> list[Path]:
        """Every checkpoint, complete or not, the oldest first."""
        return sorted((self.path / CHECKPOINTS).glob("checkpoint_*"), key=_number)

    def writing(self, made: Path) -> contextlib.AbstractContextManager[None]:
        """Report disk errors as a UserError, and remove the unfinished folder `made`."""

        def message(reason: str) -> str:
            shutil.rmtree(made, ignore_errors=True)
            free = shutil.disk_usage(self.path).free / 1e6
            return (
                f"a checkpoint cannot be written to {self.path}: {reason} ({free:,.0f} MB free); complete "
                "checkpoints are kept: free some space and continue with --resume"
            )

        return disk_errors(self.path, message)

    def put_model(self, write: Callable[[Path], None]) -> None:
        """Replace the run's files with the files that `write` writes, as `put_files` does. Main process only."""
        with self.writing(self.path / UNFINISHED):
            put_files(self.path, write)


def _number(path: Path) -> int:
    digits = path.name.removeprefix("checkpoint_")
    return int(digits) if digits.isdigit() else 0


def _position(path: Path) -> Position:
    """The content of position.json; UserError if it is invalid."""
    try:
        position = Position(**json.loads(path.read_text(encoding="utf-8")))
        counts = (position.epoch, position.batch, position.step, position.batches, position.right, position.rows)
        right = all(type(count) is int and 0 <= count < 2**48 for count in (*counts, position.processes))
        right = right and all(math.isfinite(each) for each in (position.loss_sum, position.seconds))
        right = right and position.processes > 0 and isinstance(position.history, list)
        right = right and all(isinstance(entry, dict) for entry in position.history)
        right = right and (position.best is None or isinstance(position.best["validation"], dict))
        if not right or type(position.finished) is not bool:
            raise ValueError("contains invalid values")
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = one_line(error)
        raise UserError(f"{path} is invalid ({reason}): move {path.parent.name} away") from error
    return position


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    if not isinstance(value, dict):
        return {name: value}
    inner = (_flat(each, f"{name}.{key}" if name else key) for key, each in value.items())
    return {key: each for part in inner for key, each in part.items()}


def _local(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """This process's part of each tensor."""
    return {name: t.to_local() if hasattr(t, "to_local") else t for name, t in tensors.items()}


def _checksum(path: Path) -> int:
    total = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            total = zlib.crc32(block, total)
    return total


def _seal(folder: Path) -> None:
    """Write the sizes and checksums of all files in `folder`, once they are on the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        to_disk(path)
    sums = {str(path.relative_to(folder)): [path.stat().st_size, _checksum(path)] for path in files}
    (folder / WHOLE).write_text(json.dumps(sums), encoding="utf-8")
    to_disk(folder / WHOLE)
    to_disk(folder)


def _fault(folder: Path) -> str:
    """Why the checkpoint in `folder` is incomplete; empty if it is complete."""
    try:
        sums = json.loads((folder / WHOLE).read_text(encoding="utf-8"))
        for name, (size, checksum) in sums.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size or _checksum(path) != checksum:
                return f"{name} is damaged"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return f"it is incomplete ({one_line(error)})"
    return ""
