"""The configuration of an ensemble: its members' configurations, how much each counts, and how they are combined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

MOST_MEMBERS = 100  # each takes memory for its weights before any of them is read
COMBINATIONS = ("logits", "probabilities")
# what a member's configuration says of the file it came from, not of the model
ORIGINS = ("_name_or_path", "name_or_path", "auto_map", "transformers_version")


class GerEnsembleConfig(PreTrainedConfig):
    """Several models and their weights.

    Args:
        members: each member's configuration, or that as a dict with its `model_type`.
        weights: how much each member counts; brought to the sum 1. None: all alike.
        combination: `logits` adds the weighted logits, `probabilities` the weighted probabilities.
        stacking: what takes the place of the weights where each member's logits, or probabilities, are multiplied by
            a matrix of its own: `coefficients` (members, classes out, classes in) and `intercept` (classes). None: the
            weights count.
        groups: which inputs each member reads: the position of its processor in the ensemble's processor. None: each
            has its own.

    The classes are the members', who must agree on them and on their order.
    """

    model_type = "ger_ensemble"

    def __init__(
        self,
        members: Sequence[PreTrainedConfig | Mapping[str, Any]] = (),
        weights: Sequence[float] | None = None,
        combination: str = "logits",
        groups: Sequence[int] | None = None,
        stacking: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"GerEnsembleConfig.members must be {MOST_MEMBERS} at most, not {len(members)}")
        self.members = [_as_dict(member, i) for i, member in enumerate(members)]  # a list of configs is not JSON
        self.weights = _normalised([1.0] * len(members) if weights is None else weights, len(members))
        self.combination = combination
        self.groups = list(range(len(members))) if groups is None else list(groups)
        if combination not in COMBINATIONS:
            raise ValueError(
                f"GerEnsembleConfig.combination must be one of {', '.join(COMBINATIONS)}, not {combination!r}"
            )
        if len(self.groups) != len(members) or not all(isinstance(i, int) and i >= 0 for i in self.groups):
            raise ValueError(
                f"GerEnsembleConfig.groups must be an integer from 0 for each of the {len(members)} members, not "
                f"{groups!r}"
            )
        if members:
            kwargs["id2label"] = self._agreed_labels(kwargs.get("id2label"))
            kwargs["label2id"] = {name: i for i, name in kwargs["id2label"].items()}
        self.stacking = None if stacking is None else _checked(stacking, len(members), len(kwargs.get("id2label", ())))
        super().__init__(**kwargs)

    @property
    def member_configs(self) -> list[PreTrainedConfig]:
        """The members' configurations, made anew."""
        return [AutoConfig.for_model(**member) for member in self.members]

    def _agreed_labels(self, own: Mapping[Any, str] | None) -> dict[int, str]:
        labels = [config.id2label for config in self.member_configs]
        for i, others in enumerate(labels[1:], 1):
            if others != labels[0]:
                raise ValueError(
                    "the members of an ensemble must agree on the classes and their order: member 0 has "
                    f"{_listed(labels[0])}, member {i} has {_listed(others)}"
                )
        if own is not None and {int(i): name for i, name in own.items()} != labels[0]:
            raise ValueError(
                f"GerEnsembleConfig.id2label must be the members' classes, {_listed(labels[0])}, not {_listed(own)}"
            )
        return labels[0]


def _as_dict(member: PreTrainedConfig | Mapping[str, Any], position: int) -> dict[str, Any]:
    fields = dict(member.to_dict() if isinstance(member, PreTrainedConfig) else member)
    if "model_type" not in fields:
        raise ValueError(f"GerEnsembleConfig.members[{position}] has no model_type: it has {', '.join(fields)}")
    return {name: value for name, value in fields.items() if name not in ORIGINS}


def _normalised(weights: Sequence[float], count: int) -> list[float]:
    if len(weights) != count:
        raise ValueError(f"GerEnsembleConfig.weights must be one for each of the {count} members, not {weights!r}")
    numbers = [isinstance(weight, (int, float)) and not isinstance(weight, bool) for weight in weights]
    if not all(numbers) or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ValueError(f"GerEnsembleConfig.weights must be numbers from 0, not {weights!r}")
    total = math.fsum(weights)
    if count and not (total > 0 and math.isfinite(total)):
        raise ValueError(f"GerEnsembleConfig.weights must have a sum above 0, not {weights!r}")
    # those that were saved stay as they are, to the last digit
    return [float(weight) if abs(total - 1) < 1e-12 else weight / total for weight in weights]


def _checked(stacking: Mapping[str, Any], members: int, classes: int) -> dict[str, Any]:
    coefficients, intercept = stacking.get("coefficients", ()), stacking.get("intercept", ())
    rows = [row for matrix in coefficients for row in matrix]
    fit = [len(coefficients) == members, len(rows) == members * classes, len(intercept) == classes]
    if not all(fit) or any(len(row) != classes for row in rows):
        raise ValueError(
            f"GerEnsembleConfig.stacking must have coefficients of shape ({members}, {classes}, {classes}) and an "
            f"intercept of {classes} numbers"
        )
    if not all(math.isfinite(number) for row in (*rows, intercept) for number in row):
        raise ValueError("GerEnsembleConfig.stacking must be finite numbers")
    matrices = [[[float(number) for number in row] for row in matrix] for matrix in coefficients]
    return {"coefficients": matrices, "intercept": [float(number) for number in intercept]}


def _listed(labels: Mapping[Any, str]) -> str:
    return ", ".join(labels.values())
