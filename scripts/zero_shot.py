"""Make a model that needs no training: a vision-language model compares photos with texts about each class.

python scripts/zero_shot.py --backbone google/siglip-base-patch16-224 --output_dir zero_shot
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ger_datasets.support.command_line import run


@dataclass
class Arguments:
    backbone: str = field(metadata={"help": "CLIP or SigLIP: a repository on the Hub, or a folder with its files."})
    output_dir: Path = field(metadata={"help": "New folder for the checkpoint and its card."})
    prompts: str = field(
        default="group",
        metadata={"help": "YAML file, class name: list of texts; or a shipped set: group (three classes) or emotic."},
    )


def main(arguments: Arguments) -> dict:
    from ger_models.conversion.zero_shot import write_zero_shot

    return write_zero_shot(arguments.backbone, arguments.prompts, arguments.output_dir)


if __name__ == "__main__":
    run(main, Arguments)
