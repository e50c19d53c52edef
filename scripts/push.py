"""Push a prepared dataset, or a Space that runs the web app, to the Hugging Face Hub in one commit.

python scripts/push.py --dataset ger_datasets/gaf3 --repo ORG/gaf3
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
        if (self.space is None) == (self.dataset is None and self.repo is None):
            raise UserError("say either --dataset DIR --repo ORG/NAME, or --space ORG/NAME --model ORG/MODEL")
        if self.space is None and (self.dataset is None or self.repo is None):
            raise UserError("--dataset DIR and --repo ORG/NAME belong together: one of them is missing")


def main(arguments: Arguments) -> dict:
    if arguments.space is not None:
        from ger_models.sharing.space import push_space

        return push_space(arguments.space, arguments.model, arguments.private, arguments.revision)
    from ger_datasets.preparation.push import push_dataset

    return push_dataset(arguments.dataset, arguments.repo, arguments.private, arguments.revision)


if __name__ == "__main__":
    run(main, Arguments)
