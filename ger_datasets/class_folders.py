"""ClassFolderBuilder: photos in split and class folders, in the layouts that copies of them have -> records."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from .layouts.label_files import SUFFIXES as LABEL_SUFFIXES
from .layouts.label_files import label_of, labels_by_name, read_label_file
from .layouts.remarks import Remarks
from .legacy.name_lists import read_name_list
from .photos.reading import SUFFIXES
from .records import Record
from .schema import CLASS_NAMES, NO_LABEL
from .support.errors import UserError, listing, printable
from .support.symlinks import inside, leads_inside

logger = logging.getLogger(__name__)

# What the split folders are called in the copies there are, in lower case. `test_shared` is `test` in its own archive.
SPLIT_FOLDERS = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test", "test_images", "test_shared"),
}
MOST_WRAPPING = 3  # folders around the split folders that are looked into
# Photos of `val` that the lists name go where the lists say; `eval_list` is another name of `test_list`.
LIST_SPLITS = {"val_list": "validation", "test_list": "test", "eval_list": "test"}
# train_labels.txt, labels_val.csv; labels.txt within the split folder
LABEL_FILE = re.compile(r"(?:([a-z]+)[ _-]*)??(?:labels?|annotations?)(?:[ _-]*([a-z]+))?")
LIST_SUFFIXES = ("", ".pkl", ".pickle", ".txt", ".csv")


@dataclass
class SplitFolder:
    """What one split folder holds.

    Attributes:
        path: the folder.
        photos: class name (None where the photos lie in no class folder) and path of each photo, sorted.
        left_out: names of files and folders in it that were not read; hidden ones outside the class folders are not
            counted.
        places: the folder, and the one in it that holds the photos where there is one; name lists may lie there.
        remarks: what is odd about the labels, and names as examples.
    """

    path: Path
    photos: list[tuple[str | None, Path]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    places: list[Path] = field(default_factory=list)
    remarks: list[tuple[str, list[str]]] = field(default_factory=list)


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
        folders = {key: read_split(key, path, self.source, self.class_names, places) for key, path in paths.items()}
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
        return _with_unique_ids(records)

    def compare(self, folders: Mapping[str, SplitFolder], lists: Sequence[NameList]) -> None:
        """Called once by `records`: a subclass may add remarks on how this copy differs from the published dataset.

        Args:
            folders: the split folders, by their key in `SPLIT_FOLDERS`.
            lists: the lists of names.
        """

    def _read_lists(self, places: Iterable[Path]) -> list[NameList]:
        """The lists in the folders `places`; one per split."""
        by_split: dict[str, NameList] = {}
        classes = {name.lower() for name in self.class_names}
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
        return Record(f"{split}/{class_name}/{stem}", path, split, self.class_names.index(class_name))


def find_splits(source: Path) -> tuple[dict[str, Path], list[Path]]:
    """The split folders in `source`, by their key in `SPLIT_FOLDERS`, and where name lists may lie beside them.

    Folders that wrap them (`GAF_3.0/train`) are looked into when nothing else lies beside; letter case is ignored.

    Raises:
        UserError: no such folder, no split folders in it, or two for one split.
    """
    if not source.is_dir():
        raise UserError(f"no folder {printable(source)}: give the folder that holds train and val")
    root, folder, places = Path(os.path.realpath(source)), source, [source]
    for _ in range(MOST_WRAPPING):
        splits = _split_folders(folder)
        inner = _only_folder(folder)
        if splits or inner is None:
            break
        folder = inside(inner, root)
        places.append(folder)
    if not splits:
        found = listing(printable(entry.name) for entry in _scan(folder))
        raise UserError(f"no photos in {printable(folder)}: expected the folders train and val, found {found}")
    return {key: inside(path, root) for key, path in splits.items()}, places


def read_split(
    key: str, path: Path, source: Path, class_names: Sequence[str], places: Sequence[Path] = ()
) -> SplitFolder:
    """The photos of one split folder.

    They lie in class folders, or in none where a label file names their classes; those of `test` perhaps without
    labels. One superfluous folder is looked through in either: `Train/Train/Positive`, `test/test_shared`,
    `Train/Positive/Positive`.

    Args:
        key: the split's key in `SPLIT_FOLDERS`.
        path: its folder.
        source: the raw folder.
        class_names: the classes.
        places: the folders around it, where its label file may lie.

    Raises:
        UserError: an unknown class folder, no photos, a folder that is a link out of `source`, a wrong label file.
    """
    root = Path(os.path.realpath(source))
    known = {name.lower(): name for name in class_names}
    split = SplitFolder(path, places=[path])
    entries = _scan(path)
    inner = _only_folder(path)
    if (
        inner is not None
        and inner.name.lower() not in known
        and not any(_is_photo(entry) for entry in entries)
        and (key == "test" or inner.name.lower() in SPLIT_FOLDERS[key] or _class_folders(_scan(inner), known))
    ):
        split.path = inside(inner, root)
        split.places.append(split.path)
        entries = _scan(split.path)

    classes = _class_folders(entries, known)
    label_file = None if classes else _label_file(key, split.places, places, source)
    if label_file is not None:
        _take_labelled(
            split, label_file, [entry for entry in entries if entry.name != label_file.name], root, class_names
        )
    elif classes or key != "test":
        unknown = [printable(e.name) for e in entries if _is_folder(e) and e.name.lower() not in known]
        if unknown:
            raise UserError(
                f"unknown class folder {listing(unknown)} in {printable(split.path)}: "
                f"the classes are {', '.join(class_names)}"
            )
        split.left_out += [entry.name for entry in entries if not _is_folder(entry)]
        for folder in classes:
            _take(split, known[folder.name.lower()], _class_entries(inside(Path(folder.path), root), root), root)
    else:
        _take(split, None, entries, root)
    if not split.photos:
        wanted = f"{', '.join(class_names)} with photos in them, or photos and {key}_labels.txt"
        wanted = "photos" if key == "test" and label_file is None else wanted
        found = listing(printable(entry.name) for entry in entries)
        raise UserError(f"no photos in {printable(split.path)}: expected {wanted}, found {found}")
    return split


def files_in(places: Iterable[Path], source: Path) -> list[Path]:
    """The files in the folders `places`, sorted within each; links that lead out of `source` are passed over."""
    root = Path(os.path.realpath(source))
    entries = (entry for place in dict.fromkeys(places) for entry in _scan(place))
    return [
        Path(entry.path)
        for entry in entries
        if not _is_folder(entry) and (not entry.is_symlink() or leads_inside(entry.path, root))
    ]


def _split_folders(folder: Path) -> dict[str, Path]:
    found = {}
    for key, names in SPLIT_FOLDERS.items():
        paths = [Path(entry.path) for entry in _scan(folder) if _is_folder(entry) and entry.name.lower() in names]
        if len(paths) > 1:
            raise UserError(
                f"{listing(path.name for path in paths)} in {printable(folder)} are all {key}: keep one of them there"
            )
        if paths:
            found[key] = paths[0]
    return found


def _only_folder(folder: Path) -> Path | None:
    """The folder in `folder` if there is but one; files do not count."""
    folders = [Path(entry.path) for entry in _scan(folder) if _is_folder(entry)]
    return folders[0] if len(folders) == 1 else None


def _class_folders(entries: list[os.DirEntry[str]], known: Collection[str]) -> list[os.DirEntry[str]]:
    return [entry for entry in entries if _is_folder(entry) and entry.name.lower() in known]


def _class_entries(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    """What a class folder holds, hidden files too; or, if it holds just itself once more, what that one holds."""
    entries = _scan(folder, hidden=True)
    nested = [entry for entry in entries if _is_folder(entry) and entry.name.lower() == folder.name.lower()]
    if not nested:
        return entries
    if any(_is_photo(entry) for entry in entries):
        raise UserError(
            f"photos lie in {printable(folder)} and in {printable(nested[0].name)} within it: "
            "keep them in one of the two"
        )
    return [entry for entry in entries if entry not in nested] + _scan(inside(Path(nested[0].path), root), True)


def _take(split: SplitFolder, class_name: str | None, entries: list[os.DirEntry[str]], root: Path) -> None:
    for entry in entries:
        if _is_photo(entry) and (not entry.is_symlink() or leads_inside(entry.path, root)):
            split.photos.append((class_name, Path(entry.path)))
        else:
            split.left_out.append(entry.name)


def _label_file(key: str, inner: Sequence[Path], outer: Sequence[Path], source: Path) -> Path | None:
    """The label file of a split; those in its own folders, `inner`, need not name the split."""
    found = []
    for path in files_in([*inner, *outer], source):
        match = LABEL_FILE.fullmatch(path.stem.lower())
        if match is None or path.suffix.lower() not in LABEL_SUFFIXES:
            continue
        named = [name for name in match.groups() if name]
        if all(name in SPLIT_FOLDERS[key] for name in named) and (named or path.parent in inner):
            found.append(path)
    if len(found) > 1:
        raise UserError(
            f"{listing(printable(path.name) for path in found)} all hold labels of {key}: keep one of them"
        )
    return found[0] if found else None


def _take_labelled(
    split: SplitFolder, label_file: Path, entries: list[os.DirEntry[str]], root: Path, class_names: Sequence[str]
) -> None:
    """Take the photos that `label_file` names."""
    labels = labels_by_name(read_label_file(label_file), class_names, label_file.name)
    _take(split, None, entries, root)
    found = [(label_of(path.name, labels), path) for _, path in split.photos]
    split.photos = [(class_names[label], path) for label, path in found if label is not None]
    unlabelled = [path.name for label, path in found if label is None]
    names = {name for _, path in found for name in (path.name.lower(), path.stem.lower())}
    missing = sorted(labels.keys() - names)
    if unlabelled:
        split.remarks.append((f"{len(unlabelled)} photos without a label in {label_file.name}, left out", unlabelled))
    if missing:
        split.remarks.append((f"{len(missing)} labels in {label_file.name} without a photo", missing))


def _scan(folder: Path, hidden: bool = False) -> list[os.DirEntry[str]]:
    """What lies in `folder`, sorted by name. One call for all: no file is looked at."""
    try:
        with os.scandir(folder) as entries:
            kept = [e for e in entries if hidden or not (e.name.startswith(".") or e.name == "__MACOSX")]
    except OSError as error:
        raise UserError(f"{printable(folder)} cannot be listed: {error.strerror}") from error
    return sorted(kept, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_photo(entry: os.DirEntry[str]) -> bool:
    # not Path.suffix: the name may be ".jpg"
    name = entry.name
    return name[0] != "." and os.path.splitext(name)[1].lower() in SUFFIXES and not _is_folder(entry)


def _list_kind(file_name: str) -> tuple[str | None, str]:
    """The key in `LIST_SPLITS` and the suffix of a list's file; None if it is not a list."""
    stem, dot, suffix = file_name.lower().partition(".")
    return (stem if stem in LIST_SPLITS else None), dot + suffix


def _listed(name: str, classes: Collection[str]) -> tuple[str | None, str]:
    """`val/Positive/pos_1.jpg`, `Positive\\pos_1.jpg` or `pos_1.jpg` -> class or None, file name."""
    parts = name.lower().replace("\\", "/").split("/")
    known = len(parts) > 1 and parts[-2] in classes
    return (parts[-2] if known else None), parts[-1]


def _with_unique_ids(records: list[Record]) -> list[Record]:
    """The records sorted by image_id; where two share one (a.jpg and a.png), they keep their suffixes."""
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
