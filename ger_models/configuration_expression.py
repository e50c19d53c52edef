"""The configuration of the facial-expression model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedConfig

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")  # FER2013's order
# which group emotion an expression counts for; surprise can be either, and counts for none
GROUPS = {
    "angry": "Negative",
    "disgust": "Negative",
    "fear": "Negative",
    "sad": "Negative",
    "neutral": "Neutral",
    "happy": "Positive",
}
COMBINATIONS = ("probabilities", "logarithms")


class GerExpressionConfig(PreTrainedConfig):
    """The faces of a photo, each through a small network that recognises its expression; the group's emotion follows
    from all of them.

    The labels (`id2label`) are either the expressions themselves, as in a dataset of single faces, or the group
    emotions that `groups` names.

    Args:
        expressions: names of the network's outputs, in order.
        groups: expression -> the group emotion that it counts for. Expressions that are not named count for none.
        priors: group emotion -> its share of the faces that the network was trained on, to the power that was found
            best on validation. A face's probabilities are divided by them, so that an emotion with many expressions
            is not favoured. None: no correction.
        combination: `probabilities` averages the faces' probabilities, `logarithms` their logarithms.
        answer_temperature: divides the logits of the group's answer, above 0; higher is less certain.
        widths: channels of each stage of the network; the last is the width of a face's embedding.
        blocks: residual blocks of each stage.
        dropout: share of the embedding that is dropped before the head in training, 0 to 0.95.
    """

    model_type = "ger_expression"

    def __init__(
        self,
        expressions: Sequence[str] = EXPRESSIONS,
        groups: Mapping[str, str] | None = None,
        priors: Mapping[str, float] | None = None,
        combination: str = "probabilities",
        answer_temperature: float = 1.0,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        blocks: Sequence[int] = (0, 2, 2, 2, 1),
        dropout: float = 0.3,
        **kwargs: Any,
    ) -> None:
        self.expressions = list(expressions)
        self.groups = dict(GROUPS if groups is None else groups)
        self.priors = None if priors is None else dict(priors)
        self.combination = combination
        self.answer_temperature = answer_temperature
        self.widths = list(widths)
        self.blocks = list(blocks)
        self.dropout = dropout
        super().__init__(**kwargs)
        self._validate_fields()

    def _validate_fields(self) -> None:
        def refuse(field: str, rule: str) -> None:
            raise ValueError(f"GerExpressionConfig.{field} must be {rule}, not {getattr(self, field)!r}")

        if not self.expressions or not all(isinstance(name, str) for name in self.expressions):
            refuse("expressions", "a list of names")
        if self.combination not in COMBINATIONS:
            refuse("combination", f"one of {', '.join(COMBINATIONS)}")
        if isinstance(self.answer_temperature, bool) or not 0 < self.answer_temperature <= 100:
            refuse("answer_temperature", "above 0 and at most 100")
        if isinstance(self.dropout, bool) or not 0 <= self.dropout <= 0.95:
            refuse("dropout", "from 0 to 0.95")
        for field, least in (("widths", 8), ("blocks", 0)):
            values = getattr(self, field)
            if not values or any(type(value) is not int or not least <= value <= 1024 for value in values):
                refuse(field, f"a list of whole numbers from {least} to 1024")
        if len(self.widths) != len(self.blocks) or any(count < 1 for count in self.blocks[1:]):
            refuse("blocks", f"{len(self.widths)} numbers, one for each width, of which only the first may be 0")
        if self.priors is not None and any(not 0 < share <= 1 for share in self.priors.values()):
            refuse("priors", "shares above 0 and at most 1")
