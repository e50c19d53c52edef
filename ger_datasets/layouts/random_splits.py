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
    order = _order(names, seed)
    count = len(order)
    validation = max(1, round(VALIDATION_SHARE * count)) if count >= 2 else 0
    test = max(1, round(TEST_SHARE * count)) if count >= 3 else 0
    splits = ["train"] * (count - validation - test) + ["validation"] * validation + ["test"] * test
    return dict(zip(order, splits, strict=True))


def split_off(labels: Mapping[str, int], seed: int) -> set[str]:
    """The groups that become `validation` where only train and test are published: 20 % of each label.

    Args:
        labels: group -> label.
        seed: of the draw.
    """
    taken: set[str] = set()
    for label in sorted(set(labels.values())):
        order = _order((group for group, its_label in labels.items() if its_label == label), seed)
        if len(order) > 1:
            taken.update(order[: max(1, round(VALIDATION_SHARE * len(order)))])
    return taken


def split_groups(labels: Mapping[str, int], seed: int) -> dict[str, str]:
    """Each group -> its split, as `split_names`, drawn separately within each label so that every split has all.

    Args:
        labels: group -> label; of a group with several labels, any one of them.
        seed: of the draw.

    >>> drawn = list(split_groups({str(i): i % 2 for i in range(20)}, seed=0).values())
    >>> [drawn.count(split) for split in ("train", "validation", "test")]
    [14, 4, 2]
    """
    splits: dict[str, str] = {}
    for label in sorted(set(labels.values())):
        splits |= split_names((group for group, its_label in labels.items() if its_label == label), seed)
    return splits


def _order(names: Iterable[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
