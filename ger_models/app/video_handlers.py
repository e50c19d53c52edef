"""What the app does with a video: an upload and options in, the group over time out, for the page and for the API."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, cast

import gradio as gr

from ger_datasets.support.errors import UserError, printable
from ger_datasets.support.html_page import render
from ger_datasets.videos.declared import declared
from ger_datasets.videos.frames import BadVideo

from ..timeline.output.page import TIMELINE_HTML, clock
from ..timeline.output.rendering import TIMELINE_MP4
from ..timeline.output.tables import PEOPLE_CSV, SEGMENTS_CSV, TIMELINE_CSV, TIMELINE_JSON
from ..timeline.run import video_timeline
from .answering import Models
from .handlers import TEMPLATES, FileData, check_switch, gradio_file, language_of, words
from .reasons import reason_in
from .texts import text
from .uploads import MAX_VIDEO_BYTES, MB, UploadFolder

logger = logging.getLogger(__name__)

DEFAULT_FPS, MAX_FPS = 2.0, 10.0
MAX_VIDEO_SECONDS = 30 * 60  # of the video; what comes after is left out
MAX_READING_SECONDS = 15 * 60  # of work, and as many for the rendered video; the rest is left out then
MAX_FRAME_PIXELS = 4096 * 2160  # the decoder, which may keep 16 frames, and the detector then need up to 0.8 GB
FRAMES_AT_ONCE = 4  # per batch, of up to 1920 x 1088 pixels: a photo waits for no more than these
PIXELS_AT_ONCE = FRAMES_AT_ONCE * 1920 * 1088  # larger frames are fewer, at least one
MAX_SEGMENTS_SHOWN = 200


class Segment(TypedDict):
    """A stretch of a video with one mood.

    Attributes:
        start: seconds.
        end: seconds.
        label: the most probable class; None where no face is seen.
        probability: its mean; None where no face is seen.
    """

    start: float
    end: float
    label: str | None
    probability: float | None


class SeenPerson(TypedDict):
    """A person who is seen in a video, between two scene cuts.

    Attributes:
        person: counted from 1.
        seconds_visible: how long.
        expressions: expression -> mean probability.
    """

    person: int
    seconds_visible: float
    expressions: dict[str, float]


class VideoAnswer(TypedDict):
    """A video's group over time.

    Attributes:
        video: the file's name.
        model: the model's name.
        label: the most probable class of the whole video; None without faces.
        probability: its mean over all frames, each counted by its faces; None without faces.
        summary: the same in a few words.
        note: what to know before believing the answer.
        incomplete: why a part of the video was not used; empty where all of it was.
        start: when the first frame is shown, seconds.
        end: when the last frame ends, seconds.
        segments: stretches of one mood.
        people: those who are seen.
        timeline: timeline.json, with all of it at each moment.
        page: timeline.html, which shows it.
        timeline_csv: the curve as a table.
        segments_csv: the segments as a table.
        people_csv: the people as a table.
        rendered: timeline.mp4, if it was asked for.
    """

    video: str
    model: str
    label: str | None
    probability: float | None
    summary: str
    note: str
    incomplete: str
    start: float
    end: float
    segments: list[Segment]
    people: list[SeenPerson]
    timeline: FileData
    page: FileData
    timeline_csv: FileData
    segments_csv: FileData
    people_csv: FileData
    rendered: FileData | None


class VideoHandlers:
    """The functions behind the page's videos, which shows what is wrong, and their endpoint, which raises a UserError.

    Args:
        models: they answer.
        folder: what is uploaded and what is made of it.
    """

    def __init__(self, models: Models, folder: UploadFolder) -> None:
        self.models, self.folder = models, folder
        self._large = threading.Lock()  # held by the one video with large frames that is at work

    def show_video(
        self,
        video: Any,
        model: Any,
        fps: Any,
        blur_faces: Any,
        render_video: Any,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio looks for it there
    ) -> list[Any]:
        """The answer and the timeline as HTML, the rendered video, and the files to download."""
        language = language_of(request)
        try:
            if not video:
                raise UserError(text("no_video", language))
            file = self.folder.received(video)
            length = declared(file).seconds

            def show(seconds: float) -> None:
                words = text("video_progress", language, time=clock(seconds).removesuffix(".0"))
                progress(min(1.0, seconds / length) if length else 0.0, desc=words)

            made = self._timeline(file, self.models.named(model), fps, blur_faces, render_video, show)
        except (BadVideo, UserError) as error:
            reason = reason_in(str(error), language)
            words_shown = text("video_not_usable", language, reason=reason) if isinstance(error, BadVideo) else reason
            message = render(TEMPLATES / "message.html", message=words_shown)
            return [message, gr.update(value=None, visible=False), "", gr.update(value=None, visible=False)]
        values = json.loads((made / TIMELINE_JSON).read_text(encoding="utf-8"))
        segments = values["segments"][:MAX_SEGMENTS_SHOWN]
        html = render(
            TEMPLATES / "video.html",
            values=values,
            segments=[{**each, "times": f"{clock(each['start'])} – {clock(each['end'])}"} for each in segments],
            more=len(values["segments"]) - len(segments),
            **words(language),
        )
        page = (made / TIMELINE_HTML).read_text(encoding="utf-8")
        rendered = made / TIMELINE_MP4
        return [
            html,
            gr.update(value=str(rendered), visible=True)
            if rendered.exists()
            else gr.update(value=None, visible=False),
            render(TEMPLATES / "timeline_frame.html", page=page, **words(language)),
            gr.update(value=sorted(str(path) for path in made.iterdir() if path.is_file()), visible=True),
        ]

    def video(
        self,
        video: FileData,
        model: str | None = None,
        fps: float = DEFAULT_FPS,
        blur_faces: bool = False,
        render: bool = False,
    ) -> VideoAnswer:
        """The group over time in a video: `fps` frames per second are looked at; `render` also makes a video."""
        name, file = self.models.named(model), self.folder.received(video)
        try:
            made = self._timeline(file, name, fps, blur_faces, render, None)
        except BadVideo as reason:
            raise UserError(f"{printable(file.name)}: {reason}") from reason
        values = json.loads((made / TIMELINE_JSON).read_text(encoding="utf-8"))
        kept = ("video", "label", "probability", "summary", "note", "incomplete", "start", "end", "segments")
        people = [{key: person[key] for key in SeenPerson.__annotations__} for person in values["people"]]
        files = {
            "timeline": TIMELINE_JSON,
            "page": TIMELINE_HTML,
            "timeline_csv": TIMELINE_CSV,
            "segments_csv": SEGMENTS_CSV,
            "people_csv": PEOPLE_CSV,
        }
        answer = {
            **{key: values[key] for key in kept},
            "model": name,
            "people": people,
            **{key: gradio_file(str(made / place)) for key, place in files.items()},
            "rendered": gradio_file(str(made / TIMELINE_MP4)) if render else None,
        }
        return cast(VideoAnswer, answer)

    def _timeline(
        self,
        file: Path,
        model: str,
        fps: Any,
        blur_faces: Any,
        render: Any,
        progress: Callable[[float], None] | None,
    ) -> Path:
        """The folder of the timeline of a video.

        Raises:
            BadVideo: the video cannot be used.
            UserError: an option cannot be used.
        """
        check_fps(fps)
        check_switch("blur_faces", blur_faces)
        check_switch("render", render)
        place = self.folder.new_folder()
        try:
            batch_size = check_video(file)
            with self._only_one(large=batch_size < FRAMES_AT_ONCE):
                found = video_timeline(
                    file,
                    place,
                    self.models.frame_reader(model),
                    fps=float(fps),
                    blur_faces=blur_faces,
                    render=render,
                    batch_size=batch_size,
                    progress=progress,
                    until=MAX_VIDEO_SECONDS,
                    within=MAX_READING_SECONDS,
                )
        except (BadVideo, UserError):
            shutil.rmtree(place, ignore_errors=True)
            logger.info("videos answered: 0; not usable: 1")
            raise
        logger.info("videos answered: 1; not usable: 0")
        return found.folder

    @contextmanager
    def _only_one(self, large: bool) -> Iterator[None]:
        """Work on a video; UserError if its frames are large and another such video is at work, for their memory."""
        if large and not self._large.acquire(blocking=False):
            raise UserError(
                "another video with frames above 1920 x 1088 pixels is being read: try again in some minutes"
            )
        try:
            yield
        finally:
            if large:
                self._large.release()


def check_fps(fps: Any) -> None:
    """UserError if the frames per second of a request are no valid number."""
    if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps <= MAX_FPS:
        raise UserError(f"fps must be a number above 0, at most {MAX_FPS:g}")


def check_video(file: Path) -> int:
    """How many frames of a video are read at once; raises BadVideo if the file or its frames are too large."""
    if file.stat().st_size > MAX_VIDEO_BYTES:
        raise BadVideo(f"larger than {MAX_VIDEO_BYTES // MB} MB")
    size = declared(file)
    pixels = size.width * size.height
    if pixels > MAX_FRAME_PIXELS:
        raise BadVideo(f"frames of {size.width} x {size.height} pixels: at most 4096 x 2160 are accepted here")
    return max(1, min(FRAMES_AT_ONCE, PIXELS_AT_ONCE // max(1, pixels)))
