"""Convert a raw download into a Parquet dataset with face columns, which `datasets.load_dataset` opens.

python scripts/prepare.py --dataset gaf3 --source RAW --output ger_datasets/gaf3
accelerate launch scripts/prepare.py ...    distributes the work over processes and machines that share the output
python scripts/prepare.py ... --shard 3/8   runs the third of eight parts, for job arrays
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, make_dataclass
from datetime import timedelta
from pathlib import Path

from ger_datasets.builders import BUILDERS, all_dataset_options
from ger_datasets.detectors import DEFAULT_DETECTOR, DETECTORS, MIN_FACE_PIXELS_HELP
from ger_datasets.preparation.column_sources import encoded_options, open_encoded, open_sources, source_options
from ger_datasets.support.command_line import run
from ger_datasets.support.cpu_cores import usable_cores
from ger_datasets.support.errors import UserError


@dataclass
class CommonArguments:
    dataset: str = field(metadata={"help": f"Dataset of the raw download: {', '.join(BUILDERS)}."})
    source: Path = field(metadata={"help": "Folder of the raw download. sample: drawn there if it does not exist."})
    output: Path = field(metadata={"help": "Folder of the prepared dataset; an interrupted run resumes there."})
    num_proc: int | None = field(
        default=None,
        metadata={
            "help": "Number of processes, one thread each; on a GPU, of threads that decode photos for the one "
            "process that uses it. Default: one per CPU core, but on a CPU at most one per 50 photos."
        },
    )
    limit: int | None = field(default=None, metadata={"help": "Maximum number of photos per split, for a quick test."})
    detector: str = field(default=DEFAULT_DETECTOR, metadata={"help": f"Face detector: {', '.join(DETECTORS)}."})
    min_face_pixels: int | None = field(default=None, metadata={"help": MIN_FACE_PIXELS_HELP})
    device: str = field(
        default="auto",
        metadata={
            "help": "Device of the face detector and the models: cpu, cuda, cuda:1, or auto (a GPU if there is one)."
        },
    )
    shard: str = field(
        default="1/1", metadata={"help": "i/n: run the i-th of n parts; the part that finishes last writes the card."}
    )


DATASET_OPTIONS = all_dataset_options()
Arguments = make_dataclass(
    "Arguments", [*source_options(), *encoded_options(), *DATASET_OPTIONS], bases=(CommonArguments,)
)


def main(arguments: CommonArguments) -> dict | None:
    from accelerate import PartialState

    from ger_datasets.preparation.run import prepare
    from ger_datasets.support.devices import choose_device

    state = PartialState(cpu=True, timeout=timedelta(days=30))  # parts may end hours apart
    first, parts = part(arguments.shard)
    device = choose_device(arguments.device, state)
    options = {name: getattr(arguments, name) for name, *_ in DATASET_OPTIONS}
    figures = prepare(
        arguments.dataset,
        arguments.source,
        arguments.output,
        num_proc=arguments.num_proc or share_of_cores(state.num_processes, device),
        limit=arguments.limit,
        options={name: value for name, value in options.items() if value is not None and value is not False},
        sources=[*open_sources(vars(arguments), arguments.source, device), *open_encoded(vars(arguments), device)],
        detector=arguments.detector,
        min_face_pixels=arguments.min_face_pixels,
        device=device,
        part=(first * state.num_processes + state.process_index, parts * state.num_processes),
        everyone=state.wait_for_everyone,
    )
    return figures if state.is_main_process else None


def share_of_cores(processes: int, device: str) -> int | None:
    """The default of --num_proc for each of several launched processes: 1, or its share of the cores to decode photos
    for a GPU; None for a single process."""
    if processes == 1:
        return None
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))  # of them on this machine
    return 1 if device == "cpu" else max(1, usable_cores() // here)


def part(text: str) -> tuple[int, int]:
    """`3/8` -> (2, 8)."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise UserError(f"--shard must be i/n with i from 1 to n, such as 3/8, not {text!r}")
    return int(i) - 1, int(n)


if __name__ == "__main__":
    run(main, Arguments)
