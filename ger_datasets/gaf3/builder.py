"""GAF 3.0 (EmotiW 2018): a raw folder `train|val/{Negative,Neutral,Positive}/*.jpg` -> records."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

from ..errors import UserError, listing
from ..name_lists import read_name_list
from ..photos import SUFFIXES, printable
from ..records import Record
from ..schema import CLASS_NAMES

logger = logging.getLogger(__name__)

# Folder of the download -> split. Photos of `val` that the distributed lists name go where the lists say.
FOLDER_SPLITS = {"train": "train", "val": "validation"}
LIST_SPLITS = {"val_list": "validation", "test_list": "test"}


class Gaf3Builder:
    """The Group Affect Database 3.0 (Dhall et al. 2018, EmotiW; doi 10.1145/3242969.3264993).

    Its `val` folder is commonly cut in two by a pair of pickled lists of file names: `val_list` -> validation,
    `test_list` -> test. Without lists all of `val` is validation.

    Args:
        source: the folder that holds `train` and `val`, with the lists beside them.
    """

    class_names = CLASS_NAMES
    extra_features: ClassVar[dict[str, Any]] = {}
    notice = ""

    def __init__(self, source: Path) -> None:
        self.source = source
        self._remarks: list[str] = []

    def records(self) -> list[Record]:
        """Every photo of the download, sorted by image_id.

        Raises:
            UserError: no such folder, no known split folder, an unknown class folder, a split without photos, a list
                that is no list of names.
        """
        folders = _subfolders(self.source, FOLDER_SPLITS)
        if not folders:
            raise UserError(
                f"no photos in {self.source}: expected the folders {' and '.join(FOLDER_SPLITS)}, "
                f"found {listing(sorted(p.name for p in self.source.iterdir()))}"
            )
        listed = self._listed_splits()
        records: list[Record] = []
        for folder_name, folder in folders.items():
            photos = _class_photos(folder)
            if folder_name == "val" and listed:
                records += _cut_by_lists(photos, listed)
            else:
                records += [_record(FOLDER_SPLITS[folder_name], name, path) for name, path in photos]
        return _with_unique_ids(records)

    def remarks(self) -> list[str]:
        return self._remarks

    def _listed_splits(self) -> dict[str, str]:
        """File name in lower case -> split, from the lists that lie beside the split folders."""
        splits: dict[str, str] = {}
        for list_name, split in LIST_SPLITS.items():
            for path in (self.source / list_name, self.source / f"{list_name}.pkl"):
                if path.exists():
                    names = [name.lower() for name in read_name_list(path)]
                    twice = [name for name in names if splits.get(name, split) != split]
                    if twice:
                        raise UserError(f"{len(twice)} names stand in both lists, for example {listing(twice, 3)}")
                    splits.update(dict.fromkeys(names, split))
        return splits


def _subfolders(folder: Path, names: dict[str, str]) -> dict[str, Path]:
    """Those subfolders of `folder` that `names` has, whatever their case; keys as in `names`."""
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: give the folder that holds {' and '.join(names)}")
    found = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    return {name: found[name] for name in names if name in found}


def _class_photos(folder: Path) -> list[tuple[str, Path]]:
    """(class name, path) of each photo in the class folders of `folder`, sorted."""
    known = {name.lower(): name for name in CLASS_NAMES}
    entries = [path for path in sorted(folder.iterdir()) if path.name[0] != "." and path.name != "__MACOSX"]
    class_folders = [path for path in entries if path.is_dir()]
    unknown = [path.name for path in class_folders if path.name.lower() not in known]
    if unknown:
        raise UserError(
            f"unknown class folder {listing(unknown)} in {folder}: the classes are {', '.join(CLASS_NAMES)}"
        )

    photos, stray = [], [path for path in entries if not path.is_dir()]
    for class_folder in class_folders:
        for path in sorted(class_folder.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                photos.append((known[class_folder.name.lower()], path))
            else:
                stray.append(path)
    if stray:
        logger.warning(
            "%s: %d files that are no photos, left out: %s", folder, len(stray), listing(p.name for p in stray)
        )
    if not photos:
        raise UserError(
            f"no photos in {folder}: expected {', '.join(CLASS_NAMES)} with photos in them, "
            f"found {listing(path.name for path in entries)}"
        )
    return photos


def _cut_by_lists(photos: list[tuple[str, Path]], listed: dict[str, str]) -> list[Record]:
    records = [_record(listed[path.name.lower()], name, path) for name, path in photos if path.name.lower() in listed]
    unlisted = [path.name for _, path in photos if path.name.lower() not in listed]
    if unlisted:
        logger.warning("val: %d photos that no list names, left out: %s", len(unlisted), listing(unlisted))
    missing = listed.keys() - {path.name.lower() for _, path in photos}
    if missing:
        logger.warning("val: %d listed names without a photo: %s", len(missing), listing(sorted(missing)))
    for split in sorted(set(listed.values())):
        if not any(record.split == split for record in records):
            raise UserError(
                f"the split {split} is empty: none of the names in its list is in val, which has {len(photos)}"
            )
    return records


def _record(split: str, class_name: str, path: Path) -> Record:
    return Record(f"{split}/{class_name}/{printable(path.stem)}", path, split, CLASS_NAMES.index(class_name))


def _with_unique_ids(records: list[Record]) -> list[Record]:
    """The records sorted by image_id; where two share one (a.jpg and a.png), their suffixes tell them apart."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record.image_id] = counts.get(record.image_id, 0) + 1
    unique = [
        record
        if counts[record.image_id] == 1
        else Record(record.image_id + record.path.suffix, record.path, record.split, record.label)
        for record in records
    ]
    return sorted(unique, key=lambda record: record.image_id)
