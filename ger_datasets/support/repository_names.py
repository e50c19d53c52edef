"""Names of datasets and models: a local folder or a repository on the Hub."""

from __future__ import annotations

from pathlib import Path


def is_missing_folder(name: str) -> bool:
    """Whether `name` can only be a local folder, and that folder does not exist: the Hub is not asked."""
    if Path(name).is_dir():
        return False
    repository = name.count("/") == 1 and not name.startswith((".", "/", "~", "ger_datasets/"))
    return not repository or Path(name).parent.is_dir()


def public_name(path: str) -> str:
    """The name of a dataset or model in files that are shared: its repository, or its folder's name without the path.

    >>> public_name("team/gaf3")
    'team/gaf3'
    """
    return Path(path).resolve().name if Path(path).is_dir() else path
