"""What the models' own ways of working cost or save: ratios, each measured side by side in one run.

python benchmarks/bench_models.py

| figure | meaning |
|---|---|
| packed_to_padded | steps per second of face_aligned on the faces there are, over those of photos padded to 15 |
| packed_difference | the furthest that a logit of the two lies apart |
| densenet_to_timm | steps per second of densenet_emotic over the same step of timm's model with a linear head |
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import timm
import torch
from torch.nn import functional as F
from tqdm import tqdm

from ger_datasets.support.command_line import run
from ger_models.presets import build

CLASSES = ["Negative", "Neutral", "Positive"]
MAX_FACES = 15
FACES_PER_PHOTO = 6.8  # the mean of GAF 3.0


@dataclass
class Arguments:
    rounds: int = field(default=5, metadata={"help": "How often each side of a ratio is measured."})
    photos: int = field(default=16, metadata={"help": "Photos per step of the face model."})
    scenes: int = field(default=4, metadata={"help": "Photos per step of the scene model."})
    threads: int = field(default=2, metadata={"help": "Threads of each."})


def main(arguments: Arguments) -> dict:
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    return {**packed(arguments.photos, arguments.rounds), **scene(arguments.scenes, arguments.rounds)}


def packed(photos: int, rounds: int) -> dict:
    """A training step of face_aligned, packed and padded."""
    model, _ = build("face_aligned", CLASSES)
    rng = np.random.default_rng(0)
    counts = torch.from_numpy(np.clip(rng.poisson(FACES_PER_PHOTO, photos), 1, MAX_FACES))
    faces = torch.randn(int(counts.sum()), 3, 112, 96)
    labels = torch.arange(photos) % 3
    mask = torch.arange(MAX_FACES)[None] < counts[:, None]
    slots = torch.zeros(photos, MAX_FACES, 3, 112, 96)
    slots[mask] = faces

    def padded_logits() -> torch.Tensor:
        per_face = model.head(model.net(slots.flatten(0, 1))).unflatten(0, (photos, MAX_FACES))
        return (per_face * mask[..., None]).sum(1) / counts[:, None]

    def packed_logits() -> torch.Tensor:
        return model(face_pixels=faces, face_counts=counts).logits

    with torch.no_grad():
        difference = (padded_logits() - packed_logits()).abs().max().item()
    ratios = compare(step(model, padded_logits, labels), step(model, packed_logits, labels), rounds)
    return {
        "packed_to_padded": round(statistics.median(ratios), 2),
        "packed_rounds": [round(ratio, 2) for ratio in sorted(ratios)],
        "packed_difference": difference,
        "faces_per_photo": round(len(faces) / photos, 2),
    }


def scene(photos: int, rounds: int) -> dict:
    """A training step of densenet_emotic, and of timm's own model with the same head."""
    ours, _ = build("densenet_emotic", CLASSES)
    theirs = timm.create_model("densenet161", num_classes=len(CLASSES))
    pixels, labels = torch.randn(photos, 3, 224, 224), torch.arange(photos) % 3
    bare = step(theirs, lambda: theirs(pixels), labels)
    whole = step(ours, lambda: ours(pixel_values=pixels).logits, labels)
    ratios = compare(bare, whole, rounds)
    return {
        "densenet_to_timm": round(statistics.median(ratios), 3),
        "densenet_rounds": [round(ratio, 3) for ratio in sorted(ratios)],
    }


def step(model: torch.nn.Module, logits: Callable[[], torch.Tensor], labels: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def work() -> None:
        optimizer.zero_grad()
        F.cross_entropy(logits(), labels).backward()
        optimizer.step()

    return work


def compare(one: Callable[[], None], other: Callable[[], None], rounds: int) -> list[float]:
    """Seconds of `one` over seconds of `other`, in turn; the first round is the warm-up."""
    ratios = []
    for i in tqdm(range(rounds + 1), unit="round"):
        seconds = []
        for work in (one, other):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        if i:
            ratios.append(seconds[0] / seconds[1])
    return ratios


if __name__ == "__main__":
    run(main, Arguments)
