"""The checkpoint that comes with the package: this folder, for any `from_pretrained`."""

from pathlib import Path

STARTER = str(Path(__file__).parent)
STARTER_NAME = "starter"  # stands for this checkpoint wherever a checkpoint is named


def checkpoint_place(name: str) -> str:
    """The folder of the checkpoint `starter`, unless there is a folder of that name here; else `name`."""
    return STARTER if name == STARTER_NAME and not Path(name).is_dir() else name
