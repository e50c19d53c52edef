"""Score a predictions table against its labels: a report as JSON, one HTML page and two figures."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ger_datasets.cli import run
from ger_datasets.errors import UserError, listing
from ger_models.evaluation.predictions import Predictions, read_predictions
from ger_models.evaluation.report import write_report

logger = logging.getLogger(__name__)


@dataclass
class Arguments:
    predictions: Path = field(metadata={"help": "The predictions table that predict.py wrote: a Parquet file."})
    output_dir: Path = field(metadata={"help": "Folder for the report; an earlier report in it is replaced."})
    split: str | None = field(
        default=None, metadata={"help": "The split to score; may be left out where the table holds only one."}
    )
    most_mistakes: int = field(
        default=20, metadata={"help": "How many of the most confident mistakes the report lists."}
    )


def main(arguments: Arguments) -> dict[str, Any]:
    predictions = read_predictions(arguments.predictions)
    split = arguments.split or only_split(predictions)
    report = write_report(arguments.output_dir, predictions, split, most_mistakes=arguments.most_mistakes)
    if report["note"]:
        logger.warning("note: %s", report["note"])
    page = arguments.output_dir / "report.html"
    logger.info("%s on %s: %.1f%% accuracy; %s", report["model"], split, 100 * report["metrics"]["accuracy"], page)
    metrics = {
        name: value for name, value in report["metrics"].items() if name not in ("confusion_matrix", "per_class")
    }
    told = {"model": report["model"], "split": split, "note": report["note"], "report": str(page)}
    return {**metrics, **report["baselines"], **told}


def only_split(predictions: Predictions) -> str:
    """The one split of the table; several are the user's to choose from."""
    if len(predictions.split_names) > 1:
        raise UserError(f"the table holds the splits {listing(predictions.split_names)}; choose one with --split")
    return predictions.split_names[0]


if __name__ == "__main__":
    run(main, Arguments)
