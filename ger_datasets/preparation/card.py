"""The dataset card: YAML that `datasets` and the Hub read, then prose, counts and provenance for people."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from datasets import DatasetInfo, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

from .. import schema
from ..support.atomic_files import write_text
from ..support.errors import UserError
from ..support.hub_connection import read_from_hub
from ..support.repository_names import is_missing_folder
from .column_sources import ENCODED, SOURCES

if TYPE_CHECKING:
    from ..builders import Builder

PUBLISHED = re.compile(r"^ *(doi|url) = \{(.+)\}", re.M)  # in the BibTeX entry of a card's prose


def write_card(
    output: Path,
    dataset: str,
    builder: Builder,
    entries: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    duplicates: Mapping[str, Any],
    remarks: Sequence[str],
    extra_features: Mapping[str, Any],
) -> None:
    """Write `output/README.md`.

    Args:
        output: the prepared dataset's folder.
        dataset: its name.
        builder: its builder; `card.md` beside its module is the prose.
        entries: the shards' manifest entries.
        settings: the manifest's settings.
        duplicates: what `duplicates.duplicate_summary` found.
        remarks: what a reader should know about this copy, one sentence each.
        extra_features: the columns that only this dataset has.
    """
    splits = list(dict.fromkeys(entry["split"] for entry in entries))
    by_split = {split: [entry for entry in entries if entry["split"] == split] for split in splits}
    infos = SplitDict(dataset_name=dataset)
    for name, members in by_split.items():
        infos.add(SplitInfo(name, sum(e["bytes"] for e in members), sum(e["rows"] for e in members)))
    size = sum(info.num_bytes for info in infos.values())
    info = DatasetInfo(
        features=schema.features(builder.class_names, extra_features),
        splits=infos,
        download_size=size,
        dataset_size=size,
    )
    prose = _prose(builder)
    data = DatasetCardData(
        pretty_name=dataset,
        license=builder.license,
        **(_terms(dataset, prose) if builder.license == "other" else {}),
        task_categories=["image-classification"],
        tags=["group-level emotion recognition", "faces"],
        **({"notice": builder.notice} if builder.notice else {}),
        **({"encoders": encoders} if (encoders := _encoders(settings)) else {}),
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]
    MetadataConfigs({"default": {"data_files": files}}).to_dataset_card_data(data)

    sections = [
        f"---\n{data}\n---",
        prose,
        _counts(by_split, builder),
        _faces(by_split),
        _remarks(remarks, duplicates),
        _provenance(entries, settings),
    ]
    write_text(output / "README.md", "\n\n".join(sections) + "\n")


def _encoders(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Column of vectors -> its encoder: name, width, a hash of the weights and, from the Hub, the revision."""
    kept = ("name", "revision", "width", "weights_sha256")
    columns = {name.removeprefix(ENCODED): value for name, value in settings.items() if name.startswith(ENCODED)}
    if settings.get("scene_model"):
        columns["scene_feature"] = settings["scene_model"]
    return {column: {key: value[key] for key in kept if key in value} for column, value in columns.items()}


def _prose(builder: Builder) -> str:
    """`card.md` beside the builder's module, which may be in another package; empty if there is none."""
    text = Path(inspect.getfile(type(builder))).with_name("card.md")
    return text.read_text(encoding="utf-8").strip() if text.exists() else ""


def _terms(dataset: str, prose: str) -> dict[str, str]:
    """What the Hub, and Croissant's `license`, ask of a licence that has no identifier: a name, and where the terms
    are. The link is that of the citation, whose authors give the data."""
    link = PUBLISHED.search(prose)
    place = link and (f"https://doi.org/{link[2]}" if link[1] == "doi" else link[2])
    return {"license_name": f"{dataset.replace('_', '-')}-terms", **({"license_link": place} if place else {})}


def read_card(dataset: str) -> dict[str, Any]:
    """The YAML of the card of a prepared dataset, a folder or a Hub repository; empty if there is none.

    Raises:
        UserError: the card is there but cannot be read.
    """
    card = Path(dataset) / "README.md"
    if not Path(dataset).is_dir() and not is_missing_folder(dataset):
        try:
            card = Path(read_from_hub(dataset, lambda: hf_hub_download(dataset, card.name, repo_type="dataset")))
        except (EntryNotFoundError, RepositoryNotFoundError):
            return {}
    if not card.exists():
        return {}
    try:
        return DatasetCard.load(card).data.to_dict()
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{card} is not a dataset card: {error}") from error


def read_notice(dataset: str) -> str:
    """The notice shown with figures on a prepared dataset, a folder or a Hub repository; empty if there is none."""
    return str(read_card(dataset).get("notice", ""))


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _sum(members: Sequence[Mapping[str, Any]], key: str) -> Counter[int]:
    """The counts that shards hold under `key`, added up; keys as numbers."""
    total: Counter[int] = Counter()
    for entry in members:
        total.update({int(name): count for name, count in entry[key].items()})
    return total


def _counts(by_split: Mapping[str, Sequence[Mapping[str, Any]]], builder: Builder) -> str:
    labels = [*range(len(builder.class_names)), schema.NO_LABEL]
    counts = {split: _sum(members, "labels") for split, members in by_split.items()}
    labels = [label for label in labels if label >= 0 or any(c[label] for c in counts.values())]
    names = [builder.class_names[label] if label >= 0 else "unlabelled" for label in labels]
    rows = [[split, *(c[label] for label in labels), c.total()] for split, c in counts.items()]
    return "## Photos per class\n\n" + _table(["split", *names, "all"], rows)


def _faces(by_split: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    bins = schema.FACE_COUNT_BINS
    counts = {split: schema.binned(_sum(members, "faces"), bins) for split, members in by_split.items()}
    header = [schema.bin_name(*edges) for edges in bins]
    rows = [[split, *(count for _, count in within)] for split, within in counts.items()]
    return "## Photos by number of faces found\n\n" + _table(["split", *header], rows)


def _remarks(remarks: Sequence[str], duplicates: Mapping[str, Any]) -> str:
    lines = [f"- {remark}" for remark in remarks]
    if duplicates["pairs"]:
        examples = "; ".join(f"`{one}` and `{other}`" for one, other in duplicates["examples"][:5])
        lines.append(
            f"- Near-duplicates across splits: {duplicates['photos']} photos look the same as one in "
            f"another split by a perceptual hash, in {duplicates['pairs']} pairs, for example {examples}."
        )
    else:
        lines.append("- Near-duplicates across splits: none by a perceptual hash.")
    return "## Known quirks of this copy\n\n" + "\n".join(lines)


def _provenance(entries: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> str:
    quarantined = sum(len(entry["quarantined"]) for entry in entries)
    detector = ", ".join(f"{name} {value}" for name, value in settings["detector"].items())
    titles = {"options": "Options", **{source.option: source.title for source in SOURCES.values()}}
    titles |= {name: f"Column {name.removeprefix(ENCODED)}" for name in settings if name.startswith(ENCODED)}
    sources = [
        f"- {title}: {', '.join(f'{key} {value}' for key, value in settings[name].items())}.\n"
        for name, title in titles.items()
        if settings[name]
    ]
    packages = ("group-emotion", "facenet-pytorch", "torch", "pillow")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        "## Provenance\n\n"
        f"- {settings['photos']} photos were read; {quarantined} could not be used and stand in `quarantine.jsonl`.\n"
        f"- Faces: {detector}.\n" + "".join(sources) + f"- Versions: {versions}."
    )
