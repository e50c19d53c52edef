"""The report as one HTML page: styles inline, no scripts, nothing fetched. Every name from the data is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

STYLE = """
:root { color-scheme: light dark; --page: #f4f6f8; --card: #fff; --ink: #1b1f24; --quiet: #57606a; --line: #dde2e7;
  --blue: #0072b2; --track: #e8ecf0; --cell: 0, 114, 178; --warn: #fff1cc; --warn-line: #d99a00; --warn-ink: #4a3500; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1216; --card: #181c21; --ink: #e8ebee; --quiet: #9aa5b1;
  --line: #2d333b; --blue: #56b4e9; --track: #2a3038; --cell: 26, 125, 190; --warn: #3a2d08; --warn-line: #d99a00;
  --warn-ink: #ffe3a1; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 820px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 4px; }
p { margin: 0; } .quiet { color: var(--quiet); font-size: .9rem; }
header p, h2 + p { margin-bottom: 12px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px;
  margin-top: 14px; }
.note { background: var(--warn); color: var(--warn-ink); border: 1px solid var(--warn-line); border-left-width: 6px;
  border-radius: 10px; padding: 12px 16px; margin-bottom: 20px; overflow-wrap: anywhere; }
.hero { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 14px; }
.hero b { font-size: 3rem; line-height: 1.1; letter-spacing: -.02em; }
.scale { position: relative; height: 74px; margin: 10px 8px 0; font-size: .8rem; color: var(--quiet); }
.scale span { position: absolute; white-space: nowrap; }
.scale .track { left: 0; right: 0; top: 26px; height: 10px; border-radius: 5px; background: var(--track); }
.scale .range { top: 22px; height: 18px; border-radius: 4px; background: var(--blue); opacity: .4; }
.scale .tick { top: 20px; width: 2px; height: 22px; margin-left: -1px; background: var(--quiet); }
.scale .here { top: 18px; width: 4px; height: 26px; margin-left: -2px; border-radius: 2px; background: var(--blue); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 14px; }
.tiles div { border-top: 1px solid var(--line); padding-top: 8px; }
.tiles b { display: block; font-size: 1.35rem; line-height: 1.3; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } thead th { color: var(--quiet); font-weight: 500; font-size: .85rem; }
tbody tr:last-child > * { border-bottom: 0; }
.name { text-align: left; } .name:first-child { overflow-wrap: anywhere; min-width: 5em; }
td small { display: block; color: var(--quiet); white-space: nowrap; }
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
footer { margin-top: 18px; } footer p { margin-bottom: 8px; }
@media (max-width: 560px) { section { padding: 14px; } th, td { padding: 6px 3px; }
  .classes { font-size: .875rem; } .classes .bar { min-width: 64px; }
  .stack thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stack, .stack tbody { display: block; }
  .stack tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 12px; padding: 9px 0;
    border-bottom: 1px solid var(--line); }
  .stack tr:last-child { border-bottom: 0; } .stack td { border: 0; padding: 0; }
  .stack td:first-child { grid-column: 1 / -1; } .stack td:not(:first-child) { text-align: left; font-size: .9rem; }
  .stack td:not(:first-child)::before { content: attr(data-name) " "; color: var(--quiet); } }
"""


def render_page(report: dict[str, Any]) -> str:
    """The page for a report, as `report.make_report` returns it."""
    metrics = report["metrics"]
    parts = [
        _note(report["note"]),
        _header(report),
        _headline(metrics, report["baselines"]),
        _confusion(metrics["confusion_matrix"], report["class_names"]),
        _classes(metrics["per_class"]),
        _faces(report["by_faces"]),
        _mistakes(report["mistakes"], wrong=metrics["rows"] - sum(_diagonal(metrics["confusion_matrix"]))),
        FOOTER,
    ]
    title = _text(f"{report['model']} on {report['split']}: {_percent(metrics['accuracy'])} accuracy")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{"".join(parts)}</main>
</body>
</html>
"""


FOOTER = """<footer class="quiet">
<p>Accuracy, balanced accuracy and macro-F1: 95% percentile bootstrap intervals over 2,000 resamples of the photos.
Recall: Wilson's 95% score interval. Both take the photos to be independent; where several are frames of one video,
the true uncertainty is larger.</p>
<p>Balanced accuracy is the mean recall of the classes that occur; macro-F1 the mean F1 of the classes that occur or
are predicted; log-loss is in nats. A ratio whose divisor is 0 counts as 0.</p>
</footer>
"""


def _note(note: str) -> str:
    return f'<div class="note" role="note"><strong>Note:</strong> {_text(note)}</div>\n' if note else ""


