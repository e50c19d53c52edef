"""Recognise the emotion of the group in each photo: a line for each photo, annotated pictures, and a line of JSON.

group-emotion party.jpg team/
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ger_datasets.support.answer_places import check_csv, check_output_dir
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError, listing

if TYPE_CHECKING:
    from ger_models.inference.answers import Answer

logger = logging.getLogger(__name__)


@dataclass
class Arguments:
    first = "photos"

    photos: list[str] = field(metadata={"help": "Photos: files, folders (searched recursively) or URLs."})
    json: bool = field(
        default=False,
        metadata={"help": "Print one line of JSON for each photo, and nothing else. Pictures only with --output_dir."},
    )
    csv: Path | None = field(default=None, metadata={"help": "New CSV file with a row for each photo."})
    output_dir: str | None = field(
        default=None,
        metadata={"help": "New folder for the pictures, or none. Default: answers, answers-2, ...; with --json none."},
    )
    whole_face: bool = field(
        default=False, metadata={"help": "Treat each photo as one face crop, without face detection."}
    )
    blur_faces: bool = field(
        default=False, metadata={"help": "Make the faces in the pictures unrecognisable; the answers stay the same."}
    )
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
        if self.csv is not None:
            check_csv(self.csv)
        if self.output_dir is None and self.json:
            self.output_dir = "none"
        if self.output_dir not in (None, "none"):
            check_output_dir(str(self.output_dir))


def main(arguments: Arguments) -> dict[str, Any] | None:
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
    place = None if arguments.output_dir is None else Path(arguments.output_dir)
    folder = None if arguments.output_dir == "none" else AnswerFolder(place, pipe.model.config)
    width, done = name_width(photos.places), []
    with AnswerTable(arguments.csv, pipe.model.config) if arguments.csv else contextlib.nullcontext() as table:
        for answer in answers(pipe, photos, arguments.batch_size, arguments.whole_face):
            print(json.dumps(answer.as_json) if arguments.json else answer_line(answer, width), flush=True)
            if folder is not None:
                folder.add(without_faces(answer) if arguments.blur_faces else answer)
            if table is not None:
                table.add(answer)
            done.append(Answer(answer.name, None, answer.result, answer.problem))
    if folder is not None:
        folder.remove_if_empty()
    check_answered(done)
    class_names = [pipe.model.config.id2label[i] for i in range(pipe.model.config.num_labels)]
    if arguments.json:
        return None
    labels = Counter(answer.result["label"] for answer in done if answer.result)
    return {
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


def check_answered(done: Sequence[Answer]) -> None:
    """Raise a UserError if no photo could be used."""
    if all(answer.problem for answer in done):
        reasons = listing(f"{answer.name}: {answer.problem}" for answer in done)
        raise UserError(f"no photo can be used, of {len(done)}: {reasons}")


if __name__ == "__main__":
    run(main, Arguments)
