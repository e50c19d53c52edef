"""The report as one HTML page. Every name from the data is escaped.

Without scripts the page shows every result, one after the other; where there are several, a short script shows the one
that is chosen by model and split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ger_datasets.support.html_page import note, photos, section, table, text, tiles, whole_page

from . import charts
from .charts import percent, percent_range, share_cell
from .mistakes import STYLE as MISTAKES_STYLE
from .mistakes import Picture, mistakes_section, picture_store

STYLE = """
main.many { max-width: 900px; }
.hero { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 14px; }
.hero b { font-size: 3rem; line-height: 1.1; letter-spacing: -.02em; }
.scale { position: relative; height: 74px; margin: 10px 8px 0; font-size: .8rem; color: var(--quiet); }
.scale span { position: absolute; white-space: nowrap; }
.scale .track { left: 0; right: 0; top: 26px; height: 10px; border-radius: 5px; background: var(--track); }
.scale .range { top: 22px; height: 18px; border-radius: 4px; background: var(--blue); opacity: .4; }
.scale .tick { top: 20px; width: 2px; height: 22px; margin-left: -1px; background: var(--quiet); }
.scale .here { top: 18px; width: 4px; height: 26px; margin-left: -2px; border-radius: 2px; background: var(--blue); }
[hidden] { display: none !important; }
a { color: inherit; text-decoration-color: var(--blue); text-underline-offset: 3px; }
#picker { position: sticky; top: 0; z-index: 2; background: var(--page); padding: 10px 0; margin-top: 14px;
  display: flex; flex-wrap: wrap; gap: 8px 20px; border-bottom: 1px solid var(--line); }
#picker label { display: flex; gap: 8px; align-items: center; font-size: .9rem; color: var(--quiet); min-width: 0; }
#picker select { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 7px 10px; max-width: min(100%, 22em); text-overflow: ellipsis; }
.result { scroll-margin-top: 60px; margin-top: 34px; } .result > h2 { font-size: 1.3rem; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: 8px 0; color: var(--quiet); font-size: .9rem; }
a.chosen { font-weight: 600; }
@media (min-width: 700px) { .models .bar { min-width: 150px; } }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 18px 28px; }
.difference { position: relative; display: block; height: 8px; border-radius: 4px; background: var(--track);
  margin-top: 7px; min-width: 90px; }
.difference u { position: absolute; top: 0; bottom: 0; border-radius: 4px; background: var(--blue); opacity: .45; }
.difference i { position: absolute; top: -3px; bottom: -3px; width: 3px; margin-left: -1.5px;
  background: var(--blue); }
