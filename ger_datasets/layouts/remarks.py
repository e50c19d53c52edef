"""Remarks: what a reader of the dataset card should know about a download, kept and warned of."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from ..support.errors import listing, printable

MOST_CHARACTERS = 100  # of a name in a message; a hostile list has longer ones
logger = logging.getLogger(__name__)


class Remarks:
    """Base of builders: collects sentences for the card."""

    def __init__(self) -> None:
        self._remarks: list[str] = []

    def remarks(self) -> list[str]:
        """What differs from the published dataset, and what was left out, one sentence each; after `records`."""
        return list(self._remarks)

    def remark(self, sentence: str, examples: Iterable[str] = ()) -> None:
        """Keep `sentence` for the card, and warn with it; the log also names `examples`."""
        self._remarks.append(f"{sentence}.")
        names = [printable(name)[:MOST_CHARACTERS] for name in examples]
        logger.warning("%s%s", sentence, f": {listing(names)}" if names else "")

    def compare_counts(self, things: str, found: Mapping[str, int], published: Mapping[str, int]) -> None:
        """Remark on each part of the download whose number of `things` differs from the published one.

        Parts that are not in the download are not compared. If each part has at most half of what is published, one
        sentence says so without a warning: such a download is a sample.
        """
        parts = {name: (found[name], count) for name, count in published.items() if found.get(name)}
        if parts and all(2 * there <= count for there, count in parts.values()):
            counts = ", ".join(f"{there:,} of {count:,} {name}" for name, (there, count) in parts.items())
            self._remarks.append(f"This is not the whole dataset: {counts} {things}.")
            return
        for name, (there, count) in parts.items():
            if there != count:
                self.remark(f"{name}: {there:,} {things} where {count:,} are published")
