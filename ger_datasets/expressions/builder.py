"""Single faces by expression, in the forms in which people have them: a raw folder -> records."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from tqdm import tqdm

from ..photos.duplicates import perceptual_hash
from ..records import Record
from ..schema import CLASS_NAMES, NO_LABEL
from ..support.errors import BadPhoto, UserError, listing, printable
from .download import Download, LabelledFace, Tree, read_tree
from .fer2013 import is_pixel_table, is_vote_table, read_pixel_table, read_voted_photos, read_votes
from .folders import in_class_folders, read_folders
from .names import CONTEMPT, EXPRESSIONS, VALENCE
from .raf_db import is_list, read_raf_db
from .splits import drawn_for_validation, pixel_hash, removed_remarks, unique_records, without_lookalikes

logger = logging.getLogger(__name__)

CLASSES = ("expressions", "valence")
FACES = ("auto", "detect", "whole")
# Pictures whose shorter side has at most so many pixels are tight crops: FER2013's have 48, RAF-DB's aligned ones 100.
# The photos that faces are cut from have more: KDEF's 562, CK+'s 480, and AffectNet's loose crops 224.
MOST_CROP_SIDE = 100


class ExpressionsBuilder:
    """Pictures of one face each, labelled with its expression, in one of the forms that docs/datasets.md lists.

    Pictures that are the same pixel for pixel are removed as `splits.unique_records` says, and from train those that
    look the same as one of another split. Where there is no validation split, one is drawn from train as
    `splits.drawn_for_validation` says.

    Args:
        source: the raw folder.
        options: see `Options`.
    """

    @dataclass(frozen=True)
    class Options:
        """The dataset's own options, as their help says; with `valence`, surprise is left out, and without `contempt`
        its pictures. UserError: unknown `classes` or `faces`."""

        classes: str = field(
            default="expressions",
            metadata={"help": "class names: expressions (seven), or valence (Negative, Neutral, Positive)."},
        )
        contempt: bool = field(
            default=False, metadata={"help": "include contempt as an eighth class (with valence: Negative)."}
        )
        faces: str = field(
            default="auto",
            metadata={
                "help": "whole: each picture is one face; detect: the largest detected face, or the whole picture if "
                f"none is found; auto: whole up to {MOST_CROP_SIDE} pixels of the shorter side, else detect."
            },
        )
        split_seed: int = field(
            default=0, metadata={"help": "seed of the validation split, drawn if the download has none."}
        )

        def __post_init__(self) -> None:
            for name, known in (("classes", CLASSES), ("faces", FACES)):
                if getattr(self, name) not in known:
                    raise UserError(f"unknown {name} {getattr(self, name)!r}: choose from {', '.join(known)}")

    extra_features: ClassVar[dict[str, Any]] = {}
    notice = ""
    license = "other"  # the terms stand in card.md

    def __init__(self, source: Path, options: Options | None = None) -> None:
        self.source, self.options = source, options or self.Options()
        expressions = (*EXPRESSIONS, CONTEMPT) if self.options.contempt else EXPRESSIONS
        self._class_of: Mapping[str, str] = {name: name for name in expressions}
        self.class_names: Sequence[str] = expressions
        if self.options.classes == "valence":
            self._class_of = {name: VALENCE[name] for name in expressions if name in VALENCE}
            self.class_names = CLASS_NAMES
        self._remarks: list[str] = []

    def records(self) -> list[Record]:
        """Every picture, sorted by image_id: `split/class/stem` of class folders, otherwise `split/stem`.

        Every picture is decoded once, to compare its pixels: 10,000 of 48 x 48 pixels in about five seconds.

        Raises:
            UserError: none of the forms, or two of them; what is wrong with one, as its reader says; no picture or
                only one class left; a `split_seed` where nothing is drawn.
        """
        download = read_download(read_tree(self.source), self.options.faces != "detect", self.options.contempt)
        self._remarks = list(download.remarks)
        records, hashes, looks = self._looked_at(self._labelled(download.faces))
        records, removed = unique_records(records, hashes)
        self._remarks += removed_remarks(removed)
        own_looks = [looks[record.image_id] for record in records]
        records, alike = without_lookalikes(self._with_validation(records), own_looks)
        if alike:
            self._remarks.append(
                f"{alike:,} faces of train that look the same as one of validation or test by a perceptual hash, "
                "though their pixels differ, were removed."
            )
        self._check_classes(records)
        for remark in self._remarks:
            logger.info("%s", remark)
        return sorted(records, key=lambda record: record.image_id)

    def remarks(self) -> list[str]:
        """What was left out, removed and drawn, one sentence each; filled by `records`."""
        return list(self._remarks)

    def _labelled(self, faces: Sequence[LabelledFace]) -> list[Record]:
        """The faces of the classes asked for, with image_ids that are unique."""
        known = self._class_of
        left_out = Counter(face.expression for face in faces if face.expression and face.expression not in known)
        self._remarks += [f"{count:,} faces of {name} were left out." for name, count in sorted(left_out.items())]
        faces = [face for face in faces if face.expression not in left_out]
        records = []
        for face, image_id in zip(faces, _unique([f"{face.split}/{face.stem}" for face in faces]), strict=True):
            label = self.class_names.index(known[face.expression]) if face.expression else NO_LABEL
            records.append(Record(image_id, face.path, face.split, label, face.person, read=face.read, faces="whole"))
        return records

    def _looked_at(self, records: Sequence[Record]) -> tuple[list[Record], list[bytes | None], dict[str, int | None]]:
        """The records with the faces that the option `faces` asks for; the hash of each one's pixels, and the
        perceptual hash by image_id. The hashes are None where a picture cannot be read."""
        decided, hashes = [], list[bytes | None]()
        looks: dict[str, int | None] = {}
        for record in tqdm(records, unit="face", desc="comparing pixels", mininterval=0.5):
            small, digest, look = True, None, None
            try:
                image = record.photo().image
            except BadPhoto:
                pass  # it goes into quarantine when its shard is written
            else:
                small, digest, look = min(image.size) <= MOST_CROP_SIDE, pixel_hash(image), perceptual_hash(image)
            hashes.append(digest)
            looks[record.image_id] = look
            whole = self.options.faces == "whole" or (self.options.faces == "auto" and small)
            decided.append(record if whole else replace(record, faces="largest"))
        if records and not any(hashes):
            raise UserError(f"none of the {len(records):,} faces in {printable(self.source)} can be read")
        return decided, hashes, looks

    def _with_validation(self, records: Sequence[Record]) -> list[Record]:
        """The records in their order, some of train's drawn for validation where there is none."""
        persons: dict[str, set[str]] = {}
        for record in records:
            persons.setdefault(record.group, set()).add(record.split)
        shared = sum(len(splits) > 1 for splits in persons.values())
        if shared:
            self._remarks.append(f"By their file names, {shared:,} persons are in more than one split.")
        splits, seed = {record.split for record in records}, self.options.split_seed
        if "validation" in splits or "train" not in splits:
            if seed:
                raise UserError("no validation split is drawn from this download: leave split_seed out")
            return list(records)
        train = [record for record in records if record.split == "train" and record.label != NO_LABEL]
        drawn = drawn_for_validation(train, seed)
        named = len({record.group for record in train if record.group != record.image_id})
        rule = f"the faces of a tenth of the {named:,} persons" if named else "a tenth of the faces of each class"
        self._remarks.append(
            f"There was no validation split: {len(drawn):,} of {len(train):,} faces of train were drawn for it, "
            f"{rule}, with seed {seed}."
        )
        return [_moved(record) if record.image_id in drawn else record for record in records]

    def _check_classes(self, records: Sequence[Record]) -> None:
        """UserError if there is only one class; a remark where some are missing."""
        found = {record.label for record in records} - {NO_LABEL}
        if len(found) < 2:
            names = listing(self.class_names[label] for label in found)
            raise UserError(
                f"the only class in {printable(self.source)} is {names}: faces of at least two of "
                f"{', '.join(self.class_names)} are needed"
            )
        missing = [name for label, name in enumerate(self.class_names) if label not in found]
        if missing:
            self._remarks.append(f"There are no faces of {', '.join(missing)}.")


