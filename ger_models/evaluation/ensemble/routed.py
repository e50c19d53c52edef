"""The predictions of models that divide the photos by their number of faces -> one table, each photo by its route.

Tables cover all photos, or those of their route: photos are brought together by image_id, and a photo's number of
faces says which table answers it. Archives (npz) hold no numbers of faces: their rows are taken to be those of their
route, and where they have no file names either, one route's rows follow the other's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from ger_datasets.schema import NO_LABEL
from ger_datasets.support.errors import UserError, listing

from ...combining import parse_routes, route_title
from ..metrics import compute_metrics
from ..predictions import UNKNOWN_FACES, Predictions, is_position, position_ids


def check_routes(names: Sequence[str]) -> None:
    """Refuse names that are no routes, and routes that overlap; raises UserError."""
    try:
        parse_routes(names)
    except ValueError as error:
        raise UserError(f"--routes: {error}") from error


def answer_by_route(routes: Sequence[str], members: Sequence[Predictions], split: str) -> Predictions:
    """Every photo of `split` as the model of its route answers it, route by route.

    Args:
        routes: a range of face counts for each member: see `ger_models.combining`.
        members: the models' predictions.

    Returns:
        The rows of the union, each with its route. `faces` is None where archives take part.

    Raises:
        UserError: a photo is in no route or in two, its model has no prediction of it, its number of faces is not
            known, or the tables disagree on the classes, a label or a number of faces. The message says how many.
    """
    check_routes(routes)
    each = [member.select(split) for member in members]
    for other in each[1:]:
        if other.class_names != each[0].class_names:
            raise UserError(
                f"{each[0].model} and {other.model} have other classes: {listing(each[0].class_names)}, and "
                f"{listing(other.class_names)}; route between models that were trained on the same"
            )
    nameless = [any(map(is_position, member.image_ids)) for member in each]
    if any(nameless):
        return _as_one(_concatenated(routes, each, nameless, split))
    return _as_one(_divided(routes, each, split))


def by_route(predictions: Predictions) -> list[dict[str, Any]]:
    """`route`, `title`, `rows`, `accuracy` and `accuracy_interval` of each route's labelled photos; empty where no
    route is known."""
    figures = []
    for name in dict.fromkeys(predictions.routes or ()):
        chosen = [
            row
            for row, (route, label) in enumerate(zip(predictions.routes or (), predictions.labels, strict=True))
            if route == name and label != NO_LABEL
        ]
        if chosen and name:
            part = predictions.take(chosen)
            metrics = compute_metrics(part.labels, part.logits, part.class_names, groups=part.groups)
            brief = {field: metrics[field] for field in ("rows", "accuracy", "accuracy_interval")}
            figures.append({"route": name, "title": route_title(name), **brief})
    return figures


def _concatenated(
    routes: Sequence[str], each: Sequence[Predictions], nameless: Sequence[bool], split: str
) -> list[Predictions]:
    """The rows of archives without names, renumbered as one."""
    for member, without in zip(each, nameless, strict=True):
        if not without:
            raise UserError(
                f"the {split} rows of {member.model} have ids, and those of other routes have none: they cannot be "
                f"told apart; add an array filename_{split} to the archives"
            )
        if (member.labels == NO_LABEL).any():
            raise UserError(
                f"the {split} rows of {member.model} have neither labels nor file names; add an array label_{split} "
                "to the archive"
            )
    for (first, one), (second, other) in combinations(zip(routes, each, strict=True), 2):
        if np.array_equal(one.logits, other.logits) and np.array_equal(one.labels, other.labels):
            raise UserError(
                f"the {split} rows of the routes {first} and {second} are the same: {one.model} is given twice; name "
                "the archive of each route"
            )
    ids = iter(position_ids(sum(map(len, each)), split))
    return [
        replace(member, image_ids=[next(ids) for _ in range(len(member))], routes=[route] * len(member))
        for route, member in zip(routes, each, strict=True)
    ]


@dataclass(frozen=True)
class _Photo:
    """What the tables say of a photo: its number of faces, its label, and the rows that members have of it."""

    faces: int
    label: int
    rows: dict[int, int]


def _divided(routes: Sequence[str], each: Sequence[Predictions], split: str) -> list[Predictions]:
    """Each member's rows of the photos of its route; a route may be without photos."""
    photos, ranges = _photos(each, split), parse_routes(routes)
    owners: dict[str, list[int]] = {}  # image_id -> the members of its routes
    for image_id, photo in photos.items():
        if photo.faces != UNKNOWN_FACES:
            owners[image_id] = [i for i, route in enumerate(ranges) if route.holds(photo.faces)]
        else:
            owners[image_id] = list(photo.rows) if all(each[i].source for i in photo.rows) else []
    _check_owners(photos, owners, routes, split)
    parts = []
    for i, (route, member) in enumerate(zip(routes, each, strict=True)):
        mine = {image_id: photos[image_id] for image_id, (owner, *_) in owners.items() if owner == i}
        missing = [image_id for image_id, photo in mine.items() if i not in photo.rows]
        if missing:
            raise UserError(
                f"{len(missing):,} of {len(mine):,} {split} photos of the route {route} are missing in the "
                f"predictions of {member.model} ({listing(missing, 3)}): predict the {route_title(route)} with it"
            )
        if mine:
            taken = member.take([photo.rows[i] for photo in mine.values()])
            labels = np.array([photo.label for photo in mine.values()])
            faces = np.array([photo.faces for photo in mine.values()])
            counts = None if UNKNOWN_FACES in faces else faces
            parts.append(replace(taken, labels=labels, faces=counts, routes=[route] * len(taken)))
    return parts


