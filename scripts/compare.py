"""Compare models on the same split: mean accuracy over seeds, intervals, paired tests with Holm's correction, cost.

python scripts/compare.py runs/probe runs/features --split test --output_dir comparison
python scripts/compare.py a.parquet b.parquet --split test --output_dir comparison

A folder with seed_0, seed_1, ... (as train_all.py --seeds writes them) is one model with several seeds.
"""

from __future__ import annotations

import json
import logging
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError, listing

if TYPE_CHECKING:
    from ger_models.evaluation.model_table import Entry

logger = logging.getLogger(__name__)
FEW_PHOTOS = 30  # below, the bootstrap's intervals of an accuracy cover less than they claim


@dataclass
class Arguments:
    first: ClassVar[str] = "models"
    models: list[Path] = field(
        metadata={
            "help": "Predictions tables (Parquet), or run folders that hold SPLIT.parquet, or folders of such runs "
            "called seed_0, seed_1, ..."
        }
    )
    output_dir: Path = field(metadata={"help": "Folder for compare.html, .md, .csv, .tex and .json."})
    split: str = field(default="test", metadata={"help": "The split to score."})


def main(arguments: Arguments) -> dict[str, Any]:
    from ger_models.evaluation.model_table import model_table
    from ger_models.evaluation.report.model_table_files import sections, write_model_table

    entries = [entry(path, arguments.split) for path in arguments.models]
    notes = dict.fromkeys(table.note for each in entries for table in each.seeds if table.note)
    table = model_table(entries, arguments.split)
    if min(row["photos"] for row in table["rows"]) < FEW_PHOTOS:
        notes[f"with fewer than {FEW_PHOTOS} photos the intervals are too narrow"] = None
    table = write_model_table(arguments.output_dir, table, "; ".join(notes))
    for title, heads, rows in sections(table):
        logger.info("%s\n%s", title, "\n".join("  ".join(line) for line in (heads, *rows)))
    best = [{name: row[name] for name in ("model", "accuracy", "std", "seeds")} for row in table["rows"]]
    significant = [pair["models"] for pair in table["pairs"] if pair["significant"]]
    return {
        "split": arguments.split,
        "models": best,
        "significant": significant,
        "note": table["note"],
        "report": str(arguments.output_dir / "compare.html"),
    }


def entry(path: Path, split: str) -> Entry:
    """A model of the table, from a predictions table, a run's folder or a folder of seeds."""
    from dataclasses import replace

    from ger_models.evaluation.model_table import Entry
    from ger_models.evaluation.predictions import read_predictions

    if not path.is_dir():
        predictions = read_predictions(path)
        return Entry(predictions.model, [predictions])
    seeds = sorted(path.glob("seed_*"), key=lambda folder: (len(folder.name), folder.name)) or [path]
    tables = [folder / f"{split}.parquet" for folder in seeds]
    missing = [str(table) for table in tables if not table.is_file()]
    if missing:
        raise UserError(
            f"{listing(missing, 3)} not found: predict the split once for each run with predict.py --model RUN "
            f"--split {split} --output RUN/{split}.parquet, or train with train_all.py --seeds N --report {split}"
        )
    read = [replace(read_predictions(table), model=path.name) for table in tables]
    return Entry(path.name, read, cost(seeds[0]))


def cost(folder: Path) -> dict[str, Any]:
    """The number of weights of a run, from the header of its file, and what metrics.json says about its speed."""
    found: dict[str, Any] = {}
    try:
        with open(folder / "model.safetensors", "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100 * 2**20)))
        shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
        found["parameters"] = sum(map(math.prod, shapes))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        if metrics.get("photos_per_second"):
            found["photos_per_second"] = metrics["photos_per_second"]
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        logger.debug("the cost of %s is not known", folder)
    return found


if __name__ == "__main__":
    run(main, Arguments)
