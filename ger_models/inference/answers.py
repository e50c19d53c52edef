"""Photos, folders of them and addresses -> an answer for each, as a line of text, JSON or a row of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from transformers.utils import logging as transformers_logging

from ger_datasets.photos.reading import SUFFIXES, in_groups
from ger_datasets.support.errors import BadPhoto, UserError, listing, printable

from ..pipeline_ger import BATCH_PIXELS, TASK, GroupEmotionPipeline, read_input
from .checkpoints import load_checkpoint
from .inputs import files_inside, free_name

ADDRESSES = ("http://", "https://")
DOWNLOAD_SECONDS = 20
RECORD = "answers.jsonl"  # written next to the pictures of a run; marks a folder of answers
LONGEST_NAME = 40  # maximum width of the column of names, in characters
SIGNIFICANT = 0.01  # smaller differences between shares are ignored
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # Pillow's names of the formats that hold animations


@dataclass(frozen=True)
class Answer:
    """The result for one photo.

    Attributes:
        name: display name of the photo.
        image: the photo, upright, RGB; None where it cannot be used.
        result: the pipeline's answer; empty where there is none.
        problem: why the photo cannot be used; empty where it can.
        frames: how many pictures the file holds; of several, one is answered.
    """

    name: str
    image: Image.Image | None
    result: dict[str, Any]
    problem: str = ""
    frames: int = 1

    @property
    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values: the pipeline's, with the photo's name; or its name and the `error`."""
        return {"photo": self.name, **({"error": self.problem} if self.problem else self.result)}


@dataclass(frozen=True)
class Photos:
    """The input photos of a run.

    Attributes:
        places: name -> file, URL, or the reason why it cannot be read.
        left_out: folder -> number of files that are not photos, by suffix, or `earlier answers`.
    """

    places: dict[str, Path | str | BadPhoto]
    left_out: dict[str, Counter[str]]


def find_photos(words: Sequence[str]) -> Photos:
    """The photos that `words` name: files, folders including their subfolders, or http and https URLs.

    A photo's name is its path as given; for a path that begins with `/` or `..`, only the part from the last folder
    on. Other files of the same name get a suffix (`-2`); a file that is named twice is answered once. Unreadable files
    are reported later, in order.

    Raises:
        UserError: one of the words is empty.
    """
    places: dict[str, Path | str | BadPhoto] = {}
    left_out: dict[str, Counter[str]] = {}
    files: set[Path | None] = set()
    for word in words:
        found: list[tuple[str, Path | str | BadPhoto]]
        if not word.strip():
            raise UserError("an argument is empty: name photos, folders or addresses")
        if word.startswith(ADDRESSES):
            found = [(word.partition("?")[0], word)]
        elif Path(word).is_dir():
            folder, name = Path(word), _called(Path(word))
            inside, others = files_inside(folder, SUFFIXES)
            ours = {record.parent for record in folder.rglob(RECORD)}
            photos = [path for path in inside if not ours.intersection(path.parents)]
            others.update({"earlier answers": len(inside) - len(photos), ".jsonl": -len(ours)})
            found = [(f"{name}/{path.relative_to(folder).as_posix()}", path) for path in photos]
            if not found:
                found = [(name, BadPhoto(f"no photo in it: expected {listing(sorted(SUFFIXES), 20)}"))]
            if +others:
                left_out[printable(word)] = +others
        else:
            found = [(_called(Path(word)), Path(word))]
        for name, place in found:
            file = place.absolute() if isinstance(place, Path) else None
            if file in files:
                continue
            files |= {file} - {None}
            places[free_name(printable(name), places)] = place
    return Photos(places, left_out)


def _called(path: Path) -> str:
    """Display name of a file or folder, without paths of this machine."""
    inside = not path.is_absolute() and ".." not in path.parts and path.as_posix() != "."
    return path.as_posix() if inside else path.resolve().name


def load_pipeline(model: str, device: str) -> GroupEmotionPipeline:
    """The pipeline with the checkpoint `model`: a folder, a Hub repository or `starter`.

    Raises:
        UserError: as `load_checkpoint`.
    """
    transformers_logging.disable_progress_bar()  # loading takes no time
    loaded, processor = load_checkpoint(model)
    return GroupEmotionPipeline(model=loaded, image_processor=processor, task=TASK, device=device)


