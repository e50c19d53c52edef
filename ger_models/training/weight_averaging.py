"""The moving average of a model's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn


class MovingAverage:
    """Exponential moving average of a model's weights and buffers.

    After s steps the decay is at most (1 + s) / (10 + s), so that short runs forget their initial weights. Each
    process averages its own tensors, so weights sharded by FSDP are averaged too.

    Args:
        model: the trained model, without the wrappers of `accelerator.prepare`.
        decay: 0 or more and below 1; 0: no average, and the methods do nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        # frozen weights are the same in the average
        self.live: dict[str, torch.Tensor] = {}
        if decay:
            self.live = {name: p for name, p in model.named_parameters() if p.requires_grad}
            self.live |= dict(model.named_buffers())
        self.average = {name: tensor.detach().clone() for name, tensor in self.live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after optimizer step `step`, counted from 1, to the average."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        moving = [name for name, tensor in self.live.items() if tensor.is_floating_point()]
        if moving:
            torch._foreach_lerp_([self.average[n] for n in moving], [self.live[n].detach() for n in moving], weight)
        counting = [name for name, tensor in self.live.items() if not tensor.is_floating_point()]
        if counting:
            torch._foreach_copy_([self.average[n] for n in counting], [self.live[n] for n in counting])

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the model has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, tensor in self.live.items():
            kept = tensor.detach().clone()
            tensor.detach().copy_(self.average[name])
            self.average[name].copy_(kept)

    @torch.no_grad()
    def load(self, average: Mapping[str, torch.Tensor]) -> None:
        """Load a saved `average` (name -> tensor, of the weights' shapes), or this process's part of it."""
        for name, tensor in self.average.items():
            here = tensor.to_local() if hasattr(tensor, "to_local") else tensor
            here.copy_(average[name])

    @torch.no_grad()
    def restart(self) -> None:
        """Reset the average to the current weights."""
        for name, tensor in self.live.items():
            self.average[name].copy_(tensor)
