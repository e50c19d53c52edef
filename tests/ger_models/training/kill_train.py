"""Trains models undisturbed, and again killed at random moments and resumed; prints one line of JSON for each.

python kill_train.py DATASET FOLDER KILLS "MODEL OPTIONS..." ...

One interpreter imports everything and trains nothing itself, since torch can refuse to train in a fork of a process
whose autograd has begun; each training is a fork of it: what is killed is a process as any other.
"""

import importlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))
import train

from ger_datasets.support.command_line import run
from ger_models.training import run_report

for late in ("timm", "ger_models.auto", "ger_models.training.loop"):  # what train.py imports when it needs it
    importlib.import_module(late)
run_report.plot_curves = lambda *_: b"no picture"  # drawing takes half of the time


def start(output: Path, options: list[str], *more: str) -> int:
    """A child that trains; returns its process id."""
    child = os.fork()
    if child:
        return child
    with open(f"{output}.log", "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        run(train.main, train.Arguments, [*options, "--output_dir", str(output), *more])


def checkpoints(output: Path) -> set[str]:
    return {path.name for path in (output / "checkpoints").glob("checkpoint_*")}


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train_twice(folder: Path, options: list[str], kills: int) -> dict:
    """Exit codes, and epoch, batch and step of the newest checkpoint after each kill."""
    codes = [wait(start(folder / "undisturbed", options))]
    places, killed = [], folder / "killed"
    for _ in range(kills):
        had, child = checkpoints(killed), start(killed, options, "--save_steps", "1", "--resume")
        while not checkpoints(killed) - had:
            time.sleep(0.005)
            if os.waitpid(child, os.WNOHANG)[0]:
                raise SystemExit("it ended before it could be killed: " + Path(f"{killed}.log").read_text()[-2000:])
        time.sleep(chance.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        codes.append(wait(child))
        newest = max(checkpoints(killed))
        position = json.loads((killed / "checkpoints" / newest / "position.json").read_text())
        places.append([position["epoch"], position["batch"], position["step"]])
    codes.append(wait(start(killed, options, "--save_steps", "1", "--resume")))
    return {"folder": str(folder), "codes": codes, "places": places}


dataset, place, count, *models = sys.argv[1:]
chance = random.Random(os.environ.get("KILL_SEED", "0"))
for number, words in enumerate(models):
    target = Path(place) / str(number)
    target.mkdir()
    print(json.dumps(train_twice(target, ["--model", *words.split(), "--dataset", dataset], int(count))), flush=True)
