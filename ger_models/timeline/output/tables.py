"""A timeline -> timeline.csv, segments.csv, people.csv and timeline.json."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.answer_places import spreadsheet_safe
from ger_datasets.support.atomic_files import write_text

from ..people import Person
from ..results import Timeline

TIMELINE_CSV, SEGMENTS_CSV, PEOPLE_CSV, TIMELINE_JSON = "timeline.csv", "segments.csv", "people.csv", "timeline.json"


def write_tables(folder: Path, timeline: Timeline) -> None:
    """Write the three CSV files into `folder`; raises UserError if they cannot be written."""
    shares = timeline.curve.probabilities
    rows = [
        [f"{seconds:.3f}", *map(_share, shares[i]), int(timeline.faces[i])]
        for i, seconds in enumerate(timeline.seconds)
    ]
    _write(folder / TIMELINE_CSV, ["seconds", *timeline.class_names, "faces"], rows)
    rows = [
        [f"{each.start:.3f}", f"{each.end:.3f}", _name(timeline, each.label), _share(each.probability)]
        for each in timeline.segments
    ]
    _write(folder / SEGMENTS_CSV, ["start", "end", "label", "probability"], rows)
    rows = [
        [each.id + 1, *(f"{x:.3f}" for x in (each.seconds[0], each.seconds[-1], each.seconds_visible))]  # noqa: RUF005
        + [main_expression(each), *map(_share, each.mean_expressions)]
        for each in timeline.people
    ]
    header = ["person", "first_seconds", "last_seconds", "seconds_visible", "expression", *EXPRESSIONS]
    _write(folder / PEOPLE_CSV, header, rows)


def main_expression(person: Person) -> str:
    """The expression of a person with the largest mean probability."""
    return EXPRESSIONS[int(person.mean_expressions.argmax())]


def timeline_values(timeline: Timeline, about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of timeline.json: `about`, and then the whole timeline; null where nothing is known."""
    curve = timeline.curve
    named = {
        "probabilities": curve.probabilities,
        "lower": curve.lower,
        "upper": curve.upper,
        "frame_probabilities": np.where(timeline.faces[:, None] > 0, timeline.probabilities, np.nan),
    }
    return {
        **about,
        "incomplete": timeline.problem,
        "class_names": list(timeline.class_names),
        "label": timeline.label,
        "probability": _json(timeline.mean.max() if timeline.label else math.nan),
        "start": _json(timeline.seconds[0]),
        "end": _json(timeline.end),
        "seconds": [_json(value) for value in timeline.seconds],
        "faces": timeline.faces.tolist(),
        **{
            key: {name: [_json(x) for x in values[:, i]] for i, name in enumerate(timeline.class_names)}
            for key, values in named.items()
        },
        "cuts": [_json(timeline.seconds[cut]) for cut in timeline.cuts],
        "segments": [
            {
                "start": _json(each.start),
                "end": _json(each.end),
                "label": _name(timeline, each.label) or None,
                "probability": _json(each.probability),
            }
            for each in timeline.segments
        ],
        "people": [_person(each) for each in timeline.people],
    }


def _person(person: Person) -> dict[str, Any]:
    return {
        "person": person.id + 1,
        "seconds_visible": _json(person.seconds_visible),
        "expressions": dict(zip(EXPRESSIONS, map(_json, person.mean_expressions), strict=True)),
        "seconds": [_json(value) for value in person.seconds],
        "expression": [EXPRESSIONS[i] for i in person.expressions.argmax(axis=1)],
        "boxes": np.round(person.boxes, 1).tolist(),
    }


def write_json(folder: Path, values: Mapping[str, Any]) -> None:
    """Write timeline.json; raises UserError if it cannot be written."""
    write_text(folder / TIMELINE_JSON, json.dumps(values, allow_nan=False) + "\n")


def _name(timeline: Timeline, label: int | None) -> str:
    return "" if label is None else timeline.class_names[label]


def _share(value: float) -> str:
    """A probability as a cell; empty where it is not known."""
    return "" if math.isnan(value) else f"{value:.5f}"


def _json(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 5)


def _write(path: Path, header: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in [header, *rows]:
        writer.writerow([spreadsheet_safe(cell) for cell in row])
    write_text(path, text.getvalue())
