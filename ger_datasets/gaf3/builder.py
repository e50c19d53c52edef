"""GAF 3.0 (EmotiW 2018), and what is laid out like it: a raw folder -> records."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from ..legacy.name_lists import read_name_list
from ..records import Record
from ..schema import CLASS_NAMES, NO_LABEL
from ..support.errors import UserError, listing, printable
from .folders import SplitFolder, files_in, find_splits, read_split

logger = logging.getLogger(__name__)

# Photos of `val` that the distributed lists name go where the lists say; `eval_list` is another name of `test_list`.
LIST_SPLITS = {"val_list": "validation", "test_list": "test", "eval_list": "test"}
LIST_SUFFIXES = ("", ".pkl", ".pickle", ".txt", ".csv")

# How many photos the whole of GAF 3.0 has, by folder and class (Dhall et al. 2018; as counted in the
# distributed archives), and how many names the distributed lists have. The two lists leave five photos of `val` out.
PHOTOS: Mapping[str, Mapping[str | None, int]] = {
    "train": {"Negative": 2758, "Neutral": 3080, "Positive": 3977},  # 9,815
    "val": {None: 4346},
    "test": {None: 3011},
}
LISTED = {"validation": 3341, "test": 1000}
SHORT_TRAIN = 9808  # copies with so many train photos go round


@dataclass(frozen=True)
class NameList:
    """A list of photos' names: the file's name, the split it makes, and its (class or None, name) in lower case."""

    file: str
    split: str
    names: frozenset[tuple[str | None, str]]


class Gaf3Builder:
    """The Group Affect Database 3.0 (Dhall et al. 2018, EmotiW; doi 10.1145/3242969.3264993).

    The folders' names may be in any case and a few spellings (`folders.SPLIT_FOLDERS`), and one may wrap another.

    - `train/CLASS/*` -> train.
    - `val/CLASS/*` -> validation; or, where lists of names lie beside the split folders or in `val`, `val_list` ->
      validation and `test_list` (or `eval_list`) -> test. Photos that no list names are left out, unless there is no
      `val_list`: then they are validation.
    - `test/*`, unlabelled -> challenge, label -1.
    - `test/CLASS/*` -> test, as in any labelled dataset; challenge where a list makes `test` of `val` already.

    GAF 2.0, which has no lists, and folders of one's own laid out so are read just the same.

    Args:
        source: the folder that holds `train` and `val`.
    """

    class_names = CLASS_NAMES
    extra_features: ClassVar[dict[str, Any]] = {}
    notice = ""
    license = "other"  # the terms stand in card.md
    published: ClassVar[Mapping[str, Mapping[str | None, int]]] = PHOTOS

    def __init__(self, source: Path) -> None:
        self.source = source
        self._remarks: list[str] = []

    def records(self) -> list[Record]:
        """Every photo of the download, sorted by image_id.

        Raises:
            UserError: no such folder, no known split folder or two for one split, an unknown class folder, a split
                without photos, a list that is no list of names, names that could be two photos.
        """
        self._remarks = []
        paths, places = find_splits(self.source)
        folders = {key: read_split(key, path, self.source) for key, path in paths.items()}
        lists = []
        if "val" in folders:
            lists = self._read_lists([*places, *folders["val"].places])
        for key, folder in folders.items():
            self._tell_left_out(key, folder)
        self._compare(folders, lists)

        records: list[Record] = []
        for key, folder in folders.items():
            if key == "val" and lists:
                records += self._cut(folder.photos, lists)
                continue
            split = {"train": "train", "val": "validation", "test": "challenge"}[key]
            labelled_test = key == "test" and folder.photos[0][0] is not None
            if labelled_test and not any(names.split == "test" for names in lists):
                split = "test"
            records += [_record(split, name, path) for name, path in folder.photos]
        return _with_unique_ids(records)

    def remarks(self) -> list[str]:
        """What differs from the published dataset, and what was left out, one sentence each; after `records`."""
        return list(self._remarks)

    def _remark(self, sentence: str, examples: Iterable[str] = ()) -> None:
        """Keep `sentence` for the card, and warn with it; the log also names `examples`."""
        self._remarks.append(f"{sentence}.")
        names = [printable(name) for name in examples]
        logger.warning("%s%s", sentence, f": {listing(names)}" if names else "")

    def _read_lists(self, places: Iterable[Path]) -> list[NameList]:
        """The lists in the folders `places`; one per split."""
        by_split: dict[str, NameList] = {}
        for path in files_in(places, self.source):
            kind, suffix = _list_kind(path.name)
            if kind is None:
                continue
            if suffix not in LIST_SUFFIXES:
                name = printable(path.name)
                logger.warning("%s is not read: a list is a pickle, or text with one name per line", name)
                continue
            found = NameList(path.name, LIST_SPLITS[kind], frozenset(map(_listed, read_name_list(path))))
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
                f"{len(both)} names stand in both lists, for example {listing(map(printable, both), 3)}: "
                "take them out of one, so that no photo is validated and tested on"
            )
        for names in lists:
            if names.split not in splits.values():
                raise UserError(
                    f"the split {names.split} is empty: none of the {len(names.names)} names in {names.file} is in "
                    f"val, which has {len(photos)} photos such as {printable(photos[0][1].name)}"
                )
        if missing:
            self._remark(f"val: {len(missing)} listed names without a photo", missing)
        unlisted = [path.name for i, (_, path) in enumerate(photos) if i not in splits]
        rest = None if any(names.split == "validation" for names in lists) else "validation"
        if unlisted and rest is None:
            self._remark(f"val: {len(unlisted)} photos that no list names, left out", unlisted)
        placed = [(splits.get(i, rest), name, path) for i, (name, path) in enumerate(photos)]
        return [_record(split, name, path) for split, name, path in placed if split is not None]

    def _tell_left_out(self, key: str, folder: SplitFolder) -> None:
        strays = [name for name in folder.left_out if key != "val" or _list_kind(name)[0] is None]
        if strays:
            self._remark(
                f"{key}: {len(strays)} files that are no photos, lie outside the class folders or are links out of "
                "the source folder, left out",
                strays,
            )

    def _compare(self, folders: Mapping[str, SplitFolder], lists: list[NameList]) -> None:
        """Tell where a download that looks like GAF 3.0 differs from what was published.

        It looks like it when nine in ten files are named as there, neg_1 or test_1; and like the whole of a folder
        when it has more than half of its photos. What is less is called a part and not counted further.
        """
        paths = [path for folder in folders.values() for _, path in folder.photos]
        if sum(path.name.lower().startswith(("neg_", "neu_", "pos_", "test_")) for path in paths) < 0.9 * len(paths):
            return
        parts = []
        for key, published in self.published.items():
            if key not in folders:
                continue
            found = Counter(name for name, _ in folders[key].photos)
            there, whole = found.total(), sum(published.values())
            classes = [f"{name} {found[name]:,} of {count:,}" for name, count in published.items() if name]
            if 2 * there <= whole:
                parts.append(f"{there:,} of {whole:,} {key} photos")
                continue
            if there != whole or (classes and found != Counter(published)):
                known = f"; copies with {SHORT_TRAIN:,} are known" if (key, there) == ("train", SHORT_TRAIN) else ""
                by_class = f" ({', '.join(classes)})" if classes else ""
                self._remark(f"{key} holds {there:,} photos where {whole:,} are published{by_class}{known}")
            for names in lists if key == "val" else []:
                if len(names.names) != LISTED[names.split]:
                    self._remark(
                        f"{names.file} names {len(names.names):,} photos; the distributed list that makes the split "
                        f"{names.split} names {LISTED[names.split]:,}"
                    )
        if parts:
            self._remarks.append(f"This is not the whole of GAF 3.0: {', '.join(parts)}.")


def _list_kind(file_name: str) -> tuple[str | None, str]:
    """The key in `LIST_SPLITS` and the suffix of a list's file; None if it is no list."""
    stem, dot, suffix = file_name.lower().partition(".")
    return (stem if stem in LIST_SPLITS else None), dot + suffix


