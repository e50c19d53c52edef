"""Write one HTML page on a prepared dataset: class balance, faces, photos of each class, quarantined photos.

python scripts/inspect_dataset.py ger_datasets/gaf3 --output dataset.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ger_datasets.inspection.run import inspect_dataset
from ger_datasets.support.command_line import run


@dataclass
class Arguments:
    first: ClassVar[str] = "dataset"
    dataset: Path = field(metadata={"help": "Folder of a prepared dataset."})
    output: Path = field(default=Path("dataset.html"), metadata={"help": "HTML file to write; it shows photos."})
    photos_per_class: int = field(default=12, metadata={"help": "Maximum number of photos shown per class."})


def main(arguments: Arguments) -> dict:
    return inspect_dataset(arguments.dataset, arguments.output, arguments.photos_per_class)


if __name__ == "__main__":
    run(main, Arguments)
