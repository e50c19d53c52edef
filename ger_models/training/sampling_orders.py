"""The order of the rows in an epoch, one table: functions of the seed and the epoch alone.

An order is a list of keys. Key `row + draw * rows` asks for that row; `draw` counts how often the epoch has had it
before, so that a photo that is drawn twice is augmented differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def shuffled(rng: np.random.Generator, rows: int, batch_size: int, **_: object) -> np.ndarray:
    """Every row once: (rows,)."""
    return rng.permutation(rows)


def balanced(rng: np.random.Generator, rows: int, batch_size: int, labels: Sequence[int], **_: object) -> np.ndarray:
    """As many draws as there are rows, every class that occurs equally often (give or take one).

    Within a class no row is drawn again before all have been. A row that is drawn a second time has its number plus
    `rows` as its key, so that it is augmented differently.

    >>> keys = balanced(np.random.default_rng(0), rows=4, batch_size=2, labels=[0, 0, 0, 1])
    >>> sorted(int(key) for key in keys if key % 4 == 3)
    [3, 7]

    Returns:
        (rows,) keys.
    """
    classes = [np.flatnonzero(np.asarray(labels) == label) for label in np.unique(labels)]
    share = np.full(len(classes), rows // len(classes))
    share[rng.permutation(len(classes))[: rows % len(classes)]] += 1
    keys = []
    for members, count in zip(classes, share, strict=True):
        rounds = -(-count // len(members))
        each = [rng.permutation(members) + draw * rows for draw in range(rounds)]
        keys.append(np.concatenate(each)[:count] if rounds else members[:0])
    return rng.permutation(np.concatenate(keys))


def even_lengths(
    rng: np.random.Generator, rows: int, batch_size: int, lengths: Sequence[int], **_: object
) -> np.ndarray:
    """Every row once, (rows,), the faces dealt out to the batches like cards, the longest rows first.

    Every other round goes backwards. The rows of the last batch, where it is not full, are drawn beforehand.
    """
    keys = rng.permutation(rows)
    whole = rows // batch_size
    dealt, rest = keys[: whole * batch_size], keys[whole * batch_size :]
    dealt = dealt[np.argsort(-np.asarray(lengths)[dealt], kind="stable")].reshape(batch_size, whole)
    dealt[1::2] = dealt[1::2, ::-1].copy()
    batches = rng.permuted(dealt[:, rng.permutation(whole)].T, axis=1)  # (batches, rows of each)
    return np.concatenate([batches.reshape(-1), rest])


ORDERS: dict[str, Callable[..., np.ndarray]] = {
    "shuffle": shuffled,
    "balanced": balanced,
    "lengths": even_lengths,
}
