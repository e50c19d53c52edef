"""MultiEmoVA (Mou et al. 2015): class folders from HighNegative to HighPositive -> records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..class_folders import ClassFolderBuilder
from ..schema import CLASS_NAMES
from ..support.errors import UserError

FOLDERS = ("HighNegative", "MediumNegative", "Neutral", "MediumPositive", "HighPositive")
CLASSES = {"five": FOLDERS, "valence": CLASS_NAMES}


class MultiEmovaBuilder(ClassFolderBuilder):
    """MultiEmoVA (Mou et al. 2015, FG). It is published without splits.

    Args:
        source: the folder that holds `HighNegative`, ..., `HighPositive`, or `train`, `val`, `test` with these.
        options: see `Options`.
    """

    @dataclass(frozen=True)
    class Options:
        """The dataset's own options.

        Attributes:
            classes: a name in `CLASSES`.
            split_seed: seed of the random split.

        Raises:
            UserError: unknown `classes`.
        """

        classes: str = field(default="five", metadata={"help": "five, or valence: Negative, Neutral and Positive."})
        split_seed: int = field(default=0, metadata={"help": "seed of the random split."})

        def __post_init__(self) -> None:
            if self.classes not in CLASSES:
                raise UserError(f"unknown classes {self.classes!r}: choose from {', '.join(CLASSES)}")

    draws_splits = True
    folder_classes = FOLDERS

    def __init__(self, source: Path, options: Options | None = None) -> None:
        super().__init__(source)
        self.options = options or self.Options()
        self.split_seed = self.options.split_seed

    @property
    def class_names(self) -> Sequence[str]:  # type: ignore[override]
        """Five classes, or three."""
        return CLASSES[self.options.classes]

    def label(self, folder_class: str) -> int:
        """The label of the photos in a class folder."""
        wanted = folder_class.removeprefix("High").removeprefix("Medium")
        return self.class_names.index(folder_class if self.options.classes == "five" else wanted)
