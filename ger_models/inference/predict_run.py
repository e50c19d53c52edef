"""Several models on the same photos, part by part -> one predictions table per model; interrupted runs resume."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ger_datasets.photos.reading import in_groups
from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError, listing
from ger_datasets.support.locks import alone
from ger_datasets.support.repository_names import public_name

from ..combining import routes_of
from ..evaluation.calibration import calibrated, calibration_of
from ..evaluation.predictions import Predictions, write_predictions
from ..pipeline_ger import BATCH_PIXELS, pixels_of_row
from ..processing_ger import sure_faces
from .explanations import NOTE, Explainer
from .inputs import Part, Row
from .members import Answers, Members
from .pictures import PREDICTIONS, equal, make_picture_folder, save_pictures
from .resumable_table import PartialTable, PartRows, lock_name
from .revisions import model_revision

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """The input of a predict run.

    Attributes:
        parts: its parts.
        identity: identifies the rows: the dataset's revision, or a hash of the files.
        revision: the dataset's revision; empty for files.
        note: a caveat about figures on it.
        only: the route whose photos it is limited to; empty: all photos.
        class_names: the names of the labels 0, 1, ... of its rows; empty where they have none.
        left_out: folder -> suffix -> number of its files that were not read.
    """

    parts: Sequence[Part]
    identity: str
    revision: str = ""
    note: str = ""
    only: str = ""
    class_names: Sequence[str] = ()
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@contextlib.contextmanager
def alone_with(tables: Sequence[Path], wanted: bool = True) -> Iterator[None]:
    """Lock `tables` and their parts against other processes of this machine within the block.

    Args:
        wanted: whether this one of several cooperating processes holds the lock.

    Raises:
        UserError: another process holds the lock, or a table's folder is not writable.
    """
    with contextlib.ExitStack() as locks:
        for table in tables if wanted else ():
            locks.enter_context(alone(table.with_name(lock_name(table.name)), f"predicting into {table}"))
        yield


class Run:
    """A predict run: the missing parts, their predictions, and the tables at the end.

    All processes must have created their Run before any of them predicts.

    Args:
        members: the models.
        source: the input.
        tables: the Parquet file of each model.
        pictures: the folder of each model's pictures, or None.
        batch_size: photos per forward.
        explainers: of each model, for heat maps in its pictures; None: pictures without.

    Raises:
        UserError: a folder of pictures holds something else, or a model's calibration is invalid.
    """

    def __init__(
        self,
        members: Members,
        source: Source,
        tables: Sequence[Path],
        pictures: Sequence[Path] | None,
        batch_size: int,
        explainers: Sequence[Explainer] | None = None,
    ) -> None:
        self.members, self.source, self.batch_size = members, source, batch_size
        self.tables, self.pictures, self.explainers = list(tables), pictures, explainers
        models = zip(members.names, members.models, members.processors, strict=True)
        self.revisions = [model_revision(*each) for each in models]
        self.names = [public_name(name) for name in members.names]
        self.class_names = [members.class_names(i) for i in range(len(self.names))]
        self.calibrations = [calibration_of(model.config) for model in members.models]
        notices = [getattr(model.config, "notice", "") for model in members.models]
        self.notes = ["; ".join(dict.fromkeys(filter(None, (notice, source.note)))) for notice in notices]
        for folder in pictures or ():
            make_picture_folder(folder)
        shape = [[part.split, part.photos] for part in source.parts]
        device = str(members.device).partition(":")[0]  # which of several GPUs makes no difference
        common = {"source": source.identity, "parts": shape, "batch_size": batch_size, "device": device}
        self.partial = [
            PartialTable(table, {**common, "model": name, "revision": revision, "min_face_score": least})
            for table, name, revision, least in zip(
                self.tables, self.names, self.revisions, members.min_face_scores, strict=True
            )
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
        """Number of photos of some or all parts; None if it is not known in advance."""
        every = range(len(self.source.parts))
        counts = [self.source.parts[number].photos for number in (every if parts is None else parts)]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def predict(self, number: int) -> Iterator[int]:
        """Predict part `number` with the models that lack it; yields the number of photos after each batch."""
        members = self._open_members(number)
        done = {member: PartRows() for member in members}
        quarantined: list[dict[str, str]] = []
        rows = self.source.parts[number].rows(quarantined)
        for batch in in_groups(rows, self.batch_size, BATCH_PIXELS, pixels_of_row):
            for member, answers in zip(members, self.members.ask(batch, members), strict=True):
                least = self.members.min_face_scores[member]
                _extend(done[member], batch, answers, least)
                if self.pictures:
                    self._save_pictures(member, batch, answers)
            yield len(batch)
        for member, answered in done.items():
            answered.quarantined = quarantined
            self.partial[member].add(number, answered)

    def _save_pictures(self, member: int, rows: Sequence[Row], answers: Answers) -> None:
        note = self.notes[member]
        if self.explainers:
            images = self.explainers[member](rows)
            rows = [{**row, "image": image} for row, image in zip(rows, images, strict=True)]
            note = "; ".join(filter(None, (note, NOTE)))
        shares = calibrated(answers.logits, self.calibrations[member])
        names, least = self.class_names[member], self.members.min_face_scores[member]
        save_pictures((self.pictures or ())[member], rows, shares, names, note, least)

    def finish(self) -> dict[str, Any]:
        """Write the tables from all parts, delete the parts, and return the run's figures.

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
        members = figures[0] if len(figures) == 1 else {"models": figures}
        left_out = {"left_out": self.source.left_out} if self.source.left_out else {}
        return {"photos": shared["photos"], **members, "failed": shared["failed"], **left_out}

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
        seconds = [each for part in parts for each in part.seconds]
        clips = [image_id if clip is None else clip for part in parts
                 for clip, image_id in zip(part.clips, part.image_ids, strict=True)]  # fmt: skip
        table, note, names = self.tables[member], self.notes[member], self.class_names[member]
        predictions = Predictions(
            image_ids,
            splits=[part.split for part, done in zip(self.source.parts, parts, strict=True) for _ in done.image_ids],
            labels=renumbered([label for part in parts for label in part.labels], self.source.class_names, names),
            logits=logits,
            model=self.names[member],
            class_names=names,
            faces=np.array([count for part in parts for count in part.faces]),
            note=note,
            groups=[group for part in parts for group in part.groups],
            model_revision=self.revisions[member],
            dataset_revision=self.source.revision,
            face_attention=attention if any(shares is not None for shares in attention) else None,
            only=self.source.only,
            face_expressions=expressions if any(shares is not None for shares in expressions) else None,
            calibration=self.calibrations[member],
            seconds=seconds if any(each is not None for each in seconds) else None,
            clips=clips if any(clip is not None for part in parts for clip in part.clips) else None,
        )
        routes = getattr(self.members.models[member].config, "routes", None)
        if routes is not None:
            counts = [count for part in parts for count in part.faces]
            predictions = replace(predictions, routes=routes_of(counts, routes))
        write_predictions(table, predictions)
        if quarantined:
            lines = "".join(json.dumps(photo) + "\n" for photo in quarantined)
            write_text(table.with_name(f"{table.stem}.quarantine.jsonl"), lines)
        if note:
            logger.warning("note: %s", note)
        # no label if all logits are equal, as for a photo without faces
        predicted = [None if equal(row) else names[row.argmax()] for row in logits]
        figures = {
            "photos": len(image_ids),
            "model": self.names[member],
            "predicted": {name: predicted.count(name) for name in names},
            **({"nothing_known": predicted.count(None)} if None in predicted else {}),
        }
        if self.source.parts[0].split == "photos":
            figures["labels"] = dict(zip(image_ids, predicted, strict=True))
        only = {"only": self.source.only} if self.source.only else {}
        return {**figures, "failed": quarantined, "note": note, **only, "output": str(table)}


