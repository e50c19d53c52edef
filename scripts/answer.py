"""Recognise the emotion of the group in each photo: a line for each photo, annotated pictures, and a line of JSON.

Of a video, camera or stream, the group over time: a line, and a folder with a page, tables and pictures.

group-emotion party.jpg team/
group-emotion meeting.mp4 --fps 2
group-emotion --videos 0 --seconds 60
group-emotion party.jpg team/ --csv answers.csv --output_dir none
python scripts/answer.py party.jpg --model runs/densenet_emotic
"""

from __future__ import annotations

import ger_datasets.support.cpu_cores  # noqa: F401 - before torch

# isort: split
import contextlib
import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ger_datasets.support.answer_places import check_csv, check_output_dir, is_continued
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError, listing
from ger_models.timeline.options import Options, chosen_source, video_option

if TYPE_CHECKING:
    from ger_models.inference.answer_files import AnswerFolder
    from ger_models.inference.answers import Answer

logger = logging.getLogger(__name__)

STREAMS = ("rtsp://", "rtsps://")  # addresses that are never those of photos
TIMELINES = "timelines"  # default folder of the videos' folders
VIDEOS = [
    ".mp4",
    ".m4v",
    ".mov",
    ".3gp",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".vob",
    ".mts",
    ".m2ts",
    ".wmv",
    ".flv",
    ".ogv",
]  # of ger_datasets.videos, whose import takes half a second; animations are answered as photos


@dataclass
class Arguments:
    first = "photos"

    photos: list[str] = field(
        default_factory=list,
        metadata={"help": "Photos: files, folders (searched recursively) or URLs. Videos: files."},
    )
    videos: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Videos: files or folders; or what is watched live: a camera's number, such as 0, or the http, "
            "https or rtsp address of a stream."
        },
    )
    json: bool = field(
        default=False,
        metadata={"help": "Print one line of JSON for each photo, and nothing else. Pictures only with --output_dir."},
    )
    csv: Path | None = field(default=None, metadata={"help": "New CSV file with a row for each photo."})
    output_dir: str | None = field(
        default=None,
        metadata={
            "help": "New folder for the pictures, or none. Default: answers, answers-2, ...; with --json none. "
            "Videos: any folder, default timelines; each gets a folder of its own there."
        },
    )
    whole_face: bool = field(
        default=False, metadata={"help": "Treat each photo as one face crop, without face detection."}
    )
    blur_faces: bool = video_option("blur_faces")
    fps: float = video_option("fps")
    smooth: float = video_option("smooth")
    smoothing: str = video_option("smoothing")
    render: bool = video_option("render")
    seconds: float | None = video_option("seconds")
    model: str = field(
        default="starter",
        metadata={"help": "A checkpoint or Hub repository. Default: starter, which comes with the package."},
    )
    batch_size: int = field(default=8, metadata={"help": "Photos per forward pass."})
    device: str = field(default="auto", metadata={"help": "cpu, cuda, cuda:1, or auto: a GPU if there is one."})

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"--batch_size must be 1 or more, not {self.batch_size}")
        if re.fullmatch(r"auto|[a-z]+(:\d+)?", self.device) is None:
            raise UserError(f"--device must be auto, cpu, cuda or cuda:N, not {self.device!r}")
        if self.output_dir is None and self.json:
            self.output_dir = "none"
        self.asked = {"photos": self.photos, "videos": self.videos, "model": self.model, "csv": str(self.csv)}
        self.asked |= {"whole_face": self.whole_face, "blur_faces": self.blur_faces}
        self.continued = self.output_dir not in (None, "none") and is_continued(Path(str(self.output_dir)), self.asked)
        if self.csv is not None:
            check_csv(self.csv, continued=self.continued)
        self.photos, videos = split_videos(self.photos)
        self.videos = videos + self.videos
        if not self.photos and not self.videos:
            raise UserError("nothing to answer: name photos, folders, addresses or videos; --help lists the options")
        if self.photos and self.output_dir not in (None, "none") and not self.continued:
            check_output_dir(str(self.output_dir))
        if self.videos:
            self.check_videos()
        elif self.seconds is not None:
            raise UserError("--seconds is for cameras and streams")

    def check_videos(self) -> None:
        """Refuse what cannot be done with videos."""
        self.options = Options(self.fps, self.smooth, self.smoothing, self.blur_faces, self.render)
        self.source = chosen_source(self.videos, self.options, self.seconds)
        if self.source is not None and self.photos:
            raise UserError(f"{self.source.name} is watched alone: leave the photos out")
        if self.whole_face or (self.csv is not None and not self.photos):
            raise UserError(f"{'--whole_face' if self.whole_face else '--csv'} is for photos, not for videos")


