"""Optimizers and learning-rate schedules, one table each; their functions take the recipe's fields by keyword."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
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


def make_optimizer(
    model: nn.Module, optimizer: str, weight_decay: float, layer_decay: float = 1.0, **fields: Any
) -> Optimizer:
    """An optimizer of the table over the trainable weights of `model`; only weights of two and more dimensions decay.

    Args:
        optimizer: its name.
        weight_decay: of those weights.
        layer_decay: learning rate of a layer of the backbone relative to that of the layer above it (Clark et al.
            2020, arXiv 2003.10555; Bao et al. 2022, arXiv 2106.08254); what is no backbone has the full rate.
        fields: the recipe's other fields.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    depths = layer_depths([name for name, _ in trained])
    top = max(depths, default=0)
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for (_, parameter), depth in zip(trained, depths, strict=True):
        decays, scale = parameter.ndim > 1, layer_decay ** (top - depth)
        empty = {"params": [], "weight_decay": weight_decay if decays else 0.0, "scale": scale}
        groups.setdefault((not decays, -scale), empty)["params"].append(parameter)
    return OPTIMIZERS[optimizer]([groups[key] for key in sorted(groups)], **fields)


def layer_depths(names: Sequence[str]) -> list[int]:
    """How deep each weight lies: 0 for a backbone's embeddings or stem, its layers from below, then the rest.

    >>> layer_depths(["backbone.patch_embed.w", "backbone.blocks.0.w", "backbone.norm.w", "head.w"])
    [0, 1, 2, 2]
    """
    numbers = [_LAYER.search(name) if "backbone." in name else None for name in names]
    top = 1 + max((int(found[1]) + 1 for found in numbers if found), default=-1)
    return [
        int(found[1]) + 1 if found else 0 if "backbone." in name and _FIRST.search(name) and top else top
        for name, found in zip(names, numbers, strict=True)
    ]


# names of numbered layers in timm and transformers: blocks.3, layers.3, encoder.layer.3, stages.3, layer3, denseblock3
_LAYER = re.compile(r"\b(?:layers?|blocks|stages|denseblock)\.?(\d+)\b")
_FIRST = re.compile(r"embed|stem|cls_token|register|conv0|conv1|bn1|norm0|norm_pre")


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
        group["lr"] = rate * group.get("scale", 1.0)
