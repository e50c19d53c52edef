"""Imports of version 0.1 whose place changed: they work until 0.3.0, with a DeprecationWarning about the new place.

To end them in 0.3.0, delete this file, the calls of `keep_old_imports` and the table in docs/migration.md.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

REMOVED_IN = "0.3.0"

# module of version 0.1 -> the modules that hold its names now; the first that has a name is named in the warning
MODULES: dict[str, tuple[str, ...]] = {
    "ger_datasets.cards": ("ger_datasets.preparation.card",),
    "ger_datasets.cli": ("ger_datasets.support.command_line",),
    "ger_datasets.columns": ("ger_datasets.faces.columns",),
    "ger_datasets.commands": ("ger_datasets.support.commands",),
    "ger_datasets.connection": ("ger_datasets.support.hub_connection",),
    "ger_datasets.contact_sheet": ("ger_datasets.inspection.contact_sheet",),
    "ger_datasets.devices": ("ger_datasets.support.devices",),
    "ger_datasets.duplicates": ("ger_datasets.photos.duplicates",),
    "ger_datasets.errors": ("ger_datasets.support.errors",),
    "ger_datasets.files": ("ger_datasets.support.atomic_files",),
    "ger_datasets.html_page": ("ger_datasets.support.html_page",),
    "ger_datasets.hub": ("ger_datasets.support.hub_push", "ger_datasets.preparation.push"),
    "ger_datasets.inspection_page": ("ger_datasets.inspection.page",),
    "ger_datasets.legacy_index": ("ger_datasets.legacy.index",),
    "ger_datasets.links": ("ger_datasets.support.symlinks",),
    "ger_datasets.locks": ("ger_datasets.support.locks",),
    "ger_datasets.manifest": ("ger_datasets.preparation.manifest",),
    "ger_datasets.metadata": ("ger_datasets.photos.metadata",),
    "ger_datasets.name_lists": ("ger_datasets.legacy.name_lists",),
    "ger_datasets.npz": ("ger_datasets.legacy.npz",),
    "ger_datasets.patches": ("ger_datasets.photos.patches",),
    "ger_datasets.pickled_arrays": ("ger_datasets.legacy.pickled_arrays",),
    "ger_datasets.pickles": ("ger_datasets.legacy.pickles",),
    "ger_datasets.prepare": ("ger_datasets.preparation.run",),
    "ger_datasets.processes": ("ger_datasets.support.cpu_cores",),
    "ger_datasets.shards": ("ger_datasets.preparation.shards",),
    "ger_datasets.sources": ("ger_datasets.preparation.column_sources",),
    "ger_datasets.video": ("ger_datasets.videos.frames", "ger_datasets.videos.decoding"),
    "ger_models.batches": ("ger_datasets.loading.rows", "ger_models.training.loading.batching"),
    "ger_models.cards": ("ger_models.sharing.model_card",),
    "ger_models.convert": ("ger_models.conversion.convert",),
    "ger_models.ensembling": ("ger_models.conversion.ensemble_checkpoint",),
    "ger_models.evaluation.card": ("ger_models.evaluation.report.card",),
    "ger_models.evaluation.charts": ("ger_models.evaluation.report.charts",),
    "ger_models.evaluation.curves": ("ger_models.evaluation.report.training_curves",),
    "ger_models.evaluation.mistakes": ("ger_models.evaluation.report.mistakes",),
    "ger_models.evaluation.page": ("ger_models.evaluation.report.page",),
    "ger_models.evaluation.plots": ("ger_models.evaluation.report.plots",),
    "ger_models.evaluation.selection": ("ger_models.evaluation.ensemble.selection",),
    "ger_models.evaluation.simplex": ("ger_models.evaluation.ensemble.simplex",),
    "ger_models.export": ("ger_models.conversion.export",),
    "ger_models.graph": ("ger_models.training.experiment_file",),
    "ger_models.inputs": ("ger_models.inference.inputs",),
    "ger_models.loading": ("ger_datasets.loading.splits", "ger_models.training.dataset_checks"),
    "ger_models.old_checkpoints": ("ger_models.conversion.old_checkpoints",),
    "ger_models.old_names": ("ger_models.conversion.old_names",),
    "ger_models.old_pickles": ("ger_models.conversion.old_pickles",),
    "ger_models.optimization": ("ger_models.training.optimization", "ger_models.training.weight_averaging"),
    "ger_models.orders": ("ger_models.training.loading.sampling_orders",),
    "ger_models.partial": ("ger_models.inference.resumable_table",),
    "ger_models.pictures": ("ger_models.inference.pictures",),
    "ger_models.predicting": ("ger_models.inference.predict_run",),
    "ger_models.progress": ("ger_models.training.meter",),
    "ger_models.publishing": ("ger_models.sharing.publishing",),
    "ger_models.recipes": ("ger_models.training.recipe",),
    "ger_models.revisions": ("ger_models.inference.revisions", "ger_datasets.loading.revision"),
    "ger_models.run_folder": ("ger_models.training.run_folder",),
    "ger_models.run_report": ("ger_models.training.run_report",),
    "ger_models.saving": ("ger_models.inference.saving",),
    "ger_models.shown_photos": ("ger_models.evaluation.report.shown_photos",),
    "ger_models.sphereface": ("ger_models.backbones",),
    "ger_models.stages": ("ger_models.training.initial_weights",),
    "ger_models.streams": ("ger_datasets.loading.stream", "ger_models.training.loading.streaming"),
    "ger_models.uploads": ("ger_models.sharing.uploads",),
}

# module of version 0.1 that is a folder now -> the modules that hold its functions and classes, and which
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "ger_datasets.inspection": {
        "ger_datasets.inspection.run": ("inspect_dataset", "read_inspection"),
        "ger_datasets.inspection.summary": ("Inspection",),
    },
    "ger_datasets.legacy": {"ger_datasets.legacy.source": ("LegacySource",)},
    "ger_datasets.photos": {
        "ger_datasets.photos.reading": ("Photo", "read_photo", "decode_photo", "encode_jpeg", "in_groups"),
    },
    "ger_models.evaluation.ensemble": {
        "ger_models.evaluation.ensemble.ensemble": ("Ensemble",),
        "ger_models.evaluation.ensemble.methods": ("METHODS", "Options", "fit", "nested"),
    },
    "ger_models.evaluation.report": {"ger_models.evaluation.report.writing": ("make_report", "write_report")},
    "ger_models.inference": {
        "ger_models.inference.checkpoints": ("load_checkpoint", "read_config"),
        "ger_models.inference.members": ("Answers", "Members"),
    },
    "ger_models.training": {
        "ger_models.training.loop": ("build", "load_data", "make_accelerator", "predict"),
    },
}


class MovedModule(ModuleType):
    """A module of version 0.1, without contents: it hands out the names of the modules that replace it."""

    def __getattr__(self, name: str) -> Any:
        """The name from its new place, with a warning the first time."""
        return _moved(self, name, () if name.startswith("__") else MODULES[self.__name__])


def keep_old_imports(package: str) -> None:
    """Let the imports of version 0.1 from `package` work; call it in the package's `__init__.py`."""
    module = sys.modules[package]
    for old in MODULES:
        parent, _, name = old.rpartition(".")
        if parent == package:
            sys.modules[old] = vars(module)[name] = MovedModule(old)
    if package in NAMES:
        places = {name: new for new, names in NAMES[package].items() for name in names}

        def attribute(name: str) -> Any:
            return _moved(module, name, [places[name]] if name in places else ())

        vars(module)["__getattr__"] = attribute


def _moved(old: ModuleType, name: str, places: Sequence[str]) -> Any:
    """The value of `name` from the first of `places` that has it; kept in `old`, so that the warning comes once."""
    for place in places:
        new = import_module(place)
        if hasattr(new, name):
            message = f"{old.__name__}.{name} is now {place}.{name}; the old import ends in version {REMOVED_IN}"
            warnings.warn(message, DeprecationWarning, stacklevel=3)
            vars(old)[name] = getattr(new, name)
            return vars(old)[name]
    raise AttributeError(f"module {old.__name__!r} has no attribute {name!r}")
