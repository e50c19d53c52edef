"""Optimizers and learning-rate schedules, one table each; their functions take the recipe's fields by keyword."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the tables are read for --help, where torch would cost seconds
    import torch
    from accelerate import Accelerator
    from torch import nn
    from torch.optim import Optimizer


def sgd(groups: list[dict[str, Any]], learning_rate: float, momentum: float, **_: object) -> Optimizer:
    """Stochastic gradient descent with momentum."""
    from torch.optim import SGD

    return SGD(groups, learning_rate, momentum=momentum, fused=_fused(groups))


def adamw(groups: list[dict[str, Any]], learning_rate: float, **_: object) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""
    from torch.optim import AdamW

    return AdamW(groups, learning_rate, fused=_fused(groups))


def _fused(groups: list[dict[str, Any]]) -> bool | None:
    """Whether to use the fused CUDA optimizer; None: PyTorch's default."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    return all(p.is_cuda and p.is_floating_point() for p in parameters) or None


def step(progress: float, epochs: int, step_epochs: int, **_: object) -> float:
    """The learning rate's factor: divided by 10 every `step_epochs` epochs."""
    return 0.1 ** (math.floor(progress * epochs + 1e-9) // step_epochs)


def cosine(progress: float, **_: object) -> float:
    """The learning rate's factor: half a cosine from 1 to 0 (Loshchilov and Hutter 2017, arXiv 1608.03983)."""
    return 0.5 + 0.5 * math.cos(math.pi * min(progress, 1))


# Parameter groups -> an optimizer
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": sgd, "adamw": adamw}
# Progress of the training, 0 to 1 -> the learning rate's factor
SCHEDULES: dict[str, Callable[..., float]] = {"step": step, "cosine": cosine}


def make_optimizer(model: nn.Module, optimizer: str, weight_decay: float, **fields: Any) -> Optimizer:
    """An optimizer over the trainable weights of `model`; weight decay applies to weights of two or more dimensions.

    Args:
        optimizer: its name.
        weight_decay: weight decay of those weights.
        fields: the recipe's other fields.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[optimizer]([group for group in groups if group["params"]], **fields)


def rate_at(at: int, steps: int, learning_rate: float, schedule: str, warmup: float, **fields: Any) -> float:
    """The learning rate of step `at` (from 0) of `steps`; it depends only on the recipe.

    Args:
        learning_rate: the maximum.
        schedule: a name in the table.
        warmup: share of the steps in which the rate rises to the maximum.
        fields: the recipe's other fields.
    """
    rising = warmup * steps
    rise = min((at + 1) / rising, 1.0) if rising > 1 else 1.0
    return learning_rate * min(rise, SCHEDULES[schedule](at / steps, **fields))


def clip_gradients(accelerator: Accelerator, model: nn.Module, limit: float) -> torch.Tensor:
    """Clip the gradients to the norm `limit`, unless it is 0.

    Returns:
        their norm before clipping, a tensor () on the device, without synchronisation.
    """
    return accelerator.clip_grad_norm_(model.parameters(), limit or math.inf)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
