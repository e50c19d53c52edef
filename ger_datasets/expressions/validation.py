"""A validation split drawn from train, where a download has none."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from ..records import Record

SHARE = 0.1  # of train; FER2013's public test is a tenth of its faces


def drawn_for_validation(records: Sequence[Record], seed: int) -> set[str]:
    """The image_ids of the records that are drawn from train to validate on, about a tenth.

    Records that have a person (a group other than their image_id) are drawn by persons, so that nobody is in both
    splits: a tenth of the persons, at least one. The others are drawn one by one, a tenth of each label. What is drawn
    are the first in the order of a hash of seed and name: the same everywhere, whatever the order of `records`. Where
    there is only one person, or one face of a label, it stays in train.

    Args:
        records: those of train.
        seed: another draws others.
    """
    persons: dict[str, list[str]] = defaultdict(list)
    alone: dict[int, list[str]] = defaultdict(list)
    for record in records:
        if record.group != record.image_id:
            persons[record.group].append(record.image_id)
        else:
            alone[record.label].append(record.image_id)
    drawn = {image_id for person in _first(list(persons), seed) for image_id in persons[person]}
    for image_ids in alone.values():
        drawn.update(_first(image_ids, seed))
    return drawn


def _first(names: Sequence[str], seed: int) -> list[str]:
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    return order[: max(1, round(SHARE * len(order)))] if len(order) > 1 else []
