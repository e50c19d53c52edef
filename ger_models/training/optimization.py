"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from .recipe import Recipe


def _sgd(groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum, fused=_fused(groups))


def _adamw(groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    return torch.optim.AdamW(groups, recipe.learning_rate, fused=_fused(groups))


def _fused(groups: list[dict[str, Any]]) -> bool | None:
    """Whether a step is one kernel of CUDA's; None leaves it to PyTorch."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    return all(p.is_cuda and p.is_floating_point() for p in parameters) or None


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