.difference s { position: absolute; left: 50%; top: -4px; bottom: -4px; width: 1px; background: var(--quiet); }
@media (max-width: 560px) { .classes { font-size: .9rem; } .classes td:not(:first-child) { padding-bottom: 6px; } }
"""

SCRIPT = """
(() => {
  const picker = document.getElementById("picker"), { model, split } = picker.elements;
  const parts = document.querySelectorAll("[data-model], [data-split]");
  const show = () => {
    for (const part of parts) {
      const { model: ofModel, split: ofSplit } = part.dataset;
      part.hidden = (model && ofModel && ofModel !== model.value) || (split && ofSplit && ofSplit !== split.value);
    }
    for (const row of document.querySelectorAll("[data-row]")) {
      row.classList.toggle("chosen", Boolean(model) && row.dataset.row === model.value);
    }
  };
  const follow = () => {
    const asked = location.hash && document.getElementById(location.hash.slice(1));
    if (!asked || !asked.dataset.model) return;
    if (model) model.value = asked.dataset.model;
    if (split) split.value = asked.dataset.split;
    show();
    asked.scrollIntoView();
  };
  picker.addEventListener("change", show);
  window.addEventListener("hashchange", follow);
  picker.hidden = false;
  show();
  follow();
})();
"""

FOOTER = """<footer class="quiet">
<p>Intervals hold the middle 95% of 2,000 bootstrap resamples{units}; recall has Wilson's 95% score interval{but}.
{caution} The calibration error's allows for noise, which makes the figure itself too high where photos are few.</p>
<p>Balanced accuracy is the mean recall of the classes that occur; macro-F1 the mean F1 of the classes that occur or
are predicted; log-loss is in nats; calibration error (ECE) is the mean distance, over 15 bins of probability, from
what was given to what was right; AUC is one class against the rest. A ratio whose divisor is 0 counts as 0.</p>
</footer>
"""
CAUTION = (
    "Both take the photos to be independent; where several are frames of one video, the true uncertainty is larger."
)


def render_page(report: Mapping[str, Any], pictures: Mapping[str, Picture] | None = None) -> str:
    """The page for a report, as `writing.make_report` returns it.

    Args:
        report: the report.
        pictures: of the mistakes, by image_id; those that are missing are told in words.
    """
    results = [report, *report["others"]]
    models = list(dict.fromkeys(result["model"] for result in results))
    splits = list(dict.fromkeys(result["split"] for result in results))
    several = len(results) > 1
    parts = [note(report["note"]), picture_store(pictures or {})]
    if several:
        parts += [_title(models, splits), _picker(models, splits)]
        for number, split in enumerate(splits):
            among = [result for result in results if result["split"] == split]
            shown = [_overview(among, models, number), _comparisons(report, split), _agreement(report, split)]
            parts.append(f'<div data-split="{number}">\n{"".join(shown)}</div>\n')
    parts.append(_ensemble(report["ensemble"]))
    for result in results:
        body = _result(result, pictures or {}, several)
        if several:
            place = (models.index(result["model"]), splits.index(result["split"]))
            data = f'id="{_anchor(*place)}" data-model="{place[0]}" data-split="{place[1]}"'
            body = f'<article class="result" {data}>\n{body}</article>\n'
        parts.append(body)
    parts.append(_footer(results))
    title = f"{report['model']} on {report['split']}: {percent(report['metrics']['accuracy'])} accuracy"
    style = charts.STYLE + STYLE + MISTAKES_STYLE
    return whole_page(title, parts, style, script=SCRIPT if several else "")


def _anchor(model: int, split: int) -> str:
    return f"result-{model}-{split}"


def _title(models: Sequence[str], splits: Sequence[str]) -> str:
    told = f"{len(models)} models" if len(models) > 1 else models[0]
    return f"""<header>
