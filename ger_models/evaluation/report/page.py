"""The report as one HTML page.

Without scripts the page shows every result, one after the other; where there are several, a short script shows the one
that is chosen by model and split.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ger_datasets.schema import bin_name
from ger_datasets.support.html_page import Markup, photos, render

from ...combining import route_title
from ..metrics import METRICS
from . import charts, mistakes
from .charts import percent, percent_range
from .mistakes import Picture

TEMPLATES = Path(__file__).with_name("templates")


def render_page(report: Mapping[str, Any], pictures: Mapping[str, Picture] | None = None) -> str:
    """The page for a report, as `writing.make_report` returns it.

    Args:
        report: the report.
        pictures: photos of the mistakes, by image_id; a mistake without one is described in words.
    """
    results, pictures = [report, *report["others"]], pictures or {}
    models = list(dict.fromkeys(result["model"] for result in results))
    splits = list(dict.fromkeys(result["split"] for result in results))
    several = len(results) > 1
    named = Markup("{} <strong>{}</strong>").format("Split" if len(splits) == 1 else "Splits", ", ".join(splits))

    def on(split: str) -> list[Mapping[str, Any]]:
        return [result for result in results if result["split"] == split]

    def mistakes_about(result: Mapping[str, Any]) -> str:
        confusion = result["metrics"]["confusion_matrix"]
        wrong = result["metrics"]["rows"] - sum(row[index] for index, row in enumerate(confusion))
        return mistakes.mistakes_about(result["mistakes"], wrong, pictures)

    return render(
        TEMPLATES / "report.html",
        script=(TEMPLATES / "report.js").read_text(encoding="utf-8") if several else "",
        report=report,
        metrics_table=METRICS.values(),
        results=results,
        models=models,
        splits=splits,
        several=several,
        splits_about=named,
        pictures=pictures,
        numbers={image_id: number for number, image_id in enumerate(pictures)},
        stored=_stored(pictures),
        grouped=any(result["metrics"]["groups"] for result in results),
        photos_on=lambda split: photos(on(split)[0]["metrics"]["rows"]),
        overview_rows=lambda split: _overview_rows(on(split), models, splits.index(split)),
        comparison_rows=lambda split: _comparison_rows(report, split),
        mistakes_about=mistakes_about,
        **_FUNCTIONS,
    )


def _stored(pictures: Mapping[str, Picture]) -> list[tuple[int, Picture, str]]:
    """The photos that can be shown: number, picture, JPEG as base64."""
    return [
        (number, picture, base64.b64encode(picture.jpeg).decode())
        for number, picture in enumerate(pictures.values())
        if not picture.problem
    ]


def _overview_rows(results: Sequence[Mapping[str, Any]], models: Sequence[str], split: int) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for result in results:
        figures, model = result["metrics"], models.index(result["model"])
        link = Markup('<a href="#result-{}-{}" data-row="{}">{}</a>').format(model, split, model, result["model"])
        mark = Markup("<small>chosen on this split</small>") if result["selection_on_report"] else ""
        cells = [_metric_cell(name, figures) for name in METRICS]
        rows.append((link + mark, *cells))
    return rows


def _share_cell(share: float, interval: Sequence[float] | None) -> Markup:
    return Markup(charts.share_cell(share, interval))  # numbers only


def _metric_cell(name: str, figures: Mapping[str, Any]) -> str:
    """A metric with its interval; accuracy as a bar too."""
    metric, value, interval = METRICS[name], figures[name], figures[f"{name}_interval"]
    if value is None:
        return "–"
    if name == "accuracy":
        return _share_cell(value, interval)
    return Markup("{}<small>{}</small>").format(metric.text(value), metric.range_text(interval))


def _comparison_rows(report: Mapping[str, Any], split: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Differences in accuracy of each two models on the same photos: those with the first model, and the others."""
    pairs = [pair for pair in report["comparisons"] if pair["split"] == split]
    furthest = max(
        (abs(edge) for pair in pairs for edge in (*pair["difference_interval"], pair["difference"])), default=0
    )
    first: list[tuple[str, ...]] = []
    others: list[tuple[str, ...]] = []
    for pair in pairs:
        (first if report["model"] in pair["models"] else others).append(_comparison(pair, furthest))
    return first, others


