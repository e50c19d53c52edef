"""Write one page to look at a prepared dataset with: class balance, faces, photos of each class, what was left out.

python scripts/inspect_dataset.py ger_datasets/gaf3 --output dataset.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ger_datasets.support.command_line import run


@dataclass
class Arguments:
    first: ClassVar[str] = "dataset"
    dataset: Path = field(metadata={"help": "Folder of a prepared dataset."})
    output: Path = field(default=Path("dataset.html"), metadata={"help": "The page; it holds photos of the dataset."})
    photos_per_class: int = field(default=12, metadata={"help": "At most so many photos of each class are shown."})


def main(arguments: Arguments) -> dict:
    from ger_datasets.inspection.run import inspect_dataset

    return inspect_dataset(arguments.dataset, arguments.output, arguments.photos_per_class)


if __name__ == "__main__":
    run(main, Arguments)