def _extend(done: PartRows, rows: Sequence[Row], answers: Answers, min_face_score: float) -> None:
    done.image_ids += [row["image_id"] for row in rows]
    done.labels += [row["label"] for row in rows]
    done.groups += [row["group"] for row in rows]
    # An encoder's column may have these names, too
    done.seconds += [seconds if isinstance(seconds := row.get("seconds"), (int, float)) else None for row in rows]
    done.clips += [clip if isinstance(clip := row.get("clip"), str) else None for row in rows]
    done.faces += [sure_faces(row, min_face_score) for row in rows]
    done.logits += answers.logits.tolist()
    done.face_attention += answers.face_attention or [None] * len(rows)
    done.face_expressions += answers.face_expressions or [None] * len(rows)


def renumbered(labels: Sequence[int], class_names: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Labels in the order `wanted` of the classes, matched by name; -1 stays.

    >>> renumbered([0, 1, -1], ["sad", "happy"], ["happy", "neutral", "sad"]).tolist()
    [2, 0, -1]
    """
    order = [list(wanted).index(name) for name in class_names]
    return np.array([order[label] if label >= 0 and order else label for label in labels])


def table_paths(names: Sequence[str], folder: Path, own_folders: bool) -> list[Path]:
    """The path of each model's table in `folder`: MODEL.parquet, or MODEL/predictions.parquet.

    Raises:
        UserError: two models have the same name.
    """
    called = [public_name(name).replace("/", "--") for name in names]
    if len(set(called)) < len(called):
        raise UserError(
            f"two models are called the same ({listing(called)}): name a table for each with --output, and a folder "
            "for each model that tells them apart"
        )
    return [folder / name / PREDICTIONS if own_folders else folder / f"{name}.parquet" for name in called]
