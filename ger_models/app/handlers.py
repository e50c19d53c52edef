"""What the app does with a request: uploads and options in, answers out, for the page and for the API."""

from __future__ import annotations

import base64
import inspect
import io
import logging
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr
from PIL import Image

from ger_datasets.support.errors import BadPhoto, UserError, listing
from ger_datasets.support.html_page import render

from ..inference.answer_files import AnswerFolder, AnswerTable
from ..inference.answers import Answer, expression_of
from ..inference.pictures import COLOURS
from .answering import Models, problem
from .reasons import reason_in
from .texts import chosen_language, text
from .uploads import Source, UploadFolder, list_photos, single_photo, uploads

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).with_name("templates")
MAX_FACES_SHOWN = 30
CROP_SIDE = 72  # pixels


class FileData(TypedDict):
    """A file as Gradio clients send it: its `path` on the server, and `meta` {"_type": "gradio.FileData"}."""

    path: str
    meta: dict[str, str]


class Face(TypedDict, total=False):
    """A detected face.

    Attributes:
        box: x1 y1 x2 y2, pixels of the upright photo.
        score: how sure the detector is, 0 to 1.
        attention: its share in the answer, if the model gives it.
        expressions: expression -> probability, if known.
    """

    box: list[float]
    score: float
    attention: float
    expressions: dict[str, float]


class PhotoAnswer(TypedDict, total=False):
    """The answer to a photo, as `group-emotion --json` prints it, with the model's name.

    Attributes:
        photo: the file's name.
        model: the model's name.
        label: the most probable class; None where nothing is known.
        score: its probability.
        scores: class -> probability.
        faces: all detected faces, the surest first.
        face_count: how many of them count.
        note: what to know before believing the answer.
        error: why the photo cannot be used; all other fields but `photo` and `model` are missing then.
    """

    photo: str
    model: str
    label: str | None
    score: float
    scores: dict[str, float]
    faces: list[Face]
    face_count: int
    note: str
    error: str


