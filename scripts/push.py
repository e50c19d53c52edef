"""Push a prepared dataset to the Hugging Face Hub: its card and its Parquet files, in one commit.

python scripts/push.py --dataset ger_datasets/gaf3 --repo ORG/gaf3
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ger_datasets.preparation.push import push_dataset
from ger_datasets.support.command_line import run


@dataclass
class Arguments:
    at_once: ClassVar[bool] = True
    dataset: Path = field(metadata={"help": "Folder of a prepared dataset."})
    repo: str = field(metadata={"help": "Repository ORG/NAME on the Hub; created if it does not exist."})
    private: bool = field(
        default=True,
        metadata={"help": "Private repository. False publishes the photos, which most datasets' terms forbid."},
    )
    revision: str | None = field(default=None, metadata={"help": "Branch, created if missing. Default: main."})


def main(arguments: Arguments) -> dict:
    return push_dataset(arguments.dataset, arguments.repo, arguments.private, arguments.revision)


if __name__ == "__main__":
    run(main, Arguments)
