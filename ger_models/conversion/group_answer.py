"""A network trained on single faces -> a checkpoint that answers photos of groups.

How the faces' expressions become the group's emotion is chosen on groups composed of the validation split's faces, as
there are no labelled photos of groups at that point.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from ger_datasets.loading.rows import Rows
from ger_datasets.support.errors import UserError

from ..configuration_ger import ANSWER_COMBINATIONS, GROUPS
from ..evaluation.calibration import fit_temperature
from ..modeling_expression import SMALLEST, GerExpressionForImageClassification
from ..processing_ger import GerProcessor

LABELS = ("Negative", "Neutral", "Positive")
SURPRISE = (None, *LABELS)  # which group surprise counts for
PRIOR_POWERS = (0.0, 0.5, 1.0)
BATCH = 256  # faces

# Most photos of groups have at most a dozen faces, and not all faces show the same emotion
SMALLEST_GROUP, LARGEST_GROUP = 1, 9
AGREEMENT = 0.85  # chance that a face shows its group's emotion


@dataclass(frozen=True)
class MadeGroups:
    """Groups composed of single faces.

    Attributes:
        members: for each group, the row numbers of its faces.
        labels: (groups,) index in `LABELS` of the emotion that more than half of its faces show.
    """

    members: list[np.ndarray]
    labels: np.ndarray


def make_groups(face_labels: Sequence[str], count: int = 3000, seed: int = 0) -> MadeGroups:
    """Groups of 1 to 9 faces, equally many groups of each emotion; the faces that disagree are drawn from all others.

    Args:
        face_labels: (faces,) the expression of each face.
        count: number of groups.
        seed: of the random draw.

    Raises:
        ValueError: no face shows one of the emotions.
    """
    rng = np.random.default_rng(seed)
    emotion = np.array([LABELS.index(GROUPS[name]) if name in GROUPS else -1 for name in face_labels])
    pools = [np.flatnonzero(emotion == label) for label in range(len(LABELS))]
    if not all(map(len, pools)):
        raise ValueError(f"the faces must show each of {', '.join(LABELS)}: found {sorted(set(face_labels))}")
    members, labels = [], []
    for i in range(count):
        label = i % len(LABELS)
        size = int(rng.integers(SMALLEST_GROUP, LARGEST_GROUP + 1))
        agreeing = max(size // 2 + 1, int(rng.binomial(size, AGREEMENT)))
        others = np.flatnonzero(emotion != label)
        rows = [rng.choice(pools[label], agreeing), rng.choice(others, size - agreeing)]
        members.append(np.concatenate(rows))
        labels.append(label)
    return MadeGroups(members, np.array(labels))


def group_logits(
    probabilities: np.ndarray,
    expressions: Sequence[str],
    groups: Mapping[str, str],
    priors: Mapping[str, float] | None,
    combination: str,
    made: MadeGroups,
) -> np.ndarray:
    """The logits (groups, labels) of GerExpressionForImageClassification at temperature 1.

    Args:
        probabilities: (faces, expressions).
        expressions: their names.
        groups: expression -> label.
        priors: label -> divisor, or None.
        combination: `probabilities` or `logarithms`.
        made: the groups.
    """
    membership = np.array([[float(groups.get(name) == label) for label in LABELS] for name in expressions])
    scores = probabilities @ membership
    if priors is not None:
        scores = scores / [priors[label] for label in LABELS]
    scores = scores / np.maximum(scores.sum(1, keepdims=True), SMALLEST)
    if combination == "logarithms":
        scores = np.log(np.maximum(scores, SMALLEST))
    means = np.stack([scores[rows].mean(0) for rows in made.members])
    return means if combination == "logarithms" else np.log(np.maximum(means, SMALLEST))


def choose_answer(
    probabilities: np.ndarray, face_labels: Sequence[str], expressions: Sequence[str], train_counts: Mapping[str, int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The fields of GerExpressionConfig with the highest accuracy on composed groups, and all combinations tried.

    Of equal accuracies the first, simplest combination is taken; its temperature is the one of the lowest log-loss.

    Args:
        probabilities: (faces, expressions) of the validation split.
        face_labels: (faces,) the expression of each face.
        expressions: the names of the network's outputs.
        train_counts: expression -> number of faces in the training split.
    """
    made = make_groups(face_labels)
    tried: list[dict[str, Any]] = []
    for combination, power, surprise in itertools.product(ANSWER_COMBINATIONS, PRIOR_POWERS, SURPRISE):
        groups = {**GROUPS, **({} if surprise is None else {"surprise": surprise})}
        priors = _priors(groups, train_counts, power)
        logits = group_logits(probabilities, expressions, groups, priors, combination, made)
        fields: dict[str, Any] = {"groups": groups, "priors": priors, "combination": combination}
        tried.append(
            {
                "combination": combination,
                "prior_power": power,
                "surprise": surprise or "none",
                "accuracy": float((logits.argmax(1) == made.labels).mean()),
                "recalls": [float((logits.argmax(1) == i)[made.labels == i].mean()) for i in range(len(LABELS))],
                "fields": fields,
                "logits": logits,
            }
        )
    best = max(tried, key=lambda choice: choice["accuracy"])
    temperature = fit_temperature(best["logits"], made.labels)
    fields = {**best["fields"], "answer_temperature": round(temperature, 3)}
    shown = [{name: value for name, value in t.items() if name not in ("fields", "logits")} for t in tried]
    return fields, shown


def _priors(groups: Mapping[str, str], train_counts: Mapping[str, int], power: float) -> dict[str, float] | None:
    """Label -> its share of the training faces that count for a label, to the power of `power`."""
    if not power:
        return None
    counts = {label: sum(n for name, n in train_counts.items() if groups.get(name) == label) for label in LABELS}
    total = sum(counts.values())
    return {label: round((count / total) ** power, 6) for label, count in counts.items()}


@torch.inference_mode()
def face_probabilities(
    model: GerExpressionForImageClassification, processor: GerProcessor, split: Dataset, device: str = "cpu"
) -> np.ndarray:
    """Probabilities (rows, expressions), float32, of a split with one face in each row.

    Raises:
        UserError: a row has no face, or more than one.
    """
    model = model.to(device).eval()
    rows, made = Rows(split), []
    for start in tqdm(range(0, len(split), BATCH), unit="batch", desc="reading faces", mininterval=0.5):
        batch = processor(rows.__getitems__(range(start, min(start + BATCH, len(split)))))
        if not bool((batch["face_counts"] == 1).all()):
            at = start + int((batch["face_counts"] != 1).nonzero()[0])
            raise UserError(
                f"row {at} has {int(batch['face_counts'][at - start])} faces: expected one face in each row"
            )
        output = model(**batch.to(device), output_faces=True)
        made.append(output.face_expressions[:, 0].float().cpu().numpy())
    return np.concatenate(made)
