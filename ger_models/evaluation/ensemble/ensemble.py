"""An ensemble: its members, how their scores are combined, and how it was found. Written to and read from
`ensemble.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError, one_line

from ...combining import (
    COMBINATIONS,
    are_numbers,
    check_stacking,
    checked_weights,
    combine_stacked,
    combine_weighted,
    parse_routes,
)

FORMAT = "group-emotion ensemble"
VERSION = 1
AGAIN = "write it again with ensemble.py"


@dataclass(frozen=True, eq=False)
class Ensemble:
    """How the members' scores become one; either `weights`, or `coefficients` and `intercept`, or `routes` are given.

    Attributes:
        method: its name in `methods.METHODS`.
        on: what is combined, `logits` or `probabilities`.
        weights: (members,), as given; of probabilities scaled to the sum 1.
        coefficients: (members, classes out, classes in), for stacked scores.
        intercept: (classes,), likewise.
        routes: (members,), the face counts of the photos that each member answers: see `ger_models.combining`.
        members: the models' names, in the order of the weights; empty: not known yet.
        class_names: (classes,), likewise.
        details: the other entries of `ensemble.json`, as JSON values: what the method reports, the splits, the
            figures. See `selection.select_ensemble`.

    Raises:
        UserError: on construction, where these do not fit together.
    """

    method: str
    on: str = "logits"
    weights: list[float] | None = None
    coefficients: list[list[list[float]]] | None = None
    intercept: list[float] | None = None
    routes: list[str] | None = None
    members: list[str] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.on not in COMBINATIONS:
            raise UserError(f"on must be {' or '.join(COMBINATIONS)}, not {self.on!r}")
        if not isinstance(self.method, str) or not isinstance(self.class_names, list):
            raise UserError("method must be a text and class_names a list")
        if self.routes is not None:
            _check_routes(self.routes, self.members)
            return
        given = self.coefficients if self.weights is None else self.weights
        count = len(self.members) or (len(given) if isinstance(given, list) else 0)
        try:
            if self.weights is None:
                classes = len(self.intercept) if isinstance(self.intercept, list) else 0
                check_stacking(self.coefficients, self.intercept, count, classes)
            else:
                object.__setattr__(self, "weights", checked_weights(self.weights, count, self.on))
        except ValueError as error:
            raise UserError(str(error)) from error
        landscape = self.details.get("landscape")
        if landscape is not None and not _is_landscape(landscape, count):
            raise UserError("landscape must hold an accuracy for each of its weightings")

    def combine(self, logits: np.ndarray) -> np.ndarray:
        """(members, rows, classes) the members' logits -> (rows, classes) float32, the ensemble's; not of routes.

        Weighted probabilities are returned as their logarithms, so that softmax gives them back.
        """
        scores = logits.astype(np.float64)
        if self.weights is not None:
            return combine_weighted(scores, self.weights, self.on, np).astype(np.float32)
        matrices = np.array(self.coefficients), np.array(self.intercept)
        return combine_stacked(scores, *matrices, self.on, np).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The content of `ensemble.json`."""
        own = {name: value for name, value in vars(self).items() if name != "details"}
        return {"format": FORMAT, "version": VERSION, **own, **self.details}

    def write(self, path: Path) -> None:
        """Write `ensemble.json`; raises UserError if it cannot be written."""
        write_text(path, json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Ensemble:
        """Read an `ensemble.json`.

        Raises:
            UserError: it cannot be read, or does not describe an ensemble.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path} is not an ensemble.json ({one_line(error)}); {AGAIN}") from error
        if not isinstance(content, dict) or not isinstance(content.get("members"), list) or not content["members"]:
            raise UserError(f"{path} is not an ensemble.json: it has no list of members; {AGAIN}")
        fields = {"method": "", **content, "members": [str(member) for member in content["members"]]}
        own = {name: fields.pop(name) for name in cls.__dataclass_fields__ if name in fields and name != "details"}
        try:
            return cls(**own, details={key: fields[key] for key in fields if key not in ("format", "version")})
        except UserError as error:
            raise UserError(f"{path} contains invalid values: {error}; {AGAIN}") from error


def _check_routes(routes: Any, members: Sequence[str]) -> None:
    if not isinstance(routes, list) or (members and len(routes) != len(members)):
        raise UserError(f"routes must be a list of one range of face counts for each member, not {routes!r}")
    try:
        parse_routes(routes)
    except ValueError as error:
        raise UserError(str(error)) from error


def _is_landscape(landscape: Any, members: int) -> bool:
    """Whether it has an accuracy for each of its weightings."""
    if not isinstance(landscape, Mapping) or not isinstance(landscape.get("weights"), list):
        return False
    weightings = landscape["weights"]
    return are_numbers(landscape.get("accuracy"), len(weightings)) and all(
        are_numbers(weights, members) and abs(sum(weights) - 1) < 1e-6 for weights in weightings
    )
