"""A YAML file of runs -> the runs, in an order in which each comes after the runs whose weights it needs.

    output_dir: runs
    defaults: {dataset: ger_datasets/gaf3, num_workers: 4}
    launch: [--multi_gpu, --num_processes, "4"]         # options of accelerate launch; optional
    runs:
      emotic: {model: densenet_emotic, dataset: ger_datasets/emotic}
      densenet_emotic: {model: densenet_emotic, init_from: emotic}

Every line of a run is an option of train.py. Where `init_from`, `scene_from`, `faces_from` or `pooling_from` name
another run of the file, that run comes first.
"""

from __future__ import annotations

import dataclasses
import difflib
import graphlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ger_datasets.support.errors import UserError, listing
from ger_datasets.support.repository_names import public_name
from ger_datasets.support.yaml_files import read_yaml

from ..presets import preset
from .initial_weights import STAGES
from .options import TrainingOptions
from .recipe import effective
from .run_folder import METRICS

_WORDS = (str, int, float)  # what an option may be; bool is an int
_KEYS = ("output_dir", "defaults", "launch", "runs")
# what a run may have; train_all.py sets the other two itself
_OPTIONS = [each.name for each in dataclasses.fields(TrainingOptions) if each.name not in ("output_dir", "resume")]


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        settings: train.py's options and their values, with folders in place of other runs' names.
        needs: names of the runs whose weights it starts from.
        launch: options of `accelerate launch`.
    """

    name: str
    settings: dict[str, Any]
    needs: tuple[str, ...]
    launch: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        """The options as command-line arguments."""
        words = []
        for option, value in self.settings.items():
            words += [f"--{option}", *map(str, value if isinstance(value, list) else [value])]
        return words

    def is_done(self) -> bool:
        """Whether the run's folder contains the finished run.

        Raises:
            UserError: the folder contains a finished run with another model, dataset, photos, seed, initial weights
                or recipe.
        """
        try:
            found = json.loads((Path(self.settings["output_dir"]) / METRICS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{METRICS} of the run {self.name} cannot be read: {error}") from error
        if not isinstance(found, dict) or (found.get("finished") and not isinstance(found.get("recipe"), dict)):
            raise UserError(f"{METRICS} of the run {self.name} was not written by train.py: move it away")
        if not found.get("finished"):
            return False
        wanted = {
            "model": self.settings["model"],
            "dataset": public_name(self.settings["dataset"]),
            "seed": self.settings.get("seed", 0),
            "config_overrides": self.settings.get("config_overrides", ""),
            "only": str(self.settings["only"]) if "only" in self.settings else None,
            "min_face_score": self.settings.get("min_face_score"),
            **{option: public_name(str(self.settings[option])) for option in STAGES if option in self.settings},
        }
        differ = [name for name, value in wanted.items() if found.get(name) != value]
        recipe = effective(
            preset(self.settings["model"]).recipes, self.settings.get("recipe"), SimpleNamespace(**self.settings)
        )
        if not self.settings.get("find_batch_size"):
            differ += [f"recipe.{name}" for name, value in vars(recipe).items() if found["recipe"].get(name) != value]
        if differ:
            raise UserError(
                f"{METRICS} of the run {self.name} has another {listing(differ)}: move "
                f"{self.settings['output_dir']} away to train it again, or correct the file"
            )
        return True


def read_graph(path: Path, seeds: int = 1) -> list[Run]:
    """The runs of a file, in order.

    Args:
        path: the file.
        seeds: with more than one, each run becomes `NAME/seed_0`, `NAME/seed_1`, ..., which start from runs of the
            same seed.

    Raises:
        UserError: the file is invalid, a run has no model or dataset, or the runs' dependencies have a cycle.
    """
    content = read_yaml(path)
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        raise UserError(f"{path} has {listing(unknown)}: there are {listing(_KEYS)}")
    runs, defaults = content.get("runs"), content.get("defaults") or {}
    if not isinstance(runs, dict) or not runs or not isinstance(defaults, dict):
        raise UserError(f"{path} must have runs, each a name and its options")
    folder, launch = content.get("output_dir", "runs"), content.get("launch") or []
    if not isinstance(folder, str) or not folder or "\0" in folder:
        raise UserError(f"output_dir in {path} must be a folder, not {folder!r}")
    if not isinstance(launch, list) or not all(isinstance(word, _WORDS) for word in launch):
        raise UserError(f"launch in {path} must be a list of words, not {launch!r}")
    output = Path(folder)
    settings: dict[str, dict[str, Any]] = {}
    needs: dict[str, tuple[str, ...]] = {}
    for name, own in runs.items():
        merged = _checked(name, own, defaults, path)
        needs[name] = tuple(dict.fromkeys(merged[stage] for stage in STAGES if merged.get(stage) in runs))
        places = {stage: str(output / merged[stage]) for stage in STAGES if merged.get(stage) in runs}
        settings[name] = {**merged, **places, "output_dir": str(output / name)}
    try:
        order = list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        raise UserError(f"runs in {path} depend on each other in a circle: {' -> '.join(error.args[1])}") from error
    ordered = [Run(name, settings[name], needs[name], tuple(map(str, launch))) for name in order]
    if seeds == 1:
        return ordered
    fixed = [each.name for each in ordered if "seed" in each.settings]
    if fixed:
        raise UserError(f"{path} gives the runs {listing(fixed)} a seed: leave it out to train with {seeds} seeds")
    return [_with_seed(each, seed) for seed in range(seeds) for each in ordered]


def _checked(name: Any, own: Any, defaults: dict[Any, Any], path: Path) -> dict[str, Any]:
    """The options of the run `name` of a file, with the defaults; raises UserError where something is wrong."""
    if not isinstance(name, str) or Path(name).name != name or "\0" in name:
        raise UserError(f"a run in {path} is called {name!r}, which cannot be a folder's name")
    if not isinstance(own, dict):
        raise UserError(f"the run {name} in {path} must have options, found {own!r}")
    merged: dict[str, Any] = {**defaults, **own}
    for option, value in merged.items():
        values = value if isinstance(value, list) else [value]
        if not isinstance(option, str) or not all(isinstance(each, _WORDS) for each in values):
            raise UserError(f"{option} of the run {name} in {path} must be text, a number or a list of them")
    unknown = [option for option in merged if option not in _OPTIONS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], _OPTIONS, n=1)
        hint = f"did you mean {near[0]}?" if near else "train.py --help lists the options"
        raise UserError(f"the run {name} in {path} has {listing(unknown)}, no option of train.py: {hint}")
    missing = [option for option in ("model", "dataset") if option not in merged]
    if missing:
        raise UserError(f"the run {name} in {path} has no {listing(missing)}")
    for option in ("model", "dataset", *STAGES):
        if not isinstance(merged.get(option, ""), str):
            raise UserError(f"{option} of the run {name} in {path} must be a name, not {merged[option]!r}")
    try:
        preset(merged["model"])
    except UserError as error:
        raise UserError(f"the run {name} in {path}: {error}") from error
    return merged


def _with_seed(each: Run, seed: int) -> Run:
    """The run with this seed, in a folder of its own beside those of the others."""
    places = {stage: f"{each.settings[stage]}/seed_{seed}" for stage in STAGES if each.settings.get(stage)}
    own = {stage: place for stage, place in places.items() if Path(each.settings[stage]).name in each.needs}
    folder = f"{each.settings['output_dir']}/seed_{seed}"
    needs = tuple(f"{name}/seed_{seed}" for name in each.needs)
    return Run(
        f"{each.name}/seed_{seed}", {**each.settings, **own, "output_dir": folder, "seed": seed}, needs, each.launch
    )
