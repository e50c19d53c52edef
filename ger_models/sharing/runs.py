"""A folder of runs -> the Hub: a model repository for each run and ensemble in it, a static Space for each report.

    runs/densenet_emotic/        a checkpoint with its card                   -> the model ORG/densenet_emotic
    runs/probe/seed_0/           one of several seeds                         -> the model ORG/probe-seed_0
    runs/ensemble/checkpoint/    what ensemble.py --members made              -> the model ORG/ensemble
    runs/report/                 what evaluate_predictions.py or compare.py   -> the Space ORG/report, which shows the
                                 made                                            page

Cards name the repositories: in their example, and as `base_model` where one of these models was made of others.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from tqdm import tqdm

from ger_datasets.support.errors import UserError, listing, one_line
from ger_datasets.support.hub_push import push_files

from ..backbones import loading_from
from ..evaluation.report.card import EVAL_RESULTS

logger = logging.getLogger(__name__)

CARD = "README.md"
CHECKPOINT = ("config.json", "preprocessor_config.json", CARD)
# of a checkpoint: what is pushed where it exists
FILES = (
    *CHECKPOINT,
    *("*.safetensors", "*.safetensors.index.json", "metrics.json", "recipe.yaml", "curves.png", "conversion.json"),
    f"{EVAL_RESULTS}/*.yaml",
)
PAGES = ("report.html", "compare.html")  # of a report
PAGE_FILES = ("report.*", "compare.*", "card.md", "*.png")
SPACE_CARD = """\
---
title: {title}
emoji: 📊
colorFrom: blue
colorTo: green
sdk: static
app_file: {page}
pinned: false
{models}---

# {title}

A report on models that recognise which emotion a group of people in a photo is perceived to show.
"""


@dataclass(frozen=True)
class Pushed:
    """One repository and what goes there.

    Attributes:
        name: of the repository, without the organisation.
        folder: where the files lie.
        files: by their names in the repository, the card excepted.
        parts: names of the models that this one was made of: an ensemble's members, the runs whose weights it took.
        page: the page that a report's Space shows; empty for a model.
    """

    name: str
    folder: Path
    files: dict[str, Path]
    parts: tuple[str, ...] = ()
    page: str = ""


def push_runs(folder: Path, org: str, names: Collection[str] = (), private: bool = True) -> dict[str, Any]:
    """Push every run, ensemble and report in a folder; what is on the Hub already is not uploaded again.

    After an interruption the same call goes on with what is missing.

    Args:
        folder: the runs' folder, such as train_all.py's `output_dir`.
        org: organisation or user on the Hub.
        names: push only these repositories; empty: all.
        private: whether the repositories are private.

    Returns:
        `org`, `private`, and `models` and `reports`: for each repository's name what `push_files` returns.

    Raises:
        UserError: there is nothing to push, a name is not there, or as `push_files`.
    """
    found = {each.name: each for each in find_runs(folder)}
    unknown = [name for name in names if name not in found]
    if not found or unknown:
        there = f"there are {listing(found, 20)}" if found else "no finished run, ensemble or report lies in it"
        raise UserError(f"{folder} has no {listing(unknown) if unknown else 'run to push'}: {there}")
    chosen = [each for name, each in found.items() if not names or name in names]
    if not private:
        logger.warning("PUBLIC: everyone can download the models, and see the photos in reports")
    models = [each for each in chosen if not each.page]
    folders = [each.folder.name for each in models]  # what runs and ensembles call each other
    repositories = {each.folder.name: f"{org}/{each.name}" for each in models if folders.count(each.folder.name) == 1}
    repositories |= {each.name: f"{org}/{each.name}" for each in models}
    told: dict[str, dict[str, Any]] = {"models": {}, "reports": {}}
    sizes = {each.name: sum(path.stat().st_size for path in each.files.values()) for each in chosen}
    with tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, desc="pushing", mininterval=0.5) as bar:
        for each in chosen:
            bar.set_postfix_str(each.name)
            kind = "reports" if each.page else "models"
            told[kind][each.name] = _push(each, f"{org}/{each.name}", repositories, private)
            bar.update(sizes[each.name])
    return {"org": org, "private": private, **told}


def find_runs(folder: Path) -> list[Pushed]:
    """What `push_runs` pushes of a folder, in order of their names; unfinished runs are left out with a warning.

    Raises:
        UserError: there is no such folder, or a file in it cannot be read.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: name the folder that holds the runs")
    return [each for path in sorted(folder.iterdir()) if path.is_dir() for each in _found(path, path.name)]


def _found(path: Path, name: str) -> Iterator[Pushed]:
    if (path / "ensemble.json").is_file() and _is_checkpoint(path / "checkpoint"):
        members = tuple(_read(path / "ensemble.json").get("members") or ())
        files = {**_matching(path / "checkpoint", FILES), "ensemble.json": path / "ensemble.json"}
        yield Pushed(name, path / "checkpoint", files, members)
    elif _is_checkpoint(path):
        metrics: dict[str, Any] = {"finished": True}  # as of a converted checkpoint
        if (path / "metrics.json").is_file():
            metrics = _read(path / "metrics.json")
        if metrics.get("finished"):
            stages = (metrics.get("stages") or {}).values()
            yield Pushed(name, path, _matching(path, FILES), tuple(stage["from"] for stage in stages))
        else:
            logger.warning("%s is not finished and is left out", path)
    elif pages := [page for page in PAGES if (path / page).is_file()]:
        yield Pushed(name, path, _matching(path, PAGE_FILES), page=pages[0])
    else:
        for seed in sorted(path.glob("seed_*")):
            yield from _found(seed, f"{name}-{seed.name}")


def _is_checkpoint(path: Path) -> bool:
    return all((path / name).is_file() for name in CHECKPOINT)


def _matching(folder: Path, patterns: Collection[str]) -> dict[str, Path]:
    paths = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    return {path.relative_to(folder).as_posix(): path for path in paths if path.name != CARD}


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)}") from error


def _push(pushed: Pushed, repo: str, repositories: Mapping[str, str], private: bool) -> dict[str, Any]:
    card = _space_card(pushed, repositories) if pushed.page else _model_card(pushed, repo, repositories)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / CARD).write_text(card, encoding="utf-8")
        files = {CARD: Path(place) / CARD, **pushed.files}
        return push_files(files, repo, "space" if pushed.page else "model", private=private, sdk="static")


def _model_card(pushed: Pushed, repo: str, repositories: Mapping[str, str]) -> str:
    """The card, with the repository's name in its example and the repositories that the model was made of."""
    text = loading_from(repo, (pushed.folder / CARD).read_text(encoding="utf-8"))
    bases = [repositories.get(part, part) for part in pushed.parts]
    if not any("/" in base for base in bases):
        return text
    card = ModelCard(text)
    card.data.base_model = list(dict.fromkeys(base for base in bases if "/" in base))
    return f"---\n{card.data}\n---\n{card.text}"


def _space_card(pushed: Pushed, repositories: Mapping[str, str]) -> str:
    models = "".join(f"- {repo}\n" for repo in dict.fromkeys(repositories.values()))
    title = pushed.name.replace("_", " ").replace("-", " ")
    return SPACE_CARD.format(title=title, page=pushed.page, models=f"models:\n{models}" if models else "")
