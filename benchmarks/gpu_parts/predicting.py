"""predict.py against decoding the same photos."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from ger_datasets import faces
from ger_datasets.faces import columns
from ger_datasets.loading.rows import Rows
from ger_datasets.loading.splits import load_splits
from ger_datasets.photos.reading import read_photo
from ger_datasets.schema import CLASS_NAMES
from ger_models.inference import inputs, members
from ger_models.presets import build

from .part import ROOT, Part, load_script, timed


def part_predict(part: Part) -> None:
    """predict.py in this process, against decoding alone in one process."""

    model, processor = build("densenet_emotic", CLASS_NAMES, overrides=part.size.models["densenet_emotic"][1])
    model.save_pretrained(part.own / "checkpoint")
    processor.save_pretrained(part.own / "checkpoint")
    photos = sorted((part.work / "raw").rglob("*.jpg"))[: 128 if part.full else 4]
    checkpoints = {"": str(part.own / "checkpoint")}
    if (ROOT / "ger_models" / "starter").is_dir():
        checkpoints["starter "] = str(ROOT / "ger_models" / "starter")
    for label, checkpoint in checkpoints.items():
        part.measure(f"{label}photos", predicted, part, checkpoint, photos)
        part.measure(f"{label}split", predicted, part, checkpoint, None)


def predicted(part: Part, checkpoint: str, photos: list[Path] | None) -> dict[str, Any]:
    """Photos per second of predict.py, from when the model is loaded until the table is written; where they go to.

    Args:
        checkpoint: of the model.
        photos: what is predicted on; None: the training split.
    """
    script = load_script("predict")
    kind = {"dataset": str(part.work / "drawn"), "split": ["train"]} if photos is None else {"photos": photos}
    timers = (
        (inputs, "read_photo", "reading"),
        (inputs, "decoded", "reading"),
        (faces.FaceExtractor, "extract", "finding faces"),
        (columns, "photo_columns", "cutting faces"),
        (members.GerEnsembleProcessor, "preprocess", "preprocessing"),
        (members.Members, "ask", "preprocessing and model"),
    )

    def once(name: str, spent: Counter[str], **what: Any) -> tuple[int, float]:
        arguments = script.Arguments(model=[checkpoint], output=[part.own / name], device=part.device, **what)
        loaded: list[float] = []
        original = script.destinations

        def destinations(given: Any) -> Any:
            loaded.append(time.perf_counter())
            return original(given)

        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(script, "destinations", destinations))
            for owner, function, label in timers:
                stack.enter_context(timed(spent, owner, function, label))
            figures = script.main(arguments)
        return figures["photos"], time.perf_counter() - loaded[0]

    name, spent = f"{Path(checkpoint).name}_{'split' if photos is None else 'photos'}", Counter[str]()
    once(f"{name}_warm.parquet", Counter(), **(kind if photos is None else {"photos": photos[:2]}))
    count, seconds = once(f"{name}.parquet", spent, **kind)
    decoding = count / seconds_decoding(part, photos)
    return {
        "photos": count,
        "photos_per_second": round(count / seconds, 1),
        "decoding_per_second": round(decoding, 1),
        "to_decoding": round(count / seconds / decoding, 3),
        "milliseconds_per_photo": {label: round(1000 * each / count, 2) for label, each in spent.items()},
    }


def seconds_decoding(part: Part, photos: list[Path] | None) -> float:
    if photos is not None:
        begin = time.perf_counter()
        for path in photos:
            read_photo(path)
    else:
        rows = Rows(load_splits(str(part.work / "drawn"), ["image"], ("train",))["train"])
        begin = time.perf_counter()
        for number in range(len(rows)):
            inputs.decoded(rows[number]["image"])
    return time.perf_counter() - begin