class FolderAnswer(TypedDict):
    """The answers to many photos.

    Attributes:
        answers: of each photo, in order.
        csv: the same as a table.
        pictures: a zip archive of the annotated photos.
    """

    answers: list[PhotoAnswer]
    csv: FileData
    pictures: FileData


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose UserErrors are told to whoever sent the request."""

    @wraps(function)
    def telling(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    # Gradio publishes the types, and takes them as they are written
    telling.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    return telling


class Handlers:
    """The functions behind the page, which shows what is wrong, and the API, which raises a UserError.

    Args:
        models: they answer.
        folder: what is uploaded and what is made of it.
    """

    def __init__(self, models: Models, folder: UploadFolder) -> None:
        self.models, self.folder = models, folder

    # the page: its values come as the browser sends them, and are checked here

    def show_photo(
        self, photo: Any, min_face_score: Any, blur_faces: Any, request: gr.Request
    ) -> list[str | dict[str, Any]]:
        """For each model the answer as HTML and the picture's file, for components of the page."""
        language = language_of(request)
        try:
            if photo is None:
                raise UserError(text("no_photo", language))
            score = self._page_score(min_face_score)
            check_options(score, blur_faces)
            source = single_photo(self.folder.received(photo))
            shown: list[Any] = []
            for model in self.models.names:
                answer = self._answer(model, source, score, blur_faces)
                picture = self._picture(model, answer) if answer.image is not None else None
                shown += [
                    self._answer_html(model, answer, language),
                    gr.update(value=picture, visible=bool(picture)),
                ]
            log_counts([answer])
            return shown
        except UserError as error:
            message = render(TEMPLATES / "message.html", message=reason_in(str(error), language))
            return [message, gr.update(value=None, visible=False)] * len(self.models.names)

    def show_files(
        self,
        files: Any,
        min_face_score: Any,
        blur_faces: Any,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio looks for it there
    ) -> tuple[str, Any]:
        """The answers as an HTML table, and the files to download."""
        language = language_of(request)
        try:
            score = self._page_score(min_face_score)
            check_options(score, blur_faces)
            sources, left_out = list_photos(uploads(self.folder, files))
            place = self.folder.new_folder()
            rows: list[list[Answer]] = [[] for _ in sources]
            made: list[str] = []
            for i, model in enumerate(self.models.names):
                for k, answer in enumerate(self._write(model, sources, score, blur_faces, place, made)):
                    rows[k].append(replace(answer, image=None))
                    done = i * len(sources) + k + 1
                    progress((done, len(sources) * len(self.models.names)), desc=text("progress", language))
            log_counts([row[0] for row in rows])
        except UserError as error:
            message = render(TEMPLATES / "message.html", message=reason_in(str(error), language))
            return message, gr.update(value=None, visible=False)
        kinds = listing(f"{count} {kind}" for kind, count in left_out.items()) if left_out else ""
        html = render(TEMPLATES / "table.html", rows=rows, models=self.models.names, left_out=kinds, **words(language))
        return html, gr.update(value=made, visible=True)

    # the API: named endpoints whose types Gradio publishes

    def photo(self, photo: FileData, model: str | None = None, min_face_score: float | None = None) -> PhotoAnswer:
        """The emotion of the group in a photo. `model` defaults to the first one, `min_face_score` to the model's."""
        answer = self._api_answer(photo, model, min_face_score)
        if answer.problem:
            raise UserError(f"{answer.name}: {answer.problem}")
        return self._json(self.models.named(model), answer)

    def picture(
        self,
        photo: FileData,
        model: str | None = None,
        min_face_score: float | None = None,
        blur_faces: bool = False,
    ) -> FileData:
        """The photo with its faces and the answer drawn on it, as a JPEG file."""
        answer = self._api_answer(photo, model, min_face_score, blur_faces)
        if answer.problem:
            raise UserError(f"{answer.name}: {answer.problem}")
        return gradio_file(self._picture(self.models.named(model), answer))

    def folder_of_photos(
        self,
        files: list[FileData],
        model: str | None = None,
        min_face_score: float | None = None,
        blur_faces: bool = False,
    ) -> FolderAnswer:
        """The answers to photos and zip archives of photos: JSON, a CSV table, and a zip archive of pictures."""
        name = self.models.named(model)
        check_options(min_face_score, blur_faces)
        sources, _ = list_photos(uploads(self.folder, files))
        made: list[str] = []
        place = self.folder.new_folder()
        answers = [
            replace(answer, image=None)
            for answer in self._write(name, sources, min_face_score, blur_faces, place, made)
        ]
        log_counts(answers)
        csv, pictures = made
        return {
            "answers": [self._json(name, answer) for answer in answers],
            "csv": gradio_file(csv),
            "pictures": gradio_file(pictures),
        }

    def model_names(self) -> list[str]:
        """The names of the models, the first of which answers by default."""
        return self.models.names

    # shared

    def _api_answer(
        self, photo: FileData, model: str | None, min_face_score: float | None, blur_faces: bool = False
    ) -> Answer:
        name = self.models.named(model)
        check_options(min_face_score, blur_faces)
        answer = self._answer(name, single_photo(self.folder.received(photo)), min_face_score, blur_faces)
        log_counts([answer])
        return answer

    def _page_score(self, score: Any) -> Any:
        """None where the slider is where it was: each model then uses its own."""
        return None if score == self.models.min_face_score(self.models.names[0]) else score

    def _answer(self, model: str, source: Source, min_face_score: float | None, blur_faces: bool) -> Answer:
        """The answer of a model, which holds the problem of a photo that cannot be used."""
        file = None
        try:
            file = source.write(self.folder.path)
            return self.models.answer(model, source.name, file, min_face_score, blur_faces)
        except BadPhoto as reason:
            return problem(source.name, reason)
        finally:
            if file is not None and source.entry is not None:
                file.unlink(missing_ok=True)

    def _picture(self, model: str, answer: Answer) -> str:
        """The file of a new picture."""
        folder = AnswerFolder(self.folder.new_folder(), self.models.config(model))
        return str(folder.add(replace(answer, name=flat(answer.name))))

    def _write(
        self,
        model: str,
        sources: list[Source],
        min_face_score: float | None,
        blur_faces: bool,
        place: Path,
        made: list[str],
    ) -> Iterator[Answer]:
        """The answers of a model; at the end a table of them and an archive of pictures are in `place` and `made`."""
        suffix = f"-{flat(model)}" if len(self.models.names) > 1 else ""
        table, pictures = place / f"answers{suffix}.csv", place / f"pictures{suffix}.zip"
        config = self.models.config(model)
        folder = AnswerFolder(self.folder.new_folder(), config)
        with AnswerTable(table, config) as rows, zipfile.ZipFile(pictures, "x") as archive:
            for source in sources:
                answer = self._answer(model, source, min_face_score, blur_faces)
                rows.add(answer)
                picture = folder.add(replace(answer, name=flat(answer.name)))
                if picture is not None:
                    archive.write(picture, picture.name)
                    picture.unlink()
                yield answer
        made += [str(table), str(pictures)]

    @staticmethod
    def _json(model: str, answer: Answer) -> PhotoAnswer:
        return {**answer.as_json, "model": model}  # type: ignore[typeddict-item]

    def _answer_html(self, model: str, answer: Answer, language: str) -> str:
        image = answer.image
        if image is None:
            message = text("not_usable", language, reason=reason_in(answer.problem, language))
            return render(TEMPLATES / "message.html", message=message)
        result, config = answer.result, self.models.config(model)
        names = [config.id2label[i] for i in range(config.num_labels)]
        colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
        faces = [
            {
                "crop": _crop(image, face["box"]),
                "expression": text(expression_of(face), language) if expression_of(face) else "–",
                "weight": f"{100 * face['attention']:.0f} %" if "attention" in face else "–",
                "score": f"{face['score']:.2f}",
            }
            for face in result["faces"][: result["face_count"]][:MAX_FACES_SHOWN]
        ]
        return render(
            TEMPLATES / "answer.html",
            result=result,
            ranking=sorted(result["scores"].items(), key=lambda item: -item[1]),
            colours=colours,
            faces=faces,
            uncounted=len(result["faces"]) - result["face_count"],
            more=max(0, result["face_count"] - MAX_FACES_SHOWN),
            **words(language),
        )


