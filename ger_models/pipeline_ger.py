"""Photos from outside -> rows as a prepared dataset has them, faces and all; and the pipeline that answers them."""

from __future__ import annotations

import base64
import binascii
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.pipelines import PIPELINE_REGISTRY, Pipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from ger_datasets.photos.reading import MAX_PIXELS, STORED_PIXELS, convert_image, decode_photo, in_groups, read_photo
from ger_datasets.support.errors import BadPhoto, UserError, printable

from .configuration_ger import GerExpressionConfig
from .evaluation.calibration import calibrated, calibration_of, named_sets
from .starter import STARTER

if TYPE_CHECKING:
    from ger_datasets.faces import FaceDetector

    from .inference.encoded_columns import AddedColumns

logger = logging.getLogger(__name__)

TASK = "group-emotion"
BATCH_PIXELS = STORED_PIXELS  # of the photos of a forward; of larger ones fewer are taken, so that memory has a bound
MAX_URL_BYTES = 64 * 2**20
CHANNELS = ("rgb", "bgr")
ADDRESSES = ("http://", "https://")
BYTES = (bytes, bytearray, memoryview)
MOST_PATH = 1000  # characters; what is longer is no path
MIN_BASE64 = 64  # characters; shorter texts are paths, as no image of 16 x 16 pixels is that small
FACES = ("face_boxes", "face_scores")
NO_FACE, NOTHING_KNOWN = "no face was found", "no face was found, so nothing is known about the group"
WITHOUT_FACES = "image"  # the only column that follows from a photo without looking for its faces


