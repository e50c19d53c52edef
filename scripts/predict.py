"""Predict the group emotion of a dataset's splits, of photos or of videos, with one model or several at once.

python scripts/predict.py --model runs/densenet_emotic --dataset ger_datasets/gaf3 --split test --output test.parquet
accelerate launch scripts/predict.py --model runs/a runs/b --dataset ger_datasets/gaf3 --output_dir tables
python scripts/predict.py --photos a.jpg holidays --output_dir pictures
python scripts/predict.py --model runs/densenet_emotic --photos a.jpg --explain --output_dir pictures
python scripts/predict.py --model runs/densenet_emotic --videos party.mp4 --every 25 --output frames.parquet
python scripts/predict.py --videos party.mp4 --fps 2 --output_dir timelines
"""

from __future__ import annotations

import ger_datasets.support.cpu_cores  # noqa: F401 - before torch

# isort: split
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ger_datasets.detectors import DEFAULT_DETECTOR, DETECTORS, MIN_FACE_PIXELS_HELP
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError, listing
from ger_models.combining import FORMS
from ger_models.evaluation.chosen_photos import check_only
from ger_models.starter import STARTER_NAME
from ger_models.timeline.options import VIDEO_OPTIONS, Options, chosen_source, video_option

if TYPE_CHECKING:
    from accelerate import PartialState

    from ger_models.inference.explanations import Explainer
    from ger_models.inference.members import Members
    from ger_models.inference.predict_run import Source


