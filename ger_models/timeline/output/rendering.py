"""A timeline -> an mp4 of the sampled frames in their own time, with boxes, expressions and the curve."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise, repeat
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.errors import UserError, one_line
from ger_datasets.videos.frames import Frame, IncompleteVideo

from ...inference.blurring import blur_faces
from ...inference.face_marks import FaceMark, draw_faces
from ...inference.pictures import COLOURS, expression_colour
from ..results import Timeline
from ..sampling import sampled_frames

TIMELINE_MP4 = "timeline.mp4"
WIDTH, CURVE_HEIGHT = 960, 120  # pixels
TICKS = 1000  # of the time base, per second


def face_marks(timeline: Timeline) -> dict[int, list[FaceMark]]:
    """Number of the sampled frame -> its faces, each with the person's number and expression, in pixels."""
    marks: dict[int, list[FaceMark]] = {}
    for person in timeline.people:
        best = person.expressions.argmax(axis=1)
        for frame, box, place in zip(person.frames.tolist(), person.boxes, best, strict=True):
            expression = EXPRESSIONS[place]
            texts = (f"{person.id + 1} {expression}", expression)
            colour = expression_colour(expression, timeline.class_names)
            marks.setdefault(frame, []).append(FaceMark(box.tolist(), texts, colour))
    return marks


def render_video(
    path: Path,
    video: Path,
    fps: float,
    timeline: Timeline,
    hidden_boxes: Iterable[np.ndarray] | None = None,
    within: float | None = None,
) -> None:
    """Write the video: the sampled frames, each shown until the next, above the curve with the moment marked.

    Args:
        path: the mp4 file.
        video: where the frames come from; it is decoded once more.
        fps: by which they were sampled.
        timeline: of this video.
        hidden_boxes: of each sampled frame (faces, 4), which are blurred; None: nothing is.
        within: the seconds of time that this may take; what is then missing is left out. None: as many as it needs.

    Raises:
        UserError: the file cannot be written.
    """
    marks, curve = face_marks(timeline), _curve_picture(timeline)
    width, height = timeline.sizes[0].tolist()
    shown = WIDTH, max(2, round(WIDTH * height / width / 2) * 2)
    temporary = path.with_name(f".{uuid.uuid4().hex}.mp4")
    try:
        with av.open(str(temporary), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
            stream.width, stream.height, stream.pix_fmt = shown[0], shown[1] + CURVE_HEIGHT, "yuv420p"
            stream.codec_context.time_base = Fraction(1, TICKS)
            frames = _intact(sampled_frames(video, fps, within=within))
            hidden = repeat(np.zeros((0, 4))) if hidden_boxes is None else hidden_boxes
            for number, (frame, seconds, boxes) in enumerate(zip(frames, timeline.seconds.tolist(), hidden)):  # noqa: B905
                picture = _picture(frame.image, marks.get(number, []), shown, boxes)
                picture.paste(_marked(curve, timeline, seconds), (0, shown[1]))
                made = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
                made.time_base, made.pts = Fraction(1, TICKS), round((seconds - timeline.seconds[0]) * TICKS)
                container.mux(stream.encode(made))
            container.mux(stream.encode())
        temporary.replace(path)
    except (OSError, av.error.FFmpegError) as error:
        raise UserError(f"cannot write {path}: {one_line(error)}; choose another place or free it") from error
    finally:
        temporary.unlink(missing_ok=True)


def _intact(frames: Iterator[Frame]) -> Iterator[Frame]:
    try:
        yield from frames
    except IncompleteVideo:
        return


def _picture(image: Image.Image, marks: Sequence[FaceMark], size: tuple[int, int], hidden: np.ndarray) -> Image.Image:
    """The frame with its faces, as large as fits into `size`, on a black picture with room for the curve."""
    scale = min(size[0] / image.width, size[1] / image.height)
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    small = blur_faces(small, (hidden * scale).tolist(), [1.0] * len(hidden))
    draw_faces(small, marks, scale)
    picture = Image.new("RGB", (size[0], size[1] + CURVE_HEIGHT))
    picture.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return picture


def _curve_picture(timeline: Timeline) -> Image.Image:
    picture = Image.new("RGB", (WIDTH, CURVE_HEIGHT), "#15181C")
    draw = ImageDraw.Draw(picture)
    for i, name in enumerate(timeline.class_names):
        colour = COLOURS[i % len(COLOURS)]
        points = [
            (_x(timeline, seconds), (1 - share) * (CURVE_HEIGHT - 8) + 4) if not np.isnan(share) else None
            for seconds, share in zip(timeline.seconds, timeline.curve.probabilities[:, i], strict=True)
        ]
        for first, second in pairwise(points):
            if first and second:
                draw.line([first, second], fill=colour, width=2)
        draw.text((8 + 110 * i, 4), name, fill=colour)
    return picture


def _marked(curve: Image.Image, timeline: Timeline, seconds: float) -> Image.Image:
    picture = curve.copy()
    x = _x(timeline, seconds)
    ImageDraw.Draw(picture).line([(x, 0), (x, CURVE_HEIGHT)], fill="white", width=2)
    return picture


def _x(timeline: Timeline, seconds: float) -> float:
    span = max(timeline.end - timeline.seconds[0], 1e-9)
    return float((seconds - timeline.seconds[0]) / span * (WIDTH - 2))
