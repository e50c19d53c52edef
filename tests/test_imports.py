"""Who may import whom, and where files may stand, as docs/design.md says."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TRAVELLING = ("configuration_", "modeling_", "processing_", "backbones", "pooling", "combining")
DATASETS = "ger_datasets/DATASET"  # every folder of ger_datasets that holds a builder.py
# A file imports what stands in its own line or above it. A file that has a line of its own goes by that line.
ORDER = (
    "ger_datasets/moved_modules.py",
    "ger_datasets/__init__.py",
    "ger_datasets/support",
    "ger_datasets/schema.py",
    "ger_datasets/detectors.py",
    "ger_datasets/photos",
    "ger_datasets/records.py",
    "ger_datasets/videos",
    "ger_datasets/faces",
    "ger_datasets/skeletons",
    "ger_datasets/legacy",
    "ger_datasets/regions",
    "ger_datasets/prepared.py",
    "ger_datasets/layouts",
    "ger_datasets/class_folders.py",
    DATASETS,
    "ger_datasets/builders.py",
    "ger_datasets/preparation",
    "ger_datasets/inspection",
    "ger_datasets/loading",
    "ger_models/TRAVELLING",
    "ger_models/auto.py",
    "ger_models/starter",
    "ger_models/training/losses.py",
    "ger_models/training/optimization.py",
    "ger_models/training/loading/sampling_orders.py",
    "ger_models/evaluation/calibration.py",
    "ger_models/evaluation/metrics",
    "ger_models/training/recipe.py",  # a preset names its recipes, and a recipe rows of the tables above
    "ger_models/presets.py",
    "ger_models/inference/saving.py",
    "ger_models/inference/checkpoints.py",
    "ger_models/inference/revisions.py",
    "ger_models/encoders",
    "ger_models/inference/encoded_columns.py",
    "ger_models/pipeline_ger.py",
    "ger_models/__init__.py",
    "ger_models/evaluation",
    "ger_models/evaluation/ensemble",
    "ger_models/evaluation/report",
    "ger_models/inference",
    "ger_models/timeline",
    "ger_models/sharing",
    "ger_models/training",
    "ger_models/conversion",
    "ger_models/app",
    "scripts",
)
# (file, imported module) -> why it is still allowed; remove a line as soon as it is not needed
ALLOWED: dict[tuple[str, str], str] = {}
MOST_FILES = 15  # Python files in a folder
# ger_models: the files that travel with a checkpoint must stand side by side; training: the parts of one loop;
# support: helpers that have nothing to do with each other
MORE_FILES = {"ger_models": 18, "ger_datasets/support": 16, "ger_models/training": 16}
LOOK_FOR_FACES = ("ger_models/pipeline_ger.py", "ger_models/timeline/", "ger_models/app/")
FILES = sorted(path for room in ("ger_datasets", "ger_models", "scripts") for path in (ROOT / room).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def import_statements(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The modules that `path` imports, relative names resolved, and the names that are taken from each."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            yield module, tuple(alias.name for alias in node.names)


def imported(path: Path) -> set[str]:
    """Absolute names of everything that `path` imports."""
    names: set[str] = set()
    for module, taken in import_statements(path):
        names |= {module} | {f"{module}.{name}".lstrip(".") for name in taken}
    return names


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported_modules(path: Path) -> set[str]:
    """The modules of this repository that `path` imports, at its top, in functions or for types."""
    names = set()
    for module, taken in import_statements(path):
        submodules = {f"{module}.{name}" for name in taken} & MODULES.keys()
        plain = not taken or any(f"{module}.{name}" not in MODULES for name in taken)
        names |= submodules | ({module} & MODULES.keys() if plain else set())
    return names


def travels(path: Path) -> bool:
    return path.parent.name == "ger_models" and path.stem.startswith(TRAVELLING)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def line_of(path: Path) -> str | None:
    """The line of `ORDER` that a file belongs to: its own, or that of the innermost folder."""
    if travels(path):
        return "ger_models/TRAVELLING"
    place = Path(relative(path))
    for folder in (place, *place.parents):
        if folder.as_posix() in ORDER:
            return folder.as_posix()
    if place.parts[0] == "ger_datasets" and (ROOT / "ger_datasets" / place.parts[1] / "builder.py").exists():
        return DATASETS
    return None


def wrong_direction(path: Path, modules: Iterable[str]) -> list[str]:
    """Imports of what stands below the file in `ORDER`, or of another dataset's folder."""
    own, found = line_of(path), []
    if own is None:
        return [f"{relative(path)} stands in no room: move it, or name its room in ORDER"]
    for module in modules:
        target = MODULES[module]
        there = line_of(target)
        if there is None or (relative(path), module) in ALLOWED:
            continue  # the file that is imported fails by itself
        other_dataset = own == there == DATASETS and module.split(".")[1] != path.relative_to(ROOT).parts[1]
        if ORDER.index(there) > ORDER.index(own) or other_dataset:
            found.append(f"imports {module}: {there} comes after {own}")
    return found


