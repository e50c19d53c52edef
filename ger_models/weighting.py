"""Several models' logits -> the logits of their ensemble, for NumPy arrays and torch tensors.

Imports neither: the models and the scoring of tables share these functions, and scoring must not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import fsum, isfinite, log
from typing import Any

COMBINATIONS = ("logits", "probabilities")
LARGEST = 1e100  # larger numbers are refused: their sums overflow


def are_numbers(values: Any, count: int) -> bool:
    """Whether `values` is a list or tuple of `count` finite numbers."""
    if not isinstance(values, (list, tuple)) or len(values) != count:
        return False
    return all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST for value in values
    )


def normalised(weights: Sequence[float], members: int) -> list[float]:
    """`weights` scaled to the sum 1; weights whose sum is already 1 stay bit-identical.

    >>> normalised([2, 1, 1], 3)
    [0.5, 0.25, 0.25]

    Raises:
        ValueError: there is not one weight for each member, or they are not numbers from 0 with a sum above 0.
    """
    if not isinstance(weights, (list, tuple)) or len(weights) != members:
        raise ValueError(f"weights must be one for each of the {members} members, not {weights!r}")
    if not are_numbers(weights, members) or min(weights, default=0) < 0:
        raise ValueError(f"weights must be numbers from 0, not {weights!r}")
    total = fsum(weights)
    if members and not (total > 0 and isfinite(total)):
        raise ValueError(f"weights must have a sum above 0, not {weights!r}")
    return [float(weight) if abs(total - 1) < 1e-12 else weight / total for weight in weights]


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

    Weighted probabilities are returned as their logarithms, so that softmax returns them.

    Args:
        logits: an array or tensor.
        weights: (members,), with the sum 1.
        combination: one of `COMBINATIONS`.
        functions: the module `numpy` or `torch`, to match `logits`.
    """
    used = [(member, weight) for member, weight in zip(logits, weights, strict=True) if weight > 0]
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
