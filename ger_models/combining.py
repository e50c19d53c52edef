"""How the members of an ensemble are combined: by weights, or by routes, ranges of face counts that divide the photos.

Imports neither NumPy nor torch: the models and the scoring of tables share these functions, for arrays and tensors
alike, and scoring must not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import pairwise
from math import fsum, log
from typing import Any, NamedTuple

COMBINATIONS = ("logits", "probabilities")
LEAST = 1e-30  # a probability above 0 that float32 can hold
LARGEST = 1e100  # larger numbers are refused: their sums overflow
FACES, FACELESS = "faces", "faceless"
FORMS = f"{FACES}, {FACELESS}, or a range of face counts such as 0, 1-3 or 4+"
MOST_FACES = 10**6  # in the name of a range
_RANGE = re.compile(r"(?P<least>\d{1,7})(?:(?P<open>\+)|-(?P<most>\d{1,7}))?")


def are_numbers(values: Any, count: int) -> bool:
    """Whether `values` is a list or tuple of `count` finite numbers."""
    if not isinstance(values, (list, tuple)) or len(values) != count:
        return False
    return all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST for value in values
    )


def checked_weights(weights: Sequence[float], members: int, combination: str = "logits") -> list[float]:
    """`weights` as they are where logits are combined; where probabilities are combined, scaled to the sum 1.

    >>> checked_weights([-1, 5, 2.5], 3)
    [-1.0, 5.0, 2.5]
    >>> checked_weights([2, 1, 1], 3, "probabilities")
    [0.5, 0.25, 0.25]

    Raises:
        ValueError: there is not one finite number for each member, all are 0, or probabilities would be combined with
            a sum that is not above 0.
    """
    if not isinstance(weights, (list, tuple)) or len(weights) != members:
        raise ValueError(f"weights must be one for each of the {members} members, not {weights!r}")
    if not are_numbers(weights, members):
        raise ValueError(f"weights must be finite numbers, not {weights!r}")
    if members and not any(weights):
        raise ValueError(f"weights must not all be 0, found {weights!r}")
    total = fsum(weights)
    if combination != "probabilities" or abs(total - 1) < 1e-12:
        return [float(weight) for weight in weights]
    if members and not total > 0:
        raise ValueError(f"weights of probabilities must have a sum above 0, not {weights!r}; combine logits instead")
    return [weight / total for weight in weights]


def check_stacking(coefficients: Any, intercept: Any, members: int, classes: int) -> None:
    """Check the matrices of a stacked ensemble, given as lists.

    Raises:
        ValueError: `coefficients` are not (members, classes, classes) or `intercept` not (classes,) finite numbers.
    """
    matrices: list[Any] = coefficients if isinstance(coefficients, list) and len(coefficients) == members else [None]
    square = (isinstance(matrix, list) and len(matrix) == classes for matrix in matrices)
    if not (are_numbers(intercept, classes) and all(square)) or not all(
        are_numbers(row, classes) for matrix in matrices for row in matrix
    ):
        raise ValueError(
            f"stacking must have coefficients of shape ({members}, {classes}, {classes}) and an intercept of shape "
            f"({classes},), all finite numbers"
        )


def log_probabilities(logits: Any, functions: Any) -> Any:
    """(..., classes) logits -> the logarithms of their softmax; `functions` is the module numpy or torch."""
    shifted = logits - functions.amax(logits, -1, keepdims=True)
    return shifted - functions.log(functions.exp(shifted).sum(-1))[..., None]


def combine_weighted(logits: Any, weights: Sequence[float], combination: str, functions: Any) -> Any:
    """(members, rows, classes) logits -> (rows, classes): the weighted sum of the members' logits or probabilities.

    Weighted probabilities are returned as their logarithms, so that softmax gives them back. With negative weights the
    weighted probability of a class may be 0 or less; it is then `LEAST`, while that of some class is always positive.

    Args:
        logits: an array or tensor.
        weights: (members,), not all 0; of probabilities with the sum 1.
        combination: one of `COMBINATIONS`.
        functions: the module `numpy` or `torch`, to match `logits`.
    """
    used = [(member, weight) for member, weight in zip(logits, weights, strict=True) if weight]
    if combination == "probabilities" and min(weights) < 0:
        total = sum(weight * functions.exp(log_probabilities(each, functions)) for each, weight in used)
        return functions.log(functions.clip(total, LEAST, None))
    if combination == "probabilities":
        return reduce(functions.logaddexp, (log_probabilities(each, functions) + log(weight) for each, weight in used))
    return sum(weight * member for member, weight in used)


def combine_stacked(logits: Any, coefficients: Any, intercept: Any, combination: str, functions: Any) -> Any:
    """(members, rows, classes) logits -> (rows, classes): each member's logits or probabilities times its own matrix.

    Args:
        logits: an array or tensor.
        coefficients: (members, classes out, classes in), of the same type.
        intercept: (classes,), of the same type.
        combination: one of `COMBINATIONS`.
        functions: the module `numpy` or `torch`, to match `logits`.
    """
    scores = functions.exp(log_probabilities(logits, functions)) if combination == "probabilities" else logits
    return sum(member @ matrix.T for member, matrix in zip(scores, coefficients, strict=True)) + intercept


class Route(NamedTuple):
    """The face counts from `least` to `most`, both included; None: there is no upper limit."""

    least: int
    most: int | None

    def holds(self, counts: Any) -> Any:
        """Whether the counts, a number or an array or tensor of them, are in the range; -1, unknown, never is."""
        return (counts >= self.least) & (counts <= (MOST_FACES if self.most is None else self.most))


def parse_route(name: str) -> Route:
    """The range that a route's name means.

    >>> parse_route("faces"), parse_route("faceless")
    (Route(least=1, most=None), Route(least=0, most=0))
    >>> parse_route("1-3"), parse_route("4+")
    (Route(least=1, most=3), Route(least=4, most=None))

    Raises:
        ValueError: it means none.
    """
    if name in (FACES, FACELESS):
        return Route(1, None) if name == FACES else Route(0, 0)
    match = _RANGE.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(f"a route must be {FORMS}, not {name!r}")
    least = int(match["least"])
    most = None if match["open"] else int(match["most"] or least)
    if least > MOST_FACES or (most is not None and not least <= most <= MOST_FACES):
        raise ValueError(f"the route {name!r} holds no face count: write the smaller number first")
    return Route(least, most)


def parse_routes(names: Sequence[str], complete: bool = False) -> list[Route]:
    """The ranges of several routes, none of which overlap.

    Args:
        complete: whether every face count must be in one of them.

    Raises:
        ValueError: a name means no range, two ranges overlap or, if `complete`, a face count is in none.
    """
    routes = [parse_route(name) for name in names]
    ordered = sorted(zip(routes, names, strict=True), key=lambda each: each[0].least)
    for (before, first), (route, second) in pairwise(ordered):
        if before.most is None or route.least <= before.most:
            raise ValueError(f"the routes {first} and {second} overlap: a photo must be in one route only")
    if complete:
        following: int | None = 0  # the least count that is in no range so far
        for route, _ in ordered:
            if following != route.least:
                break
            following = None if route.most is None else route.most + 1
        if following is not None:
            raise ValueError(f"no route is for photos with {following} faces: the routes are {', '.join(names)}")
    return routes


def routes_of(counts: Iterable[int], names: Sequence[str]) -> list[str]:
    """The name of the route of each photo; empty where it is in none.

    >>> routes_of([0, 2, -1], ["faces", "faceless"])
    ['faceless', 'faces', '']

    Raises:
        ValueError: as `parse_routes`.
    """
    routes = list(zip(names, parse_routes(names), strict=True))
    return [next((name for name, route in routes if route.holds(count)), "") for count in counts]


def route_title(name: str) -> str:
    """What a route's photos are called.

    >>> route_title("faces"), route_title("1-3"), route_title("2-2")
    ('photos with faces', 'photos with 1-3 faces', 'photos with 2 faces')
    """
    low, _, high = name.partition("-")
    count = "" if name in (FACES, FACELESS) else f"{low if low == high else name} "
    return f"photos {'without' if name == FACELESS else 'with'} {count}faces"
