"""Answers -> a folder of annotated pictures, and a CSV table. Existing files are never overwritten."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import PreTrainedConfig

from ger_datasets.support.answer_places import (
    FOLDER,
    UNFINISHED,
    check_csv,
    is_continued,
    partial_csv,
    spreadsheet_safe,
)
from ger_datasets.support.atomic_files import replacing, write_text
from ger_datasets.support.errors import UserError, one_line

from ..configuration_ger import EXPRESSIONS, GROUPS
from .answers import RECORD, Answer, expression_counts, expression_of, face_weights, faces_line
from .face_marks import FaceMark
from .inputs import free_name
from .pictures import draw_prediction, expression_colour

JPEG_QUALITY = 90


class AnswerFolder:
    """A new folder with a picture of each photo and the answers as JSON lines, `answers.jsonl`.

    Args:
        place: the folder, which must be empty or missing; None: `answers` in the current folder, or `answers-2`, ...
        config: the model's configuration: its labels and, for an expression model, the groups of its expressions.
        run: what is asked for, as JSON values. A folder whose run was asked for the same and has not come to `finish`
            may hold answers.

    Attributes:
        path: the folder.
        earlier: the answers that an interrupted run has left in it, without images.

    Raises:
        UserError: the folder holds something else, or cannot be made.
    """

    def __init__(self, place: Path | None, config: PreTrainedConfig, run: Mapping[str, Any] | None = None) -> None:
        self.earlier: list[Answer] = []
        self._taken: set[str] = set()  # names of pictures, without .jpg
        try:
            if place is not None and run is not None and is_continued(place, run):
                self.path = place
                self._take_up()
            else:
                self.path = _new_folder() if place is None else _empty_folder(place)
                if run is not None:
                    write_text(self.path / UNFINISHED, json.dumps(run))
                with open(self.path / RECORD, "x"):
                    pass
        except OSError as error:
            raise UserError(
                f"{place or FOLDER} cannot be made: {one_line(error)}; choose another --output_dir, or none"
            ) from error
        self.class_names = [config.id2label[i] for i in range(config.num_labels)]
        groups = getattr(config, "groups", GROUPS)
        self.groups: Mapping[str, str] = groups if isinstance(groups, Mapping) else GROUPS  # an ensemble's are others

    def _take_up(self) -> None:
        """Read the answers that are there; the line of the last may have been cut, and is removed."""
        kept = 0
        with open(self.path / RECORD, "a+b") as record:
            record.seek(0)
            for line in record:
                try:
                    result = json.loads(line)
                except ValueError:
                    break
                kept += len(line)
                self._taken.add(result.pop("picture", "").removesuffix(".jpg"))
                name, problem = result.pop("photo"), result.get("error", "")
                self.earlier.append(Answer(name, None, {} if problem else result, problem))
            record.truncate(kept)
        self._taken.discard("")

    def finish(self) -> None:
        """Call when the run has ended: from then on the folder is as any other that holds something."""
        (self.path / UNFINISHED).unlink(missing_ok=True)

    def add(self, answer: Answer) -> Path | None:
        """Write an answer, and a picture if the photo could be used; returns the picture's file.

        Raises:
            UserError: they cannot be written.
        """
        result = answer.as_json
        if answer.image is not None:
            result["picture"] = self._draw(answer, answer.image)
        try:
            with open(self.path / RECORD, "a", encoding="utf-8") as record:
                record.write(json.dumps(result) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self.path / RECORD}: {one_line(error)}") from error
        return self.path / result["picture"] if "picture" in result else None

    def _draw(self, answer: Answer, image: Image.Image) -> str:
        shown = answer.name.rpartition("/")[2] if "://" in answer.name else answer.name
        stem = free_name(shown.removesuffix(".jpg") or "photo", self._taken)
        self._taken.add(stem)
        result = answer.result
        probabilities = np.array([result["scores"][label] for label in self.class_names])
        marks = self.marks(result)
        buffer = io.BytesIO()
        picture = draw_prediction(image, marks, probabilities, self.class_names, result["note"], faces_line(result))
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
        with replacing(self.path / f"{stem}.jpg") as file:
            file.write(buffer.getvalue())
        return f"{stem}.jpg"

    def marks(self, result: Mapping[str, Any]) -> list[FaceMark]:
        """What is drawn at each face: its expression and, where the faces' weights differ, its weight."""
        weights = face_weights(dict(result))
        marks = []
        for i, face in enumerate(result["faces"]):
            if i >= result["face_count"]:
                marks.append(FaceMark(face["box"], faint=True))
                continue
            expression = expression_of(face)
            weight = "" if weights is None else f"{100 * weights[i]:.0f} %"
            texts = dict.fromkeys(filter(None, (f"{expression} {weight}".strip(), expression)))
            colour = expression_colour(expression, self.class_names, self.groups)
            marks.append(FaceMark(face["box"], tuple(texts), colour))
        return marks

    def remove_if_empty(self) -> None:
        """Remove the folder if no photo could be used; stdout already has what its record says."""
        if not self._taken:
            self.finish()
            (self.path / RECORD).unlink(missing_ok=True)
            self.path.rmdir()


def _new_folder() -> Path:
    number = 1
    while True:
        path = Path(FOLDER if number == 1 else f"{FOLDER}-{number}")
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1


def _empty_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise UserError(f"{path} is not empty: choose another --output_dir, or none for no pictures")
    return path


class AnswerTable:
    """A CSV file with a row for each photo: label, score, probabilities, faces, expressions, note, error.

    Rows are written to `NAME.partial` as they come, which gets its own name when the `with` block ends without error:
    an interrupted run keeps what it has answered.

    Args:
        path: the file, which must not exist.
        config: of the model: its labels and, of an expression model, its expressions.
        continued: whether the unfinished table of an interrupted run may be written again.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: Path, config: PreTrainedConfig, continued: bool = False) -> None:
        self.path, self._partial, self._rows = path, partial_csv(path), 0
        self._class_names = [config.id2label[i] for i in range(config.num_labels)]
        self._expressions = list(dict.fromkeys([*EXPRESSIONS, *(getattr(config, "expressions", None) or ())]))
        header = ["photo", "label", "score", *self._class_names, "faces", *self._expressions, "note", "error"]
        with self._failing():
            self._file = self._partial.open(
                "w" if continued else "x", encoding="utf-8", newline=""
            )  # closed in __exit__
        self._write(header)

    def add(self, answer: Answer) -> None:
        """Write the row of an answer."""
        result = answer.result
        row: list[object] = [""] * (3 + len(self._class_names) + len(self._expressions))
        if result:
            counts = expression_counts(result)
            values = [result["score"], *(result["scores"][name] for name in self._class_names)]
            known = result["label"] is not None
            row = [result["label"] or "", *(f"{value:.6f}" if known else "" for value in values), result["face_count"]]
            row += [counts.get(name, 0) for name in self._expressions]
        self._write([answer.name, *row, result.get("note", ""), answer.problem])
        self._rows += 1

    def __enter__(self) -> AnswerTable:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        if kind is None:
            with self._failing():
                check_csv(self.path, finishing=True)
                self._partial.rename(self.path)
        elif not self._rows:
            self._partial.unlink(missing_ok=True)

    def _write(self, row: Sequence[object]) -> None:
        with self._failing():
            csv.writer(self._file).writerow(map(spreadsheet_safe, row))
            self._file.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {one_line(error)}") from error
