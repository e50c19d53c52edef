"""Turn a face_expressions run, trained on single faces, into a checkpoint that answers photos of groups.

python scripts/group_answer.py --model runs/expressions --dataset ger_datasets/fer2013 --output_dir starter
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError
from ger_datasets.support.repository_names import public_name


@dataclass
class Arguments:
    model: str = field(metadata={"help": "Run of train.py --model face_expressions, or a Hub repository."})
    dataset: str = field(metadata={"help": "The prepared dataset of single faces it was trained on."})
    output_dir: Path = field(metadata={"help": "New folder for the checkpoint and group_answer.json."})
    card: Path | None = field(default=None, metadata={"help": "File that becomes the checkpoint's README.md."})
    device: str = field(default="auto", metadata={"help": "cpu, cuda, cuda:1, or auto: a GPU if there is one."})


def main(arguments: Arguments) -> dict:
    import numpy as np
    import torch
    from accelerate import PartialState

    from ger_datasets.loading.splits import load_splits
    from ger_datasets.support.devices import choose_device
    from ger_models.conversion.group_answer import LABELS, choose_answer, face_probabilities
    from ger_models.inference.checkpoints import load_checkpoint
    from ger_models.inference.saving import put_files
    from ger_models.modeling_expression import GerExpressionForImageClassification

    if arguments.output_dir.exists() and any(arguments.output_dir.iterdir()):
        raise UserError(f"{arguments.output_dir} is not empty: choose another --output_dir")
    model, processor = load_checkpoint(arguments.model)
    if not isinstance(model, GerExpressionForImageClassification):
        raise UserError(f"{arguments.model} is a {model.config.model_type}; this needs a face_expressions run")
    data = load_splits(arguments.dataset, processor.row_columns, ("train", "validation"))
    names = data["train"].features["label"].names
    if names != model.config.expressions:
        raise UserError(f"{arguments.dataset} has the classes {names}; the model knows {model.config.expressions}")
    counts = Counter(names[label] for label in data["train"]["label"])
    device = choose_device(arguments.device, PartialState(cpu=True))
    labels = data["validation"]["label"]
    read: dict[bool, np.ndarray] = {}
    for two_views in (False, True):
        model.config.two_views = two_views
        read[two_views] = face_probabilities(model, processor, data["validation"], device)
    right = {views: float((probabilities.argmax(1) == labels).mean()) for views, probabilities in read.items()}
    two_views = right[True] > right[False]
    fields, tried = choose_answer(read[two_views], [names[label] for label in labels], names, counts)
    fields["two_views"] = two_views

    model.config.id2label = dict(enumerate(LABELS))
    model.config.label2id = {label: i for i, label in enumerate(LABELS)}
    for name, value in fields.items():
        setattr(model.config, name, value)
    model = model.cpu().to(torch.float16)
    report = {"model": public_name(arguments.model), "dataset": public_name(arguments.dataset), **fields}

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        model.config.dtype = torch.float32  # half the bytes on the disk, but what is loaded computes in float32
        model.config.save_pretrained(folder)
        processor.save_pretrained(folder)
        views = {"one view": right[False], "two views": right[True]}
        text = json.dumps({**report, "train_faces": counts, "accuracy_of_faces": views, "tried": tried}, indent=1)
        (folder / "group_answer.json").write_text(text + "\n", encoding="utf-8")
        if arguments.card is not None:
            (folder / "README.md").write_text(arguments.card.read_text("utf-8"), encoding="utf-8")

    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    put_files(arguments.output_dir, write)
    best = max(tried, key=lambda choice: choice["accuracy"])
    return {**report, "made_groups_accuracy": best["accuracy"], "output_dir": str(arguments.output_dir)}


if __name__ == "__main__":
    run(main, Arguments)
