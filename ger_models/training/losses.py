"""Losses: what training minimises, one table. A new loss is a function here and a row of LOSSES."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from ger_datasets.support.errors import UserError, listing

from ..configuration_ger import NO_LABEL
from ..inference.checkpoints import load_checkpoint
from .recipe import Recipe

# A model's outputs, labels (rows,), the recipe, and the teacher's logits (rows, classes) or None -> a scalar
Loss = Callable[[Mapping[str, Any], torch.Tensor, Recipe, torch.Tensor | None], torch.Tensor]


def model_loss(
    outputs: Mapping[str, Any], labels: torch.Tensor, recipe: Recipe, teacher_logits: torch.Tensor | None
) -> torch.Tensor:
    """The loss that the model itself returns: cross-entropy, with a margin where the model has one.

    The logits (rows, classes) are not used.
    """
    return outputs["loss"]


def cross_entropy(
    outputs: Mapping[str, Any], labels: torch.Tensor, recipe: Recipe, teacher_logits: torch.Tensor | None
) -> torch.Tensor:
    """Cross-entropy of the logits (rows, classes) with smoothed labels (Szegedy et al. 2016, arXiv 1512.00567)."""
    logits = outputs["logits"].float()
    return F.cross_entropy(logits, labels, ignore_index=NO_LABEL, label_smoothing=recipe.label_smoothing)


def distillation(
    outputs: Mapping[str, Any], labels: torch.Tensor, recipe: Recipe, teacher_logits: torch.Tensor | None
) -> torch.Tensor:
    """Cross-entropy beside the divergence from a teacher's softened probabilities (Hinton et al. 2015, arXiv
    1503.02531), both of logits (rows, classes); rows without a label learn from the teacher alone.

    Raises:
        UserError: there is no teacher.
    """
    if teacher_logits is None:
        raise UserError("the loss distillation needs --teacher, a finished run of the same classes")
    temperature = recipe.teacher_temperature
    student = (outputs["logits"].float() / temperature).log_softmax(1)
    soft = F.kl_div(student, (teacher_logits.float() / temperature).softmax(1), reduction="batchmean")
    hard = cross_entropy(outputs, labels, recipe, None)
    return (1 - recipe.teacher_weight) * hard + recipe.teacher_weight * temperature**2 * soft


LOSSES: dict[str, Loss] = {"model": model_loss, "cross_entropy": cross_entropy, "distillation": distillation}


class Teacher:
    """A trained model whose logits another one learns from; it sees the same augmented batches.

    Args:
        checkpoint: a run of train.py, or a Hub repository. None: there is no teacher, and logits are None.
        class_names: the classes that the other one learns.
        device: where it computes.

    Raises:
        UserError: no such checkpoint, or one of other classes.
    """

    def __init__(self, checkpoint: str | None, class_names: Sequence[str], device: torch.device) -> None:
        self.model = None
        if checkpoint is not None:
            model = load_checkpoint(checkpoint)[0]
            there = [model.config.id2label[i] for i in range(model.config.num_labels)]
            if there != list(class_names):
                raise UserError(
                    f"the teacher {checkpoint} knows the classes {listing(there)}, and the dataset has "
                    f"{listing(class_names)}: they must agree"
                )
            self.model = model.requires_grad_(False).to(device)

    @torch.no_grad()
    def logits(self, batch: Mapping[str, Any]) -> torch.Tensor | None:
        """(rows, classes) of a training batch, or None."""
        if self.model is None:
            return None
        return self.model(**{name: value for name, value in batch.items() if name != "labels"}).logits
