"""Turn a raw download into a Parquet dataset with faces, which `datasets.load_dataset` opens.

python scripts/prepare.py --dataset gaf3 --source RAW --output ger_datasets/gaf3
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ger_datasets.builders import BUILDERS
from ger_datasets.cli import run
from ger_datasets.prepare import prepare


@dataclass
class Arguments:
    dataset: str = field(metadata={"help": f"Which dataset the download is: {', '.join(BUILDERS)}."})
    source: Path = field(metadata={"help": "Folder of the raw download (sample: drawn there if it does not exist)."})
    output: Path = field(
        metadata={"help": "Folder of the prepared dataset; a run that was stopped is taken up again."}
    )
    num_proc: int | None = field(
        default=None, metadata={"help": "Processes, one thread each. Default: as many as there are cores."}
    )
    limit: int | None = field(default=None, metadata={"help": "At most so many photos per split, for a quick look."})


def main(arguments: Arguments) -> dict:
    return prepare(arguments.dataset, arguments.source, arguments.output, arguments.num_proc, arguments.limit)


if __name__ == "__main__":
    run(main, Arguments)
