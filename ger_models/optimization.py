"""Optimizers, learning-rate schedules, the loss, and the moving average of the weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer

from .configuration_ger import NO_LABEL
from .recipes import Recipe


def _sgd(groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum)


def _adamw(groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    return torch.optim.AdamW(groups, recipe.learning_rate)


def _step(recipe: Recipe, progress: float) -> float:
    return 0.1 ** (math.floor(progress * recipe.epochs + 1e-9) // recipe.step_epochs)


def _cosine(recipe: Recipe, progress: float) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * min(progress, 1))


OPTIMIZERS = {"sgd": _sgd, "adamw": _adamw}
SCHEDULES = {"step": _step, "cosine": _cosine}


def make_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over what `model` trains; only weights of two and more dimensions decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[recipe.optimizer]([group for group in groups if group["params"]], recipe)


def rate_at(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of step `step`, counted from 0, of `steps`: it depends on nothing else."""
    warmup = recipe.warmup * steps
    rise = min((step + 1) / warmup, 1.0) if warmup > 1 else 1.0
    return recipe.learning_rate * min(rise, SCHEDULES[recipe.schedule](recipe, step / steps))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def loss_of(outputs: Mapping[str, Any], labels: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    """The model's own loss, or the one with smoothed labels (Szegedy et al. 2016, arXiv 1512.00567)."""
    if not label_smoothing:
        return outputs["loss"]
    return F.cross_entropy(outputs["logits"].float(), labels, ignore_index=NO_LABEL, label_smoothing=label_smoothing)


class MovingAverage:
    """The exponential moving average of a model's weights and buffers, kept beside it.

    After s steps the decay is at most (1 + s) / (10 + s), so that short runs forget where they began. Each process
    averages what it holds, so that weights sharded by FSDP are averaged too.

    Args:
        model: what trains, without the wrappers that `accelerator.prepare` put around it.
        decay: 0 to below 1; 0: there is no average, and every method does nothing.
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
        """Take the weights after optimizer step `step`, counted from 1, into the average."""
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
        """Go on from a saved `average` (name -> tensor, of the weights' shapes), or this process's part of it."""
        for name, tensor in self.average.items():
            here = tensor.to_local() if hasattr(tensor, "to_local") else tensor
            here.copy_(average[name])

    @torch.no_grad()
    def restart(self) -> None:
        """Go on from the weights as they are."""
        for name, tensor in self.live.items():
            self.average[name].copy_(tensor)
