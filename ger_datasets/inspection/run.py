"""A prepared dataset -> dataset.html: one page to look at it with, before anything is trained on it.

Counts are read by columns and row groups, so that memory does not grow with the dataset; `page` lays out what is
said here.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..prepared import PreparedDataset, read_prepared
from ..schema import NO_LABEL
from ..support.atomic_files import write_text
from ..support.errors import UserError, one_line
from .contact_sheet import Candidates, draw_pictures
from .page import MARKER, render_page
from .summary import UNLABELLED, Inspection

SHEET_PHOTOS = 120  # at most so many photos on the page, each about 20 kB


def inspect_dataset(folder: Path, output: Path, photos_per_class: int = 12) -> dict[str, Any]:
    """Write the page on the prepared dataset in `folder` to the file `output`, in place of an earlier one.

    Args:
        folder: a folder that prepare has finished.
        output: the HTML file.
        photos_per_class: at most so many photos of each class are shown, and at most `SHEET_PHOTOS` in all.

    Returns:
        `photos`, `faces`, `classes`, `quarantined` and `output`.

    Raises:
        UserError: the folder is no finished dataset, or `output` is a file of something else or cannot be written.
    """
    if photos_per_class < 0:
        raise UserError(f"photos_per_class must be 0 or more, not {photos_per_class}")
    _check_ours(output)
    inspection = read_inspection(read_prepared(folder), photos_per_class)
    write_text(output, render_page(inspection).encode(errors="replace").decode())
    return {
        "photos": inspection.photos,
        "faces": inspection.faces,
        "classes": inspection.classes,
        "quarantined": len(inspection.quarantined),
        "output": str(output),
    }


def read_inspection(dataset: PreparedDataset, photos_per_class: int = 12) -> Inspection:
    """Count and choose; the arguments of `inspect_dataset`.

    Raises:
        UserError: a shard that cannot be read.
    """
    inspection = Inspection(dataset, quarantined=_quarantined(dataset.folder / "quarantine.jsonl"))
    names = dict(enumerate(dataset.class_names))
    most = min(photos_per_class, max(1, SHEET_PHOTOS // (len(names) + 1)))
    candidates = Candidates(most)
    for split, files in dataset.shards.items():
        counts = inspection.labels.setdefault(split, Counter())
        for file in files:
            try:
                with pq.ParquetFile(file) as parquet:
                    for number in range(parquet.num_row_groups):
                        # of an Image column only the path, always null: enough to see whether there is an image
                        columns = ["image_id", "label", "face_boxes", "skeleton.path"]
                        table = parquet.read_row_group(number, columns=columns)
                        labels = [label if label in names else NO_LABEL for label in table["label"].to_pylist()]
                        counts.update(names.get(label, UNLABELLED) for label in labels)
                        candidates.add(split, file, number, table["image_id"].to_pylist(), labels)
                        inspection.skeletons += len(table) - table["skeleton"].null_count
                        _count_faces(table["face_boxes"].combine_chunks(), inspection)
            except (OSError, pa.ArrowException) as error:
                raise UserError(f"{file} cannot be read: {one_line(error)}; prepare it again") from error
    chosen = {name: candidates.choose(label, most) for label, name in {**names, NO_LABEL: UNLABELLED}.items()}
    pictures = draw_pictures([place for places in chosen.values() for place in places])
    inspection.sheet = {name: [pictures[place] for place in places] for name, places in chosen.items() if places}
    return inspection


def _count_faces(face_boxes: pa.Array, inspection: Inspection) -> None:
    """Add a row group's faces: (rows,) lists of (faces, 4)."""
    inspection.faces_per_photo.update(pc.fill_null(pc.list_value_length(face_boxes), 0).to_pylist())
    boxes = np.asarray(face_boxes.flatten().flatten(), np.float64).reshape(-1, 4)  # (all faces, 4)
    sides = np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1))
    inspection.face_sides.update(np.floor(sides).astype(int).tolist())


def _quarantined(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        return [{name: str(line[name]) for name in ("image_id", "file", "reason")} for line in lines]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not what prepare wrote ({type(error).__name__}); run prepare.py again") from error


def _check_ours(output: Path) -> None:
    """Refuse to take the place of a file that is not a page of ours."""
    if output.is_dir():
        raise UserError(f"{output} is a folder; name a file for the page")
    if not output.exists():
        return
    try:
        with open(output, "rb") as file:
            start = file.read(500)
    except OSError as error:
        raise UserError(f"{output} is there and cannot be read: {one_line(error)}") from error
    if MARKER.encode() not in start:
        raise UserError(f"{output} is there and was not written by this command: nothing was overwritten")
