"""Made-up predictions of three models and their ensemble on two splits, and pictures for their mistakes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ger_models.evaluation.ensemble.applying import apply
from ger_models.evaluation.ensemble.ensemble import Ensemble
from ger_models.evaluation.predictions import Predictions
from ger_models.evaluation.report.mistakes import Picture

NAMES = ("Negative", "Neutral", "Positive")
SPLITS = ("test", "validation")
WEIGHTS = [0.5, 0.25, 0.25]
GRID = [[i / 4, j / 4, (4 - i - j) / 4] for i in range(5) for j in range(5 - i)]
LANDSCAPE = {
    "method": "simplex",
    "members": ["faces", "scene", "skeletons"],
    "weights": WEIGHTS,
    "select": "validation",
    "landscape": {"weights": GRID, "accuracy": [0.5 + 0.01 * i for i in range(len(GRID))], "split": "validation"},
}


def models(rows: int = 80, names: Sequence[str] = NAMES, **changes: object) -> list[Predictions]:
    """The ensemble, then its members; the first of these tells the faces' attention."""
    members = []
    for seed, model in enumerate(LANDSCAPE["members"]):
        generator = np.random.default_rng(seed)
        labels = np.arange(2 * rows) % 3
        logits = generator.normal(size=(2 * rows, 3)).astype(np.float32)
        logits[np.arange(2 * rows), labels] += 1
        splits = [SPLITS[0]] * rows + [SPLITS[1]] * rows
        members.append(
            Predictions(
                image_ids=[f"{split}/{row}.jpg" for row, split in enumerate(splits)],
                splits=splits,
                labels=labels,
                logits=logits,
                model=model,
                class_names=names,
                faces=np.arange(2 * rows) % 4,
                face_attention=[[0.4, 0.2][: row % 4] for row in range(2 * rows)] if seed == 0 else None,
            )
        )
    together = apply(Ensemble("given", weights=WEIGHTS), members, SPLITS)
    return [replace(each, **changes) for each in (together, *members)]


def pictures(image_ids: Sequence[str]) -> dict[str, Picture]:
    """Grey photos with a face; one that cannot be shown."""
    buffer = io.BytesIO()
    Image.new("RGB", (120, 90), (120, 130, 140)).save(buffer, "JPEG")
    shown = {image_id: Picture(buffer.getvalue(), 120, 90, [[10, 10, 40, 50]]) for image_id in image_ids}
    shown[image_ids[0]] = Picture(b"", 1, 1, (), "damaged: <b>")
    return shown
