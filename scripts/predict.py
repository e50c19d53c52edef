"""Predict the group emotion of a dataset split, or of photos.

python scripts/predict.py --model runs/densenet_emotic --dataset ger_datasets/gaf3 --split test --output test.parquet
python scripts/predict.py --model runs/densenet_emotic --photos a.jpg b.jpg --output_dir pictures
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.special import softmax
from tqdm import tqdm

from ger_datasets.cards import read_notice
from ger_datasets.cli import run
from ger_datasets.errors import UserError, listing
from ger_models.evaluation.predictions import Predictions, write_predictions
from ger_models.inference import load_checkpoint, predict_rows
from ger_models.loading import check_classes, load_splits, public_name
from ger_models.pictures import PREDICTIONS, make_picture_folder, save_pictures
from ger_models.pipeline_ger import photo_rows

logger = logging.getLogger(__name__)


@dataclass
class Arguments:
    model: str = field(metadata={"help": "A checkpoint: the output folder of train.py, or a Hub repository."})
    dataset: str | None = field(default=None, metadata={"help": "Prepared dataset: a folder or a Hub repository."})
    split: str = field(default="test", metadata={"help": "Which split of the dataset."})
    output: Path | None = field(default=None, metadata={"help": "The predictions table of a dataset: a Parquet file."})
    photos: list[Path] | None = field(default=None, metadata={"help": "Photos of your own, instead of a dataset."})
    output_dir: Path | None = field(
        default=None, metadata={"help": "Folder for the photos' pictures and their predictions.parquet."}
    )
    batch_size: int = field(default=16, metadata={"help": "Photos per forward."})

    def __post_init__(self) -> None:
        if (self.dataset is None) == (self.photos is None):
            raise UserError("give either --dataset with --output, or --photos with --output_dir")
        if self.dataset is not None and self.output is None:
            raise UserError("--dataset needs --output, the Parquet file that the predictions go to")
        if self.photos is not None and self.output_dir is None:
            raise UserError("--photos needs --output_dir, the folder that the pictures go to")
        if self.batch_size < 1:
            raise UserError(f"--batch_size must be 1 or more, not {self.batch_size}")


def main(arguments: Arguments) -> dict:
    model, processor = load_checkpoint(arguments.model)
    class_names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    notes = [getattr(model.config, "notice", "")]
    quarantined: list[dict[str, str]] = []

    if arguments.dataset is not None:
        columns = dict.fromkeys([*processor.columns, "face_scores"])
        data = load_splits(arguments.dataset, list(columns), [arguments.split])[arguments.split]
        check_classes(arguments.dataset, data, class_names)
        notes.append(read_notice(arguments.dataset))
        rows, total, table = data, len(data), arguments.output
    else:
        make_picture_folder(arguments.output_dir)
        rows, total = photo_rows(arguments.photos, quarantined), len(arguments.photos)
        table = arguments.output_dir / PREDICTIONS

    note = "; ".join(dict.fromkeys(filter(None, notes)))
    image_ids, labels, logits, faces = [], [], [], []
    bar = tqdm(total=total, unit="photo", desc="predicting", mininterval=0.5)
    for batch, batch_logits in predict_rows(model, processor, rows, arguments.batch_size):
        image_ids += [row["image_id"] for row in batch]
        labels += [row["label"] for row in batch]
        logits.append(batch_logits)
        faces += [len(row["face_scores"]) for row in batch]
        if arguments.photos is not None:
            save_pictures(arguments.output_dir, batch, softmax(batch_logits, axis=1), class_names, note)
        bar.update(len(batch))
    bar.close()
    if not image_ids:
        reasons = [f"{photo['file']}: {photo['reason']}" for photo in quarantined]
        raise UserError(f"none of the {total} photos can be used: {listing(reasons)}")

    logits = np.concatenate(logits)
    predictions = Predictions(
        image_ids,
        splits=[arguments.split if arguments.dataset is not None else "photos"] * len(image_ids),
        labels=np.array(labels),
        logits=logits,
        model=public_name(arguments.model),
        class_names=class_names,
        faces=np.array(faces),
        note=note,
    )
    write_predictions(table, predictions)
    if note:
        logger.warning("note: %s", note)
    predicted = [class_names[i] for i in logits.argmax(1)]
    figures = {"photos": len(image_ids), "predicted": {name: predicted.count(name) for name in class_names}}
    if arguments.photos is not None:
        figures["labels"] = dict(zip(image_ids, predicted, strict=True))
    return {**figures, "quarantined": quarantined, "note": note, "output": str(table)}


if __name__ == "__main__":
    run(main, Arguments)
