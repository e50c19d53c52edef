"""A prepared dataset's folder, read back: its shards by split, its columns and its card. Incomplete ones are refused.

Only footers are read here, and not the manifest: what is checked is what `load_dataset` would open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import ClassLabel, Features
from huggingface_hub import DatasetCard

from . import schema
from .support.errors import UserError, listing, one_line

SHARD = re.compile(r"(?P<split>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.parquet")
# What `datasets` raises on a schema whose feature metadata it did not write
ODD_NOTES = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
TERMS = re.compile(r"^\*\*Terms\.\*\*(.*?)(?:\n\s*\n|\Z)", re.S | re.M)


@dataclass(frozen=True)
class PreparedDataset:
    """A folder that prepare has finished.

    Attributes:
        folder: where it lies.
        shards: the Parquet files of each split, in order; splits in the card's order.
        rows: the number of photos of each split.
        features: the columns.
        name: what the card calls it.
        text: the card's prose, without the YAML above it.
        notice: a notice shown with every figure on this dataset; empty for real data.
    """

    folder: Path
    shards: Mapping[str, Sequence[Path]]
    rows: Mapping[str, int]
    features: Features
    name: str
    text: str
    notice: str

    @property
    def class_names(self) -> list[str]:
        """The names of the labels 0, 1, ..."""
        return list(self.features["label"].names)

    @property
    def terms(self) -> str:
        """What the card's paragraph on terms says, in one line; empty if there is none."""
        match = TERMS.search(self.text)
        return " ".join(match[1].split()) if match else ""


def read_prepared(folder: Path) -> PreparedDataset:
    """The prepared dataset in `folder`.

    Raises:
        UserError: it is not there or not finished, a shard is missing, cannot be read or lacks columns of the schema,
            or the card's numbers of photos differ from the shards'.
    """
    card_file, data = folder / "README.md", folder / "data"
    if not data.is_dir() or not card_file.is_file():
        missing = listing(name for name in ("README.md", "data") if not (folder / name).exists())
        raise UserError(f"{folder} is not a finished prepared dataset: {missing} missing; run prepare.py to its end")
    unfinished = sorted(path.name for place in (folder, data) for path in place.glob("*.tmp"))
    if unfinished:
        raise UserError(
            f"{folder} holds unfinished files ({listing(unfinished, 2)}): wait until prepare.py has ended or run it "
            "again, and delete those that stay"
        )
    shards = _shards(data)
    features, rows = _footers(shards)
    try:
        card = DatasetCard(card_file.read_text(encoding="utf-8"))
        data_of_card = card.data.to_dict()
        counts = {split["name"]: split["num_examples"] for split in data_of_card["dataset_info"]["splits"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise UserError(
            f"{card_file} is not a card that prepare wrote ({one_line(error)}); run prepare.py again"
        ) from error
    if counts != rows:
        raise UserError(
            f"{card_file} lists {_counts(counts)}, but the shards in {data} hold {_counts(rows)}; run prepare.py again"
        )
    ordered = {split: shards[split] for split in counts}
    name, notice = str(data_of_card.get("pretty_name") or folder.name), str(data_of_card.get("notice") or "")
    return PreparedDataset(folder, ordered, counts, features, name, card.text, notice)


def _shards(data: Path) -> dict[str, list[Path]]:
    """The files of each split, in order; UserError unless every split has all its parts and there is nothing else."""
    parts: dict[str, dict[int, Path]] = {}
    counts: dict[str, set[int]] = {}
    for path in sorted(data.glob("*.parquet")):
        match = SHARD.fullmatch(path.name)
        if match is None:
            raise UserError(
                f"{path} is not named as prepare names its shards (train-00000-of-00001.parquet): move it away"
            )
        parts.setdefault(match["split"], {})[int(match["index"])] = path
        counts.setdefault(match["split"], set()).add(int(match["count"]))
    if not parts:
        raise UserError(f"{data} holds no Parquet files; run prepare.py to its end")
    for split, numbered in parts.items():
        if len(counts[split]) > 1:
            several = " and ".join(map(str, sorted(counts[split])))
            raise UserError(
                f"{data}: the split {split} is cut into {several} shards at once; prepare into a new folder"
            )
        (count,) = counts[split]
        missing = sorted(set(range(count)) - set(numbered))
        if missing or len(numbered) != count:
            raise UserError(
                f"{data}: of the {count} shards of the split {split}, {listing(missing)} missing; "
                "run prepare.py to its end"
            )
    return {split: [numbered[i] for i in sorted(numbered)] for split, numbered in parts.items()}


def _footers(shards: Mapping[str, Sequence[Path]]) -> tuple[Features, dict[str, int]]:
    """The columns, which all shards must share, and the rows of each split."""
    features: Features | None = None
    first = ""  # shard, whose features they are
    rows: dict[str, int] = {}
    for split, paths in shards.items():
        rows[split] = 0
        for path in paths:
            try:
                with pq.ParquetFile(path) as file:
                    found, count = Features.from_arrow_schema(file.schema_arrow), file.metadata.num_rows
            except (*ODD_NOTES, OSError, pa.ArrowException) as error:
                reason = one_line(error)
                raise UserError(f"{path} cannot be read: {reason}; delete it and run prepare.py again") from error
            lacking = [name for name in schema.features() if name not in {*found, *schema.LATER_COLUMNS}]
            if lacking:
                raise UserError(f"{path} lacks the columns {listing(lacking)}; prepare the dataset with this version")
            if not isinstance(found["label"], ClassLabel):
                raise UserError(f"{path} does not name its classes; prepare the dataset with this version")
            if features is not None and found != features:
                raise UserError(f"{path} has other columns or classes than {first}; prepare into a new folder")
            if features is None:
                features, first = found, path.name
            rows[split] += count
    return features, rows


def _counts(rows: Mapping[str, int]) -> str:
    return listing(f"{split} {count}" for split, count in rows.items())