def flat(name: str) -> str:
    """A name without folders, for a file.

    >>> flat("team/a.jpg")
    'team_a.jpg'
    """
    return name.replace("/", "_")


def words(language: str) -> dict[str, Any]:
    """What templates need to show texts in a language."""
    return {
        "text": lambda key, **values: text(key, language, **values),
        "reason": lambda reason: "; ".join(reason_in(part, language) for part in reason.split("; ")),
        "language": language,
    }


def gradio_file(path: str) -> FileData:
    """A file as Gradio sends it to clients."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def language_of(request: gr.Request) -> str:
    """The language that the browser asks for."""
    return chosen_language(request.headers.get("accept-language"))


def check_options(min_face_score: Any, blur_faces: Any) -> None:
    """UserError if the options of a request have no valid values."""
    number = isinstance(min_face_score, (int, float)) and not isinstance(min_face_score, bool)
    if min_face_score is not None and not (number and 0 <= min_face_score <= 1):
        raise UserError("min_face_score must be a number from 0 to 1")
    check_switch("blur_faces", blur_faces)


def check_switch(name: str, value: Any) -> None:
    """UserError if a switch of a request is neither true nor false."""
    if not isinstance(value, bool):
        raise UserError(f"{name} must be true or false")


def log_counts(answers: list[Answer]) -> None:
    """Log how many photos were answered, and nothing about them."""
    failed = sum(bool(answer.problem) for answer in answers)
    logger.info("photos answered: %d; not usable: %d", len(answers) - failed, failed)


def _crop(image: Image.Image, box: list[float]) -> str:
    """A face as a `data:` URL."""
    left, top, right, bottom = box
    place = (int(left), int(top), max(int(left) + 1, round(right)), max(int(top) + 1, round(bottom)))
    crop = image.crop(place)
    crop.thumbnail((CROP_SIDE, CROP_SIDE))
    buffer = io.BytesIO()
    crop.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