class FaceColumns:
    """Photos -> the columns that follow from them and their faces. The detector is made at the first call.

    Args:
        device: where faces are looked for.
        columns: those that are made, see `photo_columns`; None: all of them.
        whole_face: whether each picture is taken as one face, unless a call says otherwise: nobody looks for any.
        detector: a name in `ger_datasets.detectors.DETECTORS`.
        min_face_pixels: side of the smallest face that the detector finds, in pixels; None: its default.
        added: makes the columns of vectors that models read; None: there are none.
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        columns: Collection[str] | None = None,
        whole_face: bool = False,
        detector: str = "mtcnn",
        min_face_pixels: int | None = None,
        added: AddedColumns | None = None,
    ) -> None:
        self.added = added
        if columns is not None and added is not None:
            columns = {*columns} - added.columns
        self.device, self.columns, self.whole_face, self.detector = device, columns, whole_face, detector
        self.min_face_pixels = min_face_pixels
        self.extractor: FaceDetector | None = None

    def __call__(self, images: Sequence[Image.Image], whole_face: bool | None = None) -> list[dict[str, Any]]:
        from ger_datasets.detectors import make_detector
        from ger_datasets.faces.columns import photo_columns, whole_pictures

        if self.extractor is None:
            self.extractor = make_detector(self.detector, self.device, self.min_face_pixels)
        whole_face = self.whole_face if whole_face is None else whole_face
        found = whole_pictures(self.extractor, images, self.device) if whole_face else self.extractor.extract(images)
        rows = [photo_columns(image, faces, self.columns) for image, faces in zip(images, found, strict=True)]
        return rows if self.added is None else self.added.fill(rows)


class GroupEmotionPipeline(Pipeline):
    """The emotion of the group in each photo.

        import ger_models
        from transformers import pipeline

        answer = pipeline("group-emotion")  # the model that comes with the package; model="runs/a" is another
        answer("party.jpg")
        answer(["a.jpg", "https://example.org/b.jpg", image], batch_size=8)

    A photo is one of

    - a path, or an http or https address;
    - a PIL image;
    - an array or tensor, height x width x 3 (or 4, with alpha; or height x width, grey), or with the channels first:
      uint8, or floating point from 0 to 1. OpenCV's arrays need `channels="bgr"`;
    - an image file's content as bytes, base64 text, a `data:` URL, or a file that is open for reading bytes;
    - a row of a prepared dataset (a mapping with `image`).

    Several are a list, a generator, a dataset, or an array or tensor of four dimensions, the first of which counts
    photos. Generators give answers one by one, the others a list. A photo's answer never depends on its batch.

    Each answer holds `label`, its probability `score`, `scores` (class -> probability), `faces`, `face_count`, and
    `note`: what to know before believing the answer, or "". Each face has its `box` x1 y1 x2 y2 in pixels of the
    upright photo, its `score`, and, where the model gives them, `attention`, its share in the answer, and
    `expressions` (expression -> probability). `face_count` counts the faces that the model sees: those whose score is
    at least the processor's `min_face_score`. `faces` and `face_count` are None where nobody looked for faces: in
    photos, for models that do not read them, unless `faces=True`. `label` is None where a model that reads nothing
    but faces found none: its `scores` are equal then. Of a calibrated model (scripts/calibrate.py) the probabilities
    are calibrated, and answers have a `prediction_set`: the classes that cannot be ruled out, the most probable first.

    Keyword arguments, here or in a call:
        faces: look for faces even if the model does not read them.
        expressions: give each face's `expressions` whatever the model: by the one that comes with the package, where
            the model does not tell.
        whole_face: take each picture as one face, from edge to edge, without looking for any.
        on_error: `raise` stops at a photo that cannot be used (UserError); `return` answers {"error": the photo's name
            and the reason} and goes on. Default: `raise` for a photo alone, `return` for several.
        channels: the order of the colours in arrays and tensors, `rgb` or `bgr`; images and files know their own.
            Default: `rgb`.
        timeout: seconds that the download of a photo may take. Default: 20.
        batch_size: photos per forward, fewer where they are large. Default: 1.
        num_workers: processes that read photos.

    Raises:
        UserError: a photo cannot be used, an argument is wrong, or the model reads a column that does not follow from
            a photo: that is never taken for the photo's fault.
    """

    _load_image_processor = True
    _load_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not hasattr(self.image_processor, "row_columns"):
            raise UserError(
                f"{TASK} needs one of this package's models with its processor, not a {type(self.model).__name__} "
                f"with {type(self.image_processor).__name__}"
            )
        self.model.eval()
        self._calibration = calibration_of(self.model.config)
        from .inference.encoded_columns import (
            AddedColumns,
        )  # here: `import ger_models` does without the library datasets

        self._added = AddedColumns([self.model], self.image_processor.row_columns, self.device)
        columns = {*self.image_processor.row_columns, *FACES, WITHOUT_FACES}
        self._face_columns = FaceColumns(self.device, columns - self._added.columns)
        self._requests = {"output_faces": True} if self.model.has_face_outputs else {}
        self._starter: tuple[Any, Any] | None = None  # predicts expressions where the model does not

    def _sanitize_parameters(
        self,
        faces: bool | None = None,
        expressions: bool | None = None,
        whole_face: bool | None = None,
        on_error: str | None = None,
        timeout: float | None = None,
        channels: str | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if on_error not in (None, "raise", "return"):
            raise UserError(f"on_error must be 'raise' or 'return', not {on_error!r}")
        if timeout is not None and not timeout > 0:
            raise UserError(f"timeout must be above 0 seconds, not {timeout}")
        if channels not in (None, *CHANNELS):
            raise UserError(f"channels must be 'rgb' or 'bgr', not {channels!r}")
        reading = {"on_error": on_error, "timeout": timeout, "channels": channels}
        looking = {"faces": faces, "expressions": expressions, "whole_face": whole_face}
        given = [{name: value for name, value in some.items() if value is not None} for some in (reading, looking)]
        return given[0], given[1], {}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        if _is_array(inputs) and inputs.ndim in (1, 4):  # a series of paths, or a batch of photos
            inputs = list(inputs)
        alone = isinstance(inputs, (str, os.PathLike, Image.Image, Mapping, *BYTES))
        if alone or _is_array(inputs) or _is_file(inputs):
            return super().__call__(inputs, **kwargs)
        if isinstance(inputs, (list, tuple)):
            return super().__call__(list(inputs), **kwargs) if inputs else []
        if isinstance(inputs, Iterable) and not isinstance(inputs, Dataset):
            inputs = (photo for photo in inputs)
        return super().__call__(inputs, **kwargs)

    def run_single(
        self,
        inputs: Any,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> dict[str, Any]:
        """As transformers' pipelines call it for one photo; raises UserError unless `on_error` says otherwise."""
        photo = self.preprocess(inputs, **{"on_error": "raise", **preprocess_params})
        (answered,) = self.forward([photo], **forward_params)
        return self.postprocess(answered, **postprocess_params)

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[dict[str, Any]]:
        """As transformers' pipelines call it for many photos: their answers, one after the other, in order."""
        preprocess_params = {"on_error": "return", **preprocess_params}
        if hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__"):
            photos = PipelineDataset(inputs, self.preprocess, preprocess_params)
        else:
            photos = PipelineIterator(inputs, self.preprocess, preprocess_params)
            num_workers = min(num_workers, 1)  # several would each read every photo
        loader = DataLoader(photos, num_workers=num_workers, batch_size=None, collate_fn=_as_it_is)  # type: ignore[arg-type]
        return (
            self.postprocess(answered, **postprocess_params)
            for batch in in_groups(loader, batch_size, BATCH_PIXELS, _pixels)
            for answered in self.forward(batch, **forward_params)
        )

    def preprocess(
        self, photo: Any, on_error: str = "raise", timeout: float = 20, channels: str = "rgb"
    ) -> dict[str, Any]:
        """A photo -> {"row": the columns there are}, or {"error": its name and why it cannot be used}.

        Raises:
            UserError: a BadPhoto, where `on_error` is "raise".
        """
        try:
            if isinstance(photo, Mapping):
                row = dict(photo)
                if isinstance(row.get("image"), BYTES) or _is_array(row.get("image")):
                    row["image"] = read_input(row["image"], timeout, channels)
                if "image" in row and not isinstance(row["image"], Image.Image):
                    raise BadPhoto(f"its image is a {type(row['image']).__name__}, not a PIL image")
                return {"row": row}
            return {"row": {"image": read_input(photo, timeout, channels)}}
        except BadPhoto as reason:
            error = f"{_name(photo)}: {reason}"
            if on_error == "raise":
                raise UserError(error) from reason
            return {"error": error}

    def _forward(
        self,
        photos: Sequence[dict[str, Any]],
        faces: bool = False,
        expressions: bool = False,
        whole_face: bool = False,
    ) -> list[dict[str, Any]]:
        good = [photo["row"] for photo in photos if "row" in photo]
        if good:
            wanted = {*self.image_processor.row_columns, *(FACES if faces or expressions or whole_face else ())}
            wanted |= {WITHOUT_FACES} if expressions else set()
            good = self._answered(self._completed(good, wanted, whole_face), expressions)
        answers = iter(good)
        return [photo if "error" in photo else next(answers) for photo in photos]

    def _answered(self, rows: Sequence[dict[str, Any]], expressions: bool) -> list[dict[str, Any]]:
        try:
            inputs = self.image_processor(rows)
        except ValueError as error:
            raise UserError(str(error)) from error
        output = self.model(**inputs.to(self.device, self.model.dtype), **self._requests)
        attention, shown = output.get("face_attention"), output.get("face_expressions")  # (photos, faces, ...)
        names = getattr(self.model.config, "expressions", [])
        if shown is None and expressions:
            shown, names = self._starter_expressions(rows)
        return [
            {
                "logits": output.logits[i].float(),
                "boxes": row.get("face_boxes"),
                "face_scores": row.get("face_scores"),
                "attention": None if attention is None else attention[i].float(),
                "expressions": None if shown is None else shown[i].float(),
                "expression_names": names,
            }
            for i, row in enumerate(rows)
        ]

    def _starter_expressions(self, rows: Sequence[dict[str, Any]]) -> tuple[torch.Tensor, list[str]]:
        """The shipped model's probabilities (photos, faces, expressions), and the names of the expressions."""
        if self._starter is None:
            model = AutoModelForImageClassification.from_pretrained(STARTER, dtype=torch.float32)
            self._starter = model.eval().to(self.device), AutoImageProcessor.from_pretrained(STARTER)
        model, processor = self._starter
        output = model(**processor(rows).to(self.device), output_faces=True)
        return output.face_expressions, model.config.expressions

    def _completed(
        self, rows: Sequence[dict[str, Any]], wanted: Collection[str], whole_face: bool
    ) -> list[dict[str, Any]]:
        """The rows with the columns `wanted`."""
        wanted = set(wanted) - self._added.columns
        if self._added.lacking(rows):
            wanted |= {*FACES, WITHOUT_FACES}
        bare = [i for i, row in enumerate(rows) if not wanted <= row.keys()]
        completed = list(rows)
        if bare and wanted - {WITHOUT_FACES}:
            if any("image" not in rows[i] for i in bare):
                raise UserError(
                    f"a row without image lacks {', '.join(sorted(wanted))}, of which this model needs all"
                )
            found = self._face_columns([rows[i]["image"] for i in bare], whole_face)
            for i, columns in zip(bare, found, strict=True):
                completed[i] = {**columns, **rows[i]}
        return self._added.fill(completed)

    def postprocess(self, answered: dict[str, Any]) -> dict[str, Any]:
        """{"logits": (classes,), "row": ...} or {"error": ...} -> what `__call__` returns."""
        if "error" in answered:
            return answered
        logits = answered["logits"].cpu().numpy()[None]
        shares = calibrated(logits, self._calibration)[0].tolist()
        names = [self.model.config.id2label[i] for i in range(len(shares))]
        best = max(range(len(shares)), key=shares.__getitem__)
        by_faces_alone = self.model.config.model_type == GerExpressionConfig.model_type
        faces: list[dict[str, Any]] | None = None
        count: int | None = None
        if answered["boxes"] is not None and answered["face_scores"] is not None:
            faces = [
                {"box": [float(edge) for edge in box], "score": float(score)}
                for box, score in zip(answered["boxes"], answered["face_scores"], strict=True)
            ]
            least = getattr(self.image_processor, "min_face_score", 0.0)
            count = sum(score >= least for score in answered["face_scores"])
            if answered["attention"] is not None:  # of the most confident faces; the model saw no others
                for face, share in zip(faces[:count], answered["attention"].tolist(), strict=False):
                    face["attention"] = share
            if answered["expressions"] is not None:
                for face, probabilities in zip(faces, answered["expressions"].tolist(), strict=False):
                    if any(probabilities):  # zeros fill up the rows of photos with fewer faces
                        face["expressions"] = dict(zip(answered["expression_names"], probabilities, strict=True))
        faceless = NOTHING_KNOWN if by_faces_alone else NO_FACE
        notes = [getattr(self.model.config, "notice", ""), faceless if count == 0 else ""]
        answer = {
            "label": None if by_faces_alone and not count else names[best],
            "score": shares[best],
            "scores": dict(zip(names, shares, strict=True)),
            "faces": faces,
            "face_count": count,
            "note": "; ".join(filter(None, notes)),
        }
        if self._calibration is not None:
            (answer["prediction_set"],) = named_sets(logits, self._calibration, names)
        return answer

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the model and the processor; not, as other pipelines do, this file: it does not work on its own."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.image_processor.save_pretrained(save_directory, **kwargs)