def main(arguments: Arguments) -> dict[str, Any] | None:
    """Answer the photos, then the videos."""
    figures: dict[str, Any] = {}
    if arguments.photos:
        figures, folder = answer_photos(arguments)
    if arguments.videos:
        figures |= answer_the_videos(arguments)
    if arguments.photos and folder is not None:
        folder.finish()
    return None if arguments.json else figures


def split_videos(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The photos, folders and addresses, and the video files and streams. Animations (GIF, WebP) are photos."""
    videos = [
        word
        for word in words
        if word.lower().startswith(STREAMS) or (Path(word).suffix.lower() in VIDEOS and "://" not in word)
    ]
    return [word for word in words if word not in videos], videos


def answer_the_videos(arguments: Arguments) -> dict[str, Any]:
    """Write the timeline of each video, or of the camera or stream, and print a line for it."""
    from accelerate import PartialState

    from ger_datasets.support.devices import choose_device
    from ger_models.inference.inputs import video_files
    from ger_models.timeline.answering import answer_videos, check_answered
    from ger_models.timeline.reading import FrameReader

    videos = arguments.source or video_files([Path(video) for video in arguments.videos])[0]
    reader = FrameReader(arguments.model, device=choose_device(arguments.device, PartialState(cpu=True)))
    figures = answer_videos(
        videos,
        arguments.output_dir or TIMELINES,
        reader,
        arguments.options,
        arguments.batch_size,
        arguments.seconds,
        arguments.json,
    )
    if not arguments.photos:
        check_answered(figures)
    return {**figures, "model": arguments.model}


def answer_photos(arguments: Arguments) -> tuple[dict[str, Any], AnswerFolder | None]:
    """Print a line for each photo, and write its picture into the folder that is returned."""
    from accelerate import PartialState

    from ger_datasets.support.devices import choose_device
    from ger_models.inference.answer_files import AnswerFolder, AnswerTable
    from ger_models.inference.answers import Answer, answer_line, answers, find_photos, load_pipeline, name_width
    from ger_models.inference.blurring import without_faces
    from ger_models.inference.inputs import describe_kinds

    photos = find_photos(arguments.photos)
    for folder, others in photos.left_out.items():
        logger.info("%s: left out %s", folder, describe_kinds(others))
    pipe = load_pipeline(arguments.model, choose_device(arguments.device, PartialState(cpu=True)))
    config, named = pipe.model.config, arguments.output_dir is not None
    place, asked = (Path(arguments.output_dir), arguments.asked) if named else (None, None)
    folder = None if arguments.output_dir == "none" else AnswerFolder(place, config, asked)
    width, done = name_width(photos.places), []
    earlier = {answer.name: answer for answer in folder.earlier} if folder else {}
    if earlier:
        logger.info("resuming an interrupted run: %d photos are answered", len(earlier))
    rest = replace(photos, places={name: place for name, place in photos.places.items() if name not in earlier})
    new = answers(pipe, rest, arguments.batch_size, arguments.whole_face)
    complete = arguments.continued and not rest.places and arguments.csv is not None and arguments.csv.exists()
    csv = None if complete else arguments.csv
    with AnswerTable(csv, config, arguments.continued) if csv else contextlib.nullcontext() as table:
        for answer in chain(earlier.values(), new):
            print(json.dumps(answer.as_json) if arguments.json else answer_line(answer, width), flush=True)
            if folder is not None and answer.name not in earlier:
                folder.add(without_faces(answer) if arguments.blur_faces else answer)
            if table is not None:
                table.add(answer)
            done.append(Answer(answer.name, None, answer.result, answer.problem))
    if folder is not None:
        folder.remove_if_empty()
    check_answered(done)
    class_names = [config.id2label[i] for i in range(config.num_labels)]
    labels = Counter(answer.result["label"] for answer in done if answer.result)
    figures = {
        "photos": sum(labels.values()),
        "predicted": {name: labels[name] for name in class_names},
        "nothing_known": labels[None],
        "faces": sum(answer.result["face_count"] for answer in done if answer.result),
        "failed": [{"file": answer.name, "reason": answer.problem} for answer in done if answer.problem],
        "left_out": photos.left_out,
        "model": arguments.model,
        "pictures": folder and str(folder.path),
        "csv": arguments.csv and str(arguments.csv),
    }
    return figures, folder


def check_answered(done: Sequence[Answer]) -> None:
    """Raise a UserError if no photo could be used."""
    if all(answer.problem for answer in done):
        reasons = listing(f"{answer.name}: {answer.problem}" for answer in done)
        raise UserError(f"no photo can be used, of {len(done)}: {reasons}")


if __name__ == "__main__":
    run(main, Arguments)
