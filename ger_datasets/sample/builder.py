"""The drawn sample: a raw folder in the GAF 3.0 layout whose photos are drawn by code -> records."""

from __future__ import annotations

from ..class_folders import ClassFolderBuilder
from ..records import Record
from .drawing import draw_sample


class SampleBuilder(ClassFolderBuilder):
    """Group photos drawn by code, in the layout of GAF 3.0. A test pattern, not data.

    Args:
        source: a raw folder that `draw_sample` wrote; one that does not exist is drawn first, at the default size.
    """

    notice = "drawn test pattern: the photos are drawn by code, and figures on them say nothing about real photos"
    license = "apache-2.0"

    def records(self) -> list[Record]:
        """The photos drawn into `source`, which is filled first if it does not exist."""
        if not self.source.exists():
            draw_sample(self.source)
        return super().records()
