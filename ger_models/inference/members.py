"""Several models over the same rows -> the logits of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.errors import UserError

from ..processing_ensemble import GerEnsembleProcessor
from .checkpoints import load_checkpoint


@dataclass(frozen=True)
class Answers:
    """The outputs of one model for some rows.

    Attributes:
        logits: (rows, classes) float32.
        face_attention: for each row, the shares of the faces that the model saw, the most confident faces first; None
            if the model has no attention.
        face_expressions: for each row, the probabilities of the seven expressions (`schema.EXPRESSIONS`) of the same
            faces; None if the model does not predict them.
    """

    logits: np.ndarray
    face_attention: list[list[float]] | None
    face_expressions: list[list[list[float]]] | None = None


class Members:
    """Checkpoints that predict on the same rows; inputs that several of them need are computed once.

    Args:
        names: folders or Hub repositories.
        device: their device.

    Attributes:
        min_face_scores: of each model, how sure the detector must be of a face for it to count.

    Raises:
        UserError: as `load_checkpoint`.
    """

    def __init__(self, names: Sequence[str], device: torch.device | str = "cpu") -> None:
        loaded = [load_checkpoint(name) for name in names]
        self.names = list(names)
        self.models = [model.to(device) for model, _ in loaded]
        self.processors = [processor for _, processor in loaded]
        self.min_face_scores = [float(processor.min_face_score) for processor in self.processors]
        self.device = device
        self._together: dict[tuple[int, ...], tuple[GerEnsembleProcessor, list[int]]] = {}

    @property
    def columns(self) -> list[str]:
        """The dataset columns that any member reads."""
        return list(dict.fromkeys(column for processor in self.processors for column in processor.row_columns))

    def class_names(self, member: int) -> list[str]:
        """The class names of one model."""
        config = self.models[member].config
        return [config.id2label[i] for i in range(config.num_labels)]

    @torch.inference_mode()
    def ask(self, rows: Sequence[Mapping[str, Any]], members: Sequence[int] | None = None) -> list[Answers]:
        """The outputs of the models numbered `members` (default: all) for `rows`, in this order.

        Raises:
            UserError: the rows lack a column that a model reads.
        """
        members = tuple(range(len(self.models)) if members is None else members)
        if members not in self._together:
            self._together[members] = GerEnsembleProcessor.from_members([self.processors[i] for i in members])
        processor, groups = self._together[members]
        try:
            inputs = processor(rows).to(self.device)
        except ValueError as error:
            raise UserError(str(error)) from error
        by_group: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in inputs.items():
            group, _, rest = name.partition(".")
            by_group.setdefault(int(group.removeprefix("group_")), {})[rest] = tensor
        return [self._answers(member, by_group[group], rows) for member, group in zip(members, groups, strict=True)]

    def _answers(self, member: int, inputs: dict[str, Any], rows: Sequence[Mapping[str, Any]]) -> Answers:
        model, processor = self.models[member], self.processors[member]
        output = model(**inputs, **({"output_faces": True} if model.has_face_outputs else {}))
        shares = output.get("face_attention")  # (rows, faces), padded
        expressions = output.get("face_expressions")  # (rows, faces, expressions), padded
        if getattr(model.config, "expressions", None) != list(EXPRESSIONS):
            expressions = None
        counts: list[int] = []
        if shares is not None or expressions is not None:
            counts = [min(len(row["face_scores"]), processor.face_limit(row)) for row in rows]
        return Answers(output.logits.float().cpu().numpy(), _cut(shares, counts), _cut(expressions, counts))


def _cut(padded: torch.Tensor | None, counts: Sequence[int]) -> list[list[Any]] | None:
    """The values of the faces that each row has."""
    if padded is None:
        return None
    return [of_row[:count] for of_row, count in zip(padded.float().cpu().tolist(), counts, strict=True)]
