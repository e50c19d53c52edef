"""What the pipeline takes for a photo: arrays, tensors, bytes, base64 and open files, each with the same pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from colour_profiles import in_srgb, rgb_profile
from PIL import Image
from transformers import pipeline

import ger_models  # noqa: F401 - registers the pipeline
from ger_datasets.sample.drawing import draw_photo
from ger_datasets.support.errors import BadPhoto, UserError
from ger_models.pipeline_ger import GroupEmotionPipeline, read_input


@pytest.fixture(scope="module")
def pipe() -> GroupEmotionPipeline:
    return pipeline("group-emotion", device="cpu")


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return draw_photo(np.random.default_rng(3), "Positive", 3, size=(320, 240))[0]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def text(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference in levels of 255: below 2 after encoding as JPEG."""
    return np.abs(np.asarray(one).astype(int) - np.asarray(other)).mean()


KINDS: dict[str, Callable[[Image.Image], Any]] = {
    "array": array,
    "float array": lambda image: array(image) / 255,
    "channels first": lambda image: array(image).transpose(2, 0, 1),
    "not contiguous": lambda image: np.asfortranarray(array(image)),
    "tensor": lambda image: torch.from_numpy(array(image).copy()).permute(2, 0, 1),
    "tensor, channels last": lambda image: torch.from_numpy(array(image).copy()),
    "float tensor": lambda image: torch.from_numpy(array(image).copy()).permute(2, 0, 1) / 255,
    "tensor with gradient": lambda image: (torch.from_numpy(array(image).copy()) / 255).requires_grad_(),
    "opaque": lambda image: array(image.convert("RGBA")),
    "bytes": png,
    "bytearray": lambda image: bytearray(png(image)),
    "memoryview": lambda image: memoryview(png(image)),
    "open file": lambda image: io.BytesIO(png(image)),
    "base64": text,
    "base64 for addresses": lambda image: base64.urlsafe_b64encode(png(image)).decode().rstrip("="),
    "base64 in lines": lambda image: base64.encodebytes(png(image)).decode(),
    "data URL": lambda image: f"data:image/png;base64,{text(image)}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_pixels_from_every_kind(kind: str, image: Image.Image) -> None:
    assert difference(read_input(KINDS[kind](image), 1), image) <= (2 if kind == "opaque" else 0)


@pytest.mark.parametrize("kind", ["array", "tensor", "opaque"])
def test_bgr(kind: str, image: Image.Image) -> None:
    exchanged = Image.merge("RGB", image.split()[::-1])
    shown = read_input(KINDS[kind](exchanged), 1, channels="bgr")
    assert difference(shown, image) <= (2 if kind == "opaque" else 0)
    for known in ("bytes", "base64"):  # a file says which colours it has
        assert difference(read_input(KINDS[known](image), 1, channels="bgr"), image) == 0


def test_grey_arrays(image: Image.Image) -> None:
    grey = np.asarray(image.convert("L"))
    for values in (grey, grey[..., None], grey[None], torch.from_numpy(grey[None].copy())):
        assert difference(read_input(values, 1), image.convert("L").convert("RGB")) < 2


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (np.zeros((8, 8, 3), np.uint8), "8 x 8 pixels: a side below 16"),
        (np.zeros((40, 40, 2), np.uint8), r"an array of shape \(40, 40, 2\): expected height x width x 3"),
        (np.zeros((2, 40, 40, 3), np.uint8), r"an array of shape \(2, 40, 40, 3\)"),
        (np.zeros((0, 40, 3), np.uint8), "an array of shape"),
        (np.full((40, 40, 3), 200.0), "an array of float64: expected uint8 from 0 to 255, or floating point from 0"),
        (np.full((40, 40, 3), np.nan), "an array of float64"),
        (np.full((40, 40, 3), -0.5), "an array of float64"),
        (np.zeros((40, 40, 3), np.int64), "an array of int64"),
        (np.full((40, 40, 3), "a"), "an array of <U1"),
        (torch.zeros(40, 40, 3, dtype=torch.int32), "an array of int32"),
        (b"no photo", "not an image.*; the file is text: 'no photo'"),
        (b"", "not an image"),
        ("data:image/png;base64,%%%", "not base64"),
        ("data:text/html,<html>", "a data: URL without base64"),
        (base64.b64encode(b"<html>" * 20).decode(), "not an image.*a web page"),
        ("A/b" * 40 + ".jpg", "cannot be read"),
        ("a\0b.jpg", "cannot be read"),
        (io.StringIO("a text"), "not a path"),
        (3.5, "not a path, an address, a PIL image, an array, bytes"),
        (np.float64(3.5), "not a path"),
    ],
)
def test_what_is_no_photo_is_refused(photo: Any, reason: str) -> None:
    with pytest.raises(BadPhoto, match=reason):
        read_input(photo, 1)


def test_pil_images_with_a_profile(image: Image.Image) -> None:
    tagged = image.copy()
    tagged.info["icc_profile"] = rgb_profile("Display P3")
    expected = Image.fromarray(in_srgb(np.asarray(image), "Display P3"))
    assert difference(read_input(tagged, 1), expected) < 2 < difference(image, expected)
    assert tagged.info["icc_profile"], "the image that was given stays as it is"
    np.testing.assert_array_equal(np.asarray(tagged), np.asarray(image))


def test_the_pipeline_answers_them(pipe: GroupEmotionPipeline, image: Image.Image, tmp_path: Path) -> None:
    image.save(tmp_path / "a.png")
    expected = pipe(tmp_path / "a.png")
    assert expected["face_count"] == 3
    given = {name: make(image) for name, make in KINDS.items() if "opaque" not in name and "float" not in name}
    given |= {"a row with an array": {"image": array(image)}, "a row with bytes": {"image": png(image)}}
    for name, photo in given.items():
        assert pipe(photo, faces=True)["scores"] == pytest.approx(expected["scores"], abs=1e-5), name
    exchanged = np.asarray(image)[..., ::-1]
    assert pipe(exchanged, channels="bgr")["scores"] == pytest.approx(expected["scores"], abs=1e-5)
    with pytest.raises(UserError, match="channels must be 'rgb' or 'bgr', not 'RGB'"):
        pipe(exchanged, channels="RGB")


def test_batches_of_arrays_and_columns_of_paths(
    pipe: GroupEmotionPipeline, image: Image.Image, tmp_path: Path
) -> None:
    image.save(tmp_path / "a.png")
    paths = [str(tmp_path / "a.png")] * 2
    expected = pipe(paths, whole_face=True)
    batch = np.stack([np.asarray(image)] * 2)
    for many in (batch, list(batch), torch.from_numpy(batch), np.array(paths), (array for array in batch)):
        answers = list(pipe(many, whole_face=True))
        assert [answer["scores"] for answer in answers] == [
            pytest.approx(answer["scores"], abs=1e-5) for answer in expected
        ]


def test_errors_name_what_was_given_in_a_few_words(pipe: GroupEmotionPipeline) -> None:
    for photo in ("data:image/png;base64," + "%" * 5000, base64.b64encode(b"no photo" * 500).decode()):
        with pytest.raises(UserError, match=r"^a text in base64: not ") as error:
            pipe(photo)
        assert len(str(error.value)) < 300
    with pytest.raises(UserError, match=r"^8 bytes: not an image"):
        pipe(b"no photo")
    with pytest.raises(UserError, match=r"^a ndarray: an array of shape"):
        pipe(np.zeros((40, 40, 2), np.uint8))
