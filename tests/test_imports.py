"""Who may import whom, as docs/design.md says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TRAVELLING = ("configuration_", "modeling_", "processing_", "backbones", "sphereface", "pooling")
FILES = sorted(path for room in ("ger_datasets", "ger_models", "scripts") for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Absolute names of everything that `path` imports, relative imports resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            names |= {module} | {f"{module}.{alias.name}".lstrip(".") for alias in node.names}
    return names


def travels(path: Path) -> bool:
    return path.parent.name == "ger_models" and path.stem.startswith(TRAVELLING)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def broken_rules(path: Path, names: set[str]) -> list[str]:
    room = path.relative_to(ROOT).parts[0]
    ours = {name for name in names if inside(name, "ger_datasets") or inside(name, "ger_models")}
    broken = [f"imports {name}: nothing imports scripts" for name in names if inside(name, "scripts")]
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
    if room == "ger_models" and path.stem != "pipeline_ger":
        broken += [
            f"imports {name}: only the pipeline looks for faces" for name in ours if inside(name, "ger_datasets.faces")
        ]
    if "evaluation" in path.parts:
        broken += [f"imports {name}: evaluation handles arrays" for name in names if name.split(".")[0] == "torch"]
    return broken


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_import_rules(path: Path) -> None:
    assert broken_rules(path, imported(path)) == []


def test_files_that_travel_use_only_flat_relative_imports() -> None:
    for path in filter(travels, FILES):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("ger_")):
                assert node.level == 1, f"{path.name}: {ast.unparse(node)}"
                assert "." not in node.module, f"{path.name}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    ("file", "source", "words"),
    [
        ("ger_datasets/x.py", "import ger_models.training.loop", "never imports ger_models"),
        ("ger_datasets/sample/x.py", "from ... import scripts", "nothing imports scripts"),
        ("ger_models/modeling_x.py", "from .presets import PRESETS", "travels"),
        ("ger_models/modeling_x.py", "from ger_datasets.schema import NO_LABEL", "travels"),
        ("ger_models/modeling_x.py", "from .modeling_scene import NO_LABEL", "never imports another"),
        ("ger_models/training/loop.py", "def f():\n    from ger_datasets.faces import Faces", "looks for faces"),
        ("ger_models/evaluation/x.py", "import torch.nn", "arrays"),
        ("scripts/x.py", "import scripts.train", "nothing imports scripts"),
    ],
)
def test_the_rules_can_fail(tmp_path: Path, file: str, source: str, words: str) -> None:
    """Each rule catches a file that breaks it."""
    path = ROOT / file

    class Source(type(path)):
        def read_text(self, encoding: str | None = None) -> str:
            return source

    broken = broken_rules(path, imported(Source(path)))
    assert any(words in line for line in broken), broken


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
