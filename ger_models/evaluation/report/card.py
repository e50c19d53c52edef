"""The report as Markdown for a model card. Its metadata is a `model-index`, which the Hub reads figures from.

card.md       the report's own card: metadata and figures
README.md     of a checkpoint: the figures are put into the card that is there, whose prose and licence stay
.eval_results/ORG--NAME_SPLIT.yaml
              beside it, for a dataset of the Hub: the accuracy, in the Hub's newer format
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml

from ger_datasets.schema import bin_name
from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError, one_line

from ..metrics import METRICS
from .charts import percent, percent_range

TASK = "image-classification"
EVAL_RESULTS = ".eval_results"  # folder of a repository; the Hub reads it
# errors of YAML with odd dates, numbers and nesting
ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
MARKED = " (chosen on this split)"
BEGIN, END = "<!-- evaluation: written by a report -->", "<!-- end of evaluation -->"


def render_card(report: Mapping[str, Any], dataset: str = "") -> str:
    """The card's text: the metadata, then the figures of the report's first model on every split, and of the others.

    Args:
        report: as `writing.make_report` returns it.
        dataset: the dataset's name, or its repository on the Hub.
    """
    members = report["ensemble"]["members"] if report["ensemble"] else []
    data = ModelCardData(
        model_name=report["model"],
        base_model=[member for member in members if "/" in member] or None,  # those on the Hub
        tags=["group-level emotion recognition"],
        pipeline_tag=TASK,
        eval_results=_all_found(report, dataset),
        **({"notice": report["note"]} if report["note"] else {}),
    )
    return f"---\n{data}\n---\n\n{_figures(report)}"


def add_to_card(path: str | Path, report: Mapping[str, Any], dataset: str = "") -> None:
    """Put the report's figures into a model card, in place of those that an earlier report put there, and those on a
    dataset of the Hub also into `.eval_results` beside it.

    The rest of the card stays as it is.

    Args:
        path: the README.md of a checkpoint.
        report: as `writing.make_report` returns it.
        dataset: as for `render_card`.

    Raises:
        UserError: there is no such card, its metadata cannot be read, or it cannot be written.
    """
    try:
        card = ModelCard(Path(path).read_text(encoding="utf-8"))
    except (*ODD, OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not a model card ({one_line(error)}): name the README.md of a model") from error
    found = _all_found(report, dataset)
    scored = {(each.dataset_type, each.dataset_split) for each in found}
    kept = [each for each in card.data.eval_results or () if (each.dataset_type, each.dataset_split) not in scored]
    card.data.model_name = card.data.model_name or report["model"]
    card.data.eval_results = kept + found
    figures = f"{BEGIN}\n\n{_figures(report)}\n{END}"
    if BEGIN in card.text and END in card.text.partition(BEGIN)[2]:
        before, _, rest = card.text.partition(BEGIN)
        body = before + figures + rest.partition(END)[2]
    else:
        body = f"{card.text.rstrip()}\n\n{figures}\n"
    write_text(path, f"---\n{card.data}\n---\n{body}")
    if "/" in dataset:
        _write_eval_results(Path(path).parent / EVAL_RESULTS, report, dataset)


def _write_eval_results(folder: Path, report: Mapping[str, Any], dataset: str) -> None:
    """One file for each split on which the model was not chosen; `task_id` is the split."""
    for result in _own(report):
        if result["selection_on_report"]:
            continue
        metrics, split = result["metrics"], result["split"]
        low, high = metrics["accuracy_interval"]
        entry = EvalResultEntry(
            dataset_id=dataset,
            task_id=split,
            value=round(metrics["accuracy"], 4),
            dataset_revision=result["dataset_revision"] or None,
            notes=f"accuracy on {metrics['rows']:,} photos, 95 % interval {low:.3f}–{high:.3f}",
        )
        folder.mkdir(exist_ok=True)
        text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)
        name = re.sub(r"[^\w.-]", "_", f"{dataset.replace('/', '--')}_{split}")
        write_text(folder / f"{name}.yaml", text)


def _all_found(report: Mapping[str, Any], dataset: str) -> list[EvalResult]:
    return [found for result in _own(report) for found in _found(result, dataset)]


def _own(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results of the report's first model."""
    return [result for result in (report, *report["others"]) if result["model"] == report["model"]]


