"""The frames of a video that have been read -> its timeline: curve, cuts, segments and people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .curve import Curve, group_curve
from .cuts import scene_cuts
from .people import Person, find_people
from .record import Record
from .sampling import sample_durations
from .segments import Segment, find_segments
from .tracking import Tracker


@dataclass(frozen=True)
class Timeline:
    """A video's group over time.

    Attributes:
        class_names: (classes,).
        seconds: (frames,) float64: when each sampled frame is shown.
        end: where the last sampled frame ends, seconds.
        sizes: (frames, 2): width and height in pixels.
        faces: (frames,) int64: the number of faces in each frame.
        probabilities: (frames, classes): of each frame by itself; of no meaning where it has no face.
        curve: the smoothed probabilities and their band.
        cuts: numbers of the sampled frames that begin a new scene.
        segments: stretches of one mood.
        people: those who are seen.
        problem: why the video is not whole; empty where it is.
    """

    class_names: Sequence[str]
    seconds: np.ndarray
    end: float
    sizes: np.ndarray
    faces: np.ndarray
    probabilities: np.ndarray
    curve: Curve
    cuts: np.ndarray
    segments: Sequence[Segment]
    people: Sequence[Person]
    problem: str = ""

    @property
    def mean(self) -> np.ndarray:
        """(classes,): the mean of all frames, each counted by its faces; NaN without faces."""
        if not self.faces.any():
            return np.full(len(self.class_names), np.nan)
        return self.faces @ np.where(self.faces[:, None] > 0, self.probabilities, 0) / self.faces.sum()

    @property
    def label(self) -> str | None:
        """The class with the largest mean probability; None without faces."""
        return self.class_names[int(self.mean.argmax())] if self.faces.any() else None

    def summary(self) -> str:
        """The timeline in a few words: `Positive 0.61 over 42 s: 3 segments, 7 people`."""
        span = f"{self.end - self.seconds[0]:.0f} s"
        note = f" (incomplete video: {self.problem})" if self.problem else ""
        if self.label is None:
            return f"no face found in {span}: nothing is known{note}"
        segments = f"{len(self.segments)} segment" + "s" * (len(self.segments) != 1)
        people = f"{len(self.people)} " + ("person" if len(self.people) == 1 else "people")
        return f"{self.label} {self.mean.max():.2f} over {span}: {segments}, {people}{note}"


def make_timeline(record: Record, class_names: Sequence[str], smooth: float, method: str) -> Timeline:
    """The timeline of the frames in `record`, at least one.

    Args:
        smooth: window of the curve, seconds; 0: not smoothed.
        method: a name in `curve.SMOOTHINGS`.

    Raises:
        UserError: an unknown method, or a negative window.
    """
    cuts = scene_cuts(record.distances())
    begins, tracker = set(cuts.tolist()), Tracker()
    seconds, sizes, shares, counts = [], [], [], []
    ids, boxes, expressions = [], [], []
    for number, frame in enumerate(record.frames()):
        reading = frame.reading
        seconds.append(frame.seconds)
        sizes.append(frame.size)
        shares.append(reading.probabilities)
        counts.append(len(reading.boxes))
        ids.append(tracker.update(frame.seconds, reading.boxes, reading.embeddings, cut=number in begins))
        boxes.append(reading.boxes)
        expressions.append(reading.expressions)
    times, faces = np.array(seconds), np.array(counts)
    probabilities, durations = np.array(shares), sample_durations(np.array(seconds))
    people = find_people(
        np.concatenate(ids),
        np.repeat(np.arange(len(times)), faces),
        np.concatenate(boxes).astype(np.float64),
        np.concatenate(expressions).astype(np.float64),
        times,
        durations,
    )
    return Timeline(
        class_names,
        times,
        float(times[-1] + durations[-1]),
        np.array(sizes),
        faces,
        probabilities,
        group_curve(times, probabilities, faces, smooth, method, cuts),
        cuts,
        find_segments(times, probabilities, faces),
        people,
        record.problem or "",
    )
