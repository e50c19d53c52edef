"""Faces in sampled frames -> the people they belong to, as far as one can follow them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

MOST_SECONDS_AWAY = 2.0  # a person missing from frames for longer comes back as another one
MARGIN = 0.15  # of a box's size, added on each side: at two frames per second a face moves out of its own box
MARGIN_PER_SECOND = 0.5  # more of it for each second that a person was away
LEAST_OVERLAP = 0.05  # of the enlarged boxes
LARGEST_RATIO = 2.5  # between the sizes of two boxes of one face
APPEARANCE = 1.0  # weight of the embeddings' distance, 1 - cosine; that of the boxes, 1 - overlap, has weight 1
LEAST_SIMILARITY = 0.35  # cosine of two embeddings of one face; the starter's are seldom below 0.7
MEMORY = 0.7  # share of the earlier embeddings in a track's mean
MOTION_SECONDS = 1.0  # of the past, from which a person's velocity is estimated
STOPPING_SECONDS = 1.0  # after which somebody who is out of sight is expected to have stopped
NEVER = 1e6  # cost of a link that is not possible


@dataclass
class _Track:
    """A person who may still be seen again."""

    id: int
    seconds: list[float] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)  # (4,) each, of the last `MOTION_SECONDS`
    embedding: np.ndarray | None = None  # (d,), of length 1

    def add(self, seconds: float, box: np.ndarray, embedding: np.ndarray) -> None:
        self.seconds.append(seconds)
        self.boxes.append(box)
        while len(self.seconds) > 2 and self.seconds[-1] - self.seconds[0] > MOTION_SECONDS:
            del self.seconds[0], self.boxes[0]
        mean = embedding if self.embedding is None else MEMORY * self.embedding + (1 - MEMORY) * embedding
        self.embedding = _unit(mean)

    def expected(self, seconds: float) -> np.ndarray:
        """(4,): the last box, moved on by the velocity of its centre, which fades."""
        velocity, ago = self._velocity(), seconds - self.seconds[-1]
        way = velocity * STOPPING_SECONDS * (1 - np.exp(-ago / STOPPING_SECONDS))
        return self.boxes[-1] + np.tile(way, 2)

    def _velocity(self) -> np.ndarray:
        """(2,): pixels per second, by least squares."""
        if len(self.seconds) < 2:
            return np.zeros(2)
        times = np.array(self.seconds) - np.mean(self.seconds)
        boxes = np.array(self.boxes)
        return times @ ((boxes[:, :2] + boxes[:, 2:]) / 2) / (times @ times)


class Tracker:
    """Gives faces the ids of people, frame by frame, with memory for those seen last only.

    Faces are linked to people by the Hungarian method, at the smallest sum of two distances: of the boxes, one minus
    the overlap (IoU) of the face's with the one expected of the person, both enlarged (buffered IoU: Yang et al.
    2023, arXiv 2211.14317), and of the embeddings. Ids count from 0 and mean nothing in another video.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._people = 0
        self._before = -math.inf  # seconds of the frame before

    def update(self, seconds: float, boxes: np.ndarray, embeddings: np.ndarray, cut: bool = False) -> np.ndarray:
        """The people in the next frame.

        Args:
            seconds: when it is shown, later than the one before.
            boxes: (faces, 4), x1 y1 x2 y2 in pixels; faces may be 0.
            embeddings: (faces, d), of any length.
            cut: whether a new scene begins: nobody is followed across.

        Returns:
            (faces,) int64: the id of each, no two alike.

        Raises:
            ValueError: there are not as many boxes as embeddings.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        if len(embeddings) != len(boxes):
            raise ValueError(f"{len(boxes)} boxes and {len(embeddings)} embeddings: each face needs one of both")
        looks = _unit(np.asarray(embeddings, np.float64).reshape(len(boxes), -1)) if len(boxes) else np.zeros((0, 1))
        # Who was in the frame before is followed however long ago that was: at a low rate, nobody looked in between
        since = min(self._before, seconds - MOST_SECONDS_AWAY)
        known = [] if cut else [track for track in self._tracks if track.seconds[-1] >= since]
        ids = np.full(len(boxes), -1, np.int64)
        for face, place in self._links(known, seconds, boxes, looks):
            known[place].add(seconds, boxes[face], looks[face])
            ids[face] = known[place].id
        for face in np.flatnonzero(ids < 0).tolist():
            ids[face] = self._people
            known.append(_Track(self._people))
            known[-1].add(seconds, boxes[face], looks[face])
            self._people += 1
        self._tracks, self._before = known, seconds
        return ids

    def _links(
        self, tracks: list[_Track], seconds: float, boxes: np.ndarray, looks: np.ndarray
    ) -> list[tuple[int, int]]:
        """(face, track) for each face that belongs to one."""
        if not tracks or not len(boxes):
            return []
        from scipy.optimize import linear_sum_assignment

        expected = np.array([track.expected(seconds) for track in tracks])
        away = np.array([min(seconds - track.seconds[-1], MOST_SECONDS_AWAY) for track in tracks])
        overlaps = buffered_overlap(boxes, expected, MARGIN + MARGIN_PER_SECOND * away)
        similarities = looks @ np.array([track.embedding for track in tracks]).T
        sizes, known_sizes = _sizes(boxes)[:, None], _sizes(expected)[None]
        ratios = np.maximum(sizes, known_sizes) / np.maximum(np.minimum(sizes, known_sizes), 1e-6)
        possible = (overlaps >= LEAST_OVERLAP) & (similarities >= LEAST_SIMILARITY) & (ratios <= LARGEST_RATIO)
        costs = np.where(possible, 1 - overlaps + APPEARANCE * (1 - similarities), NEVER)
        faces, places = linear_sum_assignment(costs)
        return [(int(face), int(place)) for face, place in zip(faces, places, strict=True) if possible[face, place]]


def buffered_overlap(boxes: np.ndarray, others: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """IoU of each box with each other one, all enlarged.

    Args:
        boxes: (n, 4), x1 y1 x2 y2.
        others: (m, 4).
        margins: (m,): the share of its size that is added to a box on each side, in pairs with each of the others.

    Returns:
        (n, m), from 0 to 1.

    >>> buffered_overlap(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [9, 9, 11, 11]]), np.zeros(2)).round(2)
    array([[0.33, 0.  ]])
    """
    margins = np.asarray(margins, np.float64)
    first, second = _enlarged(boxes[:, None], margins[None]), _enlarged(others[None], margins[None])  # (n | 1, m, 4)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(axis=-1) for each in (first, second)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)


def _enlarged(boxes: np.ndarray, margins: np.ndarray) -> np.ndarray:
    grown = (boxes[..., 2:] - boxes[..., :2]) * margins[..., None]
    return np.concatenate([boxes[..., :2] - grown, boxes[..., 2:] + grown], axis=-1)


def _sizes(boxes: np.ndarray) -> np.ndarray:
    return np.sqrt(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
