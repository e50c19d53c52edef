"""Progress of a training run, and stopping on a signal."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from ger_datasets.support.errors import UserError, listing

from .run_folder import Position

LOOK_EVERY = 10  # batches; each read waits for the accelerator


class Stop:
    """Within the block, Ctrl-C and SIGTERM are recorded instead of ending the process; a second one ends it.

    Attributes:
        signal: the number of the signal received, or 0.
    """

    def __init__(self) -> None:
        self.signal, self._process = 0, os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked loader worker: its parent handles Ctrl-C
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        self.signal = number
        self.__exit__()

    def leave(self) -> None:
        """End the process with exit code 130 after Ctrl-C or 143 after SIGTERM."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


class Watch:
    """Accumulates losses and correct predictions without a device synchronisation at every step.

    Results stay on the device and are read every few batches, for all processes together. A NaN loss then stops the
    run with the photos of its batch in the message, the progress bar and trackers are updated, and the processes
    agree on whether to stop.

    Args:
        position: its sums are updated.
        batches: number of batches of the run, for the progress bar; None: unknown.
        every: batches between two reads; None: 1 for one CPU process, else `LOOK_EVERY`.

    Attributes:
        learning_rate: learning rate of the latest step; set by the training loop.
        gradient_norm: gradient norm of the latest step before clipping; a tensor on the device, set by the training
            loop.
    """

    def __init__(
        self, accelerator: Accelerator, position: Position, stop: Stop, batches: int | None, every: int | None = None
    ) -> None:
        alone = accelerator.num_processes == 1
        self.every = every or (1 if alone and accelerator.device.type == "cpu" else LOOK_EVERY)
        self.accelerator, self.position, self.stop = accelerator, position, stop
        self.waiting: list[tuple[torch.Tensor, torch.Tensor, int]] = []
        self.photos: list[Sequence[str]] = []  # of the batches that wait
        self.agreed = False
        self.since = self.before = time.monotonic()
        self.seen, self.rate = 0, 0.0
        self.learning_rate, self.norm = 0.0, math.nan
        self.gradient_norm: torch.Tensor | None = None
        done = position.batch + sum(entry["batches"] for entry in position.history)
        hidden = position.finished or not accelerator.is_main_process
        self.bar = tqdm(total=batches, initial=done, unit="batch", disable=hidden)

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, photos: Sequence[str]) -> None:
        """Add a batch's loss, logits (rows, classes) and labels (rows,), and the image_ids of its photos."""
        right = (logits.detach().argmax(1) == labels).sum()
        self.waiting.append((loss.detach().float(), right, len(labels)))
        self.photos.append(photos)
        self.position.batch += 1
        self.bar.update()
        if len(self.waiting) >= self.every:
            self.look()

    @property
    def stopping(self) -> bool:
        """Whether any process received a signal; with several processes, as of the latest read."""
        return self.agreed if self.accelerator.num_processes > 1 else bool(self.stop.signal)

    def look(self) -> None:
        """Read the accumulated results and update the position.

        Raises:
            UserError: a loss is NaN or infinite.
        """
        if self.waiting:
            losses, rights, rows = zip(*self.waiting, strict=True)
            sums = torch.stack([torch.stack(losses), torch.stack(rights).float()])  # (2, batches)
            sums = torch.cat([sums, torch.tensor([rows], device=sums.device).float()])
            flag = torch.full((3, 1), float(self.stop.signal), device=sums.device)
            gathered = self.accelerator.gather(torch.cat([sums, flag], 1)[None]).cpu()  # (processes, 3, batches + 1)
            self.waiting, photos, self.photos = [], self.photos, []
            if self.gradient_norm is not None:
                norm = self.gradient_norm  # of FSDP's sharded gradients a DTensor
                self.norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
            self._stop_together(int(gathered[:, 0, -1].max()))
            self._refuse_nan(gathered[:, 0, :-1], photos)
            for at in range(len(photos)):
                for loss, right, count in gathered[:, :, at].tolist():
                    self.position.loss_sum += loss
                    self.position.batches += 1
                    self.position.right += int(right)
                    self.position.rows += int(count)
            self._show(int(gathered[:, 2, :-1].sum()))

    def _stop_together(self, number: int) -> None:
        if number and self.accelerator.num_processes > 1:
            self.agreed, self.stop.signal = True, number

    def _refuse_nan(self, losses: torch.Tensor, photos: Sequence[Sequence[str]]) -> None:
        """losses: (processes, batches)."""
        bad = (~losses.isfinite()).nonzero()
        if not len(bad):
            return
        at = int(bad[:, 1].min())
        ids = list(photos[at]) if not math.isfinite(losses[self.accelerator.process_index, at]) else []
        if self.accelerator.num_processes > 1:
            ids = gather_object(ids)
        batch = self.position.batch - len(photos) + at + 1
        value = next(loss for loss in losses[:, at].tolist() if not math.isfinite(loss))
        raise UserError(
            f"the loss became {value} in epoch {self.position.epoch}, batch {batch}, whose photos are "
            f"{listing(ids, 64)}: check them, or try a lower --learning_rate; checkpoints and the best epoch so far "
            "are kept"
        )

    def _show(self, rows: int) -> None:
        now = time.monotonic()
        self.position.seconds += now - self.before
        self.before, self.seen = now, self.seen + rows
        if now - self.since > 0.5 or not self.rate:
            self.rate = self.seen / max(now - self.since, 1e-9)
            self.since, self.seen = now, 0
            self._log()
        self.bar.set_postfix(self.shown(), refresh=False)

    def _log(self) -> None:
        """Send the epoch's figures so far to the trackers; at most twice a second."""
        position = self.position
        self.accelerator.log(
            {
                "train/loss": position.loss_sum / max(position.batches, 1),
                "train/accuracy": position.right / max(position.rows, 1),
                "train/images_per_second": self.rate,
                "train/learning_rate": self.learning_rate,
                "train/gradient_norm": self.norm,
            },
            step=position.step,
        )

    def shown(self) -> dict[str, Any]:
        """The figures of the epoch so far, for the bar."""
        position = self.position
        figures = {
            "epoch": position.epoch,
            "loss": f"{position.loss_sum / max(position.batches, 1):.3f}",
            "accuracy": f"{position.right / max(position.rows, 1):.3f}",
            "images/s": f"{self.rate:.1f}",
            "lr": f"{self.learning_rate:.2g}",
            "grad": f"{self.norm:.2g}",
        }
        if position.history:
            figures["validation"] = f"{position.history[-1]['validation_accuracy']:.3f}"
        return figures
