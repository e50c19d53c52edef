"""An ensemble fitted on one split and scored once on another: every figure of it, and its own predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError

from ..comparison import compare
from ..joining import join, stacked
from ..metrics import compute_metrics
from ..predictions import Predictions
from .applying import apply, notes
from .ensemble import Ensemble
from .methods import METHODS, ROUTED, Options, check_method, fit, nested
from .routed import by_route


@dataclass(frozen=True, eq=False)
class Selected:
    """An ensemble and its value.

    Attributes:
        ensemble: with all its figures as details: see `select_ensemble`.
        predictions: the ensemble's own predictions of the split it is reported on.
        fitted_on: those of the split it was fitted on, with a note that says so; where nothing is fitted and not
            all members have that split, `predictions` again.
    """

    ensemble: Ensemble
    predictions: Predictions
    fitted_on: Predictions

    @property
    def account(self) -> dict[str, Any]:
        """The content of `ensemble.json`."""
        return self.ensemble.to_dict()


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labelled photos that an ensemble is chosen on: logits (members, rows, classes), labels, groups (rows,)."""

    logits: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None


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
        members: the models, each with both splits; where nothing is fitted, `report` is enough.
        select: the split whose labels the method sees.
        report: the split that the figures are of; withheld labels are never used.
        method: a name in `methods.METHODS`.
        options: of the method; its groups are replaced by the photos' own.
        allow_selection_on_report: whether the two may be the same split. The result is marked then, in the details
            and in the note of the predictions.
        nested_folds: of the nested cross-validation on `select`; 0: none.

    Returns:
        The ensemble, its predictions, and as the ensemble's details:

        model_revisions, dataset_revisions: of the members, empty where not known.
        select, report, selection_on_report, note.
        step, weightings, ties, tie_rule, right, rows, and of three members landscape (`weights` of every weighting,
            the `accuracy` of each, the `split` it is of): where the method is simplex.
        C, folds, tried: where it is logistic or svm; rounds, drawn: where it is greedy.
        figures: split -> what `compute_metrics` returns, None where the labels are withheld.
        member_figures: split -> the accuracy of each member, with interval, likewise.
        best_member: the model that is best on `select`, None where the members do not have that split.
        comparison: `comparison.compare` of that model with the ensemble on `report`, None without that model or where
            labels are withheld.
        nested_cross_validation: `folds`, and the `accuracy` with interval to expect on new photos, from `select`
            alone; None where nothing is fitted.

    Raises:
        UserError: the splits are the same and may not be, the members cannot be joined, the split to select on has no
            labels, or the method does not suit.
    """
    check_method(method)
    fitted = METHODS[method].uses_labels
    on_report = fitted and select == report
    if on_report and not allow_selection_on_report:
        raise UserError(
            f"the weights would be chosen on {report}, the split they are reported on, which makes the figures too "
            "good: choose them on another with --select, or say --allow_selection_on_report to have the result marked"
        )
    judged = select  # the split that the best member is chosen on
    if not fitted and not all(select in member.split_names for member in members):
        select, judged = report, ""  # nothing is chosen
    joined = {split: join(members, split) for split in dict.fromkeys((report, select))}
    ensemble, expected = _choose(method, joined[select], select, options, nested_folds if fitted else 0)
    predictions, fitted_on = _apply(ensemble, members, select, report, fitted)
    if "landscape" in ensemble.details:
        ensemble.details["landscape"]["split"] = select
    details = {
        **_origins(members, select if fitted else None, report, predictions.note),
        "selection_on_report": on_report,
        **ensemble.details,
        **_summarise(joined, {select: fitted_on, report: predictions}, judged, report),
        "nested_cross_validation": expected,
    }
    return Selected(_complete(ensemble, members, predictions, details), predictions, fitted_on)


def route_ensemble(routes: Sequence[str], members: Sequence[Predictions], select: str, report: str) -> Selected:
    """An ensemble whose photos are each answered by the member of their route; nothing is fitted.

    Args:
        routes: a range of face counts for each member: see `ger_models.combining`.
        members: the models; each needs predictions of its route's photos only.
        select: a split that is scored too.
        report: the split that the figures are of.

    Returns:
        As `select_ensemble`, with `routes`; `route_figures`: split -> the figures of `routed.by_route`, None where
        the labels are withheld; and nothing that compares members, which share no photos.

    Raises:
        UserError: as `routed.answer_by_route`.
    """
    ensemble = Ensemble(ROUTED, members=[member.model for member in members], routes=list(routes))
    title = f"{ROUTED} of {len(members)}"
    tables = {split: apply(ensemble, members, [split], title) for split in dict.fromkeys((select, report))}
    figures = {split: _figures(table) for split, table in tables.items()}
    details = {
        **_origins(members, None, report, tables[report].note),
        "selection_on_report": False,
        "figures": figures,
        "route_figures": {
            split: None if figures[split] is None else by_route(table) for split, table in tables.items()
        },
        "nested_cross_validation": None,
    }
    return Selected(_complete(ensemble, members, tables[report], details), tables[report], tables[select])


def labelled(joined: Sequence[Predictions]) -> Labelled:
    """The photos of joined members that have a label."""
    first = joined[0]
    known = np.flatnonzero(first.labels != NO_LABEL)
    groups = None if first.groups is None else np.asarray(first.groups)[known]
    return Labelled(stacked(joined)[:, known], first.labels[known], groups)


def _choose(
    method: str, joined: Sequence[Predictions], split: str, options: Options, nested_folds: int
) -> tuple[Ensemble, dict[str, Any] | None]:
    """The ensemble fitted on the joined members, and the accuracy to expect on new photos, None without folds."""
    photos = labelled(joined)
    if METHODS[method].uses_labels and not len(photos.labels):
        raise UserError(f"no photo of {split} has a label, so no weights can be chosen on it; use another --select")
    options = replace(options, groups=photos.groups)
    ensemble = fit(method, photos.logits, photos.labels, options)
    if not nested_folds:
        return ensemble, None
    held_out = nested(method, photos.logits, photos.labels, replace(options, folds=nested_folds))
    metrics = compute_metrics(photos.labels, held_out, joined[0].class_names, groups=photos.groups)
    return ensemble, {"folds": nested_folds, **_brief(metrics)}


def _origins(members: Sequence[Predictions], select: str | None, report: str, note: str) -> dict[str, Any]:
    return {
        "model_revisions": [member.model_revision for member in members],
        "dataset_revisions": [member.dataset_revision for member in members],
        "select": select,
        "report": report,
        "note": note,
    }


def _complete(
    ensemble: Ensemble, members: Sequence[Predictions], predictions: Predictions, details: dict[str, Any]
) -> Ensemble:
    names = [member.model for member in members]
    return replace(ensemble, members=names, class_names=list(predictions.class_names), details=details)


def _apply(
    ensemble: Ensemble, members: Sequence[Predictions], select: str, report: str, fitted: bool
) -> tuple[Predictions, Predictions]:
    """The ensemble's predictions of the split it is reported on, and of the one it was chosen on, with their notes."""
    name, own = f"{ensemble.method} of {len(members)}", notes(members)
    if fitted and select == report:
        marks = [
            f"The weights were chosen on {report}, the split that these figures are of: they are too good, and say "
            "nothing about new photos"
        ]
        predictions = apply(ensemble, members, [report], name, "; ".join([*own, *marks]))
        return predictions, predictions
    marks = [f"The ensemble was fitted on these photos ({select}): their figures are too good"] if fitted else []
    return (
        apply(ensemble, members, [report], name, "; ".join(own)),
        apply(ensemble, members, [select], name, "; ".join([*own, *marks])),
    )


def _summarise(
    joined: Mapping[str, Sequence[Predictions]], own: Mapping[str, Predictions], select: str, report: str
) -> dict[str, Any]:
    """The figures of the ensemble and its members on each split, and the comparison with the best member."""
    figures = {split: _figures(predictions) for split, predictions in own.items()}
    member_figures = {
        split: None if figures[split] is None else [_brief(_figures(member) or {}) for member in members]
        for split, members in joined.items()
    }
    best, comparison, selected = None, None, member_figures.get(select)
    if selected is not None:
        best = joined[report][int(np.argmax([row["accuracy"] for row in selected]))]
    if best is not None and figures[report] is not None:
        ensemble = own[report]
        comparison = {"models": [best.model, ensemble.model], "split": report} | compare(
            ensemble.labels, best.logits, ensemble.logits, groups=ensemble.groups
        )
    return {
        "figures": figures,
        "member_figures": member_figures,
        "best_member": None if best is None else best.model,
        "comparison": comparison,
    }


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
