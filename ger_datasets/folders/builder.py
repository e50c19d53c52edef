"""Photos of one's own: class folders of any names, or a CSV file -> records."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ..class_folders import with_unique_ids
from ..layouts.photo_finder import PhotoFinder
from ..layouts.random_splits import split_groups, split_off
from ..layouts.remarks import Remarks
from ..layouts.split_folders import SPLIT_FOLDERS, class_folder_names, files_in, find_splits, read_split
from ..layouts.tables import read_table
from ..records import Record
from ..schema import CLASS_NAMES, NO_LABEL
from ..support.errors import UserError, listing, printable

SPLITS = {"train": "train", "val": "validation", "test": "test"}
SPLIT_NAMES = {name: SPLITS[key] for key, names in SPLIT_FOLDERS.items() for name in names}
REQUIRED = ("path", "label")


@dataclass(frozen=True)
class Entry:
    """One photo: its file, its name below the split, class and split (None where there is none), and group."""

    path: Path
    name: str
    class_name: str | None
    split: str | None
    group: str


class FoldersBuilder(Remarks):
    """Photos with labels in one of these forms:

    - `SPLIT/CLASS/*.jpg` or `CLASS/*.jpg`, with classes of any names;
    - a CSV file with the columns `path` (below the source folder) and `label`, and perhaps `split` (train, val,
      validation, test) and `group` (what must not be in two splits, such as the event). An empty label is none.

    Splits that are missing are drawn, by group: all three where there are none, validation where only it is missing.

    Args:
        source: the raw folder.
        options: see `Options`.
    """

    @dataclass(frozen=True)
    class Options:
        """The dataset's own options: `split_seed`, the seed of the random split."""

        split_seed: int = field(default=0, metadata={"help": "seed of the random split."})

    extra_features: ClassVar[dict[str, Any]] = {}
    notice = ""
    license = "other"  # whoever prepares it knows

    def __init__(self, source: Path, options: Options | None = None) -> None:
        super().__init__()
        self.source = source
        self.options = options or self.Options()

    @cached_property
    def class_names(self) -> Sequence[str]:
        """The classes that there are, sorted; Negative, Neutral and Positive in this order if there are no others.

        Raises:
            UserError: as `records`, or no photo has a label.
        """
        names = {entry.class_name for entry in self._entries if entry.class_name is not None}
        if not names:
            raise UserError(f"no labels in {self.source}: expected class folders, or a CSV file with path and label")
        return _in_order(names)

    def records(self) -> list[Record]:
        """Every photo, sorted by image_id: `split/class/stem`, or `split/` and the path in the CSV file.

        Raises:
            UserError: no such folder, no photos, a CSV file without the columns, an unknown split.
        """
        self.__dict__.pop("_entries", None)
        self._remarks = []
        entries, names = self._entries, list(self.class_names)
        splits = self._splits(entries)
        records = []
        for entry, split in zip(entries, splits, strict=True):
            label = NO_LABEL if entry.class_name is None else names.index(entry.class_name)
            records.append(Record(printable(f"{split}/{entry.name}"), entry.path, split, label, entry.group))
        return with_unique_ids(records)

    @cached_property
    def _entries(self) -> list[Entry]:
        if not self.source.is_dir():
            raise UserError(f"no folder {printable(self.source)}: give the folder that holds the photos")
        tables = [path for path in files_in([self.source], self.source) if path.suffix.lower() == ".csv"]
        if len(tables) > 1:
            raise UserError(f"{listing(printable(path.name) for path in tables)} in {self.source}: keep one of them")
        return self._of_table(tables[0]) if tables else self._of_folders()

    def _of_folders(self) -> list[Entry]:
        paths, places = find_splits(self.source)
        classes = class_folder_names([*paths.values()] if paths else [places[-1]], paths.keys())
        entries = []
        for key, path in (paths or {"": places[-1]}).items():
            folder = read_split(key or "train", path, self.source, classes, places if paths else ())
            for sentence, examples in folder.remarks:
                self.remark(f"{key or 'all'}: {sentence}", examples)
            if folder.left_out:
                self.remark(
                    f"{key or 'all'}: {len(folder.left_out)} files that are not photos, left out", folder.left_out
                )
            for class_name, photo in folder.photos:
                split = SPLITS[key] if key else None
                split = "challenge" if key == "test" and class_name is None else split
                name = "/".join(filter(None, (class_name, os.path.splitext(photo.name)[0])))
                entries.append(Entry(photo, name, class_name, split, ""))
        return entries

    def _of_table(self, table: Path) -> list[Entry]:
        finder = PhotoFinder(self.source)
        entries, missing = [], []
        places: set[str] = set()
        for line, row in read_table(table, REQUIRED):
            place = "/".join(part for part in row["path"].replace("\\", "/").split("/") if part not in ("", "."))
            split = row.get("split", "").lower()
            if split and split not in (*SPLIT_NAMES, "challenge"):
                known = "train, val, validation, test"
                raise UserError(f"{table.name}, line {line}: unknown split {printable(split[:40])}; expected {known}")
            if place in places:
                raise UserError(
                    f"{table.name}, line {line}: {printable(place)} is there twice: remove one of its lines"
                )
            places.add(place)
            photo = finder.find(place)
            if photo is None:
                missing.append(place)
                continue
            group, label = row.get("group", ""), printable(row.get("label", "")) or None
            name = os.path.splitext(place)[0]
            entries.append(Entry(photo, name, label, SPLIT_NAMES.get(split, split) or None, printable(group)))
        if not entries:
            raise UserError(f"none of the {len(missing)} photos in {table.name} is in {self.source}, such as "
                            f"{listing(map(printable, missing), 1)}")  # fmt: skip
        if missing:
            self.remark(f"{len(missing)} of {len(missing) + len(entries)} photos in the CSV file are missing", missing)
        return entries

    def _splits(self, entries: Sequence[Entry]) -> list[str]:
        """The split of each entry; missing ones are drawn."""
        seed, names = self.options.split_seed, list(self.class_names)
        given = {entry.split for entry in entries} - {None}
        labels = {_group(entry): names.index(entry.class_name or names[0]) for entry in entries}
        if not given:
            drawn = split_groups(labels, seed)
            self._remarks.append(f"The splits were drawn 70/20/10 by group within each class with seed {seed}.")
            return [drawn[_group(entry)] for entry in entries]
        if None in {entry.split for entry in entries}:
            raise UserError("some rows of the CSV file have a split and others none: fill or empty the column split")
        self._warn_of_shared_groups(entries)
        splits = [str(entry.split) for entry in entries]
        if "validation" in given or "train" not in given:
            return splits
        train = {_group(entry): labels[_group(entry)] for entry in entries if entry.split == "train"}
        taken = split_off(train, seed)
        self._remarks.append(f"validation was drawn from train, 20 % of each class by group, with seed {seed}.")
        return [
            "validation" if split == "train" and _group(entry) in taken else split
            for entry, split in zip(entries, splits, strict=True)
        ]

    def _warn_of_shared_groups(self, entries: Sequence[Entry]) -> None:
        splits: dict[str, set[str | None]] = {}
        for entry in entries:
            if entry.group:
                splits.setdefault(entry.group, set()).add(entry.split)
        shared = sorted(group for group, its_splits in splits.items() if len(its_splits) > 1)
        if shared:
            self.remark(f"{len(shared)} groups are in more than one split, so that scores may be too high", shared)


def _group(entry: Entry) -> str:
    return entry.group or f"{entry.split or ''}/{entry.name}"


def _in_order(names: set[str]) -> Sequence[str]:
    ours = {name.lower(): name for name in CLASS_NAMES}
    if {name.lower() for name in names} <= ours.keys() and len({name.lower() for name in names}) == len(names):
        return sorted(names, key=lambda name: CLASS_NAMES.index(ours[name.lower()]))
    return sorted(names, key=lambda name: (name.lower(), name))
