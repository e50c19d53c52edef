"""Several models' predictions of the same photos, brought into one order: by image_id, never by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from ger_datasets.photos.reading import SUFFIXES
from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError, listing

from .npz_outputs import read_npz_outputs
from .predictions import Predictions, is_position, read_predictions


def read_members(paths: Sequence[str | Path], class_names: Sequence[str] | None = None) -> list[Predictions]:
    """The models in some files, in the order of the files: one of each predictions table, all of each `.npz` archive.

    Archives hold no class names: they are taken to be `class_names` or, if that is None, those of the first table.
    Models of the same name get their files' names added.

    Raises:
        UserError: a file cannot be read, or there is none.
    """
    if not paths:
        raise UserError("no predictions are named: give one or more tables (Parquet) or archives (npz)")
    archives = [Path(path).suffix.lower() == ".npz" for path in paths]
    tables = {i: read_predictions(path) for i, path in enumerate(paths) if not archives[i]}
    if class_names is None and tables:
        class_names = next(iter(tables.values())).class_names
    each = [read_npz_outputs(path, class_names) if archives[i] else [tables[i]] for i, path in enumerate(paths)]
    members = [
        (predictions, Path(path).stem) for path, found in zip(paths, each, strict=True) for predictions in found
    ]
    names = _distinct(_distinct([predictions.model for predictions, _ in members], [stem for _, stem in members]))
    files = [Path(path).name for path, found in zip(paths, each, strict=True) for _ in found]
    return [
        replace(predictions, model=name, file=file)
        for (predictions, _), name, file in zip(members, names, files, strict=True)
    ]


def join(members: Sequence[Predictions], split: str) -> list[Predictions]:
    """Each member's rows of `split`, all of the same photos in the order of the first member's.

    Rows belong together by image_id. An image_id that is a file name (`pos_1.jpg`, or a bare `pos_1`) stands for the
    one photo of that name in the others. Rows without either are joined only to rows without either, and only where
    the labels of all are the same from the first to the last. A label, number of faces or group that only some
    members know holds for all.

    Raises:
        UserError: a member has no such split, other photos, other classes, another label for a photo, or rows that
            cannot be matched; the message says how many, and gives examples.
    """
    try:
        return _joined(members, split)
    except UserError as error:
        files = list(dict.fromkeys(member.file for member in members if member.file))
        raise UserError(f"{error} (of {listing(files, 20)})" if files else str(error)) from error


def _joined(members: Sequence[Predictions], split: str) -> list[Predictions]:
    first, *others = [member.select(split) for member in members]
    joined = [first]
    for other in others:
        if other.class_names != first.class_names:
            raise UserError(
                f"{first.model} and {other.model} have other classes: {listing(first.class_names)}, and "
                f"{listing(other.class_names)}; join predictions of models that were trained on the same"
            )
        joined.append(_in_order_of(first, other, split))
    labels, faces, groups = first.labels, first.faces, first.groups
    for other in joined[1:]:
        _check_labels(labels, first, other, split)
        labels = np.where(labels == NO_LABEL, other.labels, labels)
        faces = other.faces if faces is None else faces
        groups = other.groups if groups is None else groups
    return [replace(each, image_ids=first.image_ids, labels=labels, faces=faces, groups=groups) for each in joined]


def stacked(joined: Sequence[Predictions]) -> np.ndarray:
    """The logits of joined members: (members, rows, classes) float32."""
    return np.stack([member.logits for member in joined])


def photo_name(image_id: str) -> str:
    """What a photo is called without its folders and its ending.

    >>> photo_name("val/Positive/pos_1.jpg"), photo_name("Mr. Smith")
    ('pos_1', 'Mr. Smith')
    """
    path = PurePosixPath(image_id.replace("\\", "/").rsplit("/", 1)[-1])
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _in_order_of(first: Predictions, other: Predictions, split: str) -> Predictions:
    nameless = [any(map(is_position, each.image_ids)) for each in (first, other)]
    if any(nameless):
        _check_positions(first, other, nameless, split)
        return other
    keys, others = first.image_ids, other.image_ids
    if set(keys) != set(others) and (_are_file_names(keys) or _are_file_names(others)):
        stems, other_stems = [photo_name(key) for key in keys], [photo_name(key) for key in others]
        if set(stems) == set(other_stems) and len(set(stems)) == len(stems) == len(other_stems):
            keys, others = stems, other_stems
    places = {image_id: row for row, image_id in enumerate(others)}
    missing = [image_id for image_id in keys if image_id not in places]
    extra = sorted(places.keys() - set(keys))
    if missing or extra:
        said = [
            f"{len(ids):,} {split} photos that {has} has are missing in {lacks} ({listing(ids, 3)})"
            for ids, has, lacks in ((missing, first.model, other.model), (extra, other.model, first.model))
            if ids
        ]
        raise UserError(f"{'; '.join(said)}: predict the same photos with every model")
    return other.take([places[key] for key in keys])


def _check_positions(first: Predictions, other: Predictions, nameless: Sequence[bool], split: str) -> None:
    """Rows without names are held to be of the same photos only where all the labels say so."""
    if not all(nameless):
        without, named = (first, other) if nameless[0] else (other, first)
        raise UserError(
            f"the {split} rows of {without.model} have no ids or file names, those of {named.model} have: they cannot "
            f"be matched; add an array filename_{split} to the archive of {without.model}"
        )
    if len(first) != len(other):
        raise UserError(
            f"{first.model} has {len(first):,} {split} rows, {other.model} {len(other):,}, and no file names say "
            "which belong together; predict the same photos with every model"
        )
    different = int(np.count_nonzero(first.labels != other.labels))
    if different:
        raise UserError(
            f"{different:,} of {len(first):,} {split} labels differ between {first.model} and {other.model}: their "
            "rows stand in other orders, and no file names say which belong together; leave one out, or add "
            "filename arrays to the archives"
        )
    if (first.labels == NO_LABEL).all() and first.source != other.source:
        raise UserError(
            f"the {split} rows of {first.model} and {other.model} have neither labels nor file names: nothing says "
            f"that they belong together; add an array filename_{split} to both archives"
        )


def _check_labels(labels: np.ndarray, first: Predictions, other: Predictions, split: str) -> None:
    bad = np.flatnonzero((labels != other.labels) & (labels != NO_LABEL) & (other.labels != NO_LABEL)).tolist()
    if len(bad):
        examples = (
            f"{first.image_ids[row]} is {first.class_names[labels[row]]} and {first.class_names[other.labels[row]]}"
            for row in bad
        )
        raise UserError(
            f"{len(bad):,} of {len(labels):,} {split} labels differ between {first.model} and {other.model}: "
            f"{listing(examples, 3)}; were they predicted on one version of the dataset?"
        )


def _are_file_names(ids: Sequence[str]) -> bool:
    return all("/" not in name or PurePosixPath(name).suffix.lower() in SUFFIXES for name in ids)


def _distinct(names: Sequence[str], marks: Sequence[str] | None = None) -> list[str]:
    """The names, those that recur with their mark, or their number where there are no marks."""
    counts = Counter(names)
    seen: Counter[str] = Counter()
    distinct = []
    for i, name in enumerate(names):
        seen[name] += 1
        mark = marks[i] if marks else str(seen[name])
        distinct.append(f"{name} ({mark})" if counts[name] > 1 else name)
    return distinct
