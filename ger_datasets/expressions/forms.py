"""Which of the known forms a download has, by the files in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..support.errors import UserError, listing, printable
from .folders import in_class_folders
from .pixel_table import pixel_columns
from .raf_db import is_list
from .tree import Tree
from .votes import is_vote_table

PARQUET, PIXELS, RAF_DB, FOLDERS, VOTED = (
    "Parquet files",
    "CSV files of pixels",
    "RAF-DB's list",
    "class folders",
    "FERPlus' votes",
)


@dataclass(frozen=True)
class Form:
    """The form of a download.

    Attributes:
        name: one of `PARQUET`, `PIXELS`, `RAF_DB`, `FOLDERS` and `VOTED` (photos that the votes name).
        paths: the files that tell the labels; of `FOLDERS` the photos.
        votes: FERPlus' file, which may lie beside `PIXELS` too.
    """

    name: str
    paths: Sequence[Path]
    votes: Path | None


def find_form(tree: Tree) -> Form:
    """The form of the download in `tree`.

    Raises:
        UserError: none of the forms, two of them, or two files of one form where one is expected.
    """
    tables = [path for path in tree.others if path.suffix.lower() == ".csv"]
    votes = [path for path in tables if is_vote_table(path)]
    forms = {
        PARQUET: [path for path in tree.others if path.suffix.lower() == ".parquet"],
        PIXELS: [path for path in tables if pixel_columns(path)],
        RAF_DB: [path for path in tree.others if is_list(path)],
    }
    if not forms[RAF_DB] and (forms[PIXELS] or not votes):  # their photos may lie in folders of any name
        forms[FOLDERS] = in_class_folders(tree)
    there = {name: paths for name, paths in forms.items() if paths} or ({VOTED: votes} if votes else {})
    if not there:
        found = listing(printable(path.relative_to(tree.root)) for path in [*tree.photos, *tree.others])
        raise UserError(
            f"no labelled faces in {printable(tree.root)}: expected class folders such as angry and happy, "
            f"fer2013.csv, fer2013new.csv with photos, RAF-DB's list or Parquet files; found {found}"
        )
    if len(there) > 1:
        examples = listing(printable(paths[0].relative_to(tree.root)) for paths in there.values())
        raise UserError(
            f"{printable(tree.root)} holds {' and '.join(there)} ({examples}): give a folder that holds one of them"
        )
    ((name, paths),) = there.items()
    for single in (votes, paths if name in (PIXELS, RAF_DB) else []):
        if len(single) > 1:
            names = listing(printable(path.relative_to(tree.root)) for path in single)
            raise UserError(f"{names} are of the same form: keep one of them in {printable(tree.root)}")
    return Form(name, paths, votes[0] if votes else None)
