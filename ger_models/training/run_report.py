"""What a training run is and tells: to trackers and the Hub as it goes; metrics.json, curves and card at its end."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import logging
import os
import platform
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset

from ger_datasets.loading.revision import dataset_revision
from ger_datasets.preparation.card import read_card
from ger_datasets.support.atomic_files import replacing, write_text
from ger_datasets.support.repository_names import public_name

from ..evaluation.report.training_curves import plot_curves
from ..presets import Preset
from ..sharing.model_card import model_card
from ..sharing.uploads import Uploads
from .initial_weights import STAGES
from .loop import SCORES
from .recipe import Recipe
from .run_folder import METRICS, RECIPE, Position, RunFolder

logger = logging.getLogger(__name__)

PUSHED = ("config.json", "model.safetensors", "preprocessor_config.json", METRICS, RECIPE, "curves.png", "README.md")
VERSIONED = ("group-emotion", "torch", "transformers", "accelerate", "timm", "datasets", "numpy")


def describe(arguments: Any, recipe: Recipe, data: Mapping[str, Dataset]) -> dict[str, Any]:
    """What a run is: two runs that differ in it are not the same run."""
    stages = {option: getattr(arguments, option) for option in STAGES}
    return {
        "model": arguments.model,
        "config_overrides": arguments.config_overrides,
        "dataset": public_name(arguments.dataset),
        "revision": dataset_revision(arguments.dataset),
        "class_names": list(data["train"].features["label"].names),
        "train_photos": len(data["train"]),
        "validation_photos": len(data["validation"]),
        "recipe": dataclasses.asdict(recipe),
        "initial_weights": arguments.initial_weights,
        **{option: checkpoint and public_name(checkpoint) for option, checkpoint in stages.items()},
        "seed": arguments.seed,
        "best_by": arguments.best_by,
        "patience": arguments.patience,
        "max_steps": arguments.max_steps,
    }


def _hardware(accelerator: Accelerator) -> str:
    """What it ran on, in words; no name of the machine."""
    if accelerator.device.type == "cuda":
        kind = torch.cuda.get_device_name(accelerator.device)
    else:
        kind = f"{accelerator.device.type} of {os.cpu_count()} {platform.machine()} cores"
    return f"{accelerator.num_processes} x {kind}"


class Report:
    """What a run tells: trackers as it goes, pushes after its epochs, and its files and figures at the end.

    Args:
        run: what `describe` returned.
        began: what `build` told of the weights that it began with.

    Attributes:
        run: what is known of the run before it starts.
    """

    def __init__(
        self, arguments: Any, chosen: Preset, run: Mapping[str, Any], began: Mapping[str, Any], folder: RunFolder
    ) -> None:
        self.arguments, self.chosen, self.folder = arguments, chosen, folder
        self.accelerator = folder.accelerator
        card = read_card(arguments.dataset)
        self.run = {
            **run,
            "initial_weights": began["weights"],
            "stages": {option: took for option, took in began.items() if option != "weights"},
            "license": str(card.get("license", "other")),
            "notice": str(card.get("notice", "")),
            "processes": self.accelerator.num_processes,
            "mixed_precision": self.accelerator.mixed_precision,
            "hardware": _hardware(self.accelerator),
            "versions": {name: importlib.metadata.version(name) for name in VERSIONED},
        }
        self.accelerator.init_trackers("runs", config=dict(run["recipe"]))
        main = self.accelerator.is_main_process and arguments.push_to_hub
        self.uploads = Uploads(arguments.push_to_hub, PUSHED, private=not arguments.public) if main else None

    def epoch(self, position: Position) -> None:
        """After each epoch's checkpoint."""
        last = position.history[-1]
        self.accelerator.log(
            {name.replace("_", "/", 1): value for name, value in last.items() if name.startswith("validation_")},
            step=position.step,
        )
        best = position.best or {}
        if self.uploads and not position.finished and best.get("epoch") == last["epoch"]:
            self._write(position)
            self.uploads.start(self.folder.path)

    def end(self, position: Position) -> dict[str, Any]:
        """Write what a finished run leaves, push it, and return its figures."""
        content = self._write(position)
        logger.info(
            "wrote %s: validation %s %.3f in epoch %d", self.folder.path, self.arguments.best_by,
            content["validation"][self.arguments.best_by], content["best_epoch"],
        )  # fmt: skip
        pushed = {} if self.uploads is None else {"pushed": self.uploads.finish(self.folder.path)}
        figures = {name: value for name, value in content.items() if name not in ("history", "validation", "versions")}
        scores = {name: content["validation"][name] for name in SCORES}
        return {**figures, "validation": scores, **pushed, "output_dir": str(self.folder.path)}

    def _write(self, position: Position) -> dict[str, Any]:
        """`curves.png`, the card and `metrics.json`; returns what the last holds."""
        best = position.best or {}
        content = {
            **self.run,
            "finished": position.finished,
            "best_epoch": best["epoch"],
            "validation": best["validation"],
            "epochs": len(position.history),
            "steps": position.step,
            "seconds": round(position.seconds, 1),
            "history": position.history,
        }
        output, name = self.folder.path, self.run["model"]
        with replacing(output / "curves.png") as file:
            file.write(plot_curves(position.history, content["best_epoch"], name, self.run["notice"]))
        write_text(output / "README.md", model_card(name, self.chosen, content))
        write_text(output / METRICS, json.dumps(content, indent=1) + "\n")
        return content
