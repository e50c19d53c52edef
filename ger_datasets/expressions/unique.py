"""Pictures that are the same: no split holds one that another holds, and train holds each once, with one label."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..photos.duplicates import near_duplicates
from ..records import Record


@dataclass(frozen=True)
class Removed:
    """How many records were removed, and why.

    Attributes:
        train_elsewhere: of train, because validation or test holds the same picture.
        train_copies: of train, because train holds the same picture, with the same label, before it.
        train_conflicting: of train, because train holds the same picture with another label; all copies.
        validation_in_test: of validation, because test holds the same picture.
    """

    train_elsewhere: int = 0
    train_copies: int = 0
    train_conflicting: int = 0
    validation_in_test: int = 0

    def remarks(self) -> list[str]:
        """What was removed, one sentence each; nothing where nothing was."""
        sentences = (
            (self.train_elsewhere, "faces of train that validation or test hold too, pixel for pixel, were removed"),
            (self.train_copies, "faces of train that train holds before, pixel for pixel, were removed"),
            (self.train_conflicting, "faces of train that train holds with different labels were removed, all copies"),
            (self.validation_in_test, "faces of validation that test holds too, pixel for pixel, were removed"),
        )
        return [f"{count:,} {text}." for count, text in sentences if count]


def pixel_hash(image: Image.Image) -> bytes:
    """16 bytes that are the same for images of the same size, mode and pixels."""
    head = f"{image.mode} {image.width} {image.height} ".encode()
    return hashlib.blake2b(head + image.tobytes(), digest_size=16).digest()


def unique_records(records: Sequence[Record], hashes: Sequence[bytes | None]) -> tuple[list[Record], Removed]:
    """The records without those whose picture stands elsewhere too.

    Copies within validation and within test stay: figures on a published split are over all of it.

    Args:
        records: in their order, of which the first of several copies stays.
        hashes: `pixel_hash` of each; those without one (None), because they cannot be read, stay.

    Returns:
        The records that stay, in their order, and how many do not.
    """
    places: dict[bytes, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, (record, digest) in enumerate(zip(records, hashes, strict=True)):
        if digest is not None:
            places[digest][record.split].append(place)
    elsewhere, copies, conflicting, in_test = [], [], [], []
    for splits in places.values():
        train, validation, test = (splits.get(name, []) for name in ("train", "validation", "test"))
        if test:
            in_test += validation
        if validation or test:
            elsewhere += train
        elif len({records[place].label for place in train}) > 1:
            conflicting += train
        else:
            copies += train[1:]
    gone = {*elsewhere, *copies, *conflicting, *in_test}
    kept = [record for place, record in enumerate(records) if place not in gone]
    return kept, Removed(len(elsewhere), len(copies), len(conflicting), len(in_test))


def without_lookalikes(records: Sequence[Record], hashes: Sequence[int | None]) -> tuple[list[Record], int]:
    """The records without those of train that look the same as one of another split, though not to the last pixel.

    FER2013 holds many pictures twice, compressed or cut out differently: 291 of its training faces are in its public
    test too, beside those that are so to the last pixel.

    Args:
        records: in their order.
        hashes: `duplicates.perceptual_hash` of each.

    Returns:
        The records that stay, in their order, and how many do not.
    """
    hashed = [place for place, digest in enumerate(hashes) if digest is not None]
    values = np.array([hashes[place] for place in hashed], np.uint64)
    pairs = near_duplicates(values, ["train" if records[place].split == "train" else "" for place in hashed])
    alike = {hashed[i] for i in pairs.ravel().tolist()}
    kept = [record for place, record in enumerate(records) if place not in alike or record.split != "train"]
    return kept, len(records) - len(kept)
