"""FindingEmo (Mertens et al. 2024): an annotation CSV file and the photos that were still online -> records."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..layouts.photo_finder import PhotoFinder
from ..layouts.random_splits import split_groups
from ..layouts.remarks import Remarks
from ..layouts.tables import read_table
from ..records import Record
from ..schema import CLASS_NAMES
from ..support.errors import UserError, listing, printable

FILES = ("annotations_single.ann", "annotations.csv", "annotations_single.csv", "annotations.ann")
FOLDERS = ("", "data", "annotations")  # where the file may lie
COLUMNS = ("image_path", "valence", "arousal", "emotion")
TEXTS = ("age", "tag", "ambiguity", "dec_factors")  # kept as they are
# Photos in the published file, and those with negative, zero and positive valence (FindingEmo, NeurIPS 2024)
PUBLISHED = {"Negative": 8_469, "Neutral": 3_403, "Positive": 13_997}
VALENCE_RANGE = (-3.0, 3.0)


class FindingEmoBuilder(Remarks):
    """FindingEmo (Mertens et al. 2024; arXiv 2402.01355). The annotations come with addresses, not with photos.

    The label is the sign of the annotated valence, -3 to 3. The splits are drawn: none are published.

    Args:
        source: the folder that holds `annotations_single.ann` (or `annotations.csv`) and, in any folder in it,
            `Run_1/...` and `Run_2/...` as the annotations name them.
        options: see `Options`.
    """

    @dataclass(frozen=True)
    class Options:
        """The dataset's own options: `split_seed`, the seed of the random split."""

        split_seed: int = field(default=0, metadata={"help": "seed of the random split."})

    class_names = CLASS_NAMES
    notice = ""
    license = "other"  # the photos' owners have theirs; the annotations are CC BY-NC-SA 4.0: see card.md

    def __init__(self, source: Path, options: Options | None = None) -> None:
        super().__init__()
        self.source = source
        self.options = options or self.Options()

    @property
    def extra_features(self) -> dict[str, Any]:
        """The annotation: `valence` -3 to 3, `arousal` 0 to 6, one of 24 emotions, and what else the file has."""
        from datasets import Value

        numbers = {"valence": Value("float32"), "arousal": Value("float32")}
        return {**numbers, **{name: Value("string") for name in ("emotion", *TEXTS)}}

    def records(self) -> list[Record]:
        """Every annotated photo that is there, sorted by image_id: `split/Run_1/folder/stem`.

        Raises:
            UserError: no such folder, no annotation file or a wrong one, none of the photos.
        """
        self._remarks = []
        path = self._annotation_file()
        annotations = self._annotations(path)
        counts = dict.fromkeys(CLASS_NAMES, 0)
        for row in annotations.values():
            counts[CLASS_NAMES[_label(row)]] += 1
        self.compare_counts("annotated photos", counts, PUBLISHED)
        finders = [PhotoFinder(root) for root in self._roots()]
        located = {}
        for place in annotations:
            found = (finder.find(place) for finder in finders)
            if (photo := next(filter(None, found), None)) is not None:
                located[place] = photo
        if not located:
            raise UserError(
                f"none of the {len(annotations):,} photos in {path.name} is in {self.source}: looked for "
                f"{printable(next(iter(annotations)))}, found {listing(map(printable, finders[0].names()))}"
            )
        missing = [place for place in annotations if place not in located]
        if missing:
            self.remark(f"{len(missing):,} of {len(annotations):,} annotated photos are not in the download", missing)
        labels = {place: _label(annotations[place]) for place in located}
        splits = split_groups(labels, self.options.split_seed)
        self._remarks.append(f"The splits were drawn 70/20/10 within each class with seed {self.options.split_seed}.")
        stems: dict[str, int] = {}
        for place in located:
            stems[_stem(place)] = stems.get(_stem(place), 0) + 1
        records = []
        for place, photo in located.items():
            name = _stem(place) if stems[_stem(place)] == 1 else place
            image_id = printable(f"{splits[place]}/{name}")
            records.append(Record(image_id, photo, splits[place], labels[place], extras=_extras(annotations[place])))
        return sorted(records, key=lambda record: record.image_id)

    def _annotation_file(self) -> Path:
        if not self.source.is_dir():
            raise UserError(f"no folder {printable(self.source)}: give the folder that holds {FILES[0]}")
        for folder in FOLDERS:
            for name in FILES:
                if (self.source / folder / name).is_file():
                    return self.source / folder / name
        found = listing(sorted(printable(path.name) for path in self.source.iterdir()))
        raise UserError(f"no annotations in {self.source}: expected {FILES[0]} or {FILES[1]}, found {found}")

    def _annotations(self, path: Path) -> dict[str, Mapping[str, str]]:
        """Place of each photo -> its row; the first where a photo has several."""
        annotations: dict[str, Mapping[str, str]] = {}
        repeated, rejected = [], 0
        for line, row in read_table(path, COLUMNS):
            place = "/".join(part for part in row["image_path"].replace("\\", "/").split("/") if part not in ("", "."))
            if not place:
                raise UserError(f"{path.name}, line {line}: image_path is empty; download the file again")
            if row.get("reject", "").lower() == "reject":
                rejected += 1
            elif place in annotations:
                repeated.append(place)
            else:
                low, high = VALENCE_RANGE
                if not low <= _number(row.get("valence", "")) <= high:
                    shown = printable(row.get("valence", "")[:40])
                    raise UserError(f"{path.name}, line {line}: valence is {shown!r}, expected -3 to 3")
                annotations[place] = row
        if not annotations:
            raise UserError(f"{path.name} names no photos; download it again")
        if repeated:
            self.remark(f"{len(repeated):,} more annotations of photos that have one, left out", repeated)
        if rejected:
            self.remark(f"{rejected:,} photos that their annotators rejected, left out")
        return annotations

    def _roots(self) -> Sequence[Path]:
        """The folders below which `Run_1` may lie: the download, and the folders in it."""
        inner = (Path(entry.path) for entry in os.scandir(self.source) if entry.is_dir() and entry.name[0] != ".")
        return [self.source, *sorted(inner)]


def _label(row: Mapping[str, str]) -> int:
    valence = float(row["valence"])
    return CLASS_NAMES.index("Negative" if valence < 0 else "Positive" if valence > 0 else "Neutral")


def _extras(row: Mapping[str, str]) -> dict[str, Any]:
    arousal = _number(row.get("arousal", ""))
    numbers = {"valence": float(row["valence"]), "arousal": None if math.isnan(arousal) else arousal}
    return {**numbers, **{name: printable(row.get(name, "")) or None for name in ("emotion", *TEXTS)}}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _stem(place: str) -> str:
    folder, slash, name = place.rpartition("/")
    return f"{folder}{slash}{os.path.splitext(name)[0]}"