def _figures(report: Mapping[str, Any]) -> str:
    """What the card says below its metadata."""
    results, own = [report, *report["others"]], _own(report)
    parts = [
        f"> **{_prose(report['note'])}**" if report["note"] else "",
        "## Evaluation",
        *(_result(result) for result in own),
        _models(results) if len(results) > len(own) else "",
        _ensemble(report["ensemble"]),
        "Intervals: the middle 95 % of 2,000 bootstrap resamples"
        + (" of the groups" if report["metrics"]["groups"] else " of the photos")
        + "; that of the calibration error allows for noise, which makes the figure itself too high.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _found(result: Mapping[str, Any], dataset: str) -> list[EvalResult]:
    mark = MARKED if result["selection_on_report"] else ""
    return [
        EvalResult(
            task_type=TASK,
            task_name="Group-level emotion recognition",
            dataset_type=dataset or "group-photos",
            dataset_name=dataset or "group photos",
            dataset_split=result["split"],
            dataset_revision=result["dataset_revision"] or None,
            metric_type=metric.hub_type or name,
            metric_name=metric.label + mark,
            metric_value=result["metrics"][name],
        )
        for name, metric in METRICS.items()
        if result["metrics"][name] is not None
    ]


def _result(result: Mapping[str, Any]) -> str:
    metrics, names = result["metrics"], result["class_names"]
    figures = [
        (metric.label, metric.text(metrics[name]), metric.range_text(metrics[f"{name}_interval"]))
        for name, metric in METRICS.items()
        if metrics[name] is not None
    ]
    classes = [
        (
            _prose(name),
            *(percent(row[figure]) for figure in ("precision", "recall", "f1")),
            "–" if row["recall_interval"] is None else percent_range(row["recall_interval"]),
            f"{row['support']:,}",
        )
        for name, row in metrics["per_class"].items()
    ]
    confusion = [
        (_prose(name), *(f"{count:,}" for count in counts))
        for name, counts in zip(names, metrics["confusion_matrix"], strict=True)
    ]
    parts = [
        f"### {_prose(result['model'])} on {_prose(result['split'])}, {metrics['rows']:,} photos"
        + (MARKED if result["selection_on_report"] else ""),
        _table(("figure", "value", "95 % interval"), figures),
        _table(("class", "precision", "recall", "F1", "95 % interval of the recall", "photos"), classes),
        _table(("true \\ predicted", *map(_prose, names)), confusion),
    ]
    if result["calibration"]:
        parts.append(_prediction_sets(result["calibration"]))
    if result["by_route"]:
        routes = [
            (
                _prose(each["title"]),
                percent(each["accuracy"]),
                percent_range(each["accuracy_interval"]),
                f"{each['rows']:,}",
            )
            for each in result["by_route"]
        ]
        parts.append(_table(("route", "accuracy", "95 % interval", "photos"), routes))
    if result["by_faces"]:
        bins = [
            (
                bin_name(each["from"], each["to"]),
                percent(each["accuracy"]),
                percent_range(each["accuracy_interval"]),
                f"{each['rows']:,}",
            )
            for each in result["by_faces"]
        ]
        parts.append(_table(("faces", "accuracy", "95 % interval", "photos"), bins))
    return "\n\n".join(parts)


def _prediction_sets(calibration: Mapping[str, Any]) -> str:
    sets = [
        f"{score.upper()} {percent(each['coverage'])} ({percent_range(each['coverage_interval'])}), mean size "
        f"{each['mean_size']:.2f}"
        for score, each in calibration["sets"].items()
    ]
    here = "; fitted on this split" if calibration["fitted_here"] else ""
    return (
        f"Prediction sets that should hold the truth of {percent(calibration['coverage'])}: {'; '.join(sets)}{here}."
    )


def _models(results: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            _prose(result["model"]),
            _prose(result["split"]) + (MARKED if result["selection_on_report"] else ""),
            percent(result["metrics"]["accuracy"]),
            percent_range(result["metrics"]["accuracy_interval"]),
        )
        for result in results
    ]
    return "### All models\n\n" + _table(("model", "split", "accuracy", "95 % interval"), rows)


def _ensemble(ensemble: Mapping[str, Any] | None) -> str:
    if not ensemble or not ensemble.get("weights"):
        return ""
    rows = zip(map(_prose, ensemble["members"]), (f"{weight:.3g}" for weight in ensemble["weights"]), strict=True)
    return "### Weights\n\n" + _table(("member", "weight"), list(rows))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _prose(value: str) -> str:
    """Text from the data, in one line, with nothing in it that Markdown or HTML would act on."""
    escaped = re.sub(r"([\\`*_{}\[\]()#+!|~>])", r"\\\1", " ".join(value.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")
