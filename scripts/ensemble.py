"""Find an ensemble of models on one split, and score it once on another.

python scripts/ensemble.py --predictions a.parquet b.parquet c.parquet --select validation --report test \
    --method simplex --output_dir ensemble --members runs/a runs/b runs/c
python scripts/ensemble.py --method routed --routes faces=a.parquet faceless=b.parquet --output_dir ensemble \
    --members runs/a runs/b
python scripts/ensemble.py --members runs/a runs/b --method average --on probabilities --output_dir ensemble
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError
from ger_datasets.support.locks import LOCK, alone
from ger_models.combining import COMBINATIONS, FORMS
from ger_models.evaluation.ensemble.methods import METHODS, ROUTED, Options, check_method

if TYPE_CHECKING:
    from ger_models.evaluation.ensemble.selection import Selected
    from ger_models.evaluation.predictions import Predictions

logger = logging.getLogger(__name__)


@dataclass
class Arguments:
    options_file = "config"

    output_dir: Path = field(metadata={"help": "Folder for the ensemble; an earlier ensemble in it is replaced."})
    config: Path | None = field(
        default=None, metadata={"help": "YAML file of these options; those on the command line override its lines."}
    )
    predictions: list[Path] = field(
        default_factory=list,
        metadata={"help": "Predictions tables (Parquet), and archives (npz) of one or more models: the members."},
    )
    routes: list[str] = field(
        default_factory=list,
        metadata={
            "help": f"For --method routed: ROUTE=TABLE for each member, or ROUTE=RUN, which makes a checkpoint "
            f"without figures. ROUTE is {FORMS}."
        },
    )
    method: str | None = field(
        default=None, metadata={"help": f"{', '.join([*METHODS, ROUTED])}. Default: simplex, or given with --weights."}
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
            "`recorded`: the checkpoints that the tables name, at the revisions that made the predictions. Without "
            "--predictions: a checkpoint without figures, of method average or with --weights."
        },
    )
    class_names: str | None = field(
        default=None, metadata={"help": "The classes of npz archives, with commas. Default: those of the tables."}
    )

    def __post_init__(self) -> None:
        if self.method is not None:
            check_method(self.method)
        if (self.method == ROUTED) != bool(self.routes):
            raise UserError("--method routed and --routes go together: --routes faces=a.parquet faceless=b.parquet")
        if self.predictions and self.routes:
            raise UserError("give --predictions, the members' tables, or --method routed with --routes, not both")
        if not self.predictions and not self.routes and (not self.members or self.members == ["recorded"]):
            raise UserError("give --predictions, the members' tables; or --members; or --method routed with --routes")
        if self.routes and (self.weights is not None or self.on is not None):
            raise UserError("--weights and --on are for members that answer the same photos, not for --method routed")
        if self.weights is not None and self.method not in (None, "given"):
            raise UserError(f"--weights are given, so there is nothing for --method {self.method} to find; drop one")
        if self.weights is None and self.method == "given":
            raise UserError("--method given needs --weights, one for each member")


def main(arguments: Arguments) -> dict[str, Any]:
    from ger_models.conversion.ensemble_checkpoint import (
        check_folder,
        ensemble_card,
        member_checkpoints,
        write_checkpoint,
        write_ensemble,
    )

    folder = arguments.output_dir
    check_folder(folder, arguments.select, arguments.report)
    routes = split_routes(arguments.routes)
    if not arguments.predictions and not any(map(is_table, routes.values())):
        return combine_runs(arguments, routes)
    members = read_tables(arguments, routes)
    checkpoints = arguments.members and member_checkpoints(arguments.members, members)
    chosen = select(arguments, routes, members)
    account = chosen.account
    with alone(folder / LOCK, f"writing into {folder}"):
        written = write_ensemble(folder, chosen)
        if checkpoints:
            written["checkpoint"] = write_checkpoint(
                folder, checkpoints, chosen.ensemble, chosen.predictions.note, ensemble_card(chosen)
            )
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
    found = {"routes": account["routes"]} if routes else {"weights": account["weights"] or account["coefficients"]}
    return {
        **found,
        **accuracies,
        **({"by_route": account["route_figures"]} if routes else {}),
        "members": account["members"],
        "method": account["method"],
        "on": account["on"],
        "expected": expected and expected["accuracy"],
        "selection_on_report": account["selection_on_report"],
        "note": account["note"],
        **written,
    }


def split_routes(words: Sequence[str]) -> dict[str, str]:
    """`faces=a.parquet` -> {"faces": "a.parquet"}, the routes checked."""
    from ger_models.evaluation.ensemble.routed import check_routes

    for word in words:
        if not all(word.partition("=")):
            raise UserError(f"--routes: write ROUTE=TABLE or ROUTE=RUN, not {word!r}")
    names = [word.partition("=")[0] for word in words]
    check_routes(names)
    return dict(zip(names, (word.partition("=")[2] for word in words), strict=True))


def is_table(place: str) -> bool:
    """Whether a route is given by a predictions table or archive; else it is a run."""
    return Path(place).suffix.lower() in (".parquet", ".npz")


def read_tables(arguments: Arguments, routes: dict[str, str]) -> list[Predictions]:
    """The members' predictions: one model for each route, if there are routes."""
    from ger_models.evaluation.joining import read_members

    runs = [f"{route}={place}" for route, place in routes.items() if not is_table(place)]
    if runs:
        raise UserError(
            f"--routes has tables and runs ({', '.join(runs)}): give tables only, and the runs with --members"
        )
    class_names = arguments.class_names and [name.strip() for name in arguments.class_names.split(",")]
    members = read_members([Path(place) for place in routes.values()] or arguments.predictions, class_names)
    if routes and len(members) != len(routes):
        raise UserError(
            f"--routes needs one model for each of the {len(routes)} routes, and the files hold {len(members)}: "
            f"{', '.join(member.model for member in members)}"
        )
    return members


