"""An ensemble fitted on one split and scored once on another: every figure of it, and its own predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError

from ..comparison import compare
from ..joining import join, stacked
from ..metrics import compute_metrics
from ..predictions import Predictions
from .methods import FITTED, Ensemble, Options, fit, nested

FORMAT = "group-emotion ensemble"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Selected:
    """An ensemble and what it is worth.

    Attributes:
        ensemble: how the members become one.
        account: what ensemble.json holds: see `select_ensemble`.
        predictions: the ensemble's own predictions of the split it is reported on.
        fitted_on: those of the split it was fitted on, which carry a note that says so.
    """

    ensemble: Ensemble
    account: dict[str, Any]
    predictions: Predictions
    fitted_on: Predictions


def select_ensemble(
    members: Sequence[Predictions],
    select: str,
    report: str,
    method: str,
    options: Options,
    allow_selection_on_report: bool = False,
    nested_folds: int = 5,
) -> Selected:
    """Fit an ensemble on the split `select` alone and score it once on the split `report`.

    Args:
        members: the models, each with both splits.
        select: the split whose labels the method sees.
        report: the split that the figures are of; withheld labels are seen by nothing.
        method: a name in `methods.METHODS`.
        options: what the method may be told; its groups are the photos' own.
        allow_selection_on_report: whether the two may be the same split. The result is marked then, in the account
            and in the note of the predictions.
        nested_folds: of the nested cross-validation on `select`; 0: none.

    Returns:
        The ensemble, its predictions, and as `account`:

        format, version: the marker of these files.
        method, on, weights, coefficients, intercept: the ensemble; see `methods.Ensemble`.
        members: the models' names, in the order of the weights.
        model_revisions, dataset_revisions: theirs, empty where not known.
        select, report, selection_on_report, note.
        step, weightings, ties, tie_rule, right, rows, and of three members landscape (`weights` of every weighting,
            the `accuracy` of each, the `split` it is of): where the method is simplex.
        C, folds, tried: where it is logistic or svm; rounds, drawn: where it is greedy.
        figures: split -> what `compute_metrics` returns, None where the labels are withheld.
        member_figures: split -> the accuracy of each member, with interval, likewise.
        best_member: the model that is best on `select`.
        comparison: `comparison.compare` of that model with the ensemble on `report`, None where labels are withheld.
        nested_cross_validation: `folds`, and the `accuracy` with interval that new photos may be expected to show,
            from `select` alone; None where nothing is fitted.

    Raises:
        UserError: the splits are the same and may not be, the members cannot be joined, the split to select on has no
            labels, or the method does not suit.
    """
    on_report = method in FITTED and select == report
    if on_report and not allow_selection_on_report:
        raise UserError(
            f"the weights would be chosen on {report}, the split they are reported on, which makes the figures too "
            "good: choose them on another with --select, or say --allow_selection_on_report to have the result marked"
        )
    reported = join(members, report)
    chosen = reported if select == report else join(members, select)
    known = np.flatnonzero(chosen[0].labels != NO_LABEL)
    if method in FITTED and not len(known):
        raise UserError(f"no photo of {select} has a label, so no weights can be chosen on it; use another --select")
    logits, labels = stacked(chosen)[:, known], chosen[0].labels[known]
    groups = None if chosen[0].groups is None else np.asarray(chosen[0].groups)[known]
    options = replace(options, groups=groups)
    ensemble = fit(method, logits, labels, options)
    name = f"{method} of {len(members)}"
    notes = list(dict.fromkeys(member.note for member in members if member.note))
    mark = (
        f"The weights were chosen on {report}, the split that these figures are of: they are too good, and say "
        "nothing about new photos"
    )
    fitted_mark = f"The ensemble was fitted on these photos ({select}): their figures are too good"
    told = [*notes, mark] if on_report else notes
    predictions = _combined(ensemble, reported, name, told)
    fitted_on = _combined(
        ensemble, chosen, name, told if on_report else [*notes, fitted_mark] if method in FITTED else notes
    )

    splits = {select: (chosen, fitted_on), report: (reported, predictions)}
    figures = {split: _figures(own) for split, (_, own) in splits.items()}
    member_figures = {
        split: None if figures[split] is None else [_brief(_figures(member) or {}) for member in each]
        for split, (each, _) in splits.items()
    }
    best, selected = None, member_figures[select]
    if selected is not None:
        best = int(np.argmax([row["accuracy"] for row in selected]))
    comparison = None
    if best is not None and figures[report] is not None:
        comparison = {"models": [reported[best].model, name], "split": report} | compare(
            predictions.labels, reported[best].logits, predictions.logits, groups=predictions.groups
        )
    expected = None
    if method in FITTED and nested_folds:
        held_out = nested(method, logits, labels, replace(options, folds=nested_folds))
        metrics = compute_metrics(labels, held_out, predictions.class_names, groups=groups)
        expected = {"folds": nested_folds, **_brief(metrics)}
    account = {
        "format": FORMAT,
        "version": VERSION,
        "method": method,
        "on": ensemble.on,
        "members": [member.model for member in members],
        "model_revisions": [member.model_revision for member in members],
        "dataset_revisions": [member.dataset_revision for member in members],
        "class_names": list(predictions.class_names),
        "weights": ensemble.weights,
        "coefficients": None if ensemble.coefficients is None else ensemble.coefficients.tolist(),
        "intercept": None if ensemble.intercept is None else ensemble.intercept.tolist(),
        "select": select if method in FITTED else None,
        "report": report,
        "selection_on_report": on_report,
        "note": predictions.note,
        **ensemble.found,
        "figures": figures,
        "member_figures": member_figures,
        "best_member": None if best is None else members[best].model,
        "comparison": comparison,
        "nested_cross_validation": expected,
    }
    if "landscape" in account:
        account["landscape"]["split"] = select
    return Selected(ensemble, account, predictions, fitted_on)


def _combined(ensemble: Ensemble, members: Sequence[Predictions], name: str, notes: Sequence[str]) -> Predictions:
    revisions = {member.dataset_revision for member in members}
    return replace(
        members[0],
        logits=ensemble.combine(stacked(members)),
        model=name,
        model_revision="",
        dataset_revision=revisions.pop() if len(revisions) == 1 else "",
        note="; ".join(notes),
        face_attention=None,
        source="",
    )


def _figures(predictions: Predictions) -> dict[str, Any] | None:
    if (predictions.labels == NO_LABEL).all():
        return None
    return compute_metrics(
        predictions.labels,
        predictions.logits,
        predictions.class_names,
        groups=predictions.groups,
        faces=predictions.faces,
    )


def _brief(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in ("accuracy", "accuracy_interval")}
