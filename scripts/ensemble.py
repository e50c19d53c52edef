"""Find an ensemble of models on one split, and score it once on another.

python scripts/ensemble.py --predictions a.parquet b.parquet c.parquet --select validation --report test \
    --method simplex --output_dir ensemble --members runs/a runs/b runs/c
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError
from ger_datasets.support.locks import LOCK, alone
from ger_models.conversion.ensemble_checkpoint import (
    check_folder,
    member_checkpoints,
    write_checkpoint,
    write_ensemble,
)
from ger_models.evaluation.ensemble.methods import METHODS, Options
from ger_models.evaluation.ensemble.selection import select_ensemble
from ger_models.evaluation.joining import read_members

logger = logging.getLogger(__name__)


@dataclass
class Arguments:
    predictions: list[Path] = field(
        metadata={"help": "Predictions tables (Parquet), and archives (npz) of one or more models: the members."}
    )
    output_dir: Path = field(metadata={"help": "Folder for the ensemble; an earlier ensemble in it is replaced."})
    method: str | None = field(
        default=None, metadata={"help": f"{', '.join(METHODS)}. Default: simplex, or given with --weights."}
    )
    select: str = field(default="validation", metadata={"help": "The split that the weights are chosen on."})
    report: str = field(default="test", metadata={"help": "The split that the ensemble is scored on, once."})
    step: float = field(default=0.05, metadata={"help": "The step of simplex's grid; it must divide 1."})
    on: str | None = field(
        default=None, metadata={"help": "What is weighted: logits or probabilities. Default: as the method does."}
    )
    weights: list[float] | None = field(default=None, metadata={"help": "Weights of your own, one for each member."})
    allow_selection_on_report: bool = field(
        default=False, metadata={"help": "Choose on the split that is reported on; the result is marked as such."}
    )
    nested_folds: int = field(
        default=5, metadata={"help": "Of the cross-validation that tells what to expect; 0 turns it off."}
    )
    seed: int = field(default=0, metadata={"help": "Of the folds of cross-validation."})
    members: list[str] | None = field(
        default=None,
        metadata={
            "help": "The members' checkpoints, in the order of the predictions: makes an ensemble checkpoint. The "
            "word recorded stands for the names in the tables, at the revisions that were predicted with."
        },
    )
    class_names: str | None = field(
        default=None, metadata={"help": "The classes of npz archives, with commas. Default: those of the tables."}
    )

    def __post_init__(self) -> None:
        if self.weights is not None and self.method not in (None, "given"):
            raise UserError(f"--weights are given, so there is nothing for --method {self.method} to find; drop one")
        if self.weights is None and self.method == "given":
            raise UserError("--method given needs --weights, one for each member")


def main(arguments: Arguments) -> dict[str, Any]:
    folder = arguments.output_dir
    check_folder(folder, arguments.select, arguments.report)
    class_names = arguments.class_names and [name.strip() for name in arguments.class_names.split(",")]
    members = read_members(arguments.predictions, class_names)
    checkpoints = arguments.members and member_checkpoints(arguments.members, members)
    method = arguments.method or ("simplex" if arguments.weights is None else "given")
    logger.info("%s of %s", method, ", ".join(member.model for member in members))
    chosen = select_ensemble(
        members,
        arguments.select,
        arguments.report,
        method,
        Options(on=arguments.on or "", step=arguments.step, weights=arguments.weights, seed=arguments.seed),
        arguments.allow_selection_on_report,
        arguments.nested_folds,
    )
    account = chosen.account
    with alone(folder / LOCK, f"writing into {folder}"):
        written = write_ensemble(folder, chosen)
        if checkpoints:
            written["checkpoint"] = write_checkpoint(folder, checkpoints, chosen)
    if account["note"]:
        logger.warning("note: %s", account["note"])
    accuracies = {
        split: {name: None if figures is None else figures[name] for name in ("accuracy", "accuracy_interval")}
        for split, figures in account["figures"].items()
        if figures is not None or split == arguments.report
    }
    for split, told in accuracies.items():
        logger.info("%s accuracy: %s", split, told["accuracy"])
    expected = account["nested_cross_validation"]
    return {
        "weights": account["weights"] if account["weights"] is not None else account["coefficients"],
        **accuracies,
        "members": account["members"],
        "method": method,
        "on": account["on"],
        "expected": expected and expected["accuracy"],
        "selection_on_report": account["selection_on_report"],
        "note": account["note"],
        **written,
    }


if __name__ == "__main__":
    run(main, Arguments)
