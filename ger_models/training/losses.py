"""Losses in one table. A new loss is a function here and a row of LOSSES.

A loss takes the model's outputs, labels (rows,) and, by keyword, the recipe's fields and `teacher_logits`
(rows, classes), which is None without a teacher; it returns a scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ger_datasets.support.errors import UserError

if TYPE_CHECKING:  # the table is read for --help, where torch would cost seconds
    import torch


def model_loss(outputs: Mapping[str, Any], labels: torch.Tensor, **_: object) -> torch.Tensor:
    """The loss that the model itself returns, a scalar (): cross-entropy, with a margin where the model has one."""
    return outputs["loss"]


def cross_entropy(
    outputs: Mapping[str, Any], labels: torch.Tensor, label_smoothing: float, **_: object
) -> torch.Tensor:
    """Cross-entropy of the logits (rows, classes) with smoothed labels (Szegedy et al. 2016, arXiv 1512.00567)."""
    from torch.nn import functional as F

    from ..configuration_ger import NO_LABEL

    logits = outputs["logits"].float()
    return F.cross_entropy(logits, labels, ignore_index=NO_LABEL, label_smoothing=label_smoothing)


def distillation(
    outputs: Mapping[str, Any],
    labels: torch.Tensor,
    label_smoothing: float,
    teacher_logits: torch.Tensor | None,
    teacher_weight: float,
    teacher_temperature: float,
    **_: object,
) -> torch.Tensor:
    """Cross-entropy and the divergence from a teacher's softened probabilities (Hinton et al. 2015, arXiv 1503.02531);
    rows without a label learn only from the teacher.

    Raises:
        UserError: there is no teacher.
    """
    from torch.nn import functional as F

    if teacher_logits is None:
        raise UserError("the loss distillation needs --teacher, a finished run of the same classes")
    student = (outputs["logits"].float() / teacher_temperature).log_softmax(1)
    soft = F.kl_div(student, (teacher_logits.float() / teacher_temperature).softmax(1), reduction="batchmean")
    hard = cross_entropy(outputs, labels, label_smoothing)
    return (1 - teacher_weight) * hard + teacher_weight * teacher_temperature**2 * soft


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "model": model_loss,
    "cross_entropy": cross_entropy,
    "distillation": distillation,
}
