"""What is installed, and what the README promises."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from ger_datasets.sample.drawing import draw_photo

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def command_after(marker: str) -> str:
    return re.search(rf"<!-- {marker} -->\n```bash\n(.*?)\n```", README, re.S).group(1)


def test_the_wheel_holds_both_packages_whole_and_nothing_else(tmp_path: Path) -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("not a git checkout")
    copy = tmp_path / "copy"
    for name in filter(None, files.stdout.split("\0")):
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    (copy / "ger_datasets" / "gaf3" / "README.md").write_text("prepared here: must stay here")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, copy]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(copy).as_posix()
        for room in ("ger_datasets", "ger_models")
        for path in (copy / room).rglob("*")
        if path.suffix == ".py" or path.name in ("card.md", "py.typed")
    }
    assert packed == expected

    place = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(place)
    code = "import ger_datasets.builders, ger_models, ger_models.evaluation.report; print(ger_models.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(place)!r}); {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().startswith(str(place))


def test_versions_agree() -> None:
    version = importlib.metadata.version("group-emotion")
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text()


def test_every_constraint_is_within_the_declared_ranges() -> None:
    required = [Requirement(line) for line in importlib.metadata.requires("group-emotion")]
    ranges = {requirement.name: requirement.specifier for requirement in required}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert {pin.name for pin in pins} >= {requirement.name for requirement in required if requirement.marker is None}
    for pin in pins:
        (version,) = [clause.version for clause in pin.specifier]
        assert ranges[pin.name].contains(version), pin


def test_the_readme_opens_with_two_commands_and_ci_runs_the_second() -> None:
    demo, test = command_after("demo"), command_after("test")
    assert README.index(demo) < README.index(test) < README.index("\n## ")
    assert demo.count("\n") == test.count("\n") == 0
    assert "scripts/demo.py" in demo
    assert "pytest" in test
    ci = (ROOT / ".ci" / "run").read_text()
    assert "<!-- test -->" in ci
    assert "eval" in ci


def test_every_script_and_file_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"scripts/\w+\.py", README)) | set(re.findall(r"\]\(([^)#]+)\)", README))
    assert len(named) >= 6
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_readme_python_runs(drawn_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's Python, on the drawn dataset and a small model under the names it uses."""
    from ger_models.presets import build

    for name, overrides in (("densenet_emotic", "backbone=test_resnet"), ("face_aligned", "channels=8")):
        model, processor = build(name, ["Negative", "Neutral", "Positive"], overrides=overrides)
        model.save_pretrained(tmp_path / "runs" / name)
        processor.save_pretrained(tmp_path / "runs" / name)
    draw_photo(np.random.default_rng(0), "Positive", 2)[0].save(tmp_path / "party.jpg")
    (tmp_path / "ger_datasets").mkdir()
    (tmp_path / "ger_datasets" / "gaf3").symlink_to(drawn_dataset)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.S):
        exec(block, names)
    assert names["logits"].shape == (4, 3)
    assert names["tell"]("party.jpg")["label"] in ("Negative", "Neutral", "Positive")
    assert (tmp_path / "runs" / "ensemble" / "model.safetensors").exists()
