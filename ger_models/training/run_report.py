"""Identity and reports of a training run: trackers and the Hub during training; metrics.json, curves and card at the
end."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import logging
import os
import platform
import sys
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset

from ger_datasets.loading.revision import dataset_revision
from ger_datasets.preparation.card import read_card
from ger_datasets.support.atomic_files import replacing, write_text
from ger_datasets.support.repository_names import public_name

from ..backbones import loading_from
from ..evaluation import metrics
from ..evaluation.report.training_curves import plot_curves
from ..presets import preset
from ..sharing.model_card import model_card
from ..sharing.uploads import Uploads
from .initial_weights import STAGES
from .options import RunOptions
from .recipe import Recipe
from .run_folder import METRICS, RECIPE, Position, RunFolder

logger = logging.getLogger(__name__)

PUSHED = ("config.json", "model.safetensors", "preprocessor_config.json", METRICS, RECIPE, "curves.png", "README.md")
VERSIONED = ("group-emotion", "torch", "transformers", "accelerate", "timm", "datasets", "numpy")


def describe(options: RunOptions, recipe: Recipe, data: Mapping[str, Dataset]) -> dict[str, Any]:
    """The identity of a run, JSON: runs with different values are different runs."""
    values = {about.name: getattr(options, about.name) for about in dataclasses.fields(RunOptions)}
    values |= {option: values[option] and public_name(values[option]) for option in ("dataset", *STAGES)}
    return {
        **values,
        "revision": dataset_revision(options.dataset),
        "class_names": list(data["train"].features["label"].names),
        "train_photos": len(data["train"]),
        "validation_photos": len(data["validation"]),
        "recipe": dataclasses.asdict(recipe),
    }


def _hardware(accelerator: Accelerator) -> str:
    """The hardware, without the name of the machine."""
    if accelerator.device.type == "cuda":
        kind = torch.cuda.get_device_name(accelerator.device)
    else:
        kind = f"{accelerator.device.type} of {os.cpu_count()} {platform.machine()} cores"
    return f"{accelerator.num_processes} x {kind}"


class Report:
    """Reports a run: to trackers during training, to the Hub after epochs, and as files and figures at the end.

    Args:
        options: the run's options.
        run: what `describe` returned.
        started_from: what `build` returned about the initial weights.
        folder: the run's folder.
        example: the card's, see `sharing.model_card.how_to_use`.
        push_to_hub: repository that the best model is pushed to; None: nothing is pushed.
        public: whether that repository is made public.

    Attributes:
        run: information about the run that is known before it starts.
        photos_per_second: of the last pass over the validation split, decoding included.
    """

    def __init__(
        self,
        options: RunOptions,
        run: Mapping[str, Any],
        started_from: Mapping[str, Any],
        folder: RunFolder,
        example: str,
        push_to_hub: str | None = None,
        public: bool = False,
    ) -> None:
        self.options, self.folder = options, folder
        self.example = example if push_to_hub is None else loading_from(push_to_hub, example)
        self.accelerator = folder.accelerator
        self.photos_per_second: float | None = None
        card = read_card(options.dataset)
        terms: dict[str, str] = {key: str(card[key]) for key in ("license_name", "license_link") if key in card}
        self.run = {
            **run,
            "initial_weights": started_from["weights"],
            "stages": {option: took for option, took in started_from.items() if option != "weights"},
            "license": str(card.get("license", "other")),
            **terms,
            "notice": str(card.get("notice", "")),
            "processes": self.accelerator.num_processes,
            "mixed_precision": self.accelerator.mixed_precision,
            "hardware": _hardware(self.accelerator),
            "versions": {name: importlib.metadata.version(name) for name in VERSIONED},
        }
        place = folder.path.resolve()
        name = f"{place.parent.name}/{place.name}"
        named = {"trackio": {"name": name}, "wandb": {"name": name}, "mlflow": {"run_name": name}}
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the figures
            self.accelerator.init_trackers("runs", config=dict(run["recipe"]), init_kwargs=named)
        pushes = push_to_hub is not None and self.accelerator.is_main_process
        self.uploads = Uploads(str(push_to_hub), PUSHED, private=not public) if pushes else None

    def epoch(self, position: Position) -> None:
        """After each epoch, and its checkpoint if it has one."""
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
        """Write the files of a finished run, push them, and return its figures."""
        content = self._write(position)
        logger.info(
            "wrote %s: validation %s %.3f in epoch %d", self.folder.path, self.options.best_by,
            content["validation"][self.options.best_by], content["best_epoch"],
        )  # fmt: skip
        pushed = {} if self.uploads is None else {"pushed": self.uploads.finish(self.folder.path)}
        figures = {name: value for name, value in content.items() if name not in ("history", "validation", "versions")}
        scores = {name: content["validation"][name] for name in metrics.METRICS}
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
            "photos_per_second": self.photos_per_second,
            "history": position.history,
        }
        output, name = self.folder.path, self.run["model"]
        with replacing(output / "curves.png") as file:
            file.write(plot_curves(position.history, content["best_epoch"], name, self.run["notice"]))
        write_text(output / "README.md", model_card(name, preset(name), content, self.example))
        write_text(output / METRICS, json.dumps(content, indent=1) + "\n")
        return content
