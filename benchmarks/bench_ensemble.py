"""How fast ensembles are searched and figures resampled: ratios, each measured side by side in one run.

python benchmarks/bench_ensemble.py
python benchmarks/bench_ensemble.py --predictions OUTPUTS/model[1-5]*.npz

| figure | meaning |
|---|---|
| simplex_5_at_0.05, simplex_5_at_0.02, simplex_6_at_0.05 | weightings, seconds of the search, and `ratio`: weightings per second over those of a plain NumPy evaluation of one weighting after the other (weighted sum, argmax, compare) on the same scores, in turns |
| bootstrap | seconds for every figure with intervals, of 3 models, 2,000 resamples |
| peak_mb, search_mb | the process's peak memory, and by how much the searches raised it |

Both sides run in one process, with the same threads and the same BLAS.
"""  # noqa: E501

from __future__ import annotations

import resource
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError
from ger_models.evaluation.ensemble.simplex import search
from ger_models.evaluation.joining import join, read_members, stacked
from ger_models.evaluation.metrics import compute_metrics

PHOTOS = 3341  # of GAF 3.0's VAL
SEARCHES = ((5, 20), (5, 50), (6, 20))  # members, steps from 0 to 1
PLAIN = 200  # weightings of the plain evaluation in each round


@dataclass
class Arguments:
    predictions: list[Path] | None = field(
        default=None, metadata={"help": "Tables or archives with a validation split. Default: scores drawn at random."}
    )
    rounds: int = field(default=5, metadata={"help": "How often each side of a ratio is measured."})


def main(arguments: Arguments) -> dict:
    logits, labels = scores(arguments.predictions)
    compute_metrics(labels, logits[0], ["a", "b", "c"], bootstrap_samples=1)  # what the first call imports
    search(logits[:2], labels, 20)
    before = peak_mb()
    figures = {}
    for members, units in SEARCHES:
        figures[f"simplex_{members}_at_{1 / units:g}"] = searched(logits[:members], labels, units, arguments.rounds)
        print(figures, file=sys.stderr, flush=True)
    after = peak_mb()
    began = time.perf_counter()
    for each in logits[:3]:
        compute_metrics(labels, each, ["a", "b", "c"])
    bootstrap = {
        "models": 3,
        "photos": len(labels),
        "resamples": 2000,
        "seconds": round(time.perf_counter() - began, 2),
    }
    memory = {"peak_mb": round(peak_mb()), "search_mb": round(after - before, 1)}
    return {"photos": len(labels), **figures, "bootstrap": bootstrap, **memory}


def searched(logits: np.ndarray, labels: np.ndarray, units: int, rounds: int) -> dict:
    """One search against the plain evaluation of as many weightings as a round affords, in turns."""
    weights = np.random.default_rng(0).dirichlet(np.ones(len(logits)), PLAIN).astype(np.float32)
    ours, plain = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        best = search(logits, labels, units)
        ours.append((time.perf_counter() - began) / best.weightings)
        began = time.perf_counter()
        for each in weights:
            plain_evaluation(each, logits, labels)
        plain.append((time.perf_counter() - began) / PLAIN)
    ratios = [slow / fast for fast, slow in zip(ours, plain, strict=True)]
    return {
        "weightings": best.weightings,
        "seconds": round(statistics.median(ours) * best.weightings, 3),
        "us_per_weighting": round(statistics.median(ours) * 1e6, 2),
        "plain_us_per_weighting": round(statistics.median(plain) * 1e6, 2),
        "ratio": round(statistics.median(ratios), 1),
        "ratio_least": round(min(ratios), 1),
    }


def plain_evaluation(weights: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> int:
    """What one would write: how many photos a weighting is right on."""
    return int((np.tensordot(weights, logits, 1).argmax(axis=1) == labels).sum())


def scores(paths: list[Path] | None) -> tuple[np.ndarray, np.ndarray]:
    """(6, rows, 3) float32 and (rows,): the members' own, the sixth made of the fifth where there are five."""
    rng = np.random.default_rng(0)
    if paths is None:
        labels = rng.integers(0, 3, PHOTOS)
        common = rng.normal(size=(PHOTOS, 3))  # members err on the same photos
        common[np.arange(PHOTOS), labels] += 1.3
        logits = np.stack([common + rng.normal(scale=0.6, size=common.shape) for _ in range(6)])
        return logits.astype(np.float32), labels
    members = join(read_members(paths), "validation")
    if len(members) < 5:
        raise UserError(f"the benchmark needs five members or more, found {len(members)}")
    logits = stacked(members)
    if len(logits) == 5:
        noise = rng.normal(size=(1, *logits.shape[1:])).astype(np.float32)
        logits = np.concatenate([logits, logits[4:] / 2 + noise])
    return logits, members[0].labels


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB on Linux


if __name__ == "__main__":
    run(main, Arguments)
