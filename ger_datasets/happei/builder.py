"""HAPPEI (Dhall et al. 2015): photos and their happiness intensity, 0 to 5 -> records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..layouts.label_files import base_name, label_of, read_label_file
from ..layouts.random_splits import split_groups
from ..layouts.remarks import Remarks
from ..layouts.split_folders import SplitFolder, find_label_file, find_splits, photos_in, read_split
from ..records import Record
from ..schema import NO_LABEL
from ..support.errors import UserError, printable

# The six stages of the annotation (Dhall et al. 2015, IEEE TAC, section 3)
STAGES = ("Neutral", "Small smile", "Large smile", "Small laugh", "Large laugh", "Thrilled")
FOLDERS = tuple(str(intensity) for intensity in range(len(STAGES)))
CLASSES = ("none", "intensity")
SPLITS = {"train": "train", "val": "validation", "test": "test"}


class HappeiBuilder(Remarks):
    """HAPPEI (Dhall et al. 2015, IEEE TAC).

    Args:
        source: holds the photos and a label file of two columns, photo and intensity (`labels.txt`); or `train`, `val`
            and `test` with these; or either with class folders `0` to `5` instead of label files.
        options: see `Options`.
    """

    @dataclass(frozen=True)
    class Options:
        """The dataset's own options.

        Attributes:
            classes: a name in `CLASSES`.
            split_seed: seed of the random split.

        Raises:
            UserError: unknown `classes`.
        """

        classes: str = field(
            default="none", metadata={"help": "none: no labels, only the intensity; intensity: six classes, rounded."}
        )
        split_seed: int = field(default=0, metadata={"help": "seed of the random split."})

        def __post_init__(self) -> None:
            if self.classes not in CLASSES:
                raise UserError(f"unknown classes {self.classes!r}: choose from {', '.join(CLASSES)}")

    class_names = STAGES
    notice = ""
    license = "other"  # the terms stand in card.md

    def __init__(self, source: Path, options: Options | None = None) -> None:
        super().__init__()
        self.source = source
        self.options = options or self.Options()

    @property
    def extra_features(self) -> dict[str, Any]:
        """`intensity`: 0 to 5; None of photos without labels."""
        from datasets import Value

        return {"intensity": Value("float32")}

    def records(self) -> list[Record]:
        """Every photo, sorted by image_id: `split/stem`, or `split/5/stem` from class folders.

        Raises:
            UserError: no such folder, no photos, neither label file nor class folders, an intensity outside 0 to 5.
        """
        self._remarks = []
        paths, places = find_splits(self.source)
        found: dict[tuple[str, Path], float | None] = {}
        for key, path in (paths or {"": places[-1]}).items():
            found |= {(key, photo): value for photo, value in self._intensities(key, path, places).items()}
        if paths:
            splits = {(key, photo): SPLITS[key] if value is not None else "challenge"
                      for (key, photo), value in found.items()}  # fmt: skip
        else:
            names = {f"{photo.parent.name}/{photo.name}": (key, photo) for key, photo in found}
            drawn = split_groups({name: _stage(found[names[name]]) for name in names}, self.options.split_seed)
            splits = {names[name]: split for name, split in drawn.items()}
            self._remarks.append(f"The splits were drawn 70/20/10 by intensity, seed {self.options.split_seed}.")
        stems = Counter(_image_id(splits[each], each[1]) for each in found)
        records = []
        for each, value in found.items():
            image_id = _image_id(splits[each], each[1])
            image_id = image_id if stems[image_id] == 1 else image_id + each[1].suffix
            label = _stage(value) if self.options.classes == "intensity" else NO_LABEL
            records.append(Record(image_id, each[1], splits[each], label, extras={"intensity": value}))
        return sorted(records, key=lambda record: record.image_id)

    def _intensities(self, key: str, path: Path, places: Sequence[Path]) -> Mapping[Path, float | None]:
        """The photos of one split folder, with their intensity; None where test has no labels."""
        label_file = find_label_file(key or "train", [path], [] if path in places else places, self.source)
        if label_file is None and not any((path / name).is_dir() for name in FOLDERS):
            if key != "test":
                raise UserError(f"no labels in {printable(path)}: expected labels.txt, or class folders 0 to 5")
            return dict.fromkeys(photos_in(path, self.source).values())
        if label_file is None:
            split: SplitFolder = read_split(key or "train", path, self.source, FOLDERS)
            return {photo: float(name) for name, photo in split.photos if name is not None}
        values = _values(label_file)
        photos = photos_in(path, self.source)
        kept = {photo: value for name, photo in photos.items() if (value := label_of(name, values)) is not None}
        if len(kept) < len(photos):
            unlabelled = [name for name, photo in photos.items() if photo not in kept]
            self.remark(f"{key or 'all'}: {len(unlabelled)} photos without an intensity, left out", unlabelled)
        there = {name for photo in photos.values() for name in (photo.name.lower(), photo.stem.lower())}
        missing = sorted(values.keys() - there)
        if missing:
            self.remark(f"{key or 'all'}: {len(missing)} intensities without a photo", missing)
        if not kept:
            raise UserError(f"no photos in {printable(path)} that {label_file.name} names")
        return kept


def _values(label_file: Path) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, text in read_label_file(label_file):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= len(STAGES) - 1:
            raise UserError(f"{label_file.name}: the intensity of {printable(name)} is {text[:40]!a}, expected 0 to 5")
        if values.setdefault(base_name(name), value) != value:
            raise UserError(f"{label_file.name}: {printable(name)} has two intensities: remove one of its lines")
    return values


def _stage(value: float | None) -> int:
    """The nearest stage; halves are rounded up."""
    return NO_LABEL if value is None else math.floor(value + 0.5)


def _image_id(split: str, photo: Path) -> str:
    folder = f"{photo.parent.name}/" if photo.parent.name in FOLDERS else ""
    return printable(f"{split}/{folder}{photo.stem}")
