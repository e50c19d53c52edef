"""Several models over the same photos, part by part -> a predictions table for each, taken up where it was stopped."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from ger_datasets.photos.reading import in_groups
from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError, listing
from ger_datasets.support.locks import alone
from ger_datasets.support.repository_names import public_name

from ..evaluation.predictions import Predictions, write_predictions
from ..pipeline_ger import BATCH_PIXELS, pixels_of_row
from .inputs import Part, Row
from .members import Answers, Members
from .pictures import PREDICTIONS, equal, make_picture_folder, save_pictures
from .resumable_table import PartialTable, PartRows, lock_name
from .revisions import model_revision

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What is predicted on.

    Attributes:
        parts: its parts.
        identity: what its rows depend on, beside their number: the dataset's revision, or a hash of which files.
        revision: the dataset's revision; empty for files.
        note: what must be known before believing figures on it.
    """

    parts: Sequence[Part]
    identity: str
    revision: str = ""
    note: str = ""


@contextlib.contextmanager
def alone_with(tables: Sequence[Path], wanted: bool = True) -> Iterator[None]:
    """While the block lasts, no other process of this machine predicts into `tables`, nor into their parts.

    Args:
        wanted: whether this process is the one, of those that work together, that keeps the others out.

    Raises:
        UserError: another does, or a table's folder cannot be written.
    """
    with contextlib.ExitStack() as locks:
        for table in tables if wanted else ():
            locks.enter_context(alone(table.with_name(lock_name(table.name)), f"predicting into {table}"))
        yield


