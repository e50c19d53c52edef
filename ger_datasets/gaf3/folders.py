"""A raw download laid out in split and class folders, in any of the ways that copies of it are -> its photos."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..photos.reading import SUFFIXES
from ..schema import CLASS_NAMES
from ..support.errors import UserError, listing, printable
from ..support.symlinks import inside, leads_inside

# What the split folders are called in the copies there are, in lower case. `test_shared` is `test` in its own archive.
SPLIT_FOLDERS = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test", "test_images", "test_shared"),
}
MOST_WRAPPING = 3  # folders around the split folders that are looked into
_CLASSES = {name.lower(): name for name in CLASS_NAMES}


@dataclass
class SplitFolder:
    """What one split folder holds.

    Attributes:
        path: the folder.
        photos: class name (None where the photos lie in no class folder) and path of each photo, sorted.
        left_out: names of files and folders in it that were not read; hidden ones outside the class folders are not
            counted.
        places: the folder, and the one in it that holds the photos where there is one; name lists may lie there.
    """

    path: Path
    photos: list[tuple[str | None, Path]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    places: list[Path] = field(default_factory=list)


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


def read_split(key: str, path: Path, source: Path) -> SplitFolder:
    """The photos of one split folder.

    They lie in class folders, those of `test` perhaps in none. One superfluous folder is looked through in either:
    `Train/Train/Positive`, `test/test_shared`, `Train/Positive/Positive`.

    Raises:
        UserError: an unknown class folder, no photos, a folder that is a link out of `source`.
    """
    root = Path(os.path.realpath(source))
    split = SplitFolder(path, places=[path])
    entries = _scan(path)
    inner = _only_folder(path)
    if (
        inner is not None
        and inner.name.lower() not in _CLASSES
        and not any(_is_photo(entry) for entry in entries)
        and (key == "test" or inner.name.lower() in SPLIT_FOLDERS[key] or _class_folders(_scan(inner)))
    ):
        split.path = inside(inner, root)
        split.places.append(split.path)
        entries = _scan(split.path)

    classes = _class_folders(entries)
    if classes or key != "test":
        unknown = [printable(e.name) for e in entries if _is_folder(e) and e.name.lower() not in _CLASSES]
        if unknown:
            raise UserError(
                f"unknown class folder {listing(unknown)} in {printable(split.path)}: "
                f"the classes are {', '.join(CLASS_NAMES)}"
            )
        split.left_out += [entry.name for entry in entries if not _is_folder(entry)]
        for folder in classes:
            _take(split, _CLASSES[folder.name.lower()], _class_entries(inside(Path(folder.path), root), root), root)
    else:
        _take(split, None, entries, root)
    if not split.photos:
        wanted = "photos" if key == "test" else f"{', '.join(CLASS_NAMES)} with photos in them"
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


def _class_folders(entries: list[os.DirEntry[str]]) -> list[os.DirEntry[str]]:
    return [entry for entry in entries if _is_folder(entry) and entry.name.lower() in _CLASSES]


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
