"""Train several models in order, each after those whose weights it starts from; finished runs are skipped.

python scripts/train_all.py --config six_models.yaml --dry_run
python scripts/train_all.py --config docs/probes.yaml --seeds 5 --report test

With --seeds each run is trained with several seeds. Epochs are chosen on the validation split; --report then predicts
another split once for each run, RUN/SPLIT.parquet, which compare.py reads.
"""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError

if TYPE_CHECKING:
    from ger_models.training.experiment_file import Run

logger = logging.getLogger(__name__)
TRAIN, PREDICT = (Path(__file__).with_name(f"{name}.py") for name in ("train", "predict"))


@dataclass
class Arguments:
    config: Path = field(metadata={"help": "YAML: output_dir, defaults for all runs, and runs by name."})
    seeds: int = field(default=1, metadata={"help": "Train each run with so many seeds, 0, 1, ..."})
    report: str | None = field(
        default=None, metadata={"help": "Split that each finished run is scored on, once: RUN/SPLIT.parquet."}
    )
    dry_run: bool = field(default=False, metadata={"help": "Only print what would run, and what it depends on."})


def main(arguments: Arguments) -> dict:
    from ger_models.training.experiment_file import read_graph

    if arguments.seeds < 1:
        raise UserError(f"--seeds must be 1 or more, not {arguments.seeds}")
    if arguments.report in ("train", "validation"):
        raise UserError(f"--report {arguments.report}: the epochs are chosen with that split; report on another")
    runs = read_graph(arguments.config, arguments.seeds)
    states: dict[str, str] = {}
    for each in runs:
        after = f" after {', '.join(each.needs)}" if each.needs else ""
        failed = [name for name in each.needs if states[name] in ("failed", "not tried")]
        if each.is_done():
            states[each.name] = "done before"
        elif arguments.dry_run:
            states[each.name] = "to do"
        elif failed:
            states[each.name] = "not tried"
        else:
            logger.info("\n%s%s\n$ %s", each.name, after, shlex.join(command(each)))
            states[each.name] = "done" if succeeds(command(each)) else "failed"
        if arguments.report and states[each.name] in ("done", "done before") and not arguments.dry_run:
            table = Path(each.settings["output_dir"]) / f"{arguments.report}.parquet"
            if not table.exists() and not succeeds(predict_command(each, arguments.report, table)):
                states[each.name] = "failed"
        logger.info("%s: %s%s", each.name, states[each.name], after)
    wrong = [name for name, state in states.items() if state in ("failed", "not tried")]
    figures: dict[str, Any] = {"runs": states, "complete": not wrong and not arguments.dry_run}
    if figures["complete"] and (arguments.seeds > 1 or arguments.report):
        figures["scores"] = scores(runs, arguments.report)
    if wrong:
        print(json.dumps(figures), flush=True)
        logger.error("error: not all runs were trained: %s; run the same command again to continue", ", ".join(wrong))
        sys.exit(1)
    return figures


def command(each: Run) -> list[str]:
    """The command that trains it: through `accelerate launch` if the file has options for it, `accelerate config` was
    run, or there are several GPUs, all of which it uses."""
    import torch
    from accelerate.commands.config.config_args import default_config_file

    words = [str(TRAIN), *each.options, "--resume"]
    if each.launch or Path(default_config_file).is_file() or torch.accelerator.device_count() > 1:
        words = ["-m", "accelerate.commands.launch", "--quiet", *each.launch, *words]
    return [sys.executable, *words]


def predict_command(each: Run, split: str, table: Path) -> list[str]:
    """The command that predicts a split with it."""
    options = {"model": each.settings["output_dir"], "dataset": each.settings["dataset"], "split": split}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [sys.executable, str(PREDICT), *words, "--output", str(table)]


def succeeds(words: list[str]) -> bool:
    """Run a command with visible progress; returns whether it succeeded."""
    with tempfile.TemporaryFile("w+") as stdout:
        return subprocess.run(words, stdout=stdout).returncode == 0


def scores(runs: list[Run], report: str | None) -> dict[str, Any]:
    """For each run of the file `mean`, `std` and each seed's accuracy, on validation and on the split `report`.

    Validation chose the epoch, so its accuracies are higher than on new photos.
    """
    import numpy as np

    from ger_models.evaluation.predictions import read_predictions

    by_name: dict[str, dict[str, list[float]]] = {}
    for each in runs:
        folder = Path(each.settings["output_dir"])
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        found = by_name.setdefault(each.name.partition("/")[0], {})
        found.setdefault("validation", []).append(metrics["validation"]["accuracy"])
        if report:
            table = read_predictions(folder / f"{report}.parquet").select(report)
            known = table.labels >= 0
            right = table.logits[known].argmax(1) == table.labels[known]
            found.setdefault(report, []).append(float(right.mean()))
    return {
        name: {
            split: {
                "mean": float(np.mean(values)),
                "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                "seeds": values,
            }
            for split, values in found.items()
        }
        for name, found in by_name.items()
    }


if __name__ == "__main__":
    run(main, Arguments)
