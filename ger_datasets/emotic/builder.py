"""EMOTIC (Kosti et al. 2017): photos in their original folders and an annotation file -> records."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..layouts.photo_finder import PhotoFinder
from ..records import Record
from ..schema import CLASS_NAMES, NO_LABEL, SPLITS
from ..support.errors import UserError, listing, printable
from .annotations import ARRAY_SPLITS, CATEGORIES, AnnotatedPhoto, Person, merged
from .arrays import array_frame, array_png, read_array_csv, with_boxes_of
from .boxes import PhotoFrame, clip_box, read_frame
from .layout import ARRAY_FOLDER, PHOTO_FOLDER, find_annotations, photo_root
from .matlab import read_matlab
from .tables import read_csv, read_npz

logger = logging.getLogger(__name__)

# What users of the distributed Annotations.mat report, by our names of the splits.
EXPECTED_PEOPLE = {"train": 23_266, "validation": 3_315, "test": 7_203}

RATING_RANGE = (1.0, 10.0)


def _plain_name(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


CATEGORY_INDEX = {_plain_name(name): index for index, name in enumerate(CATEGORIES)}
CATEGORY_INDEX["disquitement"] = CATEGORIES.index("Disquietment")  # some copies spell it so


class EmoticBuilder:
    """EMOTIC, emotions in context (Kosti et al. 2019, IEEE TPAMI; doi 10.1109/TPAMI.2019.2916866).

    One record is one photo; its `people` column holds all its annotated people. The label is that of `valence_label`.

    The annotations are, in this order: `Annotations.mat`; the `train.csv`, `val.csv` and `test.csv` that people make
    of it; `annot_arrs_train.csv`, ... with one .npy file per photo in `img_arrs`; the `train_annotations.npz`, ...
    with valences only. They are searched for in `source`, in its folders `emotic`, `archive`, `Annotations`,
    `annots_arrs` and `emotic_pre`, and, when `source` is `emotic` itself, beside it.

    Args:
        source: the folder that holds `emotic` and `Annotations`, or `emotic`, which holds `mscoco/images`, ...
    """

    class_names = CLASS_NAMES
    notice = ""
    license = "other"  # the terms stand in card.md

    def __init__(self, source: Path) -> None:
        self.source = source
        self._remarks: list[str] = []

    @property
    def extra_features(self) -> dict[str, Any]:
        """`people`: a list of structs, one for each annotated person."""
        from datasets import ClassLabel, List, Value  # here: importing it takes seconds

        person = {
            # four numbers, or None: without a length, for null lists of fixed length are not read by pyarrow before 26
            "box": List(Value("float32")),
            "categories": List(ClassLabel(names=list(CATEGORIES))),
            "valence": Value("float32"),
            "arousal": Value("float32"),
            "dominance": Value("float32"),
            "gender": Value("string"),
            "age": Value("string"),
            "annotators": Value("int32"),
        }
        return {"people": List(person)}

    def records(self) -> list[Record]:
        """Every annotated photo that is in the download, sorted by image_id: `split/folder/stem`, for example
        `train/mscoco/images/COCO_train2014_000000562243`.

        Raises:
            UserError: no such folder, no annotation file or one that cannot be read, none of the photos.
        """
        self._remarks = []
        kind, files = find_annotations(self.source)
        readers = {"csv": read_csv, "npz": read_npz, "arrays": read_array_csv}
        if kind == "mat":
            entries = read_matlab(files["mat"])
        else:
            entries = [photo for name, path in files.items() for photo in readers[kind](path, ARRAY_SPLITS[name])]
        if kind == "arrays":
            self._remarks.append(
                "The photos are the published arrays, often smaller than the originals; boxes are scaled to them."
            )
        photos = merged(entries)
        if not photos:
            raise UserError(f"{listing(path.name for path in files.values())}: no photos in there; download it again")
        self._count_people(photos)
        located = self._located(photos, listing(path.name for path in files.values()))
        ids = _unique_ids(photos)

        counts: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        records = []
        for photo, path in located:
            read = partial(array_png, path) if photo.arrays else None
            frame = None
            if any(person.box is not None for person in photo.people):
                frame = array_frame(path) if photo.arrays else read_frame(path)
                photo = with_boxes_of(photo, frame) if photo.arrays else photo
            if frame and not frame.fits(photo.sides):
                counts["frames"] += 1
                frame = None
            people = [_person_row(person, frame, counts, unknown) for person in photo.people]
            label = valence_label([person["valence"] for person in people if person["valence"] is not None])
            counts["unlabelled"] += label == NO_LABEL
            image_id = ids[photo.split, photo.place]
            records.append(Record(image_id, path, photo.split, label, extras={"people": people}, read=read))
        self._report(counts, unknown)
        return sorted(records, key=lambda record: record.image_id)

    def remarks(self) -> list[str]:
        """What is odd about this download, one sentence each; filled by `records`."""
        return self._remarks

    def _remark(self, remark: str) -> None:
        self._remarks.append(remark)
        logger.warning("%s", remark)

    def _count_people(self, photos: Sequence[AnnotatedPhoto]) -> None:
        """Remark on the people in the annotation file, beside those expected, and on photos in two splits."""
        for split in SPLITS:
            annotated = [photo for photo in photos if photo.split == split]
            people, expected = sum(len(photo.people) for photo in annotated), EXPECTED_PEOPLE[split]
            counted = f"{split}: {people:,} people are annotated in {len(annotated):,} photos"
            if people == expected:
                self._remarks.append(f"{counted}, as many as expected.")
            else:
                fewer = f"{abs(people - expected):,} {'fewer' if people < expected else 'more'}"
                self._remarks.append(f"{counted}, {fewer} than the {expected:,} expected.")
        splits = Counter(photo.place for photo in photos)
        twice = sorted(place for place, count in splits.items() if count > 1)
        if twice:
            self._remark(f"{len(twice):,} photos are in more than one split: {listing(twice)}.")

    def _located(self, photos: Sequence[AnnotatedPhoto], files: str) -> list[tuple[AnnotatedPhoto, Path]]:
        """The photos that are in the download, with their paths; a remark on the others."""
        finder = PhotoFinder(photo_root(self.source, ARRAY_FOLDER if photos[0].arrays else PHOTO_FOLDER))
        located = []
        for photo in photos:
            paths = (finder.find(place) for place in photo.arrays or (photo.place,))
            if (path := next(filter(None, paths), None)) is not None:
                located.append((photo, path))
        if not located:
            wanted = (photos[0].arrays or (photos[0].place,))[0]
            raise UserError(
                f"none of the {len(photos):,} photos in {files} is in {finder.root}: looked for {wanted}, "
                f"found {listing(finder.names())}"
            )
        present = {(photo.split, photo.place) for photo, _ in located}
        for split in SPLITS:
            missing = [photo for photo in photos if photo.split == split and (split, photo.place) not in present]
            if missing:
                people = sum(len(photo.people) for photo in missing)
                self._remark(
                    f"{split}: {len(missing):,} annotated photos with {people:,} people are not in the download and "
                    f"were left out: {listing(printable(photo.place) for photo in missing)}."
                )
        return located

    def _report(self, counts: Mapping[str, int], unknown: Mapping[str, int]) -> None:
        sentences = {
            "boxes": "people have no usable box: empty, outside their photo or not four numbers",
            "frames": "photos are turned by EXIF, damaged, very large or not of the annotated size, so that what "
            "their boxes refer to is unknown: they were left empty",
            "ratings": "ratings of valence, arousal or dominance lie outside 1 to 10 and were left empty",
            "unlabelled": "photos have no known valence and therefore no label",
        }
        for key, sentence in sentences.items():
            if counts[key]:
                self._remark(f"{counts[key]:,} {sentence}.")
        if unknown:
            named = listing(f"{name} ({count})" for name, count in sorted(unknown.items()))
            self._remark(f"Unknown emotion categories were left out: {named}.")


def valence_label(valences: Sequence[float]) -> int:
    """The label of a photo: the mean valence of its people, rounded, 1-4 Negative, 5-7 Neutral, 8-10 Positive.

    Halves are rounded up: a mean of 4.5 is Neutral, of 7.5 Positive. The original had one sample per person, not per
    photo, and cut the fraction off a valence that had one.

    Args:
        valences: 1 to 10, one per person; NaN where unknown.

    Returns:
        index into `CLASS_NAMES`; -1 when no valence is known.
    """
    known = [valence for valence in valences if not math.isnan(valence)]
    if not known:
        return NO_LABEL
    # first to six digits: the mean of 13/3 and 14/3 is a half, and their sum as floats may lie below
    rounded = math.floor(round(sum(known) / len(known), 6) + 0.5)
    return CLASS_NAMES.index("Negative" if rounded <= 4 else "Neutral" if rounded <= 7 else "Positive")


def _person_row(
    person: Person, frame: PhotoFrame | None, counts: Counter[str], unknown: Counter[str]
) -> dict[str, Any]:
    """The person as a struct of the column `people`; what had to be left out is counted."""
    box = None
    if frame and person.box is not None:
        box = clip_box(person.box, frame)
        counts["boxes"] += box is None
    categories = set()
    for name in person.categories:
        if (index := CATEGORY_INDEX.get(_plain_name(name))) is None:
            unknown[printable(name)] += 1
        else:
            categories.add(index)
    row: dict[str, Any] = {"box": box, "categories": sorted(categories)}
    for dimension in ("valence", "arousal", "dominance"):
        value = getattr(person, dimension)
        inside = RATING_RANGE[0] <= value <= RATING_RANGE[1]
        counts["ratings"] += not inside and not math.isnan(value)
        row[dimension] = value if inside else None
    return {**row, "gender": person.gender or None, "age": person.age or None, "annotators": person.annotators}


def _unique_ids(photos: Sequence[AnnotatedPhoto]) -> dict[tuple[str, str], str]:
    """(split, place) -> image_id. Where two photos differ in their suffix alone (a.jpg and a.png), it is kept."""
    stems = {(p.split, p.place): printable(f"{p.split}/{p.place.rpartition('.')[0] or p.place}") for p in photos}
    counts = Counter(stems.values())
    return {key: stem if counts[stem] == 1 else printable("/".join(key)) for key, stem in stems.items()}