@dataclass
class Arguments:
    model: list[str] = field(
        default_factory=lambda: [STARTER_NAME],
        metadata={
            "help": "Checkpoints: output folders of train.py, or Hub repositories. Default: starter, which comes with "
            "the package."
        },
    )
    dataset: str | None = field(default=None, metadata={"help": "Prepared dataset: a folder or a Hub repository."})
    split: list[str] = field(
        default_factory=lambda: ["test"], metadata={"help": "Splits of the dataset. Default: test."}
    )
    only: str | None = field(
        default=None, metadata={"help": f"With --dataset: predict only photos with so many faces: {FORMS}."}
    )
    min_face_score: float | None = field(
        default=None,
        metadata={"help": "How sure the detector must be of a face for it to be counted. Default: the model's own."},
    )
    photos: list[Path] | None = field(
        default=None, metadata={"help": "Photos instead of a dataset: files, or folders, searched recursively."}
    )
    videos: list[str] | None = field(
        default=None,
        metadata={
            "help": "Videos instead of a dataset: files or folders. With --output a table of their key frames; with "
            "--output_dir the timeline of each, also of a camera (0) or of a stream's http, https or rtsp address."
        },
    )
    every: int | None = field(
        default=None,
        metadata={"help": "Videos: predict on frames 0, N, 2N, ... as they are shown instead of the key frames."},
    )
    fps: float | None = field(
        default=None,
        metadata={
            "help": "Videos: predict on so many frames per second of their time instead of the key frames. Timelines: "
            f"{VIDEO_OPTIONS['fps'][0]:g} by default."
        },
    )
    smooth: float = video_option("smooth")
    smoothing: str = video_option("smoothing")
    blur_faces: bool = video_option("blur_faces")
    render: bool = video_option("render")
    seconds: float | None = video_option("seconds")
    output: list[Path] | None = field(
        default=None, metadata={"help": "The predictions table, a Parquet file; one for each model."}
    )
    output_dir: Path | None = field(
        default=None,
        metadata={
            "help": "Folder for the tables, MODEL.parquet; with --photos for pictures and predictions.parquet; with "
            "--videos for timelines."
        },
    )
    whole_face: bool = field(
        default=False, metadata={"help": "Treat each photo as one face crop, without face detection."}
    )
    explain: bool = field(
        default=False,
        metadata={
            "help": "With --photos, scene models and fusion models: add heat maps of what drove the decision to the "
            "pictures."
        },
    )
    detector: str = field(default=DEFAULT_DETECTOR, metadata={"help": f"Face detector: {', '.join(DETECTORS)}."})
    min_face_pixels: int | None = field(default=None, metadata={"help": MIN_FACE_PIXELS_HELP})
    batch_size: int = field(default=16, metadata={"help": "Photos per forward pass."})
    device: str = field(default="auto", metadata={"help": "cpu, cuda, cuda:1, or auto: a GPU if there is one."})

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.dataset, self.photos, self.videos)) != 1:
            raise UserError(
                "give either --dataset with --output, or --photos or --videos with --output_dir or --output"
            )
        if self.dataset is not None and self.output is None and self.output_dir is None:
            raise UserError("--dataset needs --output, the Parquet file that the predictions go to, or --output_dir")
        if self.output is None and self.output_dir is None:
            raise UserError(
                "--photos needs --output_dir, the folder that the pictures go to, or --output; so does --videos"
            )
        if self.output is not None and self.output_dir is not None:
            raise UserError("give --output, one file for each model, or --output_dir, not both")
        if self.output is not None and len(self.output) != len(self.model):
            raise UserError(f"--output needs a file for each model: {len(self.model)}, found {len(self.output)}")
        if self.output is not None and len(set(self.output)) < len(self.output):
            raise UserError(f"--output names a file twice: {listing(self.output)}; each model needs its own")
        check_only(self.only, self.min_face_score)
        if self.only is not None and self.dataset is None:
            raise UserError("--only is for --dataset")
        if self.min_face_pixels is not None and self.dataset is not None:
            raise UserError(
                "--min_face_pixels is for --photos and --videos: prepare.py has detected the faces of a dataset"
            )
        if self.every is not None and self.videos is None:
            raise UserError("--every is for --videos")
        if self.fps is not None and (self.videos is None or self.every is not None or not 0 < self.fps < float("inf")):
            raise UserError("--fps is for --videos, without --every, and a number above 0")
        if self.whole_face and self.photos is None:
            raise UserError("--whole_face is for --photos")
        if self.explain and (self.photos is None or self.output_dir is None):
            raise UserError("--explain needs --photos and --output_dir, the folder that the pictures go to")
        self.check_timelines()
        for name in ("batch_size", "every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"--{name} must be 1 or more, not {getattr(self, name)}")

    def check_timelines(self) -> None:
        """Refuse what cannot be done with timelines, and their options without them."""
        changed = [name for name in VIDEO_OPTIONS if name != "fps" and getattr(self, name) != VIDEO_OPTIONS[name][0]]
        if self.videos is None or self.output_dir is None:
            if changed:
                raise UserError(f"--{changed[0]} is for --videos with --output_dir, which writes timelines")
            if self.videos is not None and chosen_source(self.videos, Options(), None) is not None:
                raise UserError("a camera or stream needs --output_dir, the folder that its timeline goes to")
            return
        if len(self.model) > 1 or self.every is not None:
            found = f"{len(self.model)} models" if len(self.model) > 1 else "--every"
            raise UserError(f"--output_dir writes timelines of one model, by --fps; found {found}: give --output")
        fps = VIDEO_OPTIONS["fps"][0] if self.fps is None else self.fps
        self.options = Options(fps, self.smooth, self.smoothing, self.blur_faces, self.render)
        self.source = chosen_source(self.videos, self.options, self.seconds)


def main(arguments: Arguments) -> dict[str, Any] | None:
    if arguments.videos is not None and arguments.output_dir is not None:
        return write_timelines(arguments)
    return write_tables(arguments)


def write_timelines(arguments: Arguments) -> dict[str, Any] | None:
    """Write the timeline of each video, or of the camera or stream; one of several processes does so."""
    from accelerate import PartialState

    from ger_datasets.support.devices import choose_device
    from ger_models.inference.inputs import video_files
    from ger_models.timeline.answering import answer_videos, check_answered
    from ger_models.timeline.reading import FrameReader

    state = PartialState(cpu=True)
    if not state.is_main_process:
        return None
    files, left_out = (None, {}) if arguments.source else video_files([Path(word) for word in arguments.videos or ()])
    reader = FrameReader(
        arguments.model[0],
        arguments.detector,
        choose_device(arguments.device, state),
        arguments.min_face_score,
        arguments.min_face_pixels,
    )
    figures = answer_videos(
        arguments.source or files,
        str(arguments.output_dir),
        reader,
        arguments.options,
        arguments.batch_size,
        arguments.seconds,
    )
    check_answered(figures)
    return {**figures, "model": arguments.model[0], **({"left_out": left_out} if left_out else {})}


def write_tables(arguments: Arguments) -> dict[str, Any] | None:
    """Predict on photos, or frames of videos, into a table for each model."""
    from accelerate import PartialState
    from tqdm import tqdm

    from ger_datasets.support.devices import choose_device
    from ger_models.inference.members import Members
    from ger_models.inference.predict_run import Run, alone_with

    state = PartialState(cpu=True, timeout=timedelta(days=30))  # processes may finish hours apart
    device = choose_device(arguments.device, state)
    members = Members(arguments.model, device)
    if arguments.min_face_score is not None:
        members.min_face_scores = [arguments.min_face_score] * len(members.models)
    explainers = make_explainers(members) if arguments.explain else None
    source = make_source(arguments, members, device, state)
    tables, pictures = destinations(arguments)
    main_process = state.is_main_process
    with alone_with(tables, main_process):
        work = Run(members, source, tables, pictures, arguments.batch_size, explainers)
        state.wait_for_everyone()  # no process writes before all have listed the missing parts
        if main_process:
            work.report_progress()
        mine = work.open_parts[state.process_index :: state.num_processes]
        bar = tqdm(total=work.photos(mine), unit="photo", desc="predicting", mininterval=0.5, disable=not main_process)
        for number in mine:
            for answered in work.predict(number):
                bar.update(answered)
        bar.close()
        state.wait_for_everyone()
        return work.finish() if main_process else None


def make_source(arguments: Arguments, members: Members, device: str, state: PartialState) -> Source:
    """What is predicted on, in parts; faces are detected once for all models."""
    from ger_datasets.loading.revision import dataset_revision
    from ger_datasets.loading.splits import check_image_ids, load_splits
    from ger_datasets.preparation.card import read_notice
    from ger_models.evaluation.chosen_photos import choose_photos
    from ger_models.inference.encoded_columns import AddedColumns, check_encoders
    from ger_models.inference.inputs import check_classes, dataset_parts, photo_parts, video_parts
    from ger_models.inference.predict_run import Source
    from ger_models.pipeline_ger import FaceColumns
    from ger_models.timeline.sampling import sampled_frames

    wanted = {*members.columns, "image", "face_boxes", "face_scores"}
    added = AddedColumns(members.models, members.columns, device)
    other_detector = "" if arguments.detector == DEFAULT_DETECTOR else f" detector {arguments.detector}"
    limit = arguments.min_face_pixels
    other_detector += "" if limit is None else f" min_face_pixels {limit}"
    if arguments.photos is not None:
        faces = FaceColumns(device, wanted, arguments.whole_face, arguments.detector, limit, added)
        parts, identity, left_out = photo_parts(arguments.photos, arguments.batch_size, faces)
        identity += " whole_face" * arguments.whole_face + " explain" * arguments.explain
        return Source(parts, identity + other_detector, left_out=left_out)
    if arguments.videos is not None:
        faces = FaceColumns(device, wanted, detector=arguments.detector, min_face_pixels=limit, added=added)
        sample = None if arguments.fps is None else partial(sampled_frames, fps=arguments.fps)
        parts, identity, left_out = video_parts(
            [Path(word) for word in arguments.videos], arguments.every, faces, sample
        )
        identity += f" every {arguments.every}" + (f" fps {arguments.fps}" if arguments.fps is not None else "")
        return Source(parts, identity + other_detector, left_out=left_out)
    dataset = arguments.dataset
    columns = dict.fromkeys([*members.columns, "face_scores", "group", "clip", "seconds"])
    data = load_splits(dataset, list(columns), arguments.split, state)
    check_image_ids(dataset, data)
    for member in range(len(members.names)):
        check_classes(dataset, next(iter(data.values())), members.class_names(member))
        check_encoders(dataset, members.models[member].config)
    revision, only = dataset_revision(dataset), arguments.only
    class_names = next(iter(data.values())).features["label"].names
    if only is None:
        parts, identity = dataset_parts(data, arguments.batch_size), revision
        return Source(parts, identity, revision, read_notice(dataset), class_names=class_names)
    least = agreed_min_face_score(members)
    parts = dataset_parts(choose_photos(dataset, data, only, least), arguments.batch_size)
    identity = f"{revision} only {only} from {least}"
    return Source(parts, identity, revision, read_notice(dataset), only, class_names=class_names)


def make_explainers(members: Members) -> list[Explainer]:
    """What draws the heat maps of each model; UserError if a model does not look at the photo."""
    from ger_models.inference.explanations import Explainer

    models = zip(members.names, members.models, members.processors, strict=True)
    return [Explainer(name, model, processor, members.device) for name, model, processor in models]


def agreed_min_face_score(members: Members) -> float:
    """The one of all models, by which --only counts faces."""
    scores = sorted(set(members.min_face_scores))
    if len(scores) > 1:
        raise UserError(
            f"the models count other faces: their min_face_score are {listing(scores)}; give one --min_face_score"
        )
    return scores[0]


def destinations(arguments: Arguments) -> tuple[list[Path], list[Path] | None]:
    """The models' tables, and the folders of their pictures, if any."""
    from ger_models.inference.pictures import PREDICTIONS
    from ger_models.inference.predict_run import table_paths

    if arguments.output is not None:
        return arguments.output, None
    folder = arguments.output_dir
    if arguments.photos is None:
        return table_paths(arguments.model, folder, own_folders=False), None
    several = len(arguments.model) > 1
    tables = table_paths(arguments.model, folder, own_folders=True) if several else [folder / PREDICTIONS]
    return tables, [table.parent for table in tables]


if __name__ == "__main__":
    run(main, Arguments)
