# /// script
# requires-python = ">=3.10"
# dependencies = ["group-emotion"]
# ///
"""Train a probe on a prepared dataset of the Hub and push it: on this machine, or as a job on the Hub's machines.

uv run examples/jobs_train.py --dataset ORG/gaf3 --repo ORG/probe
hf jobs uv run --flavor t4-small --secrets HF_TOKEN examples/jobs_train.py --dataset ORG/gaf3 --repo ORG/probe

The model is a linear classifier over a frozen backbone, whose weights come from the Hub; --model takes another preset.
All further options are those of train.py. The repository is private, and made if it does not exist.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from ger_datasets.support.commands import main as group_emotion


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", required=True, help="Dataset repository ORG/NAME that push.py --dataset made.")
    parser.add_argument("--repo", required=True, help="Model repository ORG/NAME that the probe is pushed to.")
    parser.add_argument("--model", default="siglip_probe", help="Preset. Default: siglip_probe.")
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        run = ["--output_dir", str(Path(folder) / arguments.repo.rpartition("/")[2])]
        words = ["--model", arguments.model, "--dataset", arguments.dataset, "--push_to_hub", arguments.repo]
        group_emotion(["train", *words, *run, *options])


if __name__ == "__main__":
    main()
