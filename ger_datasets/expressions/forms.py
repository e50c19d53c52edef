"""Which of the known forms a download has, by the files in it; its faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..support.errors import UserError, listing, printable
from .download import Download, Tree
from .fer2013 import is_pixel_table, is_vote_table, read_pixel_table, read_voted_photos, read_votes
from .folders import in_class_folders, read_folders
from .parquet import read_parquet
from .raf_db import is_list, read_raf_db


def read_download(tree: Tree, aligned: bool, contempt: bool) -> Download:
    """The labelled faces in `tree`.

    Args:
        tree: the raw folder.
        aligned: whether RAF-DB's aligned pictures are taken.
        contempt: whether FER2013's number 7 means contempt.

    Raises:
        UserError: none of the forms, two of them, or two files of one form where one is expected; as the readers.
    """
    tables = [path for path in tree.others if path.suffix.lower() == ".csv"]
    votes = _single(tree, [path for path in tables if is_vote_table(path)])
    parquet = [path for path in tree.others if path.suffix.lower() == ".parquet"]
    pixels = [path for path in tables if is_pixel_table(path)]
    lists = [path for path in tree.others if is_list(path)]
    # the photos that a list or votes name may lie in folders of any name
    photos = in_class_folders(tree) if not lists and (pixels or votes is None) else []
    voted = read_votes(votes) if votes is not None else None
    readers: dict[str, tuple[list[Path], Callable[[], Download]]] = {
        "Parquet files": (parquet, lambda: read_parquet(parquet)),
        "CSV files of pixels": (pixels, lambda: read_pixel_table(_single(tree, pixels), voted, contempt)),
        "RAF-DB's list": (lists, lambda: read_raf_db(tree, _single(tree, lists), aligned)),
        "class folders": (photos, lambda: read_folders(tree)),
    }
    found = {name: reader for name, reader in readers.items() if reader[0]}
    if not found and voted is not None:
        return read_voted_photos(tree, voted)
    if not found:
        raise UserError(
            f"no labelled faces in {printable(tree.root)}: expected class folders such as angry and happy, "
            "fer2013.csv, fer2013new.csv with photos, RAF-DB's list or Parquet files; found "
            f"{listing(map(tree.name, [*tree.photos, *tree.others]))}"
        )
    if len(found) > 1:
        examples = listing(tree.name(paths[0]) for paths, _ in found.values())
        raise UserError(
            f"{printable(tree.root)} holds {' and '.join(found)} ({examples}): give a folder that holds one of them"
        )
    ((_, read),) = found.values()
    return read()


def _single(tree: Tree, paths: list[Path]) -> Any:
    """The only one of `paths`, None if there is none; UserError if there are several."""
    if len(paths) > 1:
        names = listing(map(tree.name, paths))
        raise UserError(f"{names} are of the same form: keep one of them in {printable(tree.root)}")
    return paths[0] if paths else None
