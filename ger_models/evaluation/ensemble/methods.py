"""Several models' scores -> one: how much each counts, found on labelled photos. Name -> function: `METHODS`.

| method | what is found |
|---|---|
| simplex | the best of all weightings on a grid: `simplex.py` |
| greedy | members drawn one after the other, with replacement, each the one that helps most (Caruana et al., 2004) |
| logistic | multinomial logistic regression on all members' scores, its C by inner cross-validation |
| svm | linear support vector machines on all members' probabilities, as the original system; C likewise |
| average | nothing: all count alike |
| given | nothing: the weights are the user's |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.svm import LinearSVC

from ger_datasets.support.errors import UserError

from .simplex import search, units_of_step

ON = ("logits", "probabilities")
GREEDY_ROUNDS = 100
STRENGTHS = tuple(10.0**power for power in range(-4, 3))  # the C that are tried
MOST_IN_LANDSCAPE = 5151  # weightings of three members: a step of 0.01
ABSENT = 30.0  # how far below the others a class stands that no photo showed: e⁻³⁰
TIE_RULE = (
    "of weightings that are right on equally many photos, the most even one (least sum of squares); of those, the one "
    "that gives more to the first member, then to the second, and so on"
)


@dataclass(frozen=True)
class Options:
    """What a method may be told.

    Attributes:
        on: what is weighted, `logits` or `probabilities`; empty: probabilities for svm, logits for the others.
        step: the grid of simplex.
        weights: of given, one for each member.
        folds: of cross-validation.
        seed: of the folds.
        groups: (rows) photos of one group are never in two folds; None: every photo stands alone.
    """

    on: str = ""
    step: float = 0.05
    weights: Sequence[float] | None = None
    folds: int = 5
    seed: int = 0
    groups: Sequence[str] | np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Ensemble:
    """How the members' scores become one.

    Attributes:
        method: its name in `METHODS`.
        on: `logits` or `probabilities`.
        weights: (members,) of the sum 1; None where scores are stacked.
        coefficients: (members, classes out, classes in), where scores are stacked.
        intercept: (classes,), likewise.
        found: what else there is to know of how they were found, as JSON values.
    """

    method: str
    on: str
    weights: list[float] | None = None
    coefficients: np.ndarray | None = None
    intercept: np.ndarray | None = None
    found: dict[str, Any] = field(default_factory=dict)

    def combine(self, logits: np.ndarray) -> np.ndarray:
        """(members, rows, classes) the members' logits -> (rows, classes) float32, the ensemble's.

        Weighted probabilities are returned as their logarithms, so that softmax gives them back.
        """
        scores = scored(logits, self.on)
        if self.coefficients is not None:
            return (np.einsum("mrc,mkc->rk", scores, self.coefficients) + self.intercept).astype(np.float32)
        combined = np.einsum("mrc,m->rc", scores, np.array(self.weights))
        if self.on == "probabilities":
            combined = np.log(np.maximum(combined, np.finfo(np.float32).tiny))
        return combined.astype(np.float32)


def scored(logits: np.ndarray, on: str) -> np.ndarray:
    """(members, rows, classes) logits -> float64, or their probabilities."""
    return softmax(logits.astype(np.float64), axis=2) if on == "probabilities" else logits.astype(np.float64)


def fit(method: str, logits: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """Find the ensemble on labelled photos.

    Args:
        method: a name in `METHODS`.
        logits: (members, rows, classes) of the members.
        labels: (rows,) the truth, from 0.
        options: what the method may be told.

    Raises:
        UserError: there is no such method, or the options or the photos do not suit it.
    """
    if method not in METHODS:
        raise UserError(f"there is no method {method!r}: there are {', '.join(METHODS)}")
    on = options.on or ("probabilities" if method == "svm" else "logits")
    if on not in ON:
        raise UserError(f"weights go on {' or '.join(ON)}, not on {on!r}")
    return METHODS[method](scored(logits, on), labels, replace(options, on=on))


def nested(method: str, logits: np.ndarray, labels: np.ndarray, options: Options) -> np.ndarray:
    """What to expect of the method on new photos: (rows, classes) logits, of each photo those of an ensemble that was
    found without it."""
    held_out = np.zeros(logits.shape[1:], np.float32)
    for train, test in folds(labels, options):
        groups = None if options.groups is None else np.asarray(options.groups)[train]
        ensemble = fit(method, logits[:, train], labels[train], replace(options, groups=groups))
        held_out[test] = ensemble.combine(logits[:, test])
    return held_out


def folds(labels: np.ndarray, options: Options) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of (rows,) labels, the rows to learn from and those held out, `options.folds` times, the classes spread evenly.

    Raises:
        UserError: some class has fewer photos than there are folds.
    """
    counts = np.bincount(labels)
    least = int(counts[counts > 0].min())
    if options.folds < 2 or least < options.folds:
        raise UserError(
            f"cross-validation in {options.folds} folds needs 2 folds or more, and as many photos of every class; "
            f"there are {least} of the rarest"
        )
    if options.groups is None:
        splitter = StratifiedKFold(options.folds, shuffle=True, random_state=options.seed)
        yield from splitter.split(labels, labels)
        return
    groups = np.unique(np.asarray(options.groups, dtype=str), return_inverse=True)[1]
    if groups.max() + 1 < options.folds:
        raise UserError(f"cross-validation in {options.folds} folds needs as many groups, found {groups.max() + 1}")
    splitter = StratifiedGroupKFold(options.folds, shuffle=True, random_state=options.seed)
    yield from splitter.split(labels, labels, groups)


