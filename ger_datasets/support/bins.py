"""Counts of whole numbers in ranges, such as of photos by their number of faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Bin = tuple[int, int | None]  # from, to; both inclusive; None: no upper end


def bin_name(low: int, high: int | None) -> str:
    """What a bin is called in tables.

    >>> bin_name(1, 1), bin_name(2, 4), bin_name(10, None)
    ('1', '2–4', '10 and more')
    """
    return f"{low} and more" if high is None else f"{low}" if low == high else f"{low}–{high}"


def binned(counts: Mapping[int, int], bins: Sequence[Bin]) -> list[tuple[str, int]]:
    """The name of each bin and the counts of the numbers within it."""

    def inside(value: int, low: int, high: int | None) -> bool:
        return low <= value and (high is None or value <= high)

    return [(bin_name(*edges), sum(n for value, n in counts.items() if inside(value, *edges))) for edges in bins]