def _check_owners(
    photos: Mapping[str, _Photo], owners: Mapping[str, Sequence[int]], routes: Sequence[str], split: str
) -> None:
    """Refuse photos that are not in exactly one route."""
    astray = [image_id for image_id, members in owners.items() if not members]
    uncounted = [image_id for image_id in astray if photos[image_id].faces == UNKNOWN_FACES]
    doubled = [image_id for image_id, members in owners.items() if len(members) > 1]
    if uncounted:
        raise UserError(
            f"{len(uncounted):,} of {len(photos):,} {split} photos have no number of faces in any table, so their "
            f"route is not known ({listing(uncounted, 3)}): write the tables again with predict.py"
        )
    if astray:
        found = sorted({photos[image_id].faces for image_id in astray})
        raise UserError(
            f"{len(astray):,} of {len(photos):,} {split} photos are in no route ({listing(astray, 3)}): they have "
            f"{listing(found)} faces, and the routes are {listing(routes)}; add a route"
        )
    if doubled:
        raise UserError(
            f"{len(doubled):,} of {len(photos):,} {split} photos are in the archives of two routes "
            f"({listing(doubled, 3)}): leave them out of one"
        )


def _photos(each: Sequence[Predictions], split: str) -> dict[str, _Photo]:
    """All photos; UserError where members disagree on one's label or number of faces."""
    photos: dict[str, _Photo] = {}
    conflicts: dict[str, list[str]] = {"labels": [], "numbers of faces": []}
    for i, member in enumerate(each):
        counts = [UNKNOWN_FACES] * len(member) if member.faces is None else member.faces.tolist()
        for row, (image_id, label, count) in enumerate(
            zip(member.image_ids, member.labels.tolist(), counts, strict=True)
        ):
            known = photos.get(image_id, _Photo(UNKNOWN_FACES, NO_LABEL, {}))
            if NO_LABEL not in (label, known.label) and label != known.label:
                conflicts["labels"].append(image_id)
            if UNKNOWN_FACES not in (count, known.faces) and count != known.faces:
                conflicts["numbers of faces"].append(image_id)
            photos[image_id] = _Photo(max(count, known.faces), max(label, known.label), {**known.rows, i: row})
    hints = {
        "labels": "were they predicted on one version of the dataset?",
        "numbers of faces": "predict again with one --min_face_score for all models",
    }
    for what, ids in conflicts.items():
        if ids:
            raise UserError(
                f"the tables have other {what} for {len(ids):,} of {len(photos):,} {split} photos "
                f"({listing(ids, 3)}): {hints[what]}"
            )
    return photos


def _as_one(parts: Sequence[Predictions]) -> Predictions:
    faces = [part.faces for part in parts if part.faces is not None]
    groups = [part.image_ids if part.groups is None else part.groups for part in parts]
    clips = [part.clips for part in parts if part.clips is not None]
    seconds = [part.seconds for part in parts if part.seconds is not None]
    revisions = {part.dataset_revision for part in parts}
    return replace(
        parts[0],
        image_ids=[image_id for part in parts for image_id in part.image_ids],
        splits=[name for part in parts for name in part.splits],
        labels=np.concatenate([part.labels for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        faces=np.concatenate(faces) if len(faces) == len(parts) else None,
        groups=[group for each in groups for group in each] if any(part.groups for part in parts) else None,
        clips=[clip for each in clips for clip in each] if len(clips) == len(parts) else None,
        seconds=[second for each in seconds for second in each] if len(seconds) == len(parts) else None,
        routes=[route for part in parts for route in part.routes or ()],
        note="; ".join(dict.fromkeys(part.note for part in parts if part.note)),
        model_revision="",
        dataset_revision=revisions.pop() if len(revisions) == 1 else "",
        face_attention=None,
        face_expressions=None,
        calibration=None,
        only="",
        source=parts[0].source,
        file="",
    )
