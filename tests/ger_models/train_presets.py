"""Trains every preset, at a tiny size, for two steps in the processes that a launcher started.

python train_presets.py DATASET FOLDER; prints one line of JSON: preset -> steps, processes, training loss.
"""

import json
import logging
import sys
from pathlib import Path

import train  # of scripts/
from accelerate import Accelerator
from test_presets import overrides_of

from ger_models.presets import PRESETS

logging.basicConfig(level=logging.WARNING)
Accelerator.end_training = lambda accelerator: None  # it takes the processes' connection down, and the next needs it
dataset, folder, told = sys.argv[1], Path(sys.argv[2]), {}
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
if told:
    print(json.dumps(told))