def read_download(tree: Tree, aligned: bool, contempt: bool) -> Download:
    """The labelled faces in `tree`.

    `aligned`: whether RAF-DB's aligned pictures are taken; `contempt`: whether FER2013's 7 means contempt.

    Raises:
        UserError: none of the forms, two of them, or two files of one form where one is expected; as the readers.
    """
    from .parquet import read_parquet  # here: `datasets` takes seconds

    tables = [path for path in tree.others if path.suffix.lower() == ".csv"]
    votes = _single(tree, [path for path in tables if is_vote_table(path)])
    parquet = [path for path in tree.others if path.suffix.lower() == ".parquet"]
    pixels = [path for path in tables if is_pixel_table(path)]
    lists = [path for path in tree.others if is_list(path)]
    # the photos that a list or votes name may lie in folders of any name
    photos = in_class_folders(tree) if not lists and (pixels or votes is None) else []
    voted = read_votes(votes) if votes is not None else None
    readers: dict[str, tuple[list[Path], Callable[[], Download]]] = {
        "Parquet files": (parquet, lambda: read_parquet(parquet)),
        "CSV files of pixels": (pixels, lambda: read_pixel_table(_single(tree, pixels), voted, contempt)),
        "RAF-DB's list": (lists, lambda: read_raf_db(tree, _single(tree, lists), aligned)),
        "class folders": (photos, lambda: read_folders(tree)),
    }
    found = {name: reader for name, reader in readers.items() if reader[0]}
    if not found and voted is not None:
        return read_voted_photos(tree, voted)
    if not found:
        raise UserError(
            f"no labelled faces in {printable(tree.root)}: expected class folders such as angry and happy, "
            "fer2013.csv, fer2013new.csv with photos, RAF-DB's list or Parquet files; found "
            f"{listing(map(tree.name, [*tree.photos, *tree.others]))}"
        )
    if len(found) > 1:
        examples = listing(tree.name(paths[0]) for paths, _ in found.values())
        raise UserError(
            f"{printable(tree.root)} holds {' and '.join(found)} ({examples}): give a folder that holds one of them"
        )
    ((_, read),) = found.values()
    return read()


def _single(tree: Tree, paths: list[Path]) -> Any:
    """The only one of `paths`, None if there is none; UserError if there are several."""
    if len(paths) > 1:
        names = listing(map(tree.name, paths))
        raise UserError(f"{names} are of the same form: keep one of them in {printable(tree.root)}")
    return paths[0] if paths else None


def _unique(names: Sequence[str]) -> list[str]:
    """The names, those that were there before with `-2`, `-3`, ... after them."""
    all_names, counts = set(names), Counter[str]()
    unique = []
    for name in names:
        counts[name] += 1
        own = name
        while counts[name] > 1 and (own := f"{name}-{counts[name]}") in all_names:
            counts[name] += 1
        unique.append(own)
    return unique


def _moved(record: Record) -> Record:
    """A record of train in validation."""
    image_id = "validation" + record.image_id.removeprefix("train")
    group = record.group if record.group != record.image_id else ""
    return replace(record, image_id=image_id, split="validation", group=group)
