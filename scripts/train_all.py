"""Train several models in order, each after those whose weights it starts from; finished runs are skipped.

python scripts/train_all.py --config six_models.yaml --dry_run
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
from typing import TYPE_CHECKING

from ger_datasets.support.command_line import run

if TYPE_CHECKING:
    from ger_models.training.experiment_file import Run

logger = logging.getLogger(__name__)
TRAIN = Path(__file__).with_name("train.py")


@dataclass
class Arguments:
    config: Path = field(metadata={"help": "YAML: output_dir, defaults for all runs, and runs by name."})
    dry_run: bool = field(default=False, metadata={"help": "Only print what would run, and what it depends on."})


def main(arguments: Arguments) -> dict:
    from ger_models.training.experiment_file import read_graph

    states: dict[str, str] = {}
    for each in read_graph(arguments.config):
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
            states[each.name] = "done" if train(each) else "failed"
        logger.info("%s: %s%s", each.name, states[each.name], after)
    wrong = [name for name, state in states.items() if state in ("failed", "not tried")]
    figures = {"runs": states, "complete": not wrong and not arguments.dry_run}
    if wrong:
        print(json.dumps(figures), flush=True)
        logger.error("error: not all runs were trained: %s; run the same command again to continue", ", ".join(wrong))
        sys.exit(1)
    return figures


def command(each: Run) -> list[str]:
    """The command that trains it."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *each.launch]
    return [*launch, str(TRAIN), *each.options, "--resume"]


def train(each: Run) -> bool:
    """Train or resume it with visible progress; returns whether it succeeded."""
    with tempfile.TemporaryFile("w+") as stdout:
        return subprocess.run(command(each), stdout=stdout).returncode == 0


if __name__ == "__main__":
    run(main, Arguments)
