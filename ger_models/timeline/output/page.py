"""A timeline -> one page: the curve, thumbnails, a lane for each person, and the frame of the moment that is chosen.

The page has a bounded size, however long the video is: at most `MOST_MOMENTS` moments, `MOST_LANES` people and
`pictures.MOST_PICTURES` frames are shown. The tables hold everything.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import printable
from ger_datasets.support.html_page import Markup, render

from ...inference.pictures import COLOURS, expression_colour
from ..people import Person
from ..results import Timeline
from .pictures import jpeg, reduced
from .rendering import face_marks
from .tables import main_expression

TIMELINE_HTML = "timeline.html"
TEMPLATES = Path(__file__).with_name("templates")
MOST_MOMENTS, MOST_LANES = 600, 15
BINS = 240  # of time, in a lane
STRIP, STRIP_SIDE = 12, 120  # thumbnails under the curve; pixels
HEIGHT, SPAN = 100.0, 1000.0  # of the curve's drawing


def write_page(path: Path, timeline: Timeline, pictures: Mapping[int, bytes], about: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        timeline: what is shown.
        pictures: number of the sampled frame -> JPEG; at least one.
        about: `video`, its file's name; `note` and `summary`.

    Raises:
        UserError: the file cannot be written.
    """
    numbers = np.array(sorted(pictures))
    incomplete = f"incomplete video: {timeline.problem}" if timeline.problem else ""
    page = render(
        TEMPLATES / "timeline.html",
        script=(TEMPLATES / "timeline.js").read_text(encoding="utf-8"),
        video=printable(about["video"]),
        summary=about["summary"],
        note="; ".join(filter(None, (incomplete, about["note"]))),
        data=_data(timeline, numbers, pictures),
        first=f"data:image/jpeg;base64,{_base64(pictures[int(numbers[0])])}",
        classes=[(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(timeline.class_names)],
        curve=_curve(timeline),
        ticks=_ticks(timeline),
        strip=_strip(timeline, numbers, pictures),
        lanes=[_lane(timeline, person) for person in _most_seen(timeline.people)],
        people=len(timeline.people),
        expressions=_key(timeline.class_names),
        segments=[_segment(timeline, each, numbers, pictures) for each in timeline.segments],
    )
    write_text(path, page)


def _key(class_names: Sequence[str]) -> list[tuple[str, str]]:
    """The names of the expressions that have one colour, and the colour."""
    names: dict[str, list[str]] = {}
    for name in EXPRESSIONS:
        names.setdefault(expression_colour(name, class_names), []).append(name)
    return [(", ".join(same), colour) for colour, same in names.items()]


def clock(seconds: float) -> str:
    """A time as a player shows it.

    >>> clock(7.52), clock(3725.0)
    ('0:07.5', '1:02:05.0')
    """
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _data(timeline: Timeline, numbers: np.ndarray, pictures: Mapping[int, bytes]) -> dict[str, Any]:
    """What the script reads."""
    marks = face_marks(timeline)
    shown = []
    for number in numbers.tolist():
        width, height = timeline.sizes[number]
        scale = np.array([width, height, width, height]) / 100
        people = [
            [*np.round(np.array(mark.box_xyxy) / scale, 2).tolist(), mark.texts[0], mark.colour]
            for mark in marks.get(number, [])
        ]
        shown.append({"at": round(float(timeline.seconds[number]), 3), "jpeg": _base64(pictures[number])})
        shown[-1] |= {"width": int(width), "height": int(height), "people": people}
    moments = []
    for i in _moments(timeline, numbers):
        shares = [None if np.isnan(x) else round(float(x), 3) for x in timeline.curve.probabilities[i]]
        nearest = int(np.abs(timeline.seconds[numbers] - timeline.seconds[i]).argmin())
        moments.append([round(float(timeline.seconds[i]), 3), int(timeline.faces[i]), shares, nearest])
    return {
        "start": round(float(timeline.seconds[0]), 3),
        "end": round(timeline.end, 3),
        "moments": moments,
        "pictures": shown,
    }


def _moments(timeline: Timeline, numbers: np.ndarray) -> list[int]:
    """The sampled frames that can be chosen: evenly spaced, and those with pictures."""
    step = -(-len(timeline.seconds) // (MOST_MOMENTS - len(numbers)))
    return sorted({*range(0, len(timeline.seconds), step), *numbers.tolist()})


def _place(timeline: Timeline, seconds: float) -> float:
    """Where a time lies, from 0 to 1."""
    span = timeline.end - timeline.seconds[0]
    return float((seconds - timeline.seconds[0]) / span) if span > 0 else 0.0


def _curve(timeline: Timeline) -> Markup:
    """The bands and lines of all classes, and marks at the cuts, as the content of an SVG of SPAN x HEIGHT."""
    step = -(-len(timeline.seconds) // MOST_MOMENTS)
    chosen = np.arange(0, len(timeline.seconds), step)
    x = np.array([_place(timeline, seconds) * SPAN for seconds in timeline.seconds])
    known = ~np.isnan(timeline.curve.probabilities).any(axis=1)
    parts = [Markup('<line class="cut" x1="{0:.1f}" x2="{0:.1f}" y1="-3" y2="103"/>').format(x[cut])
             for cut in timeline.cuts[:MOST_MOMENTS]]  # fmt: skip
    bounds = np.concatenate([[0], timeline.cuts, [len(x)]])
    pieces: list[list[int]] = []
    for (seen, _), run in groupby(chosen.tolist(), lambda i: (known[i], int(np.searchsorted(bounds, i, "right")))):
        if seen:
            pieces.append(list(run))
    for kind in ("band", "line"):
        for k in range(len(timeline.class_names)):
            colour = COLOURS[k % len(COLOURS)]
            for piece in pieces:
                last = min(piece[-1] + step, len(x))  # each frame stands until the next
                stop = x[last] if last < len(x) else SPAN
                across = [*x[piece], stop]
                if kind == "band":
                    upper, lower = timeline.curve.upper[piece, k], timeline.curve.lower[piece, k]
                    outline = _points(across, [*upper, upper[-1]])
                    outline += " " + _points(across[::-1], [lower[-1], *lower[::-1]])
                    parts.append(Markup('<polygon points="{}" fill="{}"/>').format(outline, colour))
                else:
                    line = timeline.curve.probabilities[piece, k]
                    drawn = _points(across, [*line, line[-1]])
                    parts.append(Markup('<polyline points="{}" stroke="{}"/>').format(drawn, colour))
    return Markup("\n").join(parts)


def _points(across: Sequence[float], shares: Sequence[float]) -> str:
    return " ".join(f"{x:.1f},{(1 - y) * HEIGHT:.1f}" for x, y in zip(across, shares, strict=True))


def _ticks(timeline: Timeline) -> list[tuple[float, str]]:
    """Per cent of the width, and time, of up to six round times."""
    span = timeline.end - timeline.seconds[0]
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 18000, 36000, 86400)
    step = next((each for each in steps if span / each <= 5), span)
    times = (
        np.arange(np.ceil(timeline.seconds[0] / step) * step, timeline.end - span * 0.06, step) if span > 0 else [0.0]
    )
    return [(100 * _place(timeline, each), clock(each).removesuffix(".0")) for each in times]


def _nearest(timeline: Timeline, numbers: np.ndarray, seconds: float) -> int:
    return int(numbers[np.abs(timeline.seconds[numbers] - seconds).argmin()])


def _thumbnail(content: bytes) -> str:
    return f"data:image/jpeg;base64,{_base64(jpeg(reduced(Image.open(io.BytesIO(content)), STRIP_SIDE), 65))}"


def _strip(timeline: Timeline, numbers: np.ndarray, pictures: Mapping[int, bytes]) -> list[str]:
    """Thumbnails of the middles of equal parts of the video."""
    span = timeline.end - timeline.seconds[0]
    middles = timeline.seconds[0] + (np.arange(STRIP) + 0.5) / STRIP * span
    return [_thumbnail(pictures[_nearest(timeline, numbers, seconds)]) for seconds in middles]


def _segment(timeline: Timeline, segment: Any, numbers: np.ndarray, pictures: Mapping[int, bytes]) -> dict[str, Any]:
    known = segment.label is not None
    return {
        "left": 100 * _place(timeline, segment.start),
        "width": 100 * (_place(timeline, segment.end) - _place(timeline, segment.start)),
        "start": segment.start,
        "times": f"{clock(segment.start)} – {clock(segment.end)}",
        "name": timeline.class_names[segment.label] if known else "no face",
        "share": f"{segment.probability:.2f}" if known else "",
        "colour": COLOURS[segment.label % len(COLOURS)] if known else "var(--track)",
        "thumbnail": _thumbnail(pictures[_nearest(timeline, numbers, (segment.start + segment.end) / 2)]),
    }


def _most_seen(people: Sequence[Person]) -> list[Person]:
    """The people who are seen longest, in the order of their first moments."""
    longest = sorted(people, key=lambda person: -person.seconds_visible)[:MOST_LANES]
    return sorted(longest, key=lambda person: person.id)


def _lane(timeline: Timeline, person: Person) -> dict[str, Any]:
    """A person's label, and when they are seen with which expression, in pieces of equal colour."""
    places = np.array([_place(timeline, seconds) for seconds in timeline.seconds[person.frames]])
    after = np.append(timeline.seconds, timeline.end)[person.frames + 1]
    ends = np.array([_place(timeline, seconds) for seconds in after])
    bins: dict[int, int] = {}
    for place, end, best in zip(places, ends, person.expressions.argmax(axis=1).tolist(), strict=True):
        for number in range(int(place * BINS), max(int(place * BINS) + 1, int(np.ceil(end * BINS - 1e-6)))):
            bins.setdefault(number, best)
    pieces = []
    ordered = sorted(bins.items())
    for (_, best), run in groupby(enumerate(ordered), lambda each: (each[1][0] - each[0], each[1][1])):
        numbers = [number for _, (number, _) in run]
        pieces.append(
            {
                "left": 100 * numbers[0] / BINS,
                "width": 100 * len(numbers) / BINS,
                "colour": expression_colour(EXPRESSIONS[best], timeline.class_names),
                "name": EXPRESSIONS[best],
            }
        )
    about = f"mostly {main_expression(person)}, seen for {person.seconds_visible:.0f} s"
    return {"name": f"Person {person.id + 1}", "about": about, "pieces": pieces}