def _other_than_default(record: logging.LogRecord) -> bool:
    """Whether a message of transformers is not the advice to name a model, which the default model needs no more."""
    message = record.getMessage()
    return not (message.startswith("No model was supplied, defaulted to") and str(STARTER) in message)


logging.getLogger("transformers.pipelines").addFilter(_other_than_default)


def _as_it_is(photo: dict[str, Any]) -> dict[str, Any]:
    return photo


def _pixels(photo: dict[str, Any]) -> int:
    return pixels_of_row(photo.get("row", {}))


def pixels_of_row(row: Mapping[str, Any]) -> int:
    """How many pixels the photo of a row has; 0 where the row has none."""
    image = row.get("image")
    return image.width * image.height if isinstance(image, Image.Image) else 0


def read_input(photo: Any, timeout: float, channels: str = "rgb") -> Image.Image:
    """The upright RGB photo in whatever a `GroupEmotionPipeline` takes for a photo, except rows.

    Args:
        timeout: seconds for downloading it.
        channels: the order of the colours in arrays and tensors, `rgb` or `bgr`.

    Raises:
        BadPhoto: it cannot be used.
    """
    if isinstance(photo, Image.Image):
        return convert_image(photo)
    if isinstance(photo, str) and photo.startswith(ADDRESSES):
        return decode_photo(_download(photo, timeout)).image
    if isinstance(photo, str) and (content := _from_base64(photo)) is not None:
        return decode_photo(content).image
    if isinstance(photo, (str, os.PathLike)):
        return read_photo(Path(photo)).image
    if _is_file(photo):
        photo = photo.read()
    if isinstance(photo, BYTES):
        return decode_photo(bytes(photo)).image
    if _is_array(photo):
        return convert_image(_from_array(photo, channels))
    raise BadPhoto("not a path, an address, a PIL image, an array, bytes or a row with an image")


