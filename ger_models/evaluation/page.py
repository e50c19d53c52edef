"""The report as one HTML page. Every name from the data is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ger_datasets.html_page import note, photos, section, table, text, tiles, whole_page

STYLE = """
:root { --cell: 0, 114, 178; }
@media (prefers-color-scheme: dark) { :root { --cell: 26, 125, 190; } }
.hero { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 14px; }
.hero b { font-size: 3rem; line-height: 1.1; letter-spacing: -.02em; }
.scale { position: relative; height: 74px; margin: 10px 8px 0; font-size: .8rem; color: var(--quiet); }
.scale span { position: absolute; white-space: nowrap; }
.scale .track { left: 0; right: 0; top: 26px; height: 10px; border-radius: 5px; background: var(--track); }
.scale .range { top: 22px; height: 18px; border-radius: 4px; background: var(--blue); opacity: .4; }
.scale .tick { top: 20px; width: 2px; height: 22px; margin-left: -1px; background: var(--quiet); }
.scale .here { top: 18px; width: 4px; height: 26px; margin-left: -2px; border-radius: 2px; background: var(--blue); }
.confusion { border-collapse: separate; border-spacing: 3px; table-layout: fixed; min-width: var(--least); }
.confusion th, .confusion td { border: 0; text-align: center; vertical-align: middle; overflow-wrap: anywhere; }
.confusion tbody th { text-align: right; } .confusion thead th { vertical-align: bottom; }
.confusion thead th, .confusion tbody th { color: var(--ink); font-size: .9rem; font-weight: 500; padding: 4px; }
.confusion td { border-radius: 6px; padding: 12px 4px; font-size: 1.1rem;
  background: rgba(var(--cell), var(--share)); }
.confusion td small { color: inherit; font-size: .8rem; } .confusion .hit { font-weight: 700; }
.confusion thead .axis { color: var(--quiet); font-weight: 400; text-align: center; }
.bar { position: relative; display: block; height: 6px; border-radius: 3px; background: var(--track); margin-top: 7px;
  min-width: 84px; }
.bar i { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 3px; background: var(--blue); }
.bar u { position: absolute; top: -3px; bottom: -3px; border: solid var(--ink); border-width: 0 1.5px; }
.bar u::after { content: ""; position: absolute; left: 0; right: 0; top: 5.25px; height: 1.5px;
  background: var(--ink); }
@media (max-width: 560px) { .classes { font-size: .875rem; } .classes .bar { min-width: 64px; } }
"""


def render_page(report: dict[str, Any]) -> str:
    """The page for a report, as `report.make_report` returns it."""
    metrics = report["metrics"]
    parts = [
        note(report["note"]),
        _header(report),
        _headline(metrics, report["baselines"]),
        _confusion(metrics["confusion_matrix"], report["class_names"]),
        _classes(metrics["per_class"]),
        _faces(report["by_faces"]),
        _mistakes(report["mistakes"], wrong=metrics["rows"] - sum(_diagonal(metrics["confusion_matrix"]))),
        FOOTER,
    ]
    title = f"{report['model']} on {report['split']}: {_percent(metrics['accuracy'])} accuracy"
    return whole_page(title, parts, STYLE)


FOOTER = """<footer class="quiet">
<p>Accuracy, balanced accuracy and macro-F1: 95% percentile bootstrap intervals over 2,000 resamples of the photos.
Recall: Wilson's 95% score interval. Both take the photos to be independent; where several are frames of one video,
the true uncertainty is larger.</p>
<p>Balanced accuracy is the mean recall of the classes that occur; macro-F1 the mean F1 of the classes that occur or
are predicted; log-loss is in nats. A ratio whose divisor is 0 counts as 0.</p>
</footer>
"""


def _header(report: dict[str, Any]) -> str:
    metrics = report["metrics"]
    left_out = f" · {metrics['unlabelled']:,} without a label left out" if metrics["unlabelled"] else ""
    return f"""<header>
<p class="quiet" style="margin:0">Group emotion recognition</p>
<h1>{text(report["model"])}</h1>
<p class="quiet">Split <strong>{text(report["split"])}</strong> · {photos(metrics["rows"])} scored{left_out}</p>
</header>
"""


def _headline(metrics: dict[str, Any], baselines: dict[str, Any]) -> str:
    shown = [
        ("Balanced accuracy", _percent(metrics["balanced_accuracy"]), _range(metrics["balanced_accuracy_interval"])),
        ("Macro-F1", _percent(metrics["macro_f1"]), _range(metrics["macro_f1_interval"])),
        ("Log-loss", f"{metrics['log_loss']:.3f}", "lower is better"),
        (
            "Baselines",
            _percent(baselines["majority"]),
            f"always {text(baselines['majority_class'])}; guessing {_percent(baselines['chance'])}",
        ),
    ]
    return f"""<section>
