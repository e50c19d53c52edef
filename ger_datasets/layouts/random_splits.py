"""Names -> splits at random, with a seed: for datasets that are published without splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

VALIDATION_SHARE, TEST_SHARE = 0.2, 0.1  # the rest is train


def split_names(names: Iterable[str], seed: int) -> dict[str, str]:
    """Each of `names` -> `train`, `validation` or `test`: 70/20/10, at least one in each from three names on.

    Two names are one to train and one to validate; one is to train. The order is that of a hash of seed and name: the
    same everywhere, whatever the order of `names`.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    count = len(order)
    validation = max(1, round(VALIDATION_SHARE * count)) if count >= 2 else 0
    test = max(1, round(TEST_SHARE * count)) if count >= 3 else 0
    splits = ["train"] * (count - validation - test) + ["validation"] * validation + ["test"] * test
    return dict(zip(order, splits, strict=True))


def split_groups(labels: Mapping[str, int], seed: int) -> dict[str, str]:
    """Each group -> its split, as `split_names`, drawn separately within each label so that every split has all.

    Args:
        labels: group -> label; of a group with several labels, any one of them.
        seed: of the draw.

    >>> from collections import Counter
    >>> Counter(split_groups({f"{i}": i % 2 for i in range(20)}, 0).values()) == {"train": 14, "validation": 4, "test": 2}
    True
    """
    splits: dict[str, str] = {}
    for label in sorted(set(labels.values())):
        splits |= split_names((group for group, its_label in labels.items() if its_label == label), seed)
    return splits
