"""The datasets by name. A new one is a folder with `builder.py` and `card.md`, and a line here.

Packages that are installed beside this one add theirs as entry points of the group `group_emotion.datasets`.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from .emotic.builder import EmoticBuilder
from .expressions.builder import ExpressionsBuilder
from .findingemo.builder import FindingEmoBuilder
from .folders.builder import FoldersBuilder
from .gaf3.builder import Gaf3Builder
from .group_scene.builder import GroupSceneBuilder
from .groupemow.builder import GroupEmowBuilder
from .happei.builder import HappeiBuilder
from .multiemova.builder import MultiEmovaBuilder
from .records import Record
from .sample.builder import SampleBuilder
from .support.errors import UserError, listing
from .support.registry import Registry
from .vgaf.builder import VgafBuilder

logger = logging.getLogger(__name__)


class Builder(Protocol):
    """A raw download -> records.

    All but the two methods may be plain class attributes. `card.md` beside the builder's module is the prose of the
    dataset card. A builder may have a dataclass `Options`: the dataset's own options, each with a default and a `help`
    in its metadata. They are then options of prepare.py.
    """

    @property
    def class_names(self) -> Sequence[str]:
        """The names of the labels 0, 1, ..."""
        ...

    @property
    def extra_features(self) -> Mapping[str, Any]:
        """The columns that only this dataset has, as `datasets` features; `Record.extras` fills them."""
        ...

    @property
    def notice(self) -> str:
        """A notice shown with every figure on this dataset; empty for real data."""
        ...

    @property
    def license(self) -> str:
        """The Hub's identifier of the photos' licence; "other" where the card states the terms."""
        ...

    def __init__(self, source: Path) -> None:
        """`source`: the raw folder. A builder with `Options` takes an instance as the keyword argument `options`; one
        that writes files takes `work_folder`."""

    def records(self) -> list[Record]:
        """Every photo, with image_ids that are unique and the same on every machine; UserError if there are none."""
        ...

    def remarks(self) -> list[str]:
        """What a reader of the card should know about this download: counts that differ from the published ones,
        files left out. One sentence each, without paths of this machine; called after `records`."""
        ...


BUILDERS: Registry[type[Builder]] = Registry(
    "dataset",
    {
        "gaf3": Gaf3Builder,
        "sample": SampleBuilder,
        "emotic": EmoticBuilder,
        "group_scene": GroupSceneBuilder,
        "expressions": ExpressionsBuilder,
        "vgaf": VgafBuilder,
        "groupemow": GroupEmowBuilder,
        "multiemova": MultiEmovaBuilder,
        "findingemo": FindingEmoBuilder,
        "happei": HappeiBuilder,
        "folders": FoldersBuilder,
    },
    "group_emotion.datasets",
)


def dataset_options(name: str) -> dict[str, dataclasses.Field[Any]]:
    """The options that the dataset `name` has of its own, by name."""
    options = getattr(BUILDERS[name], "Options", None)
    return {} if options is None else {field.name: field for field in dataclasses.fields(options)}


def all_dataset_options() -> list[tuple[str, Any, Any]]:
    """The options of all datasets as fields for `dataclasses.make_dataclass`: name, type and field.

    The default is None, or False for a switch, which means that the option is not given. The help names the datasets
    that have the option. A dataset of another package that cannot be loaded is left out with a warning.
    """
    helps: dict[str, list[str]] = {}
    types: dict[str, Any] = {}
    for dataset in BUILDERS:
        try:
            options = dataset_options(dataset)
        except UserError as error:
            logger.warning("%s", error)
            continue
        for name, option in options.items():
            kind = type(option.default)
            types.setdefault(name, kind if kind is bool else kind | None)
            text = f"{dataset}: {option.metadata['help']}"
            helps.setdefault(name, []).append(text if kind is bool else f"{text} Default: {option.default}.")
    fields = []
    for name, kind in types.items():
        default = False if kind is bool else None
        fields.append((name, kind, dataclasses.field(default=default, metadata={"help": " ".join(helps[name])})))
    return fields


def make_builder(dataset: str, source: Path, work_folder: Path, options: Mapping[str, Any]) -> Builder:
    """The builder of `dataset`.

    Args:
        dataset: a name in `BUILDERS`.
        source: the raw folder.
        work_folder: where a builder may keep files that it makes of the raw ones.
        options: the dataset's own, by name; the others keep their defaults.

    Raises:
        UserError: an unknown dataset, or an option that it does not have or whose value it refuses.
    """
    builder: Any = BUILDERS[dataset]
    known = dataset_options(dataset)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise UserError(f"{dataset} has no option {listing(unknown)}: it has {listing(known)}")
    arguments: dict[str, Any] = {"options": builder.Options(**options)} if known else {}
    if "work_folder" in inspect.signature(builder).parameters:
        arguments["work_folder"] = work_folder
    return builder(source, **arguments)
