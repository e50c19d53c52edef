"""Push a prepared dataset, all runs of a folder, or a Space that runs the web app, to the Hugging Face Hub.

python scripts/push.py --dataset ger_datasets/gaf3 --repo ORG/gaf3
python scripts/push.py --run_all runs --org ORG
python scripts/push.py --space ORG/NAME --model ORG/MODEL
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError


@dataclass
class Arguments:
    at_once: ClassVar[bool] = True
    dataset: Path | None = field(default=None, metadata={"help": "Folder of a prepared dataset."})
    repo: str | None = field(
        default=None, metadata={"help": "Dataset repository ORG/NAME on the Hub; created if it does not exist."}
    )
    run_all: Path | None = field(
        default=None,
        metadata={"help": "Folder of runs: each run, ensemble and report in it is pushed to a repository of --org."},
    )
    org: str | None = field(default=None, metadata={"help": "Organisation or user that the runs are pushed to."})
    names: list[str] = field(
        default_factory=list, metadata={"help": "With --run_all: push only these. Default: everything in the folder."}
    )
    space: str | None = field(
        default=None, metadata={"help": "Space ORG/NAME that runs the web app; created if it does not exist."}
    )
    model: str = field(default="starter", metadata={"help": "The Space's model: a Hub repository, or starter."})
    private: bool = field(
        default=True,
        metadata={"help": "Private repository. False publishes the photos, which most datasets' terms forbid."},
    )
    revision: str | None = field(default=None, metadata={"help": "Branch, created if missing. Default: main."})

    def __post_init__(self) -> None:
        pairs = {
            "--dataset DIR --repo ORG/NAME": (self.dataset, self.repo),
            "--run_all DIR --org ORG": (self.run_all, self.org),
        }
        given = [pair for pair, values in pairs.items() if any(value is not None for value in values)]
        if len(given) + (self.space is not None) != 1:
            raise UserError(f"say one of {', '.join(pairs)}, or --space ORG/NAME --model ORG/MODEL")
        for pair in given:
            if None in pairs[pair]:
                raise UserError(f"{pair} belong together: one of them is missing")
        if self.run_all is not None and self.revision is not None:
            raise UserError("--revision is for one repository, not for --run_all: leave it out")
        if self.names and self.run_all is None:
            raise UserError("--names is for --run_all: leave it out")


def main(arguments: Arguments) -> dict:
    if arguments.space is not None:
        from ger_models.sharing.space import push_space

        return push_space(arguments.space, arguments.model, arguments.private, arguments.revision)
    if arguments.run_all is not None:
        from ger_models.sharing.runs import push_runs

        return push_runs(arguments.run_all, arguments.org, arguments.names, arguments.private)
    from ger_datasets.preparation.push import push_dataset

    return push_dataset(arguments.dataset, arguments.repo, arguments.private, arguments.revision)


if __name__ == "__main__":
    run(main, Arguments)
