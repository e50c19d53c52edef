"""GroupEmoW (Guo et al. 2020): split and class folders of photos -> records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..class_folders import ClassFolderBuilder


class GroupEmowBuilder(ClassFolderBuilder):
    """GroupEmoW (Guo et al. 2020, "Graph Neural Networks for Image Understanding Based on Multiple Cues").

    Args:
        source: the folder that holds `GroupEmoW_Train`, `GroupEmoW_Val` and `GroupEmoW_Test`, or `train`, `val` and
            `test`.
    """

    published: ClassVar[Mapping[str, int]] = {"train": 11_127, "val": 3_178, "test": 1_589}
