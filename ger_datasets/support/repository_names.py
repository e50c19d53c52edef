"""Names of datasets and models, each a folder on this machine or a repository on the Hub."""

from __future__ import annotations

from pathlib import Path


def is_missing_folder(name: str) -> bool:
    """Whether `name` can only mean a folder on this machine, and there is none: the Hub need not be asked."""
    if Path(name).is_dir():
        return False
    repository = name.count("/") == 1 and not name.startswith((".", "/", "~", "ger_datasets/"))
    return not repository or Path(name).parent.is_dir()


def public_name(path: str) -> str:
    """What a dataset or model is called in files that travel: its repository, or its folder's name, not the path.

    >>> public_name("team/gaf3")
    'team/gaf3'
    """
    return Path(path).resolve().name if Path(path).is_dir() else path
