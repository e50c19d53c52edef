"""How the expression network does on single faces: in full, reduced, shifted in scale, in three classes; and how fast.

python benchmarks/bench_expressions.py --dataset ger_datasets/fer2013 --split validation
python benchmarks/bench_expressions.py --speed
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ger_datasets.loading.rows import Rows
from ger_datasets.loading.splits import load_splits
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError
from ger_models.conversion.group_answer import LABELS, MadeGroups, group_logits
from ger_models.evaluation.metrics import compute_metrics
from ger_models.inference.checkpoints import load_checkpoint

SIDES = (32, 24, 20, 16)  # pixels, that faces are reduced to and enlarged from again
SCALES = (0.8, 0.9, 1.1, 1.25)  # of the square around the face
CHUNK = 64  # faces
SPEED_FACES, REPEATS = 1000, 5


@dataclass
class Arguments:
    model: str = field(default="starter", metadata={"help": "An expression model. Default: the one that is shipped."})
    dataset: str | None = field(default=None, metadata={"help": "Prepared dataset of single faces."})
    split: str = field(default="validation", metadata={"help": "Which split of it."})
    speed: bool = field(default=False, metadata={"help": "Measure faces per second on one core as well."})


def main(arguments: Arguments) -> dict[str, Any]:
    if arguments.dataset is None and not arguments.speed:
        raise UserError("give --dataset, --speed or both")
    model, processor = load_checkpoint(arguments.model)
    report: dict[str, Any] = {"model": arguments.model}
    if arguments.dataset is not None:
        split = load_splits(arguments.dataset, processor.row_columns, [arguments.split])[arguments.split]
        report |= accuracies(model, processor, split)
    if arguments.speed:
        report["faces_per_second_on_one_core"] = speed(model)
    return report


@torch.inference_mode()
def accuracies(model: torch.nn.Module, processor: Any, split: Any) -> dict[str, Any]:
    """Figures of a split whose rows have one face each."""
    names = split.features["label"].names
    rows = Rows(split)
    faces = processor([rows[i] for i in range(len(split))])["expression_pixels"]
    labels = np.array(split["label"])
    group_of = np.array([LABELS.index(model.config.groups[n]) if n in model.config.groups else -1 for n in names])

    def logits(pixels: torch.Tensor) -> np.ndarray:
        return torch.cat([model.expression_head(model.embed(chunk)) for chunk in pixels.split(CHUNK)]).numpy()

    def accuracy(pixels: torch.Tensor) -> float:
        return round(float((logits(pixels).argmax(1) == labels).mean()), 4)

    whole = logits(faces)
    counted = group_of[labels] >= 0
    alone = MadeGroups([np.array([row]) for row in np.flatnonzero(counted)], group_of[labels][counted])
    shares = torch.from_numpy(whole).softmax(1).numpy()
    plain, three = (
        group_logits(shares, names, model.config.groups, priors, "logarithms", alone)
        for priors in (None, model.config.priors)
    )
    figures = compute_metrics(labels, whole, names)
    plainly, in_groups = (compute_metrics(alone.labels, each, LABELS) for each in (plain, three))
    return {
        "faces": len(labels),
        "expressions": _short(figures),
        "confusion_matrix": figures["confusion_matrix"],
        "three_classes": {"faces": int(counted.sum()), **_short(plainly)},
        "three_classes_confusion_matrix": plainly["confusion_matrix"],
        "three_classes_divided_by_priors": _short(in_groups),
        "reduced_to": {side: accuracy(_reduced(faces, side)) for side in SIDES},
        "square_scaled_by": {scale: accuracy(_scaled(faces, scale)) for scale in SCALES},
    }


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    kept = ("accuracy", "accuracy_interval", "balanced_accuracy", "macro_f1")
    recalls = {name: round(row["recall"], 3) for name, row in figures["per_class"].items()}
    return {**{name: figures[name] for name in kept}, "recalls": recalls}


def _reduced(faces: torch.Tensor, side: int) -> torch.Tensor:
    small = F.interpolate(faces, (side, side), mode="bilinear", antialias=True)
    return F.interpolate(small, faces.shape[2:], mode="bilinear", align_corners=False)


def _scaled(faces: torch.Tensor, scale: float) -> torch.Tensor:
    theta = torch.tensor([[scale, 0, 0], [0, scale, 0]])[None].expand(len(faces), 2, 3)
    grid = F.affine_grid(theta, list(faces.shape), align_corners=False)
    return F.grid_sample(faces, grid, padding_mode="border", align_corners=False)


@torch.inference_mode()
def speed(model: torch.nn.Module) -> float:
    """Faces per second on one core: the median of several rounds over 1,000 faces, in chunks."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    faces = torch.rand(SPEED_FACES, 1, 48, 48) * 2 - 1
    seconds = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        for chunk in faces.split(CHUNK):
            model.expression_head(model.embed(chunk))
        seconds.append(time.perf_counter() - begin)
    torch.set_num_threads(threads)
    return round(SPEED_FACES / statistics.median(seconds[1:]), 1)


if __name__ == "__main__":
    run(main, Arguments)