def _is_array(photo: Any) -> bool:
    return hasattr(photo, "ndim") and not isinstance(photo, (np.generic, memoryview))


def _is_file(photo: Any) -> bool:
    return hasattr(photo, "read") and not isinstance(photo, os.PathLike)


def _from_array(values: Any, channels: str) -> Image.Image:
    """An array or tensor as a PIL image; BadPhoto if it has another shape or type than a photo."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values  # numpy has no bfloat16
    array = np.asarray(values)
    shape = array.shape
    if array.ndim == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise BadPhoto(f"an array of shape {shape}: expected height x width x 3")
    if array.shape[0] * array.shape[1] > MAX_PIXELS:  # before anything is copied
        raise BadPhoto(f"an array of shape {shape}: more than {MAX_PIXELS:,} pixels")
    if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        array = (array * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise BadPhoto(f"an array of {array.dtype}: expected uint8 from 0 to 255, or floating point from 0 to 1")
    if channels == "bgr" and array.ndim == 3:
        array = array[..., [2, 1, 0, 3][: array.shape[2]]]
    return Image.fromarray(np.ascontiguousarray(array))


def _from_base64(text: str) -> bytes | None:
    """The content of a `data:` URL or of base64 text; None if the text is a path."""
    head, _, data = text.partition(",")
    if not head.startswith("data:"):
        if len(text) < MIN_BASE64 or os.path.exists(text):
            return None
        head, data = "", text
    elif not head.endswith(";base64"):
        raise BadPhoto("a data: URL without base64")
    try:
        data = "".join(data.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        if head:
            raise BadPhoto(f"not base64: {error}") from error
        return None


def _download(address: str, timeout: float) -> bytes:
    """What stands behind `address`, up to `MAX_URL_BYTES`; `timeout` seconds are for all of it."""
    end = time.monotonic() + timeout
    content = bytearray()
    try:
        request = urllib.request.Request(address, headers={"User-Agent": TASK})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            while chunk := answer.read1(2**16):
                content += chunk
                if len(content) > MAX_URL_BYTES:
                    raise BadPhoto(f"more than {MAX_URL_BYTES:,} bytes are not downloaded")
                if time.monotonic() > end:
                    raise BadPhoto(f"not downloaded within {timeout} seconds")
    except urllib.error.HTTPError as error:
        raise BadPhoto(f"the server answers {error.code} {error.reason}") from error
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise BadPhoto(f"cannot be downloaded: {getattr(error, 'reason', None) or error}") from error
    return bytes(content)


def _name(photo: Any) -> str:
    """What a photo is called in an error: its path, its address without what follows `?`, or what it is."""
    if isinstance(photo, str) and photo.startswith(ADDRESSES):
        return photo.partition("?")[0]
    if isinstance(photo, str) and (photo.startswith("data:") or len(photo) > MOST_PATH):
        return "a text in base64"
    if isinstance(photo, (str, os.PathLike)):
        return printable(os.fspath(photo))
    if isinstance(photo, Mapping) and "image_id" in photo:
        return str(photo["image_id"])
    if isinstance(photo, (Image.Image, Mapping)):
        return getattr(photo, "filename", "") or "a photo without a name"
    if isinstance(photo, BYTES):
        return f"{len(photo):,} bytes"
    return f"a {type(photo).__name__}"


PIPELINE_REGISTRY.register_pipeline(
    TASK,
    pipeline_class=GroupEmotionPipeline,
    pt_model=AutoModelForImageClassification,
    default={"model": (STARTER, "main")},  # of a folder the revision says nothing, but it must be there
    type="image",
)
