"""Faces in class folders, perhaps within split folders -> labelled faces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..support.errors import UserError, listing, printable
from . import names
from .download import Download, LabelledFace, Tree
from .names import expression_of, numbered, person_of, split_of

NUMBERS = frozenset("01234567")


def in_class_folders(tree: Tree) -> list[Path]:
    """The photos of `tree` that lie in a class folder, known by its name or number."""
    return [path for path in tree.photos if _class_place(tree.folders(path)) is not None]


def read_folders(tree: Tree) -> Download:
    """The photos in class folders: `angry/`, `Anger/`, `0/` ..., in split folders, around them or without any.

    Numbers from 0 to 6 are FER2013's; numbers from 1 to 7 are RAF-DB's, known by the 7.

    Raises:
        UserError: an unknown class folder, two folders for one class of one split, numbers from 0 to 7, which
            AffectNet and FERPlus order differently, class folders both within and outside of split folders.
    """
    photos = in_class_folders(tree)
    _refuse_unknown(tree, photos)
    places = {path: _class_place(tree.folders(path)) or 0 for path in photos}
    splits = {path: next(filter(None, map(split_of, tree.folders(path))), None) for path in photos}
    outside = [path for path in photos if splits[path] is None]
    if outside and len(outside) < len(photos):
        raise UserError(
            f"{printable(tree.root)} holds class folders within split folders and outside of them, such as "
            f"{tree.name(outside[0].parent)}: split folders are named "
            f"{', '.join(words[0] for words in names.SPLIT_ALIASES.values())}"
        )
    words = {path: tree.folders(path)[place] for path, place in places.items()}
    order, first, remarks = _numbering(words.values())
    download = Download(remarks=remarks)
    folders: dict[tuple[str, str], Path] = {}
    for path, word in words.items():
        expression = order[int(word) - first] if word in NUMBERS else expression_of(word) or ""
        split = splits[path] or "train"
        folder = Path(*path.relative_to(tree.root).parts[: places[path] + 1])
        if folders.setdefault((split, expression), folder) != folder:
            raise UserError(
                f"two folders for {expression} of {split}, {printable(folders[split, expression])} and "
                f"{printable(folder)}: keep one of them"
            )
        *inner, name = path.relative_to(tree.root / folder).with_suffix("").parts
        within = [part for part in inner if split_of(part) is None]
        stem = "/".join([expression, *map(printable, [*within, name])])
        download.faces.append(LabelledFace(split, expression, stem, path, person=person_of(path.stem)))
    strays = [path for path in tree.others if _class_place(tree.folders(path)) is not None]
    for count, what in (
        (len(tree.photos) - len(photos), "photos outside of class folders"),
        (len(strays), "files in class folders that are not photos"),
        (len(tree.links), "links to folders or out of the source folder"),
    ):
        if count:
            download.remarks.append(f"{count:,} {what} were left out.")
    return download


def _class_place(words: tuple[str, ...]) -> int | None:
    """Which of the folders around a photo names its class: the outermost with a name, or else with a number."""
    for place, word in enumerate(words):
        if expression_of(word) is not None:
            return place
    return next((place for place, word in enumerate(words) if word in NUMBERS), None)


def _refuse_unknown(tree: Tree, photos: Iterable[Path]) -> None:
    """UserError where photos lie in a folder that is neither a class nor a split and does not hold such folders."""
    around = {tree.folders(path)[:depth] for path in photos for depth in range(len(tree.folders(path)) + 1)} | {()}
    loose = {tree.folders(path) for path in tree.photos} - around
    unknown = [words for words in sorted(loose) if _class_place(words) is None and split_of(words[-1]) is None]
    if unknown:
        found = listing(printable("/".join(words)) for words in unknown)
        raise UserError(
            f"unknown class folder {found}: the classes are {names.known_names()}; or the numbers 0 to 6 "
            "(FER2013) or 1 to 7 (RAF-DB)"
        )


def _numbering(words: Iterable[str]) -> tuple[tuple[str, ...], int, list[str]]:
    """What the folders' numbers mean: the expressions, the number of the first, and remarks."""
    found = set(words) & NUMBERS
    if {"0", "7"} <= found:
        raise UserError(
            "class folders from 0 to 7 mean other expressions in AffectNet than in FERPlus: rename them to "
            f"{', '.join(names.ALIASES)}"
        )
    order, first, name = (names.RAF_DB_ORDER, 1, "RAF-DB") if "7" in found else (names.FER2013_ORDER, 0, "FER2013")
    remark = f"Numbered class folders were read in {name}'s order: {numbered(order, first)}."
    return order, first, [remark] if found else []