<h2>Accuracy</h2>
<div class="hero"><b>{_percent(metrics["accuracy"])}</b>
<span class="quiet">95% interval {_range(metrics["accuracy_interval"])}, n = {metrics["rows"]:,}</span></div>
{_no_spread(metrics["accuracy"])}{_scale(metrics["accuracy"], metrics["accuracy_interval"], baselines)}
{tiles(shown)}</section>
"""


def _no_spread(accuracy: float) -> str:
    if 0 < accuracy < 1:
        return ""
    which = "right" if accuracy else "wrong"
    return f'<p class="quiet">Every photo is {which}, so resampling shows no spread; that is not certainty.</p>\n'


def _scale(accuracy: float, interval: Sequence[float], baselines: dict[str, Any]) -> str:
    """Accuracy on a line from 0 to 100 %, between what guessing and the most frequent class would reach."""
    chance, majority = baselines["chance"], baselines["majority"]
    marks = [("guessing", chance, "top:-2px")]
    if majority - chance > 0.005:
        marks.append(("most frequent class", majority, "top:46px"))
    ticks = "".join(
        f'<span class="tick" style="left:{at:.2%}"></span>'
        f'<span style="left:clamp(0%,{at:.2%},100%);transform:translateX(-{at:.0%});{place}">{name}</span>'
        for name, at, place in marks
    )
    low, high = interval
    return f"""<div class="scale" aria-hidden="true"><span class="track"></span>
<span class="range" style="left:{low:.2%};width:{high - low:.2%}"></span>{ticks}
<span class="here" style="left:{accuracy:.2%}"></span></div>
"""


def _confusion(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    rows = []
    for index, (name, counts) in enumerate(zip(names, confusion, strict=True)):
        total, cells = sum(counts), []
        for column, count in enumerate(counts):
            share = count / total if total else 0.0
            # at most 0.8, so that the same ink is readable on every cell
            mark = ' class="hit"' if column == index else ""
            under = f"{share:.0%}" if total else "–"
            cells.append(f'<td{mark} style="--share:{0.05 + 0.75 * share:.3f}">{count:,}<small>{under}</small></td>')
        rows.append(f'<tr><th scope="row">{text(name)}</th>{"".join(cells)}</tr>\n')
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in names)
    return f"""<section>
<h2>Confusion matrix</h2>
<p class="quiet">Photos by true class (row) and predicted class (column); the share is of the row.</p>
<div class="wide"><table class="confusion" style="--least:{64 * (len(names) + 1)}px">
<thead><tr><th></th><th class="axis" colspan="{len(names)}">Predicted</th></tr>
<tr><th class="axis" style="text-align:right">True</th>{heads}</tr></thead>
<tbody>
{"".join(rows)}</tbody></table></div>
</section>
"""


def _classes(per_class: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, row in per_class.items():
        recall = "–"
        if row["support"]:
            low, high = row["recall_interval"]
            recall = (
                f'{_percent(row["recall"])}<small>{_range((low, high))}</small><span class="bar">'
                f'<i style="width:{row["recall"]:.2%}"></i><u style="left:{low:.2%};right:{1 - high:.2%}"></u></span>'
            )
        cells = (_percent(row["precision"]) if row["predicted"] else "–", recall, _percent(row["f1"]))
        if not row["support"] and not row["predicted"]:
            cells = ("–", "–", "–")
        rows.append((text(name), *cells, f"{row['support']:,}"))
    heads = ("Class", "Precision", "Recall", "F1", "Photos")
    return section("By class", "", table(heads, rows, kind="classes"))


def _faces(bins: Sequence[dict[str, Any]]) -> str:
    if not bins:
        return ""
    rows = [(_bin(each), _percent(each["accuracy"]), f"{each['rows']:,}") for each in bins]
    about = "How many faces the detector found in the photo."
    return section("By number of faces", about, table(("Faces", "Accuracy", "Photos"), rows))


def _mistakes(mistakes: Sequence[dict[str, Any]], wrong: int) -> str:
    if not mistakes:
        return section("Most confident mistakes", "None to show.", "")
    faces = any("faces" in each for each in mistakes)
    rows = []
    for each in mistakes:
        cells = [text(each["image_id"]), text(each["label"]), text(each["prediction"])]
        cells += [_percent(each["probability"]), _percent(each["probability_of_label"])]
        rows.append((*cells, *([str(each.get("faces", "–"))] if faces else [])))
    heads = ("Photo", "True", "Predicted", "Probability", "Of the truth", *(["Faces"] if faces else []))
    about = f"{len(mistakes):,} of {wrong:,}, by the softmax probability of the wrong answer."
    return section("Most confident mistakes", about, table(heads, rows, names=3, kind="stack"))


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _range(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{low * 100:.1f}–{high:.1%}"


def _bin(each: dict[str, Any]) -> str:
    if each["to"] is None:
        return f"{each['from']} and more"
    return str(each["from"]) if each["from"] == each["to"] else f"{each['from']}–{each['to']}"


def _diagonal(confusion: Sequence[Sequence[int]]) -> list[int]:
    return [row[index] for index, row in enumerate(confusion)]
