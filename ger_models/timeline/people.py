"""Tracked faces -> for each person when they are seen, where, and with which expressions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Person:
    """What is known about one person of a video.

    Attributes:
        id: as `Tracker` gave it.
        frames: (sightings,) int64: the numbers of the sampled frames in which the person is seen, increasing.
        seconds: (sightings,) float64: when they are shown.
        boxes: (sightings, 4) float64: x1 y1 x2 y2 in pixels.
        expressions: (sightings, expressions) float64: probabilities.
        seconds_visible: for how long the person is seen, altogether.
    """

    id: int
    frames: np.ndarray
    seconds: np.ndarray
    boxes: np.ndarray
    expressions: np.ndarray
    seconds_visible: float

    @property
    def mean_expressions(self) -> np.ndarray:
        """(expressions,): the mean over the sightings."""
        return self.expressions.mean(axis=0)


def find_people(
    ids: np.ndarray,
    frames: np.ndarray,
    boxes: np.ndarray,
    expressions: np.ndarray,
    seconds: np.ndarray,
    durations: np.ndarray,
) -> list[Person]:
    """Sort the faces of a video by person.

    Args:
        ids: (faces,): whose face it is.
        frames: (faces,): the number of its sampled frame, not decreasing.
        boxes: (faces, 4).
        expressions: (faces, expressions).
        seconds: (frames,): when each sampled frame is shown.
        durations: (frames,): how long it stands for; see `sampling.sample_durations`.

    Returns:
        the people by id.

    Raises:
        ValueError: somebody is in one frame twice, or the frames are not in order.
    """
    people = []
    for id in np.unique(ids):
        mine = np.flatnonzero(ids == id)
        seen = frames[mine]
        if np.any(np.diff(seen) <= 0):
            raise ValueError(f"person {id} is in a frame twice, or the frames are not in order")
        people.append(
            Person(
                int(id), seen, seconds[seen], boxes[mine], expressions[mine], float(np.asarray(durations)[seen].sum())
            )
        )
    return people
