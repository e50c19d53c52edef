"""How often the 95 % interval of the calibration error holds the true one, beside the intervals it could have been.

python benchmarks/bench_intervals.py

Photos of three classes are drawn from a model whose true probabilities are known: softmax(z), z normal. What it says is
softmax(z / temperature): right at 1, too sure below, too unsure above. The truth is the binned error of three million
photos.

| interval | what it is |
|---|---|
| percentile | the middle of the resamples |
| basic | the percentiles mirrored at the figure |
| bca | bias-corrected and accelerated (Efron, 1987) |
| debiased | percentiles of the debiased error, in each resample (Kumar, Liang, Ma, "Verified Uncertainty Calibration", 2019: their code's for distances, the noise of a bin's accuracy taken to be normal) |
| distance | `bootstrap.distance_interval`, what is reported |

For each: `covers`, the share of data sets whose interval holds the truth; `width`, its mean; `holds_figure`, the share
whose interval holds the figure that is reported (`figure`, its mean; `debiased_figure`, that of the debiased error).
"""  # noqa: E501

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm

from ger_datasets.support.command_line import run
from ger_models.evaluation.metrics.group_emotion.bootstrap import (
    INTERVAL,
    distance_interval,
    draws,
)
from ger_models.evaluation.metrics.group_emotion.figures import CONFIDENCE_BINS

SIZES = (30, 90, 300, 1000, 3000)  # photos
TEMPERATURES = (1.0, 0.8, 0.5, 2.0)
SPREAD = 2.0  # the standard deviation of z: some 80 % are right
MANY = 3_000_000


@dataclass
class Arguments:
    datasets: int = field(default=500, metadata={"help": "How many sets of photos are drawn for each line."})
    samples: int = field(default=500, metadata={"help": "How many resamples each interval is made of."})
    seed: int = field(default=0, metadata={"help": "Of everything that is drawn."})


def main(arguments: Arguments) -> dict:
    lines = []
    for temperature in TEMPERATURES:
        said, right = photos(np.random.default_rng(arguments.seed), MANY, temperature)
        truth = np.abs(np.bincount(bins(said), said - right)).sum() / MANY
        for rows in SIZES:
            generator = np.random.default_rng(arguments.seed + 1)
            found = [one(generator, rows, temperature, arguments.samples) for _ in range(arguments.datasets)]
            line = {"photos": rows, "temperature": temperature, "truth": round(float(truth), 4)}
            line |= {name: round(float(np.mean([each[0][name] for each in found])), 4) for name in found[0][0]}
            line |= {name: judged([(each[0], each[1][name]) for each in found], truth) for name in found[0][1]}
            print(line, file=sys.stderr, flush=True)
            lines.append(line)
    return {"lines": lines}


def photos(generator: np.random.Generator, count: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """(count,) each: the probability that the model gives its answer, and that with which the answer is right."""
    scores = generator.normal(scale=SPREAD, size=(count, 3))
    answers = scores.argmax(axis=1)
    said, right = (np.exp(scores / heat) for heat in (temperature, 1))
    return tuple((each[np.arange(count), answers] / each.sum(axis=1)) for each in (said, right))


def bins(said: np.ndarray) -> np.ndarray:
    return np.minimum((said * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)


def one(
    generator: np.random.Generator, rows: int, temperature: float, samples: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The figures of one set of photos, and the intervals of the calibration error."""
    said, right = photos(generator, rows, temperature)
    hits = generator.random(rows) < right
    inside = np.eye(CONFIDENCE_BINS)[bins(said)]  # (rows, bins)
    excess, count, hit = ((each[:, None] * inside) / rows for each in (said - hits, np.ones(rows), hits))
    noise = np.sqrt((said * (1 - said)) @ inside) / rows
    weights = np.concatenate(list(draws(rows, samples, int(generator.integers(1 << 30)))), axis=1).T
    parts, drawn = excess.sum(axis=0), weights @ excess
    figure, figures = float(np.abs(parts).sum()), np.abs(drawn).sum(axis=1)
    low, high = np.percentile(figures, INTERVAL)
    without = np.abs((parts - excess) * rows / (rows - 1)).sum(axis=1)  # the jackknife
    debiased = without_bias(weights @ excess, weights @ count, weights @ hit, rows)
    own = float(without_bias(parts[None], count.sum(axis=0)[None], hit.sum(axis=0)[None], rows)[0])
    return {"figure": figure, "debiased_figure": own}, {
        "percentile": [low, high],
        "basic": [max(0.0, 2 * figure - high), max(0.0, 2 * figure - low)],
        "bca": accelerated(figure, figures, without),
        "debiased": np.percentile(debiased, INTERVAL).tolist(),
        "distance": distance_interval(parts, drawn, noise, rows),
    }


def accelerated(figure: float, figures: np.ndarray, without: np.ndarray) -> list[float]:
    """The BCa interval from the (resamples,) figures and the (rows,) figures without one row each."""
    below = norm.ppf(np.clip((figures < figure).mean(), 0.5 / len(figures), 1 - 0.5 / len(figures)))
    gaps = without.mean() - without
    acceleration = (gaps**3).sum() / max(6 * (gaps**2).sum() ** 1.5, 1e-30)
    ends = below + norm.ppf(np.array(INTERVAL) / 100)
    return np.percentile(figures, 100 * norm.cdf(below + ends / (1 - acceleration * ends))).tolist()


def without_bias(excess: np.ndarray, count: np.ndarray, hit: np.ndarray, rows: int) -> np.ndarray:
    """(weightings, bins) shares of the photos -> (weightings,): the error less what noise is expected to add to it."""
    accuracy = np.divide(hit, count, out=np.zeros_like(hit), where=count > 0)
    deviation = np.maximum(np.sqrt(accuracy * (1 - accuracy) * count / rows), 1e-12)
    distance = np.abs(excess)
    tail = np.exp(-((distance / deviation) ** 2) / 2)
    folded = deviation * np.sqrt(2 / np.pi) * tail + distance * (1 - 2 * norm.cdf(-distance / deviation))
    return np.maximum(0, (2 * distance - folded).sum(axis=1))


def judged(found: list[tuple[Mapping[str, float], list[float]]], truth: float) -> dict[str, float]:
    """Of the figures and one interval of every set of photos: how often it is right, and how wide it is."""
    rows = [(low <= truth <= high, high - low, low <= figures["figure"] <= high) for figures, (low, high) in found]
    covers, width, holds = np.mean(rows, axis=0)
    return {"covers": round(float(covers), 3), "width": round(float(width), 4), "holds_figure": round(float(holds), 3)}


if __name__ == "__main__":
    run(main, Arguments)
