"""Several models on one split -> one table: mean accuracy over seeds, intervals, paired tests, cost, and faces.

A model's seeds are runs of one recipe that differ in nothing but the seed. Test photos are scored as they are: no
seed and no epoch is chosen by them here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import t as student

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError, listing

from .joining import join
from .metrics.group_emotion.bootstrap import draws, interval, unit_sums, units_of
from .metrics.group_emotion.figures import FACE_BINS
from .predictions import Predictions

PERMUTATIONS = 20_000
SIGNIFICANT = 0.05  # after Holm's correction
BLOCK = 500  # permutations at once


@dataclass(frozen=True)
class Entry:
    """A model of the table.

    Attributes:
        name: what the table calls it.
        seeds: its predictions, one for each seed.
        cost: what is known of its cost, such as `parameters` and `train_seconds`.
    """

    name: str
    seeds: Sequence[Predictions]
    cost: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """An entry on the photos of its group.

    Attributes:
        entry: the model.
        hits: (photos,) the share of its seeds that are right on each photo, 0 to 1.
        accuracies: of each seed.
        faces: (photos,) the number of faces, or None.
        unit: (photos,) which photos are drawn together; None: each alone.
        units: how many units there are.
        photos: the image_ids.
    """

    entry: Entry
    hits: np.ndarray
    accuracies: list[float]
    faces: np.ndarray | None
    unit: np.ndarray | None
    units: int
    photos: tuple[str, ...]


def model_table(entries: Sequence[Entry], split: str, bootstrap_samples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """The table as plain numbers.

    Args:
        entries: the models; those that were given the same photos are compared with each other.
        split: the split to score; photos without a label are left out.
        bootstrap_samples: resamples behind each interval over photos.
        seed: of the resamples and permutations.

    Returns:
        split, and `rows`, best first: `model`, `accuracy` (the mean over seeds), `seeds` (each), `std` (over seeds,
        None for one), `photos_interval` (95 %, bootstrap over photos or groups), `seeds_interval` (95 %, Student's t;
        None for one seed), `photos`, `compared` (the number of the group of models with the same photos),
        `by_faces` (bin -> accuracy and photos), `cost`.
        pairs: for each two models on the same photos `models` (better first), `difference`, `interval` (paired
        bootstrap), `p` (two-sided sign-flip permutation test over photos or groups, seeds averaged), `p_holm`
        (Holm 1979, over all pairs) and `significant`.

    Raises:
        UserError: fewer than one model, two of the same name, no labelled photo, seeds of one model with other photos.
    """
    names = [entry.name for entry in entries]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if not entries or doubled:
        raise UserError(f"two models are called {listing(doubled)}" if doubled else "no models are given")
    scored = [_score(entry, split) for entry in entries]
    groups = list(dict.fromkeys(frozenset(each.photos) for each in scored))
    rows = [_row(each, groups.index(frozenset(each.photos)) + 1, bootstrap_samples, seed) for each in scored]
    pairs = [
        _pair(first, second, bootstrap_samples, seed)
        for first, second in itertools.combinations(scored, 2)
        if set(first.photos) == set(second.photos)
    ]
    for pair, corrected in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair |= {"p_holm": corrected, "significant": corrected < SIGNIFICANT}
    rows.sort(key=lambda row: (row["compared"], -row["accuracy"]))
    return {"split": split, "rows": rows, "pairs": pairs}


def _score(entry: Entry, split: str) -> Scored:
    try:
        seeds = join(list(entry.seeds), split)
    except UserError as error:
        raise UserError(f"{entry.name}: {error}") from error
    first = seeds[0]
    known = first.labels != NO_LABEL
    if not known.any():
        raise UserError(f"{entry.name}: no photo of the split {split} has a label")
    order = np.argsort(np.asarray(first.image_ids, dtype=str)[known], kind="stable")  # the same for all models
    rows = np.flatnonzero(known)[order]
    right = np.stack([each.logits[rows].argmax(1) == first.labels[rows] for each in seeds])  # (seeds, photos)
    groups = None if first.groups is None else [first.groups[row] for row in rows]
    unit, units = units_of(groups, len(rows))
    faces = None if first.faces is None else first.faces[rows]
    photos = tuple(first.image_ids[row] for row in rows)
    return Scored(entry, right.mean(0), right.mean(1).tolist(), faces, unit, units, photos)


def _row(scored: Scored, group: int, samples: int, seed: int) -> dict[str, Any]:
    accuracies = np.array(scored.accuracies)
    count, mean = len(accuracies), float(accuracies.mean())
    spread = float(accuracies.std(ddof=1)) if count > 1 else None
    margin = None if spread is None else float(student.ppf(0.975, count - 1)) * spread / count**0.5
    by_faces = {}
    faces = np.zeros(0) if scored.faces is None else scored.faces
    for low, high in FACE_BINS if scored.faces is not None else ():
        inside = np.logical_and(faces >= low, faces <= (np.inf if high is None else high))
        if inside.any():
            name = f"{low}+" if high is None else str(low) if high == low else f"{low}-{high}"
            by_faces[name] = {"accuracy": float(scored.hits[inside].mean()), "photos": int(inside.sum())}
    return {
        "model": scored.entry.name,
        "accuracy": mean,
        "seeds": scored.accuracies,
        "std": spread,
        "photos_interval": interval(_resampled(scored, scored.hits, samples, seed), mean),
        "seeds_interval": None if margin is None else [max(mean - margin, 0.0), min(mean + margin, 1.0)],
        "photos": len(scored.photos),
        "compared": group,
        "by_faces": by_faces,
        "cost": dict(scored.entry.cost),
    }


def _resampled(scored: Scored, values: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """(resamples,) the means of values (photos,) over the photos that each resample draws."""
    sums = unit_sums(np.stack([values, np.ones_like(values)], 1).astype(np.float32), scored.unit, scored.units)
    total, drawn = np.concatenate([sums.T @ counts for counts in draws(scored.units, samples, seed)], axis=1)
    return total / drawn


def _pair(first: Scored, second: Scored, samples: int, seed: int) -> dict[str, Any]:
    if first.hits.mean() < second.hits.mean():
        first, second = second, first
    gain = first.hits - second.hits  # (photos,)
    difference = float(gain.mean())
    return {
        "models": [first.entry.name, second.entry.name],
        "difference": difference,
        "interval": interval(_resampled(first, gain, samples, seed), difference),
        "p": sign_flip(unit_sums(gain[:, None], first.unit, first.units)[:, 0], seed),
    }


def sign_flip(gains: np.ndarray, seed: int = 0) -> float:
    """Two-sided p-value of a permutation test: how often sums of `gains` with random signs are as far from 0.

    >>> sign_flip(np.zeros(10))
    1.0
    >>> sign_flip(np.ones(12)) < 0.01
    True

    Args:
        gains: (units,) one model's right photos less the other's, for each photo or group.
        seed: of the signs.
    """
    rng = np.random.default_rng(seed)
    moved = gains[gains != 0].astype(np.float32)
    if not len(moved):
        return 1.0
    observed = abs(float(moved.sum(dtype=np.float64))) - 1e-4  # sums of float32
    reached = 0
    for _ in range(PERMUTATIONS // BLOCK):
        signs = rng.integers(0, 2, (BLOCK, len(moved)), dtype=np.int8).astype(np.float32) * 2 - 1
        reached += int((np.abs(signs @ moved) >= observed).sum())
    return (reached + 1) / (PERMUTATIONS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