class Run:
    """A predict run: what is left to do, doing it, and the tables at its end.

    Every process makes one, and all must have done so before any of them predicts.

    Args:
        members: the models.
        source: what is predicted on.
        tables: the Parquet file of each model.
        pictures: the folder of each model's pictures, or None.
        batch_size: photos per forward.

    Raises:
        UserError: a folder of pictures holds something else.
    """

    def __init__(
        self,
        members: Members,
        source: Source,
        tables: Sequence[Path],
        pictures: Sequence[Path] | None,
        batch_size: int,
    ) -> None:
        self.members, self.source, self.batch_size = members, source, batch_size
        self.tables, self.pictures = list(tables), pictures
        models = zip(members.names, members.models, members.processors, strict=True)
        self.revisions = [model_revision(*each) for each in models]
        self.names = [public_name(name) for name in members.names]
        self.class_names = [members.class_names(i) for i in range(len(self.names))]
        notices = [getattr(model.config, "notice", "") for model in members.models]
        self.notes = ["; ".join(dict.fromkeys(filter(None, (notice, source.note)))) for notice in notices]
        for folder in pictures or ():
            make_picture_folder(folder)
        shape = [[part.split, part.photos] for part in source.parts]
        device = str(members.device).partition(":")[0]  # which of several GPUs makes no difference
        common = {"source": source.identity, "parts": shape, "batch_size": batch_size, "device": device}
        self.partial = [
            PartialTable(table, {**common, "model": name, "revision": revision})
            for table, name, revision in zip(self.tables, self.names, self.revisions, strict=True)
        ]
        if pictures:
            for partial in self.partial:
                partial.begin()
        self.open_parts = [number for number in range(len(source.parts)) if self._open_members(number)]

    def report_progress(self) -> None:
        """Log how many parts an earlier, interrupted run has done."""
        there, all_parts = len(self.source.parts) - len(self.open_parts), len(self.source.parts)
        if there:
            logger.info("resuming an interrupted run: %d of %d parts are done", there, all_parts)

    def photos(self, parts: Iterable[int] | None = None) -> int | None:
        """How many photos some parts, or all of them, have; None where that is not known beforehand."""
        every = range(len(self.source.parts))
        counts = [self.source.parts[number].photos for number in (every if parts is None else parts)]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def predict(self, number: int) -> Iterator[int]:
        """Do part `number` for the models that lack it; yields the number of photos after each batch."""
        members = self._open_members(number)
        done = {member: PartRows() for member in members}
        quarantined: list[dict[str, str]] = []
        rows = self.source.parts[number].rows(quarantined)
        for batch in in_groups(rows, self.batch_size, BATCH_PIXELS, pixels_of_row):
            for member, answers in zip(members, self.members.ask(batch, members), strict=True):
                _extend(done[member], batch, answers)
                if self.pictures:
                    shares = softmax(answers.logits, axis=1)
                    save_pictures(self.pictures[member], batch, shares, self.class_names[member], self.notes[member])
            yield len(batch)
        for member, answered in done.items():
            answered.quarantined = quarantined
            self.partial[member].add(number, answered)

    def finish(self) -> dict[str, Any]:
        """Write the tables from all parts and delete those; returns the run's figures.

        Raises:
            UserError: a part is missing, a table cannot be written, or no photo could be used.
        """
        figures = [self._finish(member) for member in range(len(self.names))]
        for partial in self.partial:
            partial.remove(len(self.source.parts))
        shared = {name: figures[0].pop(name) for name in ("photos", "failed")}
        for each in figures[1:]:
            for name in shared:
                del each[name]
        if len(figures) == 1:
            return {"photos": shared["photos"], **figures[0], "failed": shared["failed"]}
        return {"photos": shared["photos"], "models": figures, "failed": shared["failed"]}

    def _open_members(self, number: int) -> list[int]:
        return [member for member, partial in enumerate(self.partial) if not partial.has(number)]

    def _finish(self, member: int) -> dict[str, Any]:
        parts = [self.partial[member].read(number) for number in range(len(self.source.parts))]
        quarantined = [photo for part in parts for photo in part.quarantined]
        if not any(part.image_ids for part in parts):
            self.partial[member].remove(len(parts))
            reasons = [f"{photo['file']}: {photo['reason']}" for photo in quarantined]
            given = f"{self.photos()} photos" if self.photos() is not None else f"{len(parts)} videos"
            raise UserError(f"none of the {given} can be used: {listing(reasons)}")
        logits = np.array([row for part in parts for row in part.logits], np.float32)
        image_ids = [image_id for part in parts for image_id in part.image_ids]
        attention = [shares for part in parts for shares in part.face_attention]
        expressions = [shares for part in parts for shares in part.face_expressions]
        table, note, names = self.tables[member], self.notes[member], self.class_names[member]
        predictions = Predictions(
            image_ids,
            splits=[part.split for part, done in zip(self.source.parts, parts, strict=True) for _ in done.image_ids],
            labels=np.array([label for part in parts for label in part.labels]),
            logits=logits,
            model=self.names[member],
            class_names=names,
            faces=np.array([count for part in parts for count in part.faces]),
            note=note,
            groups=[group for part in parts for group in part.groups],
            model_revision=self.revisions[member],
            dataset_revision=self.source.revision,
            face_attention=attention if any(shares is not None for shares in attention) else None,
            face_expressions=expressions if any(shares is not None for shares in expressions) else None,
        )
        write_predictions(table, predictions)
        if quarantined:
            lines = "".join(json.dumps(photo) + "\n" for photo in quarantined)
            write_text(table.with_name(f"{table.stem}.quarantine.jsonl"), lines)
        if note:
            logger.warning("note: %s", note)
        # a label only where the logits say something: those of a photo without faces may all be equal
        predicted = [None if equal(row) else names[row.argmax()] for row in logits]
        figures = {
            "photos": len(image_ids),
            "model": self.names[member],
            "predicted": {name: predicted.count(name) for name in names},
            **({"nothing_known": predicted.count(None)} if None in predicted else {}),
        }
        if self.source.parts[0].split == "photos":
            figures["labels"] = dict(zip(image_ids, predicted, strict=True))
        return {**figures, "failed": quarantined, "note": note, "output": str(table)}


def _extend(done: PartRows, rows: Sequence[Row], answers: Answers) -> None:
    done.image_ids += [row["image_id"] for row in rows]
    done.labels += [row["label"] for row in rows]
    done.groups += [row["group"] for row in rows]
    done.faces += [len(row["face_scores"]) for row in rows]
    done.logits += answers.logits.tolist()
    done.face_attention += answers.face_attention or [None] * len(rows)
    done.face_expressions += answers.face_expressions or [None] * len(rows)


def table_paths(names: Sequence[str], folder: Path, own_folders: bool) -> list[Path]:
    """Where each model's table goes in `folder`: MODEL.parquet, or MODEL/predictions.parquet.

    Raises:
        UserError: two models are called the same.
    """
    called = [public_name(name).replace("/", "--") for name in names]
    if len(set(called)) < len(called):
        raise UserError(
            f"two models are called the same ({listing(called)}): name a table for each with --output, and a folder "
            "for each model that tells them apart"
        )
    return [folder / name / PREDICTIONS if own_folders else folder / f"{name}.parquet" for name in called]
