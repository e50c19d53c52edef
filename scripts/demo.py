"""Train a model on photos drawn by code and write a report; with --photos, answer your own photos too.

python scripts/demo.py
python scripts/demo.py --photos party.jpg team.jpg
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError

SCRIPTS = Path(__file__).parent
MODEL = "features_crossvit"  # learns in seconds on a CPU


@dataclass
class Arguments:
    output_dir: Path = field(default=Path("demo"), metadata={"help": "New folder for all results."})
    photos: list[Path] | None = field(default=None, metadata={"help": "Your own photos, for the starter checkpoint."})
    train: int = field(default=150, metadata={"help": "Drawn training photos."})
    test: int = field(default=45, metadata={"help": "Drawn validation photos, and as many test photos."})
    epochs: int | None = field(default=None, metadata={"help": "Training epochs. Default: from the model's recipe."})
    seed: int = field(default=0, metadata={"help": "Random seed of the drawing and the training."})


def main(arguments: Arguments) -> dict:
    from ger_datasets.sample.drawing import draw_sample

    folder = arguments.output_dir
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty: choose another --output_dir, or move its files")
    if min(arguments.train, arguments.test) < 3:
        raise UserError(
            f"--train and --test must be 3 or more, one photo a class, not {arguments.train}, {arguments.test}"
        )
    dataset, model, table = folder / "dataset", folder / MODEL, folder / "test.parquet"

    say("1/5 drawing group photos")
    counts = {"train": arguments.train, "validation": arguments.test, "test": arguments.test}
    draw_sample(folder / "raw", counts, arguments.seed)

    say("2/5 finding faces")
    script("prepare.py", dataset="sample", source=folder / "raw", output=dataset, skeletons=folder / "raw" / "poses")

    script("inspect_dataset.py", dataset=dataset, output=folder / "dataset.html")

    say("3/5 training")
    epochs = {} if arguments.epochs is None else {"epochs": arguments.epochs}
    script("train.py", model=MODEL, dataset=dataset, output_dir=model, seed=arguments.seed, **epochs)

    say("4/5 predicting")
    script("predict.py", model=model, dataset=dataset, split="test", output=table)
    if arguments.photos is not None:
        # not with this model, which was trained on drawings only
        script("answer.py", photos=arguments.photos, output_dir=folder / "pictures")

    say("5/5 scoring")
    figures = script("evaluate_predictions.py", predictions=table, dataset=dataset, output_dir=folder / "report")

    say(f"{figures['note']}\naccuracy on the test photos: {figures['accuracy']:.3f} (chance {figures['chance']:.3f})")
    if arguments.photos is not None:
        say(f"your pictures: {folder / 'pictures'}")
    say(f"the photos and what was found in them: {folder / 'dataset.html'}")
    say(f"the report: {figures['report']}")
    return {name: figures[name] for name in ("accuracy", "chance", "note", "report")}


def say(text: str) -> None:
    print(f"\n{text}", file=sys.stderr, flush=True)


def script(name: str, **options: object) -> dict:
    """Run one of the scripts as a user would, its progress shown; returns the figures of its last line."""
    command = [sys.executable, str(SCRIPTS / name)]
    for option, value in options.items():
        command += [f"--{option}", *map(str, value if isinstance(value, list) else [value])]
    say("$ " + shlex.join(["python", *command[1:]]))
    with tempfile.TemporaryFile("w+") as stdout:
        code = subprocess.run(command, stdout=stdout).returncode
        stdout.seek(0)
        lines = stdout.read().splitlines()
    for line in lines[:-1]:
        say(line)
    if code != 0:
        say(f"{name} failed with exit code {code}; see its message above")
        sys.exit(code)
    return json.loads(lines[-1])


if __name__ == "__main__":
    run(main, Arguments)
