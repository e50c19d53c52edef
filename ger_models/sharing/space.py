"""The files of a Hugging Face Space that runs the web app with a model from the Hub."""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub.utils import validate_repo_id
from packaging.requirements import Requirement

import ger_datasets
from ger_datasets.support.commands import DISTRIBUTION
from ger_datasets.support.errors import UserError
from ger_datasets.support.hub_push import push_files

PACKAGES = ("ger_datasets", "ger_models")
# what the packages hold beside code; prepared datasets, which can lie in their folders too, are not among it
SUFFIXES = (".py", ".yaml", ".html", ".css", ".js", ".typed")
STARTER_SUFFIXES = (".json", ".md", ".safetensors")
PREPARED = ("data", "frames", "manifest", "__pycache__")  # folders that prepare.py and Python make

APP = '''\
"""Runs the web app of group-emotion with {model}."""

import os
import threading

import ger_models  # noqa: F401 - registers the models
from ger_models.app.serving import serving

host, port = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"), int(os.environ.get("GRADIO_SERVER_PORT", "7860"))
with serving([{model!r}], "auto", host, port) as url:
    print(f"open {{url}} in a browser", flush=True)
    threading.Event().wait()
'''

CARD = """\
---
title: The emotion of a group
emoji: 👥
colorFrom: blue
colorTo: green
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
license: apache-2.0
pinned: false
{models}---

# The emotion of a group

Recognises which emotion a group of people in a photo is perceived to show, with the model {model}. It does not know
what anybody feels. It is not meant for judging individuals, nor for decisions about them; in the European Union,
emotion recognition in workplaces and schools is prohibited (Regulation 2024/1689, Article 5).
Photos are deleted within an hour.
"""


def write_space(folder: Path, model: str) -> list[Path]:
    """Write the files of a Space into an empty folder; returns them.

    Args:
        folder: exists and is empty.
        model: a Hub repository, or `starter`.

    Raises:
        UserError: `model` cannot be the name of a repository, or Gradio is not installed.
    """
    if model != "starter":
        try:
            validate_repo_id(model)
        except ValueError as error:
            raise UserError(f"{model!r} is no repository on the Hub; push the model first, or use starter") from error
        if model.count("/") != 1:
            raise UserError(f"--model must read ORG/NAME or starter, not {model!r}")
    try:
        gradio = importlib.metadata.version("gradio")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError('a Space states its Gradio version: pip install "group-emotion[app]"') from error
    models = "" if model == "starter" else f"models:\n- {model}\n"
    (folder / "README.md").write_text(CARD.format(gradio=gradio, models=models, model=model), encoding="utf-8")
    (folder / "app.py").write_text(APP.format(model=model), encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(requirements()) + "\n", encoding="utf-8")
    root = Path(ger_datasets.__file__).parents[1]
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if _belongs(path.relative_to(root)) and path.is_file():
                place = folder / path.relative_to(root)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(path.read_bytes())
    return sorted(path for path in folder.rglob("*") if path.is_file())


def requirements() -> list[str]:
    """What the packages need, with the installed versions as upper bounds."""
    lines = []
    for line in importlib.metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(line)
        if requirement.marker is not None or requirement.name == "group-emotion":  # an extra
            continue
        try:
            newest = importlib.metadata.version(requirement.name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            newest = ""
        known = str(requirement.specifier)
        exact = "==" in known or not newest
        lines.append(f"{requirement.name}{known}" if exact else f"{requirement.name}{known},<={newest}")
    return lines


def _belongs(path: Path) -> bool:
    if set(PREPARED).intersection(path.parts[:-1]):
        return False
    if path.parts[:2] == ("ger_models", "starter") and path.suffix in STARTER_SUFFIXES:
        return True
    return path.suffix in SUFFIXES or path.name == "card.md"


def push_space(repo: str, model: str, private: bool = True, revision: str | None = None) -> dict[str, Any]:
    """Push a Space that runs the app with `model`.

    Args:
        repo: `ORG/NAME`; made if it does not exist.
        model: a Hub repository, or `starter`.
        private: whether only those whom the owner lets in may see it.
        revision: a branch, made if it does not exist; None: the main one.

    Returns:
        `repo`, `url`, `commit`, `files`, `bytes` and `private`.

    Raises:
        UserError: as `write_space` and `push_files`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {path.relative_to(folder).as_posix(): path for path in write_space(folder, model)}
        return push_files(files, repo, "space", private=private, revision=revision, replaced="ger_*")
