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
from ger_models.evaluation.ensemble.methods import METHODS, Options
from ger_models.weighting import COMBINATIONS

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
    select: str = field(
        default="validation",
        metadata={"help": "Split that the weights are chosen on; average and --weights do without."},
    )
    report: str = field(default="test", metadata={"help": "Split that the ensemble is scored on, once."})
    step: float = field(default=0.05, metadata={"help": "Grid step of simplex; it must divide 1."})
    on: str | None = field(
        default=None, metadata={"help": f"What is combined: {' or '.join(COMBINATIONS)}. Default: the method's."}
    )
    weights: list[float] | None = field(
        default=None,
        metadata={"help": "Weights of your own, one for each member; used as they are, negative ones too."},
    )
    allow_selection_on_report: bool = field(
        default=False, metadata={"help": "Allow --select to be --report; the result is marked."}
    )
    nested_folds: int = field(
        default=5,
        metadata={"help": "Folds of nested cross-validation, which estimates the accuracy on new photos; 0: none."},
    )
    seed: int = field(default=0, metadata={"help": "Random seed for the cross-validation folds."})
    members: list[str] | None = field(
        default=None,
        metadata={
            "help": "The members' checkpoints, in the order of the predictions: makes an ensemble checkpoint. "
            "`recorded`: the checkpoints that the tables name, at the revisions that made the predictions."
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
    from ger_models.conversion.ensemble_checkpoint import (
        check_folder,
        member_checkpoints,
        write_checkpoint,
        write_ensemble,
    )
    from ger_models.evaluation.ensemble.selection import select_ensemble
    from ger_models.evaluation.joining import read_members

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
    for split, figures in accuracies.items():
        logger.info("%s accuracy: %s", split, figures["accuracy"])
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
