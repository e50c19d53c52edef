"""Calibrate a model on a split with labels: probabilities, and prediction sets that hold the truth as often as asked.

python scripts/calibrate.py --model runs/densenet_emotic --dataset ger_datasets/gaf3 --split validation
python scripts/calibrate.py --model ORG/MODEL --dataset ger_datasets/gaf3 --coverage 0.95 --output_dir calibrated
"""

from __future__ import annotations

import ger_datasets.support.cpu_cores  # noqa: F401 - before torch

# isort: split
from dataclasses import dataclass, field
from pathlib import Path

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError


@dataclass
class Arguments:
    model: str = field(metadata={"help": "Checkpoint, of an ensemble too: a folder, a Hub repository, or starter."})
    dataset: str = field(metadata={"help": "Prepared dataset with labels: a folder or a Hub repository."})
    split: str = field(
        default="validation",
        metadata={"help": "Its split; not the one that you report on. Default: validation."},
    )
    coverage: float = field(
        default=0.9, metadata={"help": "Share of new photos whose prediction set should hold the truth."}
    )
    output_dir: Path | None = field(
        default=None, metadata={"help": "New folder for the calibrated checkpoint. Default: the model's own folder."}
    )
    batch_size: int = field(default=16, metadata={"help": "Photos per forward pass."})
    device: str = field(default="auto", metadata={"help": "cpu, cuda, cuda:1, or auto: a GPU if there is one."})

    def __post_init__(self) -> None:
        if not 0 < self.coverage < 1:
            raise UserError(f"--coverage must be above 0 and below 1, not {self.coverage}")
        if self.batch_size < 1:
            raise UserError(f"--batch_size must be 1 or more, not {self.batch_size}")


def main(arguments: Arguments) -> dict:
    from accelerate import PartialState

    from ger_datasets.support.devices import choose_device
    from ger_datasets.support.repository_names import public_name
    from ger_models.conversion.calibrated_checkpoint import check_destination, fit_calibration, store
    from ger_models.inference.members import Members

    model, dataset = arguments.model, arguments.dataset
    check_destination(model, arguments.output_dir)
    members = Members([model], choose_device(arguments.device, PartialState(cpu=True)))
    found = fit_calibration(members, dataset, arguments.split, arguments.coverage, arguments.batch_size)
    folder = store(members, model, arguments.output_dir, found)
    return {"model": public_name(model), **found, "output_dir": str(folder)}


if __name__ == "__main__":
    run(main, Arguments)
