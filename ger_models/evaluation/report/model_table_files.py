"""A model table as a page, Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ger_datasets.support.answer_places import spreadsheet_safe
from ger_datasets.support.atomic_files import replacing
from ger_datasets.support.html_page import render
from ger_datasets.support.locks import alone

from ..own_folder import check_own

FORMAT = "group-emotion model table"
FILES = ("compare.json", "compare.html", "compare.md", "compare.csv", "compare.tex")
TEMPLATE = Path(__file__).with_name("templates") / "model_table.html"
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {character: "\\" + character for character in "&%$#_{}"}

# heading -> the cell of a row of the table
COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "model": lambda row: row["model"],
    "accuracy": lambda row: f"{row['accuracy']:.3f}",
    "std": lambda row: "" if row["std"] is None else f"{row['std']:.3f}",
    "seeds": lambda row: " ".join(f"{accuracy:.3f}" for accuracy in row["seeds"]),
    "95 % (photos)": lambda row: _between(row["photos_interval"]),
    "95 % (seeds)": lambda row: _between(row["seeds_interval"]),
    "photos": lambda row: f"{row['photos']:,}",
    "parameters": lambda row: f"{row['cost']['parameters']:,}" if "parameters" in row["cost"] else "",
    "photos/s": lambda row: f"{row['cost']['photos_per_second']:.0f}" if "photos_per_second" in row["cost"] else "",
}
PAIR_COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "better": lambda pair: pair["models"][0],
    "than": lambda pair: pair["models"][1],
    "difference": lambda pair: f"{pair['difference']:+.3f}",
    "95 %": lambda pair: _between(pair["interval"]),
    "p": lambda pair: f"{pair['p']:.4f}",
    "p (Holm)": lambda pair: f"{pair['p_holm']:.4f}{' *' if pair['significant'] else ''}",
}
EXPLAINED = (
    "Accuracy is the mean over seeds. The interval over photos is a bootstrap (photos of one group are drawn "
    "together), the one over seeds Student's t. p is a two-sided sign-flip permutation test on the same photos, seeds "
    "averaged; p (Holm) is corrected for all pairs, and * marks those below 0.05."
)


def write_model_table(folder: Path, table: Mapping[str, Any], note: str = "") -> dict[str, Any]:
    """Write `compare.json`, `.html`, `.md`, `.csv` and `.tex` into `folder`, in place of earlier ones.

    Args:
        folder: made if missing.
        table: what `model_table` returned.
        note: what must be known before believing the figures.

    Raises:
        UserError: the folder holds files of these names that are not a model table of ours, or cannot be written.
    """
    check_own(folder, FILES, "comparison", FORMAT)
    content = {"format": FORMAT, "note": note, **table}
    parts = sections(content)
    texts = {
        "compare.json": json.dumps(content, indent=1) + "\n",
        "compare.html": render(TEMPLATE, content=content, sections=parts, explained=EXPLAINED),
        "compare.md": markdown(content, parts),
        "compare.csv": comma_separated(content),
        "compare.tex": latex(content),
    }
    with alone(folder / ".compare.lock", f"writing into {folder}"):
        for name, text in texts.items():
            with replacing(folder / name) as handle:
                handle.write(text.encode())
    return content


Section = tuple[str, list[str], list[list[str]]]


def sections(content: Mapping[str, Any]) -> list[Section]:
    """The tables to show: (title, headings, rows of cells); columns that are empty in all rows are left out."""
    rows, pairs = content["rows"], content["pairs"]
    made = []
    for group in sorted({row["compared"] for row in rows}):
        title = f"Models on {content['split']}" + (f", photos {group}" if group > 1 else "")
        made.append((title, *_filled(COLUMNS, [row for row in rows if row["compared"] == group])))
    if pairs:
        made.append(("Differences on the same photos", *_filled(PAIR_COLUMNS, pairs)))
    bins = list(dict.fromkeys(name for row in rows for name in row["by_faces"]))
    if bins:
        cells = [
            [row["model"], *(_bin(row["by_faces"].get(name)) for name in bins)] for row in rows if row["by_faces"]
        ]
        made.append(("Accuracy by number of faces (photos)", ["model", *bins], cells))
    return made


def _filled(
    columns: Mapping[str, Callable[[Mapping[str, Any]], str]], rows: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[list[str]]]:
    cells = [[cell(row) for cell in columns.values()] for row in rows]
    kept = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    return [list(columns)[i] for i in kept], [[row[i] for i in kept] for row in cells]


def _bin(each: Mapping[str, Any] | None) -> str:
    return "" if each is None else f"{each['accuracy']:.3f} ({each['photos']:,})"


def _between(edges: Sequence[float] | None) -> str:
    return "" if edges is None else f"{edges[0]:.3f} to {edges[1]:.3f}"


def markdown(content: Mapping[str, Any], parts: Sequence[Section]) -> str:
    """The tables in GitHub's Markdown."""
    blocks = [f"> **{content['note']}**"] if content["note"] else []
    for title, heads, rows in parts:
        lines = [heads, ["---"] * len(heads), *rows]
        shown = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        blocks.append(f"## {title}\n\n" + "\n".join(shown))
    return "\n\n".join([*blocks, EXPLAINED]) + "\n"


def comma_separated(content: Mapping[str, Any]) -> str:
    """One line for each model, numbers in full."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        ["model", "accuracy", "std", "seeds", "photos_low", "photos_high", "seeds_low", "seeds_high", "photos",
         "compared", "parameters", "photos_per_second"]
    )  # fmt: skip
    for row in content["rows"]:
        edges = [*(row["photos_interval"] or ["", ""]), *(row["seeds_interval"] or ["", ""])]
        cost = [row["cost"].get(name, "") for name in ("parameters", "photos_per_second")]
        writer.writerow(
            [spreadsheet_safe(row["model"]), row["accuracy"], row["std"], " ".join(map(str, row["seeds"])), *edges,
             row["photos"], row["compared"], *cost]
        )  # fmt: skip
    return text.getvalue()


def latex(content: Mapping[str, Any]) -> str:
    """A tabular of the models, for the package booktabs: accuracy in percent, with the interval over photos."""
    lines = [r"\begin{tabular}{lrrr}", r"\toprule", r"Model & Accuracy (\%) & Std & 95\,\% interval \\", r"\midrule"]
    for row in content["rows"]:
        low, high = (f"{100 * edge:.1f}" for edge in row["photos_interval"])
        spread = "--" if row["std"] is None else f"{100 * row['std']:.1f}"
        name = "".join(LATEX.get(character, character) for character in row["model"])
        lines.append(rf"{name} & {100 * row['accuracy']:.1f} & {spread} & {low}--{high} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"
