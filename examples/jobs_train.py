# /// script
# requires-python = ">=3.10"
# dependencies = ["group-emotion"]
# ///
"""Train a probe on a prepared dataset of the Hub and push it: on this machine, or as a job on the Hub's machines.

uv run examples/jobs_train.py --dataset ORG/gaf3 --repo ORG/probe
hf jobs uv run --flavor t4-small --secrets HF_TOKEN examples/jobs_train.py --dataset ORG/gaf3 --repo ORG/probe

The model is a linear classifier over a frozen backbone, whose weights come from the Hub; --model takes another preset.
All further options are those of train.py. The repository is private, and made if it does not exist. A run that did not
arrive there ends with exit code 1 and is kept on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

from ger_datasets.support.commands import main as group_emotion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, help="Dataset repository ORG/NAME that push.py --dataset made.")
    parser.add_argument("--repo", required=True, help="Model repository ORG/NAME that the probe is pushed to.")
    parser.add_argument("--model", default="siglip_probe", help="Preset. Default: siglip_probe.")
    parser.add_argument("--output_dir", type=Path, help="Default: a temporary folder, deleted after the push.")
    arguments, options = parser.parse_known_args()
    temporary = Path(tempfile.mkdtemp(prefix="jobs_train_"))
    run = arguments.output_dir or temporary / arguments.repo.rpartition("/")[2]
    words = ["--model", arguments.model, "--dataset", arguments.dataset, "--push_to_hub", arguments.repo]
    code, pushed = train([*words, "--output_dir", str(run), *options])
    if pushed or not (temporary / run.name).exists():
        shutil.rmtree(temporary)
    if code == 0 and not pushed:
        again = f"to push it, run the same command with --output_dir {run} --resume"
        print(f"error: {run} was not pushed to {arguments.repo}: {again}", file=sys.stderr)
        code = 1
    sys.exit(code)


def train(words: list[str]) -> tuple[int, bool]:
    """Run train.py with options; its exit code, and whether the model is on the Hub."""
    told, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(told):
            group_emotion(["train", *words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    print(told.getvalue(), end="")
    return code, code == 0 and bool(json.loads(told.getvalue().splitlines()[-1]).get("pushed"))


if __name__ == "__main__":
    main()