def _listed(name: str) -> tuple[str | None, str]:
    """What a list says: `val/Positive/pos_1.jpg`, `Positive\\pos_1.jpg` or `pos_1.jpg` -> class or None, file name."""
    parts = name.lower().replace("\\", "/").split("/")
    known = len(parts) > 1 and parts[-2] in (class_name.lower() for class_name in CLASS_NAMES)
    return (parts[-2] if known else None), parts[-1]


def _record(split: str, class_name: str | None, path: Path) -> Record:
    stem = printable(os.path.splitext(path.name)[0])
    if class_name is None:
        return Record(f"{split}/{stem}", path, split, NO_LABEL)
    return Record(f"{split}/{class_name}/{stem}", path, split, CLASS_NAMES.index(class_name))


def _with_unique_ids(records: list[Record]) -> list[Record]:
    """The records sorted by image_id; where two share one (a.jpg and a.png), their suffixes tell them apart."""
    counts = Counter(record.image_id for record in records)
    unique = [
        record
        if counts[record.image_id] == 1
        else Record(record.image_id + record.path.suffix, record.path, record.split, record.label)
        for record in records
    ]
    unique.sort(key=lambda record: record.image_id)
    for one, other in pairwise(unique):
        if one.image_id == other.image_id:
            raise UserError(f"two photos would both be called {one.image_id}: rename one of them")
    return unique
