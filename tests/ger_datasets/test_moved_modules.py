"""The imports of version 0.1 work until 0.3.0, warn once, and name the new place."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

import ger_models  # noqa: F401 - the old names of both packages
from ger_datasets.moved_modules import MODULES, NAMES, REMOVED_IN

ROOT = Path(__file__).resolve().parents[2]
MIGRATION = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")


def public_names(module: str) -> list[str]:
    """The functions and classes that a module defines."""
    return [name for name, value in vars(importlib.import_module(module)).items() if is_own(value, module)]


def is_own(value: object, module: str) -> bool:
    return getattr(value, "__module__", None) == module and not value.__name__.startswith("_")


@pytest.mark.parametrize("old", MODULES)
def test_a_module_that_moved_hands_out_the_names_of_its_new_places(old: str) -> None:
    assert not Path(ROOT, *old.split(".")).exists()
    assert not Path(ROOT, *old.split(".")).with_suffix(".py").exists()
    module = importlib.import_module(old)
    for new in MODULES[old]:
        name = public_names(new)[0]
        vars(module).pop(name, None)
        with pytest.warns(DeprecationWarning, match=re.escape(f"{old}.{name} is now {new}.{name};")) as caught:
            value = getattr(module, name)
        assert value is getattr(importlib.import_module(new), name)
        assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match=re.escape(f"{old!r} has no attribute 'no_such_name'")):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize("old", NAMES)
def test_a_module_that_became_a_folder_hands_out_the_names_of_the_module(old: str) -> None:
    folder = importlib.import_module(old)
    for new, names in NAMES[old].items():
        for name in names:
            vars(folder).pop(name, None)
            with pytest.warns(DeprecationWarning, match=re.escape(f"{old}.{name} is now {new}.{name};")):
                value = getattr(folder, name)
            assert value is getattr(importlib.import_module(new), name)
    with pytest.raises(AttributeError, match="no_such_name"):
        folder.no_such_name  # noqa: B018


def test_each_form_of_import_works_and_warns_once() -> None:
    code = (
        "import ger_datasets.support.command_line\n"  # no torch
        "import ger_datasets.errors\n"
        "from ger_datasets.errors import UserError\n"
        "from ger_datasets.errors import UserError\n"
        "from ger_datasets import cli\n"
        "from ger_datasets.photos import read_photo\n"
        "from ger_datasets.photos import metadata\n"
        "from ger_models.evaluation import simplex\n"
        "from ger_datasets.support import errors\n"
        "assert ger_datasets.errors.UserError is UserError is errors.UserError\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    warned = re.findall(r"<string>:(\d+): DeprecationWarning: (\S+) is now", done.stderr)
    assert warned == [("3", "ger_datasets.errors.UserError"), ("6", "ger_datasets.photos.read_photo")]


def test_the_page_on_migration_lists_what_moved() -> None:
    rows = re.findall(r"^\| `(ger_[\w.]+)` \| (`ger_.*`) \|$", MIGRATION, re.M)
    names = {f"{old}.{name}": {new} for old, places in NAMES.items() for new in places for name in places[new]}
    assert {old: set(re.findall(r"`([\w.]+)`", new)) for old, new in rows} == {
        **{old: set(new) for old, new in MODULES.items()},
        **names,
    }


def test_the_old_imports_end_in_time() -> None:
    """Fails from the version on that the warning names: delete ger_datasets/moved_modules.py then."""
    assert Version(importlib.metadata.version("group-emotion")) < Version(REMOVED_IN)
