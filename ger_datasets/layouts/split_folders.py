"""Split folders of a raw download, and the photos in their class folders or beside their label files."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..photos.reading import SUFFIXES
from ..support.errors import UserError, listing, one_line, printable
from ..support.symlinks import inside, leads_inside
from .label_files import SUFFIXES as LABEL_SUFFIXES
from .label_files import label_of, labels_by_name, read_label_file

# What the split folders are called in the copies there are, in lower case. `test_shared` is `test` in its own archive.
SPLIT_FOLDERS = {
    "train": ("train", "groupemow_train"),
    "val": ("val", "valid", "validation", "groupemow_val"),
    "test": ("test", "test_images", "test_shared", "groupemow_test"),
}
MOST_WRAPPING = 3  # folders around the split folders that are looked into
# train_labels.txt, labels_val.csv; labels.txt within the split folder
LABEL_FILE = re.compile(r"(?:([a-z]+)[ _-]*)??(?:labels?|annotations?)(?:[ _-]*([a-z]+))?")


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


def find_splits(source: Path) -> tuple[dict[str, Path], list[Path]]:
    """The split folders in `source`, by their key in `SPLIT_FOLDERS`, and the folders around them, outermost first.

    Folders that wrap them (`GAF_3.0/train`) are looked into when nothing else lies beside; letter case is ignored.
    There may be no split folders: see `no_splits`.

    Raises:
        UserError: no such folder, or two for one split.
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
    return {key: inside(path, root) for key, path in splits.items()}, places


def no_splits(folder: Path, things: str = "photos") -> UserError:
    """The error for a download without split folders."""
    found = listing(printable(entry.name) for entry in _scan(folder))
    return UserError(f"no {things} in {printable(folder)}: expected the folders train and val, found {found}")


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
    known = {plain(name): name for name in class_names}
    split = SplitFolder(path, places=[path])
    entries = _scan(path)
    inner = _superfluous_folder(key, path, entries, known)
    if inner is not None:
        split.path = inside(inner, root)
        split.places.append(split.path)
        entries = _scan(split.path)
    classes = _class_folders(entries, known)
    label_file = None if classes else find_label_file(key, split.places, places, source)
    if label_file is not None:
        _take_labelled(
            split, label_file, [entry for entry in entries if entry.name != label_file.name], root, class_names
        )
    elif classes or key != "test":
        unknown = [printable(e.name) for e in entries if _is_folder(e) and plain(e.name) not in known]
        if unknown:
            raise UserError(
                f"unknown class folder {listing(unknown)} in {printable(split.path)}: "
                f"the classes are {', '.join(class_names)}"
            )
        split.left_out += [entry.name for entry in entries if not _is_folder(entry)]
        for folder in classes:
            _take(split, known[plain(folder.name)], _class_entries(inside(Path(folder.path), root), root), root)
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


def _superfluous_folder(key: str, path: Path, entries: list[os.DirEntry[str]], known: Collection[str]) -> Path | None:
    """The folder in the split folder `path` that holds all of the split, if there is one."""
    inner = _only_folder(path)
    if inner is None or plain(inner.name) in known or any(_is_photo(entry) for entry in entries):
        return None
    holds = key == "test" or inner.name.lower() in SPLIT_FOLDERS[key] or _class_folders(_scan(inner), known)
    return inner if holds else None


def class_folder_names(folders: Iterable[Path], keys: Collection[str]) -> list[str]:
    """The names of the class folders in `folders`, each once whatever its letter case, sorted.

    Args:
        folders: split folders, or the one that holds the class folders.
        keys: the splits that the folders are; a folder in one that bears its split's name is looked through.
    """
    wrappers = {name for key in keys for name in SPLIT_FOLDERS[key]}
    names: dict[str, str] = {}
    for folder in folders:
        inner = _only_folder(folder)
        for entry in _scan(inner if inner is not None and inner.name.lower() in wrappers else folder):
            if _is_folder(entry):
                names.setdefault(plain(entry.name), entry.name)
    return [names[key] for key in sorted(names)]


def photos_in(folder: Path, source: Path) -> dict[str, Path]:
    """The photos in `folder` by name, sorted; links that lead out of `source` are left out."""
    split = SplitFolder(folder)
    _take(split, None, _scan(folder), Path(os.path.realpath(source)))
    return {path.name: path for _, path in split.photos}


def inner_folder(folder: Path, source: Path, suffixes: Collection[str]) -> Path:
    """The only folder in `folder` if no file with one of `suffixes` lies beside it; otherwise `folder`."""
    inner = _only_folder(folder)
    if inner is None or any(os.path.splitext(entry.name)[1].lower() in suffixes for entry in _scan(folder)):
        return folder
    return inside(inner, Path(os.path.realpath(source)))


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
    return [entry for entry in entries if _is_folder(entry) and plain(entry.name) in known]


def plain(name: str) -> str:
    """A folder's name as class names are compared: `High-Positive` -> `highpositive`."""
    return re.sub(r"[-_ ]", "", name.lower())


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


def find_label_file(key: str, inner: Iterable[Path], outer: Iterable[Path], source: Path) -> Path | None:
    """The label file of a split, such as `train_labels.txt`; None if there is none.

    Args:
        key: the split's key in `SPLIT_FOLDERS`.
        inner: its own folders, in which the file need not name the split.
        outer: the folders around it.
        source: the raw folder.

    Raises:
        UserError: there are several.
    """
    inner, found = list(inner), []
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
    if found and not split.photos:
        raise UserError(f"{label_file.name} names none of the {len(found)} photos, such as {printable(unlabelled[0])}")
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
        raise UserError(f"{printable(folder)} cannot be listed: {one_line(error)}") from error
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
