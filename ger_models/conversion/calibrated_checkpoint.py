"""A checkpoint and a split with labels -> the checkpoint with a `calibration` in its configuration.

The weights stay as they are. See `ger_models.evaluation.calibration` for what is fitted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from tqdm import tqdm
from transformers.utils import CONFIG_NAME

from ger_datasets.loading.revision import dataset_revision
from ger_datasets.loading.splits import load_splits
from ger_datasets.photos.reading import in_groups
from ger_datasets.schema import NO_LABEL
from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError, listing
from ger_datasets.support.hub_connection import read_from_hub
from ger_datasets.support.locks import LOCK, alone
from ger_datasets.support.repository_names import public_name

from ..evaluation.calibration import calibrate, checked_calibration
from ..inference.encoded_columns import check_encoders
from ..inference.inputs import dataset_parts
from ..inference.members import Members
from ..inference.predict_run import renumbered
from ..inference.saving import disk_errors, put_files
from ..pipeline_ger import BATCH_PIXELS, pixels_of_row
from ..starter import STARTER, checkpoint_place

CARD = "README.md"
CARD_LINE = re.compile(r"^Calibration: .*$", re.MULTILINE)


def check_destination(model: str, output_dir: Path | None) -> None:
    """Refuse to write into what is not a folder of the user's, or into a folder that holds something.

    Raises:
        UserError: a Hub repository or the package's own checkpoint without `output_dir`; or it is not empty.
    """
    place = checkpoint_place(model)
    if output_dir is None and (place == STARTER or not Path(place).is_dir()):
        raise UserError(
            f"{model} is not a folder that can be changed: give --output_dir for the calibrated checkpoint"
        )
    if output_dir is not None and output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise UserError(f"{output_dir} is not empty: choose another --output_dir")


def fit_calibration(members: Members, dataset: str, split: str, coverage: float, batch_size: int) -> dict[str, Any]:
    """The calibration of a model, to be stored in its configuration.

    Args:
        members: the model alone.
        dataset: a prepared dataset: a folder or a Hub repository.
        split: its split; not the one that is reported on later.
        coverage: share of photos whose prediction set must hold the truth.
        batch_size: photos per forward.

    Raises:
        UserError: no such dataset or split, other classes than the model's, no labels, or too few photos.
    """
    names = members.class_names(0)
    (data,) = load_splits(dataset, [*members.columns, "face_scores"], [split]).values()
    there = data.features["label"].names
    if set(there) != set(names):
        raise UserError(f"{dataset} has the classes {listing(there)}, but the model knows {listing(names)}")
    check_encoders(dataset, members.models[0].config)
    known = np.flatnonzero(np.array(data["label"][:]) != NO_LABEL)
    if not len(known):
        raise UserError(
            f"the split {split!r} of {dataset} has no labels, which a calibration is fitted on: use another"
        )
    calibrate(np.zeros((len(known), len(names))), np.zeros(len(known), np.int64), coverage)  # refuses before the work
    logits, labels = split_logits(members, data.select(known), batch_size)
    found = calibrate(logits, renumbered(labels.tolist(), there, names), coverage)
    about = {"dataset": public_name(dataset), "dataset_revision": dataset_revision(dataset), "split": split}
    calibration = checked_calibration({**found, **about, "class_names": names}, names)
    return dict(calibration or {})


def split_logits(members: Members, data: Dataset, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (photos, classes) of the model and labels (photos,) as the dataset numbers them; photos that cannot be
    decoded are left out, with a warning.

    Raises:
        UserError: the rows lack a column that the model reads, or no photo can be used.
    """
    logits, labels = [], []
    bar = tqdm(total=len(data), unit="photo", desc="predicting", mininterval=0.5)
    for part in dataset_parts({"": data}, batch_size):
        for batch in in_groups(part.rows([]), batch_size, BATCH_PIXELS, pixels_of_row):
            logits.append(members.ask(batch)[0].logits)
            labels += [row["label"] for row in batch]
            bar.update(len(batch))
    bar.close()
    if not labels:
        raise UserError("none of the split's photos can be used")
    return np.concatenate(logits), np.array(labels)


def store(members: Members, model: str, output_dir: Path | None, calibration: Mapping[str, Any]) -> Path:
    """Write the calibration into the configuration of the checkpoint `model`, or of a copy; returns its folder.

    In place, only that field and the card's line about it change.

    Args:
        members: the model alone, as loaded from `model`.
        model: a folder, a Hub repository or `starter`.
        output_dir: new folder for a copy; None: in place.
        calibration: from `fit_calibration`.

    Raises:
        UserError: the files cannot be read or written, or another process writes there.
    """
    if output_dir is None:
        folder = Path(checkpoint_place(model))
        with alone(folder / LOCK, f"writing into {folder}"):
            fields = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
            text = json.dumps({**fields, "calibration": dict(calibration)}, indent=2, sort_keys=True)
            write_text(folder / CONFIG_NAME, text + "\n")
            write_text(folder / CARD, _card(_read_card(model, None), calibration))
        return folder
    loaded, processor = members.models[0].cpu(), members.processors[0]
    loaded.config.calibration = dict(calibration)
    card = _card(_read_card(model, loaded.config._commit_hash), calibration)

    def write(folder: Path) -> None:
        loaded.save_pretrained(folder)
        processor.save_pretrained(folder)
        (folder / CARD).write_text(card, encoding="utf-8")

    with disk_errors(output_dir):
        put_files(output_dir, write)
    return output_dir


def _read_card(model: str, commit: str | None) -> str:
    """The README.md of a checkpoint; empty where it has none."""
    place = checkpoint_place(model)
    if not Path(place).is_dir():
        try:
            path = read_from_hub(place, lambda: hf_hub_download(place, CARD, revision=commit))
        except EntryNotFoundError:
            return ""
        return Path(path).read_text(encoding="utf-8")
    return (Path(place) / CARD).read_text(encoding="utf-8") if (Path(place) / CARD).is_file() else ""


def _card(text: str, calibration: Mapping[str, Any]) -> str:
    """The card with its line about the calibration, in place of an earlier one."""
    line = (
        f"Calibration: temperature {calibration['temperature']:.3f} and prediction sets for a coverage of "
        f"{calibration['coverage']:.0%}, fitted on {calibration['photos']:,} photos of the split "
        f"{calibration['split']} of {calibration['dataset']}, revision {calibration['dataset_revision']}."
    )
    if CARD_LINE.search(text):
        return CARD_LINE.sub(lambda _: line, text, count=1)
    return f"{text.rstrip()}\n\n{line}\n".lstrip()