def _comparison(pair: Mapping[str, Any], furthest: float) -> tuple[str, ...]:
    difference, (low, high), p = pair["difference"], pair["difference_interval"], pair["mcnemar_mid_p"]
    at, start, end = (0.5 + 0.48 * value / max(furthest, 1e-12) for value in (difference, low, high))
    base, gained = pair["models"]
    cell = Markup(
        "{:+.1f}<small>{:+.1f} to {:+.1f}</small>"
        '<span class="difference"><u style="left:{:.2%};right:{:.2%}"></u><s></s><i style="left:{:.2%}"></i></span>'
    ).format(100 * difference, 100 * low, 100 * high, start, 1 - end, at)
    return (
        Markup("{} <small>minus {}</small>").format(gained, base),
        cell,
        f"{pair['only_second_right']:,} / {pair['only_first_right']:,}",
        "< 0.001" if p < 0.001 else f"{p:.3f}",
    )


def _ensemble_about(ensemble: Mapping[str, Any]) -> str:
    if ensemble.get("routes"):
        return "Each photo is answered by one model, by its number of faces; nothing was fitted."
    method = ensemble.get("method")
    about = f"Found by {method}" if method and method != "given" else "Weights as given"
    return f"{about} on the split {ensemble['select']}." if ensemble.get("select") else f"{about}."


def _ensemble_triangle(ensemble: Mapping[str, Any]) -> Markup | None:
    members, weights, landscape = ensemble["members"], ensemble.get("weights"), ensemble.get("landscape")
    if not (weights and landscape and len(members) == 3 and 3 <= len(landscape["weights"]) <= charts.TRIANGLE_MOST):
        return None
    if min(weights) < 0 or abs(sum(weights) - 1) > 1e-6:  # no point of the triangle
        return None
    triangle = charts.weight_triangle(members, landscape["weights"], landscape["accuracy"], weights)
    return Markup(triangle)  # its names are escaped


def _result_about(result: Mapping[str, Any]) -> Markup:
    metrics = result["metrics"]
    groups = f" in {metrics['groups']:,} groups" if metrics["groups"] else ""
    left_out = f" · {metrics['unlabelled']:,} without a label left out" if metrics["unlabelled"] else ""
    revision = f" · revision {result['model_revision'][:16]}" if result.get("model_revision") else ""
    scored = f"{photos(metrics['rows'])}{groups} scored{left_out}{revision}"
    return Markup("Split <strong>{}</strong> · {}").format(result["split"], scored)