<p class="quiet" style="margin:0">Group emotion recognition</p>
<h1>{text(told)}</h1>
<p class="quiet">{"Split" if len(splits) == 1 else "Splits"} <strong>{text(", ".join(splits))}</strong></p>
</header>
"""


def _picker(models: Sequence[str], splits: Sequence[str]) -> str:
    """What to show; without scripts it stays hidden, and everything is shown."""
    choices = ""
    for name, label, values in (("model", "Model", models), ("split", "Split", splits)):
        if len(values) > 1:
            options = "".join(f'<option value="{i}">{text(value)}</option>' for i, value in enumerate(values))
            choices += f'<label>{label} <select name="{name}" autocomplete="off">{options}</select></label>\n'
    return f'<form id="picker" hidden>\n{choices}</form>\n'


def _overview(results: Sequence[Mapping[str, Any]], models: Sequence[str], split: int) -> str:
    rows = []
    for result in results:
        figures, model = result["metrics"], models.index(result["model"])
        name = f'<a href="#{_anchor(model, split)}" data-row="{model}">{text(result["model"])}</a>'
        mark = "<small>chosen on this split</small>" if result["selection_on_report"] else ""
        rows.append(
            (
                name + mark,
                share_cell(figures["accuracy"], figures["accuracy_interval"]),
                _with_range(figures, "balanced_accuracy"),
                _with_range(figures, "macro_f1"),
                f"{figures['log_loss']:.3f}",
                percent(figures["ece"]),
            )
        )
    heads = ("Model", "Accuracy", "Balanced accuracy", "Macro-F1", "Log-loss", "ECE")
    name, rows_there = results[0]["split"], results[0]["metrics"]["rows"]
    return section(f"Models on {text(name)}", photos(rows_there), table(heads, rows, kind="models stack"))


def _with_range(figures: Mapping[str, Any], name: str) -> str:
    return f"{percent(figures[name])}<small>{percent_range(figures[f'{name}_interval'])}</small>"


def _comparisons(report: Mapping[str, Any], split: str) -> str:
    """Differences in accuracy of each two models on the same photos; those that leave the first out are folded."""
    pairs = [pair for pair in report["comparisons"] if pair["split"] == split]
    if not pairs:
        return ""
    furthest = max(abs(edge) for pair in pairs for edge in (*pair["difference_interval"], pair["difference"]))
    first: list[tuple[str, ...]] = []
    others: list[tuple[str, ...]] = []
    for pair in pairs:
        (first if report["model"] in pair["models"] else others).append(_comparison(pair, furthest))
    about = (
        "One model's accuracy less another's on the same photos, in percentage points, with a paired 95% bootstrap "
        "interval; the photos that only the one, or only the other, gets right; McNemar's test (mid-p)."
    )
    heads = ("Models", "Difference", "Only one right", "p")
    body = table(heads, first, kind="stack")
    if others:
        folded = table(heads, others, kind="stack")
        body += f"<details><summary>{len(others)} more</summary>\n{folded}</details>\n"
    return section("Differences", about, body)


def _comparison(pair: Mapping[str, Any], furthest: float) -> tuple[str, ...]:
    low, high = pair["difference_interval"]
    at, start, end = (0.5 + 0.48 * value / max(furthest, 1e-12) for value in (pair["difference"], low, high))
    line = f'<u style="left:{start:.2%};right:{1 - end:.2%}"></u><s></s><i style="left:{at:.2%}"></i>'
    told = f"{100 * pair['difference']:+.1f}<small>{100 * low:+.1f} to {100 * high:+.1f}</small>"
    p = pair["mcnemar_mid_p"]
    base, gained = map(text, pair["models"])
    return (
        f"{gained} <small>less {base}</small>",
        f'{told}<span class="difference">{line}</span>',
        f"{pair['only_second_right']:,} / {pair['only_first_right']:,}",
        "&lt; 0.001" if p < 0.001 else f"{p:.3f}",
    )


def _agreement(report: Mapping[str, Any], split: str) -> str:
    told = [agreement for agreement in report["agreement"] if agreement["split"] == split]
    if not told:
        return ""
    about = (
        "On how many of the photos two models give the same answer, and how many both get wrong; members of an "
        "ensemble help each other where they are wrong on different photos."
    )
    return section("Agreement", about, charts.agreement_table(told[0]))


def _ensemble(ensemble: Mapping[str, Any] | None) -> str:
    if not ensemble:
        return ""
    members, weights, method = ensemble["members"], ensemble.get("weights"), ensemble.get("method")
    if weights:
        body = charts.weight_bars(members, weights)
    else:
        on, names = text(ensemble.get("on", "logits")), text(", ".join(members))
        body = f"<p>Each class is a sum of the {on} of {names}, a matrix for each.</p>\n"
    about = f"Found by {text(method)}" if method and method != "given" else "Weights as given"
    if ensemble.get("select"):
        about += f" on the split {text(ensemble['select'])}"
    landscape = ensemble.get("landscape")
    if weights and landscape and len(members) == 3 and 3 <= len(landscape["weights"]) <= charts.TRIANGLE_MOST:
        triangle = charts.weight_triangle(members, landscape["weights"], landscape["accuracy"], weights)
        where = f" on {text(landscape['split'])}" if landscape.get("split") else ""
        body = (
            f'<div class="pair"><div>{body}</div><div><p class="quiet">Accuracy of every weighting{where}: the nearer '
            f"a corner, the heavier that model. ○ chosen, ◇ the first of the best.</p>{triangle}</div></div>\n"
        )
    return section("Ensemble", f"{about}.", body)


def _result(result: Mapping[str, Any], pictures: Mapping[str, Picture], several: bool) -> str:
    metrics = result["metrics"]
    parts = [
        _header(result, several),
        _headline(metrics, result["baselines"]),
        _confusion(metrics["confusion_matrix"], result["class_names"]),
        _classes(metrics["per_class"]),
        _reliability(metrics),
        _faces(result["by_faces"]),
        mistakes_section(result["mistakes"], metrics["rows"] - _right(metrics["confusion_matrix"]), pictures),
    ]
    return "".join(parts)


def _header(result: Mapping[str, Any], several: bool) -> str:
    metrics = result["metrics"]
    left_out = f" · {metrics['unlabelled']:,} without a label left out" if metrics["unlabelled"] else ""
    groups = f" in {metrics['groups']:,} groups" if metrics["groups"] else ""
    about = f"Split <strong>{text(result['split'])}</strong> · {photos(metrics['rows'])}{groups} scored{left_out}"
    if result.get("model_revision"):
        about += f" · revision {text(result['model_revision'][:16])}"
    if several:
        own = note(result["note"]) if result["note"] else ""
        return f'<h2>{text(result["model"])}</h2>\n<p class="quiet">{about}</p>\n{own}'
    return f"""<header>
