"""ClassFolderBuilder: photos in split and class folders, in the layouts that copies of them have -> records."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from .layouts.random_splits import split_groups
from .layouts.remarks import Remarks
from .layouts.split_folders import SplitFolder, files_in, find_splits, no_splits, read_split
from .legacy.name_lists import read_name_list
from .records import Record
from .schema import CLASS_NAMES, NO_LABEL
from .support.errors import UserError, listing, printable

logger = logging.getLogger(__name__)

# Photos of `val` that the lists name go where the lists say; `eval_list` is another name of `test_list`.
LIST_SPLITS = {"val_list": "validation", "test_list": "test", "eval_list": "test"}
LIST_SUFFIXES = ("", ".pkl", ".pickle", ".txt", ".csv")


@dataclass(frozen=True)
class NameList:
    """A list of photos' names: the file's name, the split it makes, and its (class or None, name) in lower case."""

    file: str
    split: str
    names: frozenset[tuple[str | None, str]]


class ClassFolderBuilder(Remarks):
    """A dataset of photos in class folders; a subclass names its classes and licence.

    The folders' names may be in any case and a few spellings (`SPLIT_FOLDERS`), and one may wrap another.

    - `train/CLASS/*` -> train; or `train/*` with a label file of two columns, such as `train_labels.txt`, beside or in
      it. The other splits may be flat folders too.
    - `val/CLASS/*` -> validation; or, where lists of names lie beside the split folders or in `val`, `val_list` ->
      validation and `test_list` (or `eval_list`) -> test. Photos that no list names are left out, unless there is no
      `val_list`: then they are validation.
    - `test/*`, unlabelled -> challenge, label -1.
    - `test/CLASS/*` -> test, as in any labelled dataset; challenge where a list makes `test` of `val` already.

    Args:
        source: the folder that holds `train` and `val`.
    """

    class_names: Sequence[str] = CLASS_NAMES
    extra_features: ClassVar[dict[str, Any]] = {}
    notice = ""
    license = "other"  # the terms stand in card.md
    published: ClassVar[Mapping[str, int]] = {}  # photos by key in `SPLIT_FOLDERS`, or `all` without splits
    draws_splits = False  # whether class folders without split folders are taken, and cut with `split_seed`
    split_seed = 0

    def __init__(self, source: Path) -> None:
        super().__init__()
        self.source = source

    def records(self) -> list[Record]:
        """Every photo of the download, sorted by image_id.

        Raises:
            UserError: no such folder, no known split folder or two for one split, an unknown class folder, a split
                without photos, a list that does not hold names, names that match two photos.
        """
        self._remarks = []
        paths, places = find_splits(self.source)
        if not paths:
            if self.draws_splits:
                return self._drawn(places)
            raise no_splits(places[-1])
        folders = {key: read_split(key, path, self.source, self.folder_classes, places) for key, path in paths.items()}
        lists = []
        if "val" in folders:
            lists = self._read_lists([*places, *folders["val"].places])
        for key, folder in folders.items():
            for sentence, examples in folder.remarks:
                self.remark(f"{key}: {sentence}", examples)
            self._remark_left_out(key, folder)
        self.compare(folders, lists)

        records: list[Record] = []
        for key, folder in folders.items():
            if key == "val" and lists:
                records += self._cut(folder.photos, lists)
                continue
            split = {"train": "train", "val": "validation", "test": "challenge"}[key]
            labelled_test = key == "test" and folder.photos[0][0] is not None
            if labelled_test and not any(names.split == "test" for names in lists):
                split = "test"
            records += [self._record(split, name, path) for name, path in folder.photos]
        return with_unique_ids(records)

    def compare(self, folders: Mapping[str, SplitFolder], lists: Sequence[NameList]) -> None:
        """Called once by `records`: a subclass may add remarks on how this copy differs from the published dataset.

        Args:
            folders: the split folders, by their key in `SPLIT_FOLDERS`.
            lists: the lists of names.
        """
        self.compare_counts("photos", {key: len(folder.photos) for key, folder in folders.items()}, self.published)

    @property
    def folder_classes(self) -> Sequence[str]:
        """What class folders are called, in any letter case, with or without `-`, `_` and spaces."""
        return self.class_names

    def label(self, folder_class: str) -> int:
        """The label of the photos in a class folder: index into `class_names`."""
        return self.class_names.index(folder_class)

    def _drawn(self, places: Sequence[Path]) -> list[Record]:
        """The photos of class folders without split folders, in splits that are drawn."""
        folder = read_split("train", places[-1], self.source, self.folder_classes)
        self._remark_left_out("the download", folder)
        names = {path: f"{name}/{path.name}" for name, path in folder.photos}
        drawn = split_groups({names[path]: self.label(str(name)) for name, path in folder.photos}, self.split_seed)
        self._remarks.append(f"The splits were drawn 70/20/10 within each class with seed {self.split_seed}.")
        self.compare_counts("photos", {"all": len(folder.photos)}, self.published)
        return with_unique_ids([self._record(drawn[names[path]], name, path) for name, path in folder.photos])

    def _read_lists(self, places: Iterable[Path]) -> list[NameList]:
        """The lists in the folders `places`; one per split."""
        by_split: dict[str, NameList] = {}
        classes = {name.lower() for name in self.folder_classes}
        for path in files_in(places, self.source):
            kind, suffix = _list_kind(path.name)
            if kind is None:
                continue
            if suffix not in LIST_SUFFIXES:
                text = "%s is not read: a list is a pickle, or text with one name per line"
                logger.warning(text, printable(path.name))
                continue
            names = frozenset(_listed(name, classes) for name in read_name_list(path))
            found = NameList(path.name, LIST_SPLITS[kind], names)
            known = by_split.setdefault(found.split, found)
            if known.names != found.names:
                raise UserError(
                    f"{known.file} and {found.file} both make the split {found.split} and name {len(known.names)} and "
                    f"{len(found.names)} photos, not the same: keep one of them"
                )
        return list(by_split.values())

    def _cut(self, photos: list[tuple[str | None, Path]], lists: list[NameList]) -> list[Record]:
        """The photos of `val`, each in the split whose list names it."""
        keys = [(str(name).lower(), path.name.lower()) for name, path in photos]
        often = Counter(name for _, name in keys)
        splits: dict[int, str] = {}
        both, missing = [], []
        for names in lists:
            for i, (class_name, name) in enumerate(keys):
                bare = (None, name) in names.names
                if bare and often[name] > 1:
                    raise UserError(
                        f"{printable(name)} in {names.file} could be any of {often[name]} photos of val: "
                        f"write the class folder before the names, such as {photos[i][0]}/{printable(name)}"
                    )
                listed = bare or (class_name, name) in names.names
                if listed and splits.setdefault(i, names.split) != names.split:
                    both.append(name)
            there = {*keys, *((None, name) for name in often)}
            missing += sorted(name for class_name, name in names.names if (class_name, name) not in there)
        if both:
            raise UserError(
                f"{len(both)} names are in both lists, for example {listing(map(printable, both), 3)}: "
                "take them out of one, so that no photo is validated and tested on"
            )
        for names in lists:
            if names.split not in splits.values():
                raise UserError(
                    f"the split {names.split} is empty: none of the {len(names.names)} names in {names.file} is in "
                    f"val, which has {len(photos)} photos such as {printable(photos[0][1].name)}"
                )
        if missing:
            self.remark(f"val: {len(missing)} listed names without a photo", missing)
        unlisted = [path.name for i, (_, path) in enumerate(photos) if i not in splits]
        rest = None if any(names.split == "validation" for names in lists) else "validation"
        if unlisted and rest is None:
            self.remark(f"val: {len(unlisted)} photos that no list names, left out", unlisted)
        placed = [(splits.get(i, rest), name, path) for i, (name, path) in enumerate(photos)]
        return [self._record(split, name, path) for split, name, path in placed if split is not None]

    def _remark_left_out(self, key: str, folder: SplitFolder) -> None:
        strays = [name for name in folder.left_out if key != "val" or _list_kind(name)[0] is None]
        if strays:
            self.remark(
                f"{key}: {len(strays)} files that are not photos, lie outside the class folders or are links out of "
                "the source folder, left out",
                strays,
            )

    def _record(self, split: str, class_name: str | None, path: Path) -> Record:
        stem = printable(os.path.splitext(path.name)[0])
        if class_name is None:
            return Record(f"{split}/{stem}", path, split, NO_LABEL)
        return Record(f"{split}/{class_name}/{stem}", path, split, self.label(class_name))


def _list_kind(file_name: str) -> tuple[str | None, str]:
    """The key in `LIST_SPLITS` and the suffix of a list's file; None if it is not a list."""
    stem, dot, suffix = file_name.lower().partition(".")
    return (stem if stem in LIST_SPLITS else None), dot + suffix


def _listed(name: str, classes: Collection[str]) -> tuple[str | None, str]:
    """`val/Positive/pos_1.jpg`, `Positive\\pos_1.jpg` or `pos_1.jpg` -> class or None, file name."""
    parts = name.lower().replace("\\", "/").split("/")
    known = len(parts) > 1 and parts[-2] in classes
    return (parts[-2] if known else None), parts[-1]


def with_unique_ids(records: list[Record]) -> list[Record]:
    """The records sorted by image_id; where two share one (a.jpg and a.png), they keep their suffixes.

    Raises:
        UserError: two photos would still share an image_id.
    """
    counts = Counter(record.image_id for record in records)
    unique = [
        record
        if counts[record.image_id] == 1
        else replace(record, image_id=record.image_id + record.path.suffix, group=_own_group(record))
        for record in records
    ]
    unique.sort(key=lambda record: record.image_id)
    for one, other in pairwise(unique):
        if one.image_id == other.image_id:
            raise UserError(f"two photos would both be called {one.image_id}: rename one of them")
    return unique


def _own_group(record: Record) -> str:
    """The group that the record was given; empty if it has none but itself."""
    return record.group if record.group != record.image_id else ""