def simplex(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """The best of all weightings on the grid, from (members, rows, classes) scores."""
    units = units_of_step(options.step)
    members = len(scores)
    keep = members == 3 and (units + 2) * (units + 1) // 2 <= MOST_IN_LANDSCAPE
    best = search(scores, labels, units, keep)
    found: dict[str, Any] = {"step": options.step, "weightings": best.weightings, "ties": best.ties}
    found |= {"tie_rule": TIE_RULE, "right": best.right, "rows": len(labels)}
    if best.every is not None:
        found["landscape"] = {
            "weights": (best.every[0] / units).tolist(),
            "accuracy": (best.every[1] / len(labels)).tolist(),
        }
    return Ensemble("simplex", options.on, best.weights, found=found)


def greedy(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """Members one after the other, each the one with which the mean is right on most photos; then the best beginning.

    The scores are (members, rows, classes).
    Of members that are equally good, the one with the least log-loss is taken; of equally good beginnings, the
    shortest.
    """
    rows = np.arange(len(labels))
    total = np.zeros(scores.shape[1:])
    drawn: list[int] = []
    merits: list[tuple[int, float]] = []
    for size in range(1, GREEDY_ROUNDS + 1):
        means = (total + scores) / size  # (members, rows, classes)
        right = (means.argmax(axis=2) == labels).sum(axis=1)
        logs = np.log(np.maximum(means, 1e-300)) if options.on == "probabilities" else log_softmax(means, axis=2)
        losses = -logs[:, rows, labels].mean(axis=1)
        best = min(range(len(scores)), key=lambda member: (-right[member], losses[member], member))
        drawn.append(best)
        merits.append((-int(right[best]), float(losses[best])))
        total += scores[best]
    size = merits.index(min(merits, key=lambda merit: merit[0])) + 1
    weights = np.bincount(drawn[:size], minlength=len(scores)) / size
    return Ensemble("greedy", options.on, weights.tolist(), found={"rounds": GREEDY_ROUNDS, "drawn": drawn[:size]})


def logistic(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """Multinomial logistic regression; the C of least log-loss in inner cross-validation.

    The scores are (members, rows, classes).
    """

    def judge(model: Any, features: np.ndarray, truth: np.ndarray) -> float:
        shares = model.predict_proba(features)[np.arange(len(truth)), np.searchsorted(model.classes_, truth)]
        return float(np.log(np.maximum(shares, 1e-300)).mean())

    return _stacked("logistic", lambda c: LogisticRegression(C=c, max_iter=1000), judge, scores, labels, options)


def svm(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """Linear support vector machines, one class against the rest; the C of most accuracy in inner cross-validation.

    The scores are (members, rows, classes).
    """

    def judge(model: Any, features: np.ndarray, truth: np.ndarray) -> float:
        return float((model.predict(features) == truth).mean())

    def make(c: float) -> LinearSVC:
        return LinearSVC(C=c, max_iter=20000, random_state=options.seed)

    return _stacked("svm", make, judge, scores, labels, options)


def _stacked(
    method: str,
    make: Callable[[float], Any],
    judge: Callable[[Any, np.ndarray, np.ndarray], float],
    scores: np.ndarray,
    labels: np.ndarray,
    options: Options,
) -> Ensemble:
    members, rows, classes = scores.shape
    features = scores.transpose(1, 0, 2).reshape(rows, members * classes)
    splits = list(folds(labels, options))
    merits = [
        float(np.mean([judge(make(c).fit(features[train], labels[train]), features[test], labels[test])
                       for train, test in splits]))
        for c in STRENGTHS
    ]  # fmt: skip
    strength = STRENGTHS[int(np.argmax(merits))]  # of equals the most regularised
    model = make(strength).fit(features, labels)
    weights, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one number, of the second class against the first
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    coefficients = np.zeros((classes, members, classes))
    intercept = np.full(classes, float(bias.min()) - ABSENT)
    coefficients[model.classes_] = weights.reshape(-1, members, classes)
    intercept[model.classes_] = bias
    tried = [{"C": c, "merit": merit} for c, merit in zip(STRENGTHS, merits, strict=True)]
    return Ensemble(
        method,
        options.on,
        coefficients=coefficients.transpose(1, 0, 2),
        intercept=intercept,
        found={"C": strength, "folds": len(splits), "tried": tried},
    )


def average(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """All members alike, whatever the (members, rows, classes) scores."""
    return Ensemble("average", options.on, [1 / len(scores)] * len(scores))


def given(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """The user's weights, brought to the sum 1, whatever the (members, rows, classes) scores.

    Raises:
        UserError: there is not one for each member, or they are no numbers from 0 of a sum above 0.
    """
    weights = np.array(options.weights if options.weights is not None else (), dtype=np.float64)
    if len(weights) != len(scores):
        raise UserError(f"--weights must be one for each of the {len(scores)} members, found {len(weights)}")
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() <= 0:
        raise UserError(f"--weights must be numbers from 0, of a sum above 0, found {weights.tolist()}")
    total = weights.sum()
    return Ensemble("given", options.on, (weights if abs(total - 1) < 1e-12 else weights / total).tolist())


METHODS: dict[str, Callable[[np.ndarray, np.ndarray, Options], Ensemble]] = {
    "simplex": simplex,
    "greedy": greedy,
    "logistic": logistic,
    "svm": svm,
    "average": average,
    "given": given,
}
FITTED = ("simplex", "greedy", "logistic", "svm")  # those that look at the labels
