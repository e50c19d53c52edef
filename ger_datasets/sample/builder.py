"""The drawn sample: a raw folder in the GAF 3.0 layout whose photos are drawn by code -> records."""

from __future__ import annotations

from typing import ClassVar

from ..gaf3.builder import Gaf3Builder
from ..records import Record
from .drawing import draw_sample


class SampleBuilder(Gaf3Builder):
    """Group photos drawn by code, read by the very builder that reads GAF 3.0. A test pattern, not data.

    Args:
        source: a raw folder that `draw_sample` wrote; one that does not exist is drawn first, at the default size.
    """

    notice = "drawn test pattern: the photos are drawn by code, and figures on them say nothing about real photos"
    license = "apache-2.0"
    published: ClassVar = {}  # its files are named as GAF 3.0's, but it is no part of it

    def records(self) -> list[Record]:
        """The photos drawn into `source`, which is filled first if it does not exist."""
        if not self.source.exists():
            draw_sample(self.source)
        return super().records()