def answers(pipe: GroupEmotionPipeline, photos: Photos, batch_size: int, whole_face: bool = False) -> Iterator[Answer]:
    """The answer to each photo, in order. A photo that cannot be used does not stop the others.

    Args:
        batch_size: photos per forward pass; fewer if they are large.
        whole_face: as in the pipeline.

    Raises:
        UserError: the model reads a column that does not follow from a photo.
    """
    asked = {"faces": True, "expressions": True, "whole_face": whole_face, "on_error": "raise"}
    for batch in in_groups(_read(photos), batch_size, BATCH_PIXELS, _pixels):
        rows = [{"image": photo.image, "image_id": photo.name} for photo in batch if photo.image is not None]
        results = iter(pipe(rows, batch_size=len(rows), **asked) if rows else [])
        for photo in batch:
            yield photo if photo.image is None else _answered(photo, next(results))


def _answered(photo: Answer, result: dict[str, Any]) -> Answer:
    """The photo with its answer, which says so if the file holds more pictures."""
    if photo.frames > 1:
        animated = f"an animation of {photo.frames} frames, of which one was used"
        result = {**result, "note": "; ".join(filter(None, (result["note"], animated)))}
    return replace(photo, result=result)


def _frames(place: Path | str) -> int:
    """How many frames an animated file holds; 1 for other photos, and for addresses, whose file is not kept."""
    if not isinstance(place, Path):
        return 1
    try:
        with Image.open(place) as image:
            return int(getattr(image, "n_frames", 1)) if image.format in ANIMATED else 1
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        Image.DecompressionBombError,
    ):  # it could be read
        return 1


def _read(photos: Photos) -> Iterator[Answer]:
    """The photos, without answers."""
    for name, place in photos.places.items():
        try:
            if isinstance(place, BadPhoto):
                raise place
            yield Answer(name, read_input(place, DOWNLOAD_SECONDS), {}, frames=_frames(place))
        except BadPhoto as reason:
            yield Answer(name, None, {}, str(reason).removeprefix("the file cannot be read: "))


def _pixels(photo: Answer) -> int:
    return photo.image.width * photo.image.height if photo.image is not None else 0


def expression_of(face: dict[str, Any]) -> str:
    """The most probable expression of a face; empty where its expressions are not known."""
    expressions = face.get("expressions") or {}
    return max(expressions, key=expressions.__getitem__, default="")


def expression_counts(result: dict[str, Any]) -> Counter[str]:
    """Number of faces by expression, the most frequent first."""
    counts = Counter(filter(None, map(expression_of, result["faces"])))
    return Counter(dict(counts.most_common()))


def faces_line(result: dict[str, Any]) -> str:
    """The faces of an answer in words.

    >>> face = {"expressions": {"happy": 0.9, "sad": 0.1}}
    >>> faces_line({"faces": [face, face], "face_count": 2})
    '2 faces: 2 happy'
    """
    count = result["face_count"]
    if not count:
        return "no face found"
    expressions = ", ".join(f"{n} {name}" for name, n in expression_counts(result).items())
    return f"{count} face{'s' * (count > 1)}" + (f": {expressions}" if expressions else "")


def answer_line(answer: Answer, width: int = 0) -> str:
    """An answer as a line of text.

    Args:
        width: the name is padded to this many characters.
    """
    name = answer.name.ljust(width)
    if answer.problem:
        return f"{name}  cannot be read: {answer.problem}"
    result = answer.result
    if result["label"] is None:
        return f"{name}  {faces_line(result)}: nothing is known"
    return f"{name}  {result['label']} {result['score']:.2f}  {faces_line(result)}"


def name_width(names: Iterable[str]) -> int:
    """Width to which names are padded, so that answers are aligned."""
    return max((len(name) for name in names if len(name) <= LONGEST_NAME), default=0)


def face_weights(result: dict[str, Any]) -> list[float] | None:
    """The share of each face in an answer; None if the model has no attention or all shares are equal."""
    weights = [face.get("attention", 0.0) for face in result["faces"][: result["face_count"]]]
    return weights if weights and max(weights) - min(weights) > SIGNIFICANT else None