<p class="quiet" style="margin:0">Group emotion recognition</p>
<h1>{text(result["model"])}</h1>
<p class="quiet">{about}</p>
</header>
"""


def _headline(metrics: Mapping[str, Any], baselines: Mapping[str, Any]) -> str:
    shares = {"Balanced accuracy": "balanced_accuracy", "Macro-F1": "macro_f1", "Calibration error": "ece"}
    shown = [
        (label, percent(metrics[name]), percent_range(metrics[f"{name}_interval"])) for label, name in shares.items()
    ]
    edges = "–".join(f"{edge:.3f}" for edge in metrics["log_loss_interval"])
    shown.insert(2, ("Log-loss", f"{metrics['log_loss']:.3f}", f"{edges}, lower is better"))
    if metrics["auc"] is not None:
        shown.append(("AUC", f"{metrics['auc']:.3f}", "–".join(f"{edge:.3f}" for edge in metrics["auc_interval"])))
    shown.append(
        (
            "Baselines",
            percent(baselines["majority"]),
            f"always {text(baselines['majority_class'])}; guessing {percent(baselines['chance'])}",
        )
    )
    return f"""<section>
<h2>Accuracy</h2>
<div class="hero"><b>{percent(metrics["accuracy"])}</b>
<span class="quiet">95% interval {percent_range(metrics["accuracy_interval"])}, n = {metrics["rows"]:,}</span></div>
{_no_spread(metrics["accuracy"])}{_scale(metrics["accuracy"], metrics["accuracy_interval"], baselines)}
{tiles(shown)}</section>
"""


def _no_spread(accuracy: float) -> str:
    if 0 < accuracy < 1:
        return ""
    which = "right" if accuracy else "wrong"
    return f'<p class="quiet">Every photo is {which}, so resampling shows no spread; that is not certainty.</p>\n'


def _scale(accuracy: float, interval: Sequence[float], baselines: Mapping[str, Any]) -> str:
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
    about = "Photos by true class (row) and predicted class (column); the share is of the row."
    return section("Confusion matrix", about, charts.confusion_table(confusion, names))


def _classes(per_class: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, row in per_class.items():
        known = {"precision": row["predicted"], "recall": row["support"], "f1": row["support"] + row["predicted"]}
        cells = [
            share_cell(row[figure], row.get(f"{figure}_interval")) if there else "–" for figure, there in known.items()
        ]
        auc = "–" if row["auc"] is None else f"{row['auc']:.3f}"
        rows.append((text(name), *cells, auc, f"{row['support']:,}"))
    heads = ("Class", "Precision", "Recall", "F1", "AUC", "Photos")
    return section("By class", "", table(heads, rows, kind="classes stack"))


def _reliability(metrics: Mapping[str, Any]) -> str:
    about = (
        "Of the photos whose answer was given such a probability, the share that was right. On the dashed line the "
        "probabilities mean what they say; below it the model is too sure."
    )
    return section("Reliability", about, charts.reliability_chart(metrics["reliability"]))


def _faces(bins: Sequence[Mapping[str, Any]]) -> str:
    if not bins:
        return ""
    rows = [
        (_bin(each), share_cell(each["accuracy"], each.get("accuracy_interval")), f"{each['rows']:,}") for each in bins
    ]
    about = "How many faces the detector found in the photo."
    return section("By number of faces", about, table(("Faces", "Accuracy", "Photos"), rows))


def _bin(each: Mapping[str, Any]) -> str:
    if each["to"] is None:
        return f"{each['from']} and more"
    return str(each["from"]) if each["from"] == each["to"] else f"{each['from']}–{each['to']}"


def _footer(results: Sequence[Mapping[str, Any]]) -> str:
    grouped = any(result["metrics"]["groups"] for result in results)
    return FOOTER.format(
        units=" of the groups" if grouped else " of the photos",
        but=", or the bootstrap's where there are groups" if grouped else "",
        caution="" if grouped else CAUTION,
    )


def _right(confusion: Sequence[Sequence[int]]) -> int:
    return sum(row[index] for index, row in enumerate(confusion))