def broken_rules(path: Path, names: set[str]) -> list[str]:
    room = path.relative_to(ROOT).parts[0]
    ours = {name for name in names if inside(name, "ger_datasets") or inside(name, "ger_models")}
    broken = [f"imports {name}: nothing imports scripts" for name in names if inside(name, "scripts")]
    scripts = {script.stem for script in (ROOT / "scripts").glob("*.py")}
    broken += [f"imports {name}: nothing imports scripts" for name in names & scripts]
    if room == "ger_datasets":
        broken += [
            f"imports {name}: ger_datasets never imports ger_models" for name in ours if inside(name, "ger_models")
        ]
    if travels(path):
        for name in ours:
            parts = name.split(".")
            if parts[0] != "ger_models" or (len(parts) > 1 and not travels(ROOT / "ger_models" / f"{parts[1]}.py")):
                broken.append(f"imports {name}: it travels with a checkpoint and would be missing there")
            if path.stem.startswith("modeling_") and len(parts) > 1 and parts[1].startswith("modeling_"):
                broken.append(f"imports {name}: a modeling file never imports another")
    if room == "ger_models" and not relative(path).startswith(LOOK_FOR_FACES):
        broken += [
            f"imports {name}: only where photos come in from outside, faces are looked for"
            for name in ours
            if inside(name, "ger_datasets.faces")
        ]
    if "evaluation" in path.parts:
        broken += [f"imports {name}: evaluation handles arrays" for name in names if name.split(".")[0] == "torch"]
    return broken


