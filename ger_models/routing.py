"""Routes: which photos a model answers, by their number of faces. Names of ranges -> ranges -> the route of a photo.

Imports neither NumPy nor torch: the models and the scoring of tables share these functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

FACES, FACELESS = "faces", "faceless"
FORMS = f"{FACES}, {FACELESS}, or a range of face counts such as 0, 1-3 or 4+"
MOST_FACES = 10**6  # in the name of a range
_RANGE = re.compile(r"(?P<least>\d{1,7})(?:(?P<open>\+)|-(?P<most>\d{1,7}))?")


class Route(NamedTuple):
    """The face counts from `least` to `most`, both included; None: there is no upper limit."""

    least: int
    most: int | None

    def holds(self, counts: Any) -> Any:
        """Whether the counts, a number or an array or tensor of them, are in the range; -1, unknown, never is."""
        return (counts >= self.least) & (counts <= (MOST_FACES if self.most is None else self.most))


def parse_route(name: str) -> Route:
    """The range that a route's name means.

    >>> parse_route("faces"), parse_route("faceless")
    (Route(least=1, most=None), Route(least=0, most=0))
    >>> parse_route("1-3"), parse_route("4+")
    (Route(least=1, most=3), Route(least=4, most=None))

    Raises:
        ValueError: it means none.
    """
    if name in (FACES, FACELESS):
        return Route(1, None) if name == FACES else Route(0, 0)
    match = _RANGE.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(f"a route must be {FORMS}, not {name!r}")
    least = int(match["least"])
    most = None if match["open"] else int(match["most"] or least)
    if least > MOST_FACES or (most is not None and not least <= most <= MOST_FACES):
        raise ValueError(f"the route {name!r} holds no face count: write the smaller number first")
    return Route(least, most)


def parse_routes(names: Sequence[str], complete: bool = False) -> list[Route]:
    """The ranges of several routes, none of which overlap.

    Args:
        complete: whether every face count must be in one of them.

    Raises:
        ValueError: a name means no range, two ranges overlap or, if `complete`, a face count is in none.
    """
    routes = [parse_route(name) for name in names]
    ordered = sorted(zip(routes, names, strict=True), key=lambda each: each[0].least)
    for (before, first), (route, second) in pairwise(ordered):
        if before.most is None or route.least <= before.most:
            raise ValueError(f"the routes {first} and {second} overlap: a photo must be in one route only")
    if complete:
        following: int | None = 0  # the least count that is in no range so far
        for route, _ in ordered:
            if following != route.least:
                break
            following = None if route.most is None else route.most + 1
        if following is not None:
            raise ValueError(f"no route is for photos with {following} faces: the routes are {', '.join(names)}")
    return routes


def routes_of(counts: Iterable[int], names: Sequence[str]) -> list[str]:
    """The name of the route of each photo; empty where it is in none.

    >>> routes_of([0, 2, -1], ["faces", "faceless"])
    ['faceless', 'faces', '']

    Raises:
        ValueError: as `parse_routes`.
    """
    routes = list(zip(names, parse_routes(names), strict=True))
    return [next((name for name, route in routes if route.holds(count)), "") for count in counts]


def route_title(name: str) -> str:
    """What a route's photos are called.

    >>> route_title("faces"), route_title("1-3")
    ('photos with faces', 'photos with 1-3 faces')
    """
    return f"photos {'without' if name == FACELESS else 'with'} {'' if name in (FACES, FACELESS) else name + ' '}faces"
