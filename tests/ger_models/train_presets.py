"""Trains every preset, at a tiny size, for two steps in the processes that a launcher started.

python train_presets.py DATASET FOLDER [OPTIONS OF train.py ...]; prints one line of JSON, preset -> steps, processes,
training loss. With further options it then trains as train.py does with these.
"""

import json
import logging
import sys
from pathlib import Path

import train  # of scripts/
from accelerate import Accelerator
from test_presets import overrides_of

from ger_datasets.support.command_line import run
from ger_models.presets import PRESETS
from ger_models.training import run_report


def train_presets(dataset: str, folder: Path) -> dict[str, list]:
    """For every preset its steps, its processes and its training loss; nothing in a process that is not the first."""
    told = {}
    for name in PRESETS:
        figures = train.main(
            train.Arguments(
                model=name,
                dataset=dataset,
                output_dir=folder / name,
                config_overrides=overrides_of(name),
                initial_weights="random",
                batch_size=2,
                max_steps=2,
                epochs=1,
            )
        )
        if figures is not None:  # the first process
            loss = json.loads((folder / name / "metrics.json").read_text())["history"][0]["loss"]
            told[name] = [figures["steps"], figures["processes"], loss]
    return told


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    Accelerator.end_training = lambda _: None  # it takes the processes' connection down, and the next needs it
    run_report.plot_curves = lambda *_: b"no picture"  # drawing takes half of the time
    told = train_presets(sys.argv[1], Path(sys.argv[2]))
    if told:
        print(json.dumps(told), flush=True)
    if sys.argv[3:]:
        run(train.main, train.Arguments, sys.argv[3:])