def cycle_in(arrows: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one twice; empty where there is no cycle."""
    done: set[str] = set()

    def search(module: str, trail: list[str]) -> list[str]:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return []
        for target in sorted(arrows[module]):
            if found := search(target, [*trail, module]):
                return found
        done.add(module)
        return []

    return next(filter(None, (search(module, []) for module in sorted(arrows))), [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_import_rules(path: Path) -> None:
    assert broken_rules(path, imported(path)) == []
    assert wrong_direction(path, imported_modules(path)) == []


def test_there_are_no_import_cycles() -> None:
    """Not in functions and not for types either."""
    assert cycle_in({module: imported_modules(path) - {module} for module, path in MODULES.items()}) == []


def test_every_exception_is_still_needed() -> None:
    needed = {(relative(path), module) for path in FILES for module in imported_modules(path)}
    assert ALLOWED.keys() <= needed


def test_no_folder_holds_too_many_files() -> None:
    crowded = {}
    for package in ("ger_datasets", "ger_models"):
        for folder, _, names in os.walk(ROOT / package):
            count, place = sum(name.endswith(".py") for name in names), relative(Path(folder))
            if count > MORE_FILES.get(place, MOST_FILES):
                crowded[place] = count
    assert crowded == {}


def test_files_that_travel_use_only_flat_relative_imports() -> None:
    for path in filter(travels, FILES):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("ger_")):
                assert node.level == 1, f"{path.name}: {ast.unparse(node)}"
                assert "." not in node.module, f"{path.name}: {ast.unparse(node)}"


def source_at(file: str, source: str) -> Path:
    """A file of this repository that does not exist and holds `source`."""
    path = ROOT / file

    class Source(type(path)):
        def read_text(self, encoding: str | None = None) -> str:
            return source

    return Source(path)


@pytest.mark.parametrize(
    ("file", "source", "words"),
    [
        ("ger_datasets/x.py", "import ger_models.training.loop", "never imports ger_models"),
        ("ger_datasets/sample/x.py", "from ... import scripts", "nothing imports scripts"),
        ("ger_models/modeling_x.py", "from .presets import PRESETS", "travels"),
        ("ger_models/modeling_x.py", "from ger_datasets.schema import NO_LABEL", "travels"),
        ("ger_models/modeling_x.py", "from .modeling_scene import NO_LABEL", "never imports another"),
        ("ger_models/training/x.py", "def f():\n    from ger_datasets.faces import Faces", "looked for"),
        ("ger_models/evaluation/x.py", "import torch.nn", "arrays"),
        ("scripts/x.py", "import scripts.train", "nothing imports scripts"),
        ("scripts/x.py", "import train", "nothing imports scripts"),
    ],
)
def test_the_rules_can_fail(file: str, source: str, words: str) -> None:
    """Each rule catches a file that breaks it."""
    path = source_at(file, source)
    broken = broken_rules(path, imported(path))
    assert any(words in line for line in broken), broken


@pytest.mark.parametrize(
    ("file", "source", "words"),
    [
        ("ger_datasets/photos/x.py", "from ..faces.columns import encoded", "faces comes after"),
        ("ger_datasets/support/x.py", "if TYPE_CHECKING:\n    from ..records import Record", "records.py comes after"),
        ("ger_datasets/emotic/x.py", "from ..gaf3 import builder", "DATASET comes after"),
        ("ger_datasets/x.py", "", "stands in no room"),
        ("ger_models/inference/x.py", "from ..training.loop import build", "training comes after"),
        ("ger_models/presets.py", "from .training import recipe, loop", "training comes after"),
        ("ger_models/evaluation/x.py", "from .report.page import STYLE", "report comes after"),
    ],
)
def test_the_direction_can_be_wrong(file: str, source: str, words: str) -> None:
    path = source_at(file, source)
    wrong = wrong_direction(path, imported_modules(path))
    assert len(wrong) == 1
    assert words in wrong[0]


def test_a_cycle_is_found() -> None:
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c", "b"]
    assert cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_names_that_must_not_exist() -> None:
    assert not (ROOT / "scripts" / "evaluate.py").exists()
    for folder in (ROOT / "ger_datasets").iterdir():
        assert not (folder / f"{folder.name}.py").exists()


def test_the_processor_reads_columns_that_the_schema_has() -> None:
    from ger_datasets import schema
    from ger_models import GerProcessor

    processor = GerProcessor(columns=["image", "face_features", "scene_feature"])
    assert set(processor.columns) <= set(schema.features())
    assert schema.features()["face_features"].feature.length == schema.FACE_FEATURE_DIM == 256


def test_constants_of_files_that_travel_are_those_of_the_schema() -> None:
    """These files cannot import the schema."""
    from ger_datasets import schema
    from ger_models import configuration_ger
    from ger_models.evaluation.metrics.group_emotion import figures

    assert configuration_ger.NO_LABEL == schema.NO_LABEL
    face_size = (schema.ALIGNED_FACE_WIDTH, schema.ALIGNED_FACE_HEIGHT)
    assert face_size == (configuration_ger.FACE_WIDTH, configuration_ger.FACE_HEIGHT)
    assert configuration_ger.EXPRESSIONS == schema.EXPRESSIONS
    assert figures.FACE_BINS == schema.FACE_COUNT_BINS
