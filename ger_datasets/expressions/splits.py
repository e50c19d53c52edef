"""Splits without leaks: pictures that several splits hold are removed, and validation is drawn by persons."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..photos.duplicates import near_duplicates
from ..records import Record

VALIDATION_SHARE = 0.1  # of train; FER2013's public test is a tenth of its faces
# Why `unique_records` removes records, and the remark on it
REMOVED = {
    "train_elsewhere": "faces of train that validation or test hold too, pixel for pixel, were removed",
    "train_copies": "faces of train that train holds before, pixel for pixel, were removed",
    "train_conflicting": "faces of train that train holds with different labels were removed, all copies",
    "validation_in_test": "faces of validation that test holds too, pixel for pixel, were removed",
}


def pixel_hash(image: Image.Image) -> bytes:
    """16 bytes that are the same for images of the same size, mode and pixels."""
    head = f"{image.mode} {image.width} {image.height} ".encode()
    return hashlib.blake2b(head + image.tobytes(), digest_size=16).digest()


def unique_records(records: Sequence[Record], hashes: Sequence[bytes | None]) -> tuple[list[Record], Counter[str]]:
    """The records without those whose picture another split, or train before them, holds too.

    Copies within validation and within test stay: figures on a published split are over all of it. So do records whose
    `pixel_hash` is None, because they cannot be read. Returns the records that stay, in their order, and how many do
    not, by the keys of `REMOVED`.
    """
    places: dict[bytes, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, (record, digest) in enumerate(zip(records, hashes, strict=True)):
        if digest is not None:
            places[digest][record.split].append(place)
    removed: dict[int, str] = {}
    for splits in places.values():
        train, validation, test = (splits.get(name, []) for name in ("train", "validation", "test"))
        if test:
            removed |= dict.fromkeys(validation, "validation_in_test")
        if validation or test:
            removed |= dict.fromkeys(train, "train_elsewhere")
        elif len({records[place].label for place in train}) > 1:
            removed |= dict.fromkeys(train, "train_conflicting")
        else:
            removed |= dict.fromkeys(train[1:], "train_copies")
    return [record for place, record in enumerate(records) if place not in removed], Counter(removed.values())


def removed_remarks(removed: Counter[str]) -> list[str]:
    """What was removed, one sentence each; nothing where nothing was."""
    return [f"{removed[reason]:,} {text}." for reason, text in REMOVED.items() if removed[reason]]


def without_lookalikes(records: Sequence[Record], hashes: Sequence[int | None]) -> tuple[list[Record], int]:
    """The records without those of train that look the same as one of another split, though their pixels differ.

    FER2013 holds many pictures twice, compressed or cut out differently: 291 of its training faces are in its public
    test too, beside those with the same pixels.

    `hashes` are the `duplicates.perceptual_hash` of each. Returns the records that stay and how many do not.
    """
    hashed = [place for place, digest in enumerate(hashes) if digest is not None]
    values = np.array([hashes[place] for place in hashed], np.uint64)
    pairs = near_duplicates(values, ["train" if records[place].split == "train" else "" for place in hashed])
    alike = {hashed[i] for i in pairs.ravel().tolist()}
    kept = [record for place, record in enumerate(records) if place not in alike or record.split != "train"]
    return kept, len(records) - len(kept)


def drawn_for_validation(records: Sequence[Record], seed: int) -> set[str]:
    """The image_ids of the records that are drawn from train to validate on, about a tenth.

    Records that have a person (a group other than their image_id) are drawn by persons, so that nobody is in both
    splits: a tenth of the persons, at least one. The others are drawn one by one, a tenth of each label. What is drawn
    are the first in the order of a hash of seed and name: the same everywhere, whatever the order of `records`. Where
    there is only one person, or one face of a label, it stays in train.
    """
    persons: dict[str, list[str]] = defaultdict(list)
    alone: dict[int, list[str]] = defaultdict(list)
    for record in records:
        if record.group != record.image_id:
            persons[record.group].append(record.image_id)
        else:
            alone[record.label].append(record.image_id)
    drawn = {image_id for person in _first(list(persons), seed) for image_id in persons[person]}
    return drawn.union(*(_first(image_ids, seed) for image_ids in alone.values()))


def _first(names: Sequence[str], seed: int) -> list[str]:
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    return order[: max(1, round(VALIDATION_SHARE * len(order)))] if len(order) > 1 else []
