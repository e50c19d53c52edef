"""Turn a raw download into a Parquet dataset with faces, which `datasets.load_dataset` opens.

python scripts/prepare.py --dataset gaf3 --source RAW --output ger_datasets/gaf3
accelerate launch scripts/prepare.py ...    spreads the work over processes and machines that share the output
python scripts/prepare.py ... --shard 3/8   does the third of eight parts, for job arrays
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from accelerate import PartialState

from ger_datasets.builders import BUILDERS
from ger_datasets.legacy.source import LegacySource
from ger_datasets.preparation.column_sources import skeleton_source
from ger_datasets.preparation.run import prepare
from ger_datasets.preparation.shards import ExpressionReader, SceneEncoder
from ger_datasets.support.command_line import run
from ger_datasets.support.devices import choose_device
from ger_datasets.support.errors import UserError

OPTIONS = ("key_frames", "split_by", "split_seed", "classes", "faces")  # of single datasets


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
    skeletons: str = field(
        default="none",
        metadata={"help": "Folder of OpenPose JSON or rendered skeletons, or POSE_MODEL[,PERSON_DETECTOR], or none."},
    )
    scene_model: str | None = field(
        default=None,
        metadata={"help": "Checkpoint of a scene model that fills scene_feature; may be added to a prepared dataset."},
    )
    expressions: str = field(
        default="starter",
        metadata={
            "help": "Checkpoint of an expression model that fills face_expressions, or none; may be added to a "
            "prepared dataset. Default: starter, the one that comes with the package."
        },
    )
    legacy: Path | None = field(
        default=None, metadata={"help": "Folder of the original's FaceCoordinates, FaceFeatures, ..., read instead."}
    )
    device: str = field(
        default="auto",
        metadata={"help": "Where faces are looked for: cpu, cuda, cuda:1, or auto: a GPU if there is one."},
    )
    shard: str = field(default="1/1", metadata={"help": "i/n: do the i-th of n parts; the last one writes the card."})
    key_frames: str | None = field(
        default=None, metadata={"help": "group_scene: how key frames are found: local_maxima, threshold or top."}
    )
    split_by: str | None = field(default=None, metadata={"help": "group_scene: video, or frame for comparison only."})
    split_seed: int | None = field(
        default=None, metadata={"help": "group_scene, expressions: seed of the split that is drawn. Default: 0."}
    )
    classes: str | None = field(
        default=None, metadata={"help": "expressions: expressions (seven), or valence: Negative, Neutral, Positive."}
    )
    contempt: bool = field(
        default=False, metadata={"help": "expressions: contempt is an eighth class (Negative in valence)."}
    )
    faces: str | None = field(
        default=None,
        metadata={
            "help": "expressions: whole: each picture is a face; detect: the largest face found, or the picture; "
            "auto: whole up to 100 pixels of the shorter side, else detect."
        },
    )


def main(arguments: Arguments) -> dict | None:
    state = PartialState(cpu=True, timeout=timedelta(days=30))  # parts may end hours apart
    skeletons = skeleton_source(arguments.skeletons, arguments.source)
    legacy = arguments.legacy and LegacySource(arguments.legacy, arguments.source)
    scene = arguments.scene_model and scene_encoder(arguments.scene_model)
    expressions = None if arguments.expressions == "none" else expression_reader(arguments.expressions)
    first, parts = part(arguments.shard)
    figures = prepare(
        arguments.dataset,
        arguments.source,
        arguments.output,
        num_proc=arguments.num_proc if state.num_processes == 1 else arguments.num_proc or 1,
        limit=arguments.limit,
        options={name: getattr(arguments, name) for name in OPTIONS} | {"contempt": arguments.contempt or None},
        legacy=legacy,
        skeletons=skeletons,
        scene=scene,
        expressions=expressions,
        device=choose_device(arguments.device, state),
        part=(first * state.num_processes + state.process_index, parts * state.num_processes),
        everyone=state.wait_for_everyone,
    )
    return figures if state.is_main_process else None


def scene_encoder(checkpoint: str) -> SceneEncoder:
    """The models come in here and below alone: every process of a run without one starts a second sooner."""
    from ger_models.inference.scene_features import CheckpointSceneEncoder

    return CheckpointSceneEncoder(checkpoint)


def expression_reader(checkpoint: str) -> ExpressionReader:
    """See `scene_encoder`."""
    from ger_models.inference.face_expressions import CheckpointExpressions

    return CheckpointExpressions(checkpoint)


def part(text: str) -> tuple[int, int]:
    """`3/8` -> (2, 8)."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
        raise UserError(f"--shard must be i/n with i from 1 to n, such as 3/8, not {text!r}")
    return int(i) - 1, int(n)


if __name__ == "__main__":
    run(main, Arguments)
