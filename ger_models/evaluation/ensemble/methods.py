"""Several models' scores on labelled photos -> their ensemble. The methods by name: `METHODS`.

| method | what is found |
|---|---|
| simplex | the best of all weightings on a grid: `simplex.py` |
| greedy | members drawn one after the other, with replacement, each the one that helps most (Caruana et al., 2004) |
| logistic | multinomial logistic regression on all members' scores, its C by inner cross-validation |
| svm | linear support vector machines on all members' probabilities, as the original system; C likewise |
| average | nothing: equal weights |
| given | nothing: the weights are the user's |

Besides them there is `ROUTED`, whose members share no photos: `selection.route_ensemble`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ger_datasets.support.errors import UserError

from ...combining import COMBINATIONS, checked_weights, log_probabilities
from .ensemble import Ensemble
from .simplex import search, units_of_step

ROUTED = "routed"  # each photo is answered by one member, by its number of faces
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
    """Options of the methods.

    Attributes:
        on: what is combined, `logits` or `probabilities`; empty: the method's default.
        step: grid step of simplex.
        weights: for given, one for each member.
        folds: number of cross-validation folds.
        seed: random seed for the cross-validation folds.
        groups: (rows) photos of one group are never in two folds; None: every photo is its own group.
    """

    on: str = ""
    step: float = 0.05
    weights: Sequence[float] | None = None
    folds: int = 5
    seed: int = 0
    groups: Sequence[str] | np.ndarray | None = None


@dataclass(frozen=True)
class Method:
    """A way to find an ensemble.

    Attributes:
        find: makes the ensemble from (members, rows, classes) scores, (rows,) labels and the options.
        uses_labels: whether it is fitted to the labels.
        on: what it combines by default.
    """

    find: Callable[[np.ndarray, np.ndarray, Options], Ensemble]
    uses_labels: bool = True
    on: str = "logits"


def scored(logits: np.ndarray, on: str) -> np.ndarray:
    """(members, rows, classes) logits -> float64, or their probabilities."""
    scores = logits.astype(np.float64)
    return np.exp(log_probabilities(scores, np)) if on == "probabilities" else scores


def check_method(name: str) -> None:
    """Raises UserError where no method is called `name`."""
    if name not in METHODS and name != ROUTED:
        raise UserError(f"there is no method {name!r}: choose from {', '.join([*METHODS, ROUTED])}")


def fit(method: str, logits: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """Find the ensemble on labelled photos.

    Args:
        method: a name in `METHODS`.
        logits: (members, rows, classes) of the members.
        labels: (rows,) the truth, from 0.
        options: of the method.

    Raises:
        UserError: there is no such method, or the options or the photos do not suit it.
    """
    check_method(method)
    on = options.on or METHODS[method].on
    if on not in COMBINATIONS:
        raise UserError(f"--on must be {' or '.join(COMBINATIONS)}, not {on!r}")
    return METHODS[method].find(scored(logits, on), labels, replace(options, on=on))


def nested(method: str, logits: np.ndarray, labels: np.ndarray, options: Options) -> np.ndarray:
    """(rows, classes) logits, of each photo by an ensemble fitted without it: what to expect of new photos."""
    held_out = np.zeros(logits.shape[1:], np.float32)
    for train, test in folds(labels, options):
        groups = None if options.groups is None else np.asarray(options.groups)[train]
        ensemble = fit(method, logits[:, train], labels[train], replace(options, groups=groups))
        held_out[test] = ensemble.combine(logits[:, test])
    return held_out


def folds(labels: np.ndarray, options: Options) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`options.folds` times the rows to fit on and those held out, stratified by the (rows,) labels.

    Raises:
        UserError: some class has fewer photos than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

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
    return Ensemble("simplex", options.on, best.weights, details=found)


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
        logs = np.log(np.maximum(means, 1e-300)) if options.on == "probabilities" else log_probabilities(means, np)
        losses = -logs[:, rows, labels].mean(axis=1)
        best = min(range(len(scores)), key=lambda member: (-right[member], losses[member], member))
        drawn.append(best)
        merits.append((-int(right[best]), float(losses[best])))
        total += scores[best]
    size = merits.index(min(merits, key=lambda merit: merit[0])) + 1
    weights = np.bincount(drawn[:size], minlength=len(scores)) / size
    return Ensemble("greedy", options.on, weights.tolist(), details={"rounds": GREEDY_ROUNDS, "drawn": drawn[:size]})


def logistic(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """Multinomial logistic regression; the C of least log-loss in inner cross-validation.

    The scores are (members, rows, classes).
    """
    from sklearn.linear_model import LogisticRegression

    def judge(model: Any, features: np.ndarray, truth: np.ndarray) -> float:
        shares = model.predict_proba(features)[np.arange(len(truth)), np.searchsorted(model.classes_, truth)]
        return float(np.log(np.maximum(shares, 1e-300)).mean())

    return _stacked("logistic", lambda c: LogisticRegression(C=c, max_iter=1000), judge, scores, labels, options)


def svm(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """Linear support vector machines, one class against the rest; the C of most accuracy in inner cross-validation.

    The scores are (members, rows, classes).
    """
    from sklearn.svm import LinearSVC

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
        coefficients=coefficients.transpose(1, 0, 2).tolist(),
        intercept=intercept.tolist(),
        details={"C": strength, "folds": len(splits), "tried": tried},
    )


def average(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """Equal weights; of the (members, rows, classes) scores only their number is used."""
    return Ensemble("average", options.on, [1 / len(scores)] * len(scores))


def given(scores: np.ndarray, labels: np.ndarray, options: Options) -> Ensemble:
    """The user's weights; of the (members, rows, classes) scores only their number is used.

    Raises:
        UserError: there is not one finite number for each member, or all are 0.
    """
    try:
        return Ensemble("given", options.on, checked_weights(options.weights or (), len(scores), options.on))
    except ValueError as error:
        raise UserError(f"--{error}") from error


METHODS = {
    "simplex": Method(simplex),
    "greedy": Method(greedy),
    "logistic": Method(logistic),
    "svm": Method(svm, on="probabilities"),
    "average": Method(average, uses_labels=False),
    "given": Method(given, uses_labels=False),
}


def unfitted(method: str | None, members: Sequence[str], weights: Sequence[float] | None, on: str = "") -> Ensemble:
    """An ensemble of models without their predictions: `average`, or with the user's weights.

    Args:
        method: `average`, `given` or None.
        members: the models' names.
        weights: one for each of them, for `given`.
        on: what is combined; empty: the method's default.

    Raises:
        UserError: a method that is fitted to predictions, or weights that do not suit.
    """
    method = method or ("simplex" if weights is None else "given")
    if method in METHODS and METHODS[method].uses_labels:
        raise UserError(
            f"--method {method} is fitted to the members' predictions: give their tables with --predictions, or say "
            "--method average, or give --weights"
        )
    nothing = np.zeros((len(members), 1, 1)), np.zeros(1, np.int64)
    return replace(fit(method, *nothing, Options(on=on, weights=weights)), members=list(members))
