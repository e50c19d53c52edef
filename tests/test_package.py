"""What is installed, and what the README promises."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import ger_datasets
from ger_datasets.support.commands import main, overview, script

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def command_after(marker: str) -> str:
    return re.search(rf"<!-- {marker} -->\n```bash\n(.*?)\n```", README, re.S).group(1)


@pytest.mark.slow
def test_the_sdist_holds_the_checkout_and_the_wheel_both_packages_whole(tmp_path: Path) -> None:
    """Built as a release is: the wheel from the unpacked sdist. The scripts are a package of the wheel."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("not a git checkout")
    copy = tmp_path / "copy"
    tracked = {name for name in files.stdout.split("\0") if name and (ROOT / name).exists()}
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    (copy / "ger_datasets" / "gaf3" / "README.md").write_text("prepared here: must stay here")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, copy]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=120)

    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    made = {name for name in held if name == "PKG-INFO" or ".egg-info/" in name}
    assert held - made == tracked - {".gitignore"}

    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name for name in packed if ".data/" in name} == set()
    expected = {
        path.relative_to(copy).as_posix()
        for room in ("ger_datasets", "ger_models")
        for path in (copy / room).rglob("*")
        if path.suffix in (".py", ".yaml")
        or path.name in ("card.md", "py.typed")
        or path.parent.name in ("starter", "templates")
    }
    expected |= {name.replace("scripts/", "group_emotion_scripts/") for name in tracked if name.startswith("scripts/")}
    assert packed == expected
    assert {Path(name).suffix for name in packed} == shipped_suffixes()

    place = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(place)
    code = (
        "import ger_datasets.builders, ger_models, ger_models.evaluation.report.writing;"
        "import ger_datasets.support.commands as commands;"
        "print(ger_models.__file__); print(commands.script('train'));"
        "commands.main(['convert_checkpoint', '--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(place)!r}); {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    package, train, usage = done.stdout.splitlines()[:3]
    assert package.startswith(str(place))
    assert train.startswith(str(place))
    assert train.endswith("group_emotion_scripts/train.py")
    assert usage.startswith("usage: convert_checkpoint.py")


def test_versions_agree() -> None:
    version = importlib.metadata.version("group-emotion")
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text()
    assert ger_datasets.__version__ == version


def test_every_constraint_is_within_the_declared_ranges() -> None:
    required = [Requirement(line) for line in importlib.metadata.requires("group-emotion")]
    ranges = {requirement.name: requirement.specifier for requirement in required}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert {pin.name for pin in pins} >= {requirement.name for requirement in required if requirement.marker is None}
    for pin in pins:
        (version,) = [clause.version for clause in pin.specifier]
        if pin.name not in ("mkdocstrings-python", "nbclient", "nbformat"):  # what an extra of a requirement brings
            assert ranges[pin.name].contains(version), pin


def lowest_versions() -> str:
    command = [sys.executable, str(ROOT / ".ci" / "lowest_versions.py")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_the_lowest_versions_are_those_of_the_declared_ranges() -> None:
    assert lowest_versions() == (ROOT / "constraints-lowest.txt").read_text()


def test_hooks_and_ci_check_with_the_same_ruff() -> None:
    pinned = re.search(r"^ruff==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M).group(1)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    ruffs = [hook for hook in hooks if hook["id"].startswith("ruff")]
    assert [hook["additional_dependencies"] for hook in ruffs] == [[f"ruff=={pinned}"]] * 2
    ci, make = ((ROOT / name).read_text() for name in (".ci/run", "Makefile"))
    for command in ("ruff", "mypy"):
        assert f'bin/{command}"' in ci
        assert f"-m {command}" in make


def test_every_dependency_has_its_licence_told() -> None:
    told = (ROOT / "THIRD_PARTY.md").read_text()
    cells = re.findall(r"^\| ([^|]+) \|", told, re.M)
    names = {name.partition(" (")[0] for cell in cells for name in cell.split(", ")}
    required = {Requirement(line).name for line in importlib.metadata.requires("group-emotion")}
    assert required - names == {"group-emotion"}


def shipped_suffixes() -> set[str]:
    """The kinds of files that THIRD_PARTY.md accounts for."""
    table = (ROOT / "THIRD_PARTY.md").read_text().partition("## What ships")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`\.[^|]+)\|", table, re.M)
    return {suffix for cell in first_cells for suffix in re.findall(r"`(\.\w+)`", cell)}


def test_the_command_line_lists_the_scripts_and_runs_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main([])
    listed = capsys.readouterr().out
    names = [path.stem for path in sorted((ROOT / "scripts").glob("*.py"))]
    assert listed.strip() == overview()
    assert [line.split()[0] for line in listed.splitlines()[4:]] == names
    main(["--version"])
    main(["--path", "train"])
    assert capsys.readouterr().out.split() == [ger_datasets.__version__, str(ROOT / "scripts" / "train.py")]
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    with pytest.raises(SystemExit) as stop:
        main(["push", "--help"])
    assert stop.value.code == 0
    assert "usage: push.py" in capsys.readouterr().out
    for wrong in (["fly"], ["--path"], ["--path", "fly"]):
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2
        assert "answer, app, calibrate, compare" in capsys.readouterr().err
    assert script("demo") == ROOT / "scripts" / "demo.py"


def test_the_readme_opens_with_two_commands_and_ci_runs_the_second() -> None:
    demo, test = command_after("demo"), command_after("test")
    assert README.index(demo) < README.index(test) < README.index("\n## ")
    assert demo.count("\n") == test.count("\n") == 0
    assert "scripts/demo.py" in demo
    assert "pytest" in test
    ci = (ROOT / ".ci" / "run").read_text()
    for marker in ("test", "demo"):
        assert f"command=$(command_of {marker} " in ci
    assert ci.count('\neval "$command') == 2
