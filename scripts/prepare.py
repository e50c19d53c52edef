"""Convert a raw download into a Parquet dataset with face columns, which `datasets.load_dataset` opens.

python scripts/prepare.py --dataset gaf3 --source RAW --output ger_datasets/gaf3
accelerate launch scripts/prepare.py ...    distributes the work over processes and machines that share the output
python scripts/prepare.py ... --shard 3/8   runs the third of eight parts, for job arrays
"""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ger_datasets.builders import BUILDERS, all_dataset_options
from ger_datasets.detectors import DEFAULT_DETECTOR, DETECTORS
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError

if TYPE_CHECKING:
    from ger_datasets.preparation.column_sources import ColumnSource


@dataclass
class CommonArguments:
    dataset: str = field(metadata={"help": f"Dataset of the raw download: {', '.join(BUILDERS)}."})
    source: Path = field(metadata={"help": "Folder of the raw download. sample: drawn there if it does not exist."})
    output: Path = field(metadata={"help": "Folder of the prepared dataset; an interrupted run resumes there."})
    num_proc: int | None = field(
        default=None, metadata={"help": "Number of processes, one thread each. Default: the number of CPU cores."}
    )
    limit: int | None = field(default=None, metadata={"help": "Maximum number of photos per split, for a quick test."})
    skeletons: str = field(
        default="none",
        metadata={
            "help": "Source of the column skeleton: a folder of OpenPose's files or rendered skeletons, a JSON file "
            "of MS COCO's keypoints, POSE_MODEL[,PERSON_DETECTOR], or none. Can be added to a prepared dataset."
        },
    )
    scene_model: str | None = field(
        default=None,
        metadata={
            "help": "Checkpoint of a scene model that fills the column scene_feature. Can be added to a prepared "
            "dataset."
        },
    )
    regions: Path | None = field(
        default=None,
        metadata={
            "help": "Folder of feature archives, NAME.npz with features (N, d) and boxes (N, 4) for each photo, that "
            "fill the columns region_features and region_boxes. Can be added to a prepared dataset."
        },
    )
    expressions: str = field(
        default="starter",
        metadata={
            "help": "Checkpoint of an expression model that fills the column face_expressions, or none. Can be added "
            "to a prepared dataset. Default: starter, the model included in the package."
        },
    )
    legacy: Path | None = field(
        default=None,
        metadata={"help": "Folder of the original system's FaceCoordinates, FaceFeatures, ... to read faces from."},
    )
    detector: str = field(default=DEFAULT_DETECTOR, metadata={"help": f"Face detector: {', '.join(DETECTORS)}."})
    device: str = field(
        default="auto",
        metadata={"help": "Device of the face detector: cpu, cuda, cuda:1, or auto (a GPU if there is one)."},
    )
    shard: str = field(
        default="1/1", metadata={"help": "i/n: run the i-th of n parts; the part that finishes last writes the card."}
    )


DATASET_OPTIONS = all_dataset_options()
Arguments = make_dataclass("Arguments", DATASET_OPTIONS, bases=(CommonArguments,))


def main(arguments: CommonArguments) -> dict | None:
    from accelerate import PartialState

    from ger_datasets.preparation.run import prepare
    from ger_datasets.support.devices import choose_device

    state = PartialState(cpu=True, timeout=timedelta(days=30))  # parts may end hours apart
    first, parts = part(arguments.shard)
    options = {name: getattr(arguments, name) for name, *_ in DATASET_OPTIONS}
    figures = prepare(
        arguments.dataset,
        arguments.source,
        arguments.output,
        num_proc=arguments.num_proc if state.num_processes == 1 else arguments.num_proc or 1,
        limit=arguments.limit,
        options={name: value for name, value in options.items() if value is not None and value is not False},
        sources=column_sources(arguments),
        detector=arguments.detector,
        device=choose_device(arguments.device, state),
        part=(first * state.num_processes + state.process_index, parts * state.num_processes),
        everyone=state.wait_for_everyone,
    )
    return figures if state.is_main_process else None


def column_sources(arguments: CommonArguments) -> list[ColumnSource]:
    """The sources that the options name; each module is imported only if it is needed."""
    from ger_datasets.preparation.column_sources import skeleton_source

    sources: list[ColumnSource] = []
    if arguments.legacy is not None:
        from ger_datasets.legacy.source import LegacySource

        sources.append(LegacySource(arguments.legacy, arguments.source))
    skeletons = skeleton_source(arguments.skeletons, arguments.source)
    if skeletons is not None:
        sources.append(skeletons)
    if arguments.scene_model is not None:
        from ger_models.inference.scene_features import CheckpointSceneEncoder

        sources.append(CheckpointSceneEncoder(arguments.scene_model))
    if arguments.regions is not None:
        from ger_datasets.regions.archives import RegionArchives

        regions = RegionArchives(arguments.regions, arguments.source)
        regions.check()
        sources.append(regions)
    if arguments.expressions != "none":
        from ger_models.inference.face_expressions import CheckpointExpressions

        sources.append(CheckpointExpressions(arguments.expressions))
    return sources


def part(text: str) -> tuple[int, int]:
    """`3/8` -> (2, 8)."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise UserError(f"--shard must be i/n with i from 1 to n, such as 3/8, not {text!r}")
    return int(i) - 1, int(n)


if __name__ == "__main__":
    run(main, Arguments)