def select(arguments: Arguments, routes: dict[str, str], members: Sequence[Predictions]) -> Selected:
    """The ensemble and its figures."""
    from ger_models.evaluation.ensemble.selection import route_ensemble, select_ensemble

    method = arguments.method or ("simplex" if arguments.weights is None else "given")
    logger.info("%s of %s", method, ", ".join(member.model for member in members))
    if routes:
        return route_ensemble(list(routes), members, arguments.select, arguments.report)
    return select_ensemble(
        members,
        arguments.select,
        arguments.report,
        method,
        Options(on=arguments.on or "", step=arguments.step, weights=arguments.weights, seed=arguments.seed),
        arguments.allow_selection_on_report,
        arguments.nested_folds,
    )


def combine_runs(arguments: Arguments, routes: dict[str, str]) -> dict[str, Any]:
    """A checkpoint of runs that nothing was predicted with; nothing is scored."""
    from ger_models.conversion.ensemble_checkpoint import write_runs
    from ger_models.evaluation.ensemble.ensemble import Ensemble
    from ger_models.evaluation.ensemble.methods import unfitted

    if routes and arguments.members:
        raise UserError("--routes names the runs already: leave --members out")
    members = list(routes.values()) or arguments.members or []
    if routes:
        ensemble = Ensemble(ROUTED, members=members, routes=list(routes))
    else:
        ensemble = unfitted(arguments.method, members, arguments.weights, arguments.on or "")
    folder = arguments.output_dir
    with alone(folder / LOCK, f"writing into {folder}"):
        checkpoint = write_runs(folder, ensemble)
    found = {"routes": list(routes)} if routes else {"weights": ensemble.weights, "on": ensemble.on}
    return {**found, "members": members, "method": ensemble.method, "checkpoint": checkpoint}


if __name__ == "__main__":
    run(main, Arguments)
