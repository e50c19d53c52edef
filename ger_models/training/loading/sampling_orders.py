"""Orders of the rows in an epoch, in one table: functions of only the seed and the epoch.

An order is a list of keys. Key `row + draw * rows` asks for that row; `draw` counts how often the epoch has drawn it
before, so that a photo that is drawn twice is augmented differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def shuffled(rng: np.random.Generator, rows: int, batch_size: int, **_: object) -> np.ndarray:
    """Every row once: (rows,)."""
    return rng.permutation(rows)


def balanced(rng: np.random.Generator, rows: int, batch_size: int, labels: Sequence[int], **_: object) -> np.ndarray:
    """As many draws as rows, equally many (plus or minus one) from every class that occurs.

    Within a class, no row is drawn again before all rows have been drawn. The key of a second draw is the row's number
    plus `rows`, so that it is augmented differently.

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
    """Every row once, (rows,), with about the same number of faces in every batch.

    Rows are dealt to the batches in turn, those with the most faces first, and every second round in reverse. If
    the last batch is not full, its rows are drawn first.
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
