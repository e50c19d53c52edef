"""The configuration of an ensemble: its members' configurations, their weights, and how they are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from .combining import COMBINATIONS, check_stacking, checked_weights, parse_routes

MOST_MEMBERS = 100  # memory is allocated for all of them before any weight is read
# fields of a member's configuration that describe the file it came from, not the model
ORIGINS = ("_name_or_path", "name_or_path", "auto_map", "transformers_version")


class GerEnsembleConfig(PreTrainedConfig):
    """Several models and their weights.

    Args:
        members: each member's configuration, or a dict with its `model_type`.
        weights: a finite number for each member, not all 0, used as they are; for probabilities scaled to the sum 1.
            None: equal weights of the sum 1.
        combination: `logits` adds the weighted logits, `probabilities` the weighted probabilities.
        stacking: used instead of `weights`: `coefficients` (members, classes out, classes in), matrices that multiply
            the members' logits or probabilities, and `intercept` (classes). None: `weights` are used.
        routes: used instead of `weights`: for each member a range of face counts, whose photos it alone answers; see
            `combining`. Every face count must be in exactly one range. None: `weights` are used.
        groups: for each member, the position of its processor in the ensemble's processor. None: each member has its
            own processor.

    All members must have the same classes in the same order.
    """

    model_type = "ger_ensemble"

    def __init__(
        self,
        members: Sequence[PreTrainedConfig | Mapping[str, Any]] = (),
        weights: Sequence[float] | None = None,
        combination: str = "logits",
        groups: Sequence[int] | None = None,
        stacking: Mapping[str, Any] | None = None,
        routes: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"GerEnsembleConfig.members must be {MOST_MEMBERS} at most, not {len(members)}")
        self.members = [_as_dict(member, i) for i, member in enumerate(members)]  # a list of configs is not JSON
        self.combination = combination
        self.groups = list(range(len(members))) if groups is None else list(groups)
        if combination not in COMBINATIONS:
            raise ValueError(
                f"GerEnsembleConfig.combination must be one of {', '.join(COMBINATIONS)}, not {combination!r}"
            )
        try:
            equal = [1 / max(len(members), 1)] * len(members)
            self.weights = checked_weights(equal if weights is None else weights, len(members), combination)
        except ValueError as error:
            raise ValueError(f"GerEnsembleConfig.{error}") from error
        if len(self.groups) != len(members) or not all(type(i) is int and i >= 0 for i in self.groups):
            raise ValueError(
                f"GerEnsembleConfig.groups must be an integer from 0 for each of the {len(members)} members, not "
                f"{groups!r}"
            )
        if members:
            kwargs["id2label"] = self._agreed_labels(kwargs.get("id2label"))
            kwargs["label2id"] = {name: i for i, name in kwargs["id2label"].items()}
        self.stacking = None
        if stacking is not None:
            fields = {name: stacking.get(name) for name in ("coefficients", "intercept")}
            check_stacking(**fields, members=len(members), classes=len(kwargs.get("id2label", ())))
            self.stacking = fields
        self.routes = None if routes is None else self._checked_routes(routes)
        super().__init__(**kwargs)

    @property
    def member_configs(self) -> list[PreTrainedConfig]:
        """New configuration objects of the members."""
        return [AutoConfig.for_model(**member) for member in self.members]

    def _checked_routes(self, routes: Sequence[str]) -> list[str]:
        wrong = not isinstance(routes, (list, tuple)) or len(routes) != len(self.members)
        if wrong or self.stacking is not None:
            raise ValueError(
                f"GerEnsembleConfig.routes must be a range of face counts for each of the {len(self.members)} "
                f"members, without stacking, not {routes!r}"
            )
        try:
            parse_routes(routes, complete=True)
        except ValueError as error:
            raise ValueError(f"GerEnsembleConfig.routes: {error}") from error
        return list(routes)

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


def _listed(labels: Mapping[Any, str]) -> str:
    return ", ".join(labels.values())