def _headline(metrics: Mapping[str, Any], baselines: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Every metric but accuracy, which stands above them, and the baselines: label, value, and a line below."""
    shown = []
    for name, metric in METRICS.items():
        if name != "accuracy" and metrics[name] is not None:
            direction = ", lower is better" if metric.direction < 0 else ""
            below = metric.range_text(metrics[f"{name}_interval"]) + direction
            shown.append((metric.label, metric.text(metrics[name]), below))
    always = f"always {baselines['majority_class']}; guessing {percent(baselines['chance'])}"
    return [*shown, ("Baselines", percent(baselines["majority"]), always)]


def _scale(accuracy: float, interval: Sequence[float], baselines: Mapping[str, Any]) -> Markup:
    """Accuracy on a line from 0 to 100 %, between what guessing and the most frequent class would reach."""
    chance, majority = baselines["chance"], baselines["majority"]
    marks = [("guessing", chance, "top:-2px")]
    if majority - chance > 0.005:
        marks.append(("most frequent class", majority, "top:46px"))
    tick = Markup(
        '<span class="tick" style="left:{at:.2%}"></span>'
        '<span style="left:clamp(0%,{at:.2%},100%);transform:translateX(-{at:.0%});{place}">{name}</span>'
    )
    ticks = Markup("").join(tick.format(at=at, place=place, name=name) for name, at, place in marks)
    low, high = interval
    return Markup(
        '<div class="scale" aria-hidden="true"><span class="track"></span>\n'
        '<span class="range" style="left:{:.2%};width:{:.2%}"></span>{}\n'
        '<span class="here" style="left:{:.2%}"></span></div>'
    ).format(low, high - low, ticks, accuracy)


def _class_rows(per_class: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, row in per_class.items():
        known = {"precision": row["predicted"], "recall": row["support"], "f1": row["support"] + row["predicted"]}
        cells = [
            _share_cell(row[figure], row.get(f"{figure}_interval")) if there else "–"
            for figure, there in known.items()
        ]
        rows.append((name, *cells, "–" if row["auc"] is None else f"{row['auc']:.3f}", f"{row['support']:,}"))
    return rows


def _face_rows(bins: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for each in bins:
        name = bin_name(each["from"], each["to"])
        rows.append((name, _share_cell(each["accuracy"], each.get("accuracy_interval")), f"{each['rows']:,}"))
    return rows


def _calibration_about(calibration: Mapping[str, Any]) -> str:
    before, after = (METRICS["ece"].text(calibration[when]["ece"]) for when in ("before", "after"))
    split, dataset, promised = calibration["split"], calibration["dataset"], percent(calibration["coverage"])
    place = " of ".join(filter(None, (f"the split {split}" if split else "", dataset)))
    parts = [
        f"The classes that cannot be ruled out: {promised} of the sets of new photos should hold the truth.",
        f"Fitted on {photos(calibration['photos'])}{f' of {place}' if place else ''}: thresholds for a class's",
        "probability (LAC) and for the sum of the probabilities down to it (APS), and a temperature of",
        f"{calibration['temperature']:.2f}, which changes the calibration error from {before} to {after}.",
        "This is the split it was fitted on: sets of new photos hold the truth less often."
        if calibration["fitted_here"]
        else "",
    ]
    return " ".join(parts).strip()


def _set_rows(calibration: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for score, figures in calibration["sets"].items():
        subsets = {"all photos": figures, **figures["per_class"]}
        for name, each in subsets.items():
            if each["rows"]:
                low, high = each["mean_size_interval"]
                size = Markup("{:.2f}<small>{:.2f}–{:.2f}</small>").format(each["mean_size"], low, high)
                title = Markup("{} <small>{}</small>").format(name, score.upper())
                share = _share_cell(each["coverage"], each["coverage_interval"])
                rows.append((title, share, size, f"{each['rows']:,}"))
    return rows


def _route_rows(result: Mapping[str, Any], ensemble: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    """The whole, then each route with its model, where the ensemble is known."""
    routes = (ensemble or {}).get("routes") or []
    models = dict(zip(routes, (ensemble or {}).get("members", ()), strict=False))
    rows: list[tuple[str, ...]] = [("all photos", result["model"], *_share_and_rows(result["metrics"]))]
    rows += [(each["title"], models.get(each["route"], "–"), *_share_and_rows(each)) for each in result["by_route"]]
    return rows


def _share_and_rows(figures: Mapping[str, Any]) -> tuple[str, str]:
    return _share_cell(figures["accuracy"], figures["accuracy_interval"]), f"{figures['rows']:,}"


def _safe(draw: Callable[..., str]) -> Callable[..., Markup]:
    """`draw`, whose HTML is inserted as it is: it escapes the names it holds."""
    return lambda *values: Markup(draw(*values))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "percent": percent,
    "percent_range": percent_range,
    "agreement_table": _safe(charts.agreement_table),
    "confusion_table": _safe(charts.confusion_table),
    "reliability_chart": _safe(charts.reliability_chart),
    "weight_bars": _safe(charts.weight_bars),
    "drawing": _safe(mistakes.drawing),
    "mistake_table": mistakes.mistake_table,
    "faces_found": mistakes.faces_found,
    "ensemble_about": _ensemble_about,
    "ensemble_triangle": _ensemble_triangle,
    "result_about": _result_about,
    "headline": _headline,
    "scale": _scale,
    "class_rows": _class_rows,
    "calibration_about": _calibration_about,
    "set_rows": _set_rows,
    "face_rows": _face_rows,
    "route_rows": _route_rows,
    "route_title": route_title,
}