def _header(report: dict[str, Any]) -> str:
    metrics = report["metrics"]
    left_out = f" · {metrics['unlabelled']:,} without a label left out" if metrics["unlabelled"] else ""
    return f"""<header>
<p class="quiet" style="margin:0">Group emotion recognition</p>
<h1>{_text(report["model"])}</h1>
<p class="quiet">Split <strong>{_text(report["split"])}</strong> · {_photos(metrics["rows"])} scored{left_out}</p>
</header>
"""


def _headline(metrics: dict[str, Any], baselines: dict[str, Any]) -> str:
    tiles = [
        ("Balanced accuracy", _percent(metrics["balanced_accuracy"]), _range(metrics["balanced_accuracy_interval"])),
        ("Macro-F1", _percent(metrics["macro_f1"]), _range(metrics["macro_f1_interval"])),
        ("Log-loss", f"{metrics['log_loss']:.3f}", "lower is better"),
        (
            "Baselines",
            _percent(baselines["majority"]),
            f"always {_text(baselines['majority_class'])}; guessing {_percent(baselines['chance'])}",
        ),
    ]
    shown = "".join(
        f'<div><span class="quiet">{name}</span><b>{value}</b><span class="quiet">{under}</span></div>\n'
        for name, value, under in tiles
    )
    return f"""<section>
<h2>Accuracy</h2>
<div class="hero"><b>{_percent(metrics["accuracy"])}</b>
<span class="quiet">95% interval {_range(metrics["accuracy_interval"])}, n = {metrics["rows"]:,}</span></div>
{_no_spread(metrics["accuracy"])}{_scale(metrics["accuracy"], metrics["accuracy_interval"], baselines)}
<div class="tiles">
{shown}</div>
</section>
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
        rows.append(f'<tr><th scope="row">{_text(name)}</th>{"".join(cells)}</tr>\n')
    heads = "".join(f'<th scope="col">{_text(name)}</th>' for name in names)
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
        rows.append((_text(name), *cells, f"{row['support']:,}"))
    heads = ("Class", "Precision", "Recall", "F1", "Photos")
    return _section("By class", "", _table(heads, rows, kind="classes"))


def _faces(bins: Sequence[dict[str, Any]]) -> str:
    if not bins:
        return ""
    rows = [(_bin(each), _percent(each["accuracy"]), f"{each['rows']:,}") for each in bins]
    about = "How many faces the detector found in the photo."
    return _section("By number of faces", about, _table(("Faces", "Accuracy", "Photos"), rows))


def _mistakes(mistakes: Sequence[dict[str, Any]], wrong: int) -> str:
    if not mistakes:
        return _section("Most confident mistakes", "None to show.", "")
    faces = any("faces" in each for each in mistakes)
    rows = []
    for each in mistakes:
        cells = [_text(each["image_id"]), _text(each["label"]), _text(each["prediction"])]
        cells += [_percent(each["probability"]), _percent(each["probability_of_label"])]
        rows.append((*cells, *([str(each.get("faces", "–"))] if faces else [])))
    heads = ("Photo", "True", "Predicted", "Probability", "Of the truth", *(["Faces"] if faces else []))
    about = f"{len(mistakes):,} of {wrong:,}, by the softmax probability of the wrong answer."
    return _section("Most confident mistakes", about, _table(heads, rows, names=3, kind="stack"))


def _section(title: str, about: str, body: str) -> str:
    about = f'<p class="quiet">{about}</p>\n' if about else ""
    return f"<section>\n<h2>{title}</h2>\n{about}{body}</section>\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1, kind: str = "") -> str:
    """A table whose first `names` columns are text and the rest numbers. Cells are HTML already."""

    def mark(index: int) -> str:
        return ' class="name"' if index < names else ""

    head = "".join(f'<th scope="col"{mark(index)}>{name}</th>' for index, name in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(f'<td{mark(at)} data-name="{heads[at]}">{cell}</td>' for at, cell in enumerate(row))
        + "</tr>\n"
        for row in rows
    )
    return f"""<div class="wide"><table class="{kind}">
<thead><tr>{head}</tr></thead>
<tbody>
{body}</tbody></table></div>
"""


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _range(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{low * 100:.1f}–{high:.1%}"


def _bin(each: dict[str, Any]) -> str:
    if each["to"] is None:
        return f"{each['from']} and more"
    return str(each["from"]) if each["from"] == each["to"] else f"{each['from']}–{each['to']}"


def _photos(count: int) -> str:
    return f"{count:,} photo" + ("" if count == 1 else "s")


def _diagonal(confusion: Sequence[Sequence[int]]) -> list[int]:
    return [row[index] for index, row in enumerate(confusion)]
