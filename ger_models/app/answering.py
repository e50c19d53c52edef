"""The models of the app: one photo after the other is answered, in the order in which they were asked for."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image
from transformers import PreTrainedConfig

from ger_datasets.support.errors import BadPhoto, UserError, listing
from ger_datasets.support.repository_names import public_name

from ..inference.answers import Answer, Photos, answers, load_pipeline
from ..inference.blurring import without_faces
from ..pipeline_ger import GroupEmotionPipeline
from ..starter import checkpoint_place
from ..timeline.reading import FrameReader, FrameReading

CARD = "README.md"


class Turns:
    """One thread that does one piece of work after the other, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")

    def take(self, function: Callable[..., Any], *args: Any) -> Any:
        """The function's result; waits for its turn."""
        context = contextvars.copy_context()  # a GPU is lent to whoever sent the request
        return self._thread.submit(context.run, function, *args).result()


class WaitingReader(FrameReader):
    """Reads the frames of a video, each batch in its turn: what others ask for is answered between two batches.

    Args:
        model: as `FrameReader`.
        device: the same.
        turns: that are waited for.
    """

    def __init__(self, model: str, device: str, turns: Turns) -> None:
        super().__init__(model, device=device)
        self._turns, self._read = turns, on_gpu(super().read)

    def read(self, images: Sequence[Image.Image]) -> list[FrameReading]:
        """As `FrameReader.read`."""
        return self._turns.take(self._read, images)


class Models:
    """Pipelines that answer in one thread, whoever asks: a request waits for the photos asked for before, not for all
    photos of another request.

    Args:
        names: checkpoints, Hub repositories, or `starter`.
        device: where the models run.

    Attributes:
        names: what the models are called, without paths of this machine.

    Raises:
        UserError: as `load_checkpoint`, or two models have the same name.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        self.names = [public_name(name) for name in names]
        if len(set(self.names)) < len(self.names):
            raise UserError(f"two models have the same name, of {', '.join(self.names)}: rename a folder")
        self._places = dict(zip(self.names, names, strict=True))
        self._pipelines = {name: load_pipeline(place, device) for name, place in self._places.items()}
        self._device, self._readers = device, dict[str, FrameReader]()
        self._turns = Turns()
        self._run = on_gpu(self._answered)

    def named(self, name: object) -> str:
        """The name of a model; of the first one for None. UserError for one that does not exist."""
        if name is None:
            return self.names[0]
        if name not in self.names:
            raise UserError(f"unknown model: there are {listing(self.names)}")
        return str(name)

    def frame_reader(self, model: str) -> FrameReader:
        """What reads a model's videos; loaded when it is first asked for."""
        return self._turns.take(self._reader, model)

    def _reader(self, model: str) -> FrameReader:
        if model not in self._readers:
            self._readers[model] = WaitingReader(self._places[model], self._device, self._turns)
        return self._readers[model]

    def answer(
        self, model: str, name: str, file: Path, min_face_score: float | None = None, blur_faces: bool = False
    ) -> Answer:
        """The pipeline's answer to the photo in `file`; waits for its turn.

        Args:
            model: one of `names`.
            name: what the photo is called in the answer.
            min_face_score: faces with a lower score do not count; None: as the model's processor says.
            blur_faces: whether the faces in the answer's photo are made unrecognisable.

        Raises:
            UserError: the model reads a column that does not follow from a photo.
        """
        answer = self._turns.take(self._run, model, name, file, min_face_score)
        return without_faces(answer) if blur_faces else answer

    def _answered(self, model: str, name: str, file: Path, min_face_score: float | None) -> Answer:
        pipe = self._pipelines[model]
        with counting_faces_from(pipe, min_face_score):
            (answer,) = answers(pipe, Photos({name: file}, {}), 1)
        return answer

    def config(self, model: str) -> PreTrainedConfig:
        """The configuration of a model."""
        return self._pipelines[model].model.config

    def min_face_score(self, model: str) -> float:
        """From which detection score on the model counts a face."""
        return float(self._pipelines[model].image_processor.min_face_score)

    def card(self, model: str) -> str:
        """The text of a model's card without its YAML; empty if it has none."""
        place = checkpoint_place(self._places[model])
        try:
            file = Path(place, CARD) if Path(place).is_dir() else Path(hf_hub_download(place, CARD))
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError, HfHubHTTPError):
            return ""
        return text.split("\n---\n", 1)[-1].strip() if text.startswith("---\n") else text.strip()


def problem(name: str, reason: BadPhoto) -> Answer:
    """The answer for a photo that cannot be used."""
    return Answer(name, None, {}, str(reason))


@contextmanager
def counting_faces_from(pipe: GroupEmotionPipeline, min_face_score: float | None) -> Iterator[None]:
    """Let the pipeline count faces from another detection score on, for the length of a `with` block."""
    own = pipe.image_processor
    if min_face_score is not None and min_face_score != own.min_face_score:
        pipe.image_processor = type(own)(**_with_score(own.to_dict(), min_face_score))
    try:
        yield
    finally:
        pipe.image_processor = own


def _with_score(fields: dict[str, Any], min_face_score: float) -> dict[str, Any]:
    """A processor's settings with another `min_face_score`, in its members too."""
    if "processors" in fields:
        return {**fields, "processors": [_with_score(each, min_face_score) for each in fields["processors"]]}
    return {**fields, "min_face_score": min_face_score}


def on_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, for which a Space with ZeroGPU lends a GPU; elsewhere as it is."""
    return import_module("spaces").GPU(function) if find_spec("spaces") else function
