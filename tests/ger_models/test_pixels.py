"""Encoded images: the same pixels as PIL's, whatever their kind."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from ger_models import GerProcessor, processing_pixels
from ger_models.processing_pixels import cut, jpeg_size, pixels_of, reduced_pixels_of


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def photo(rng: np.random.Generator) -> Image.Image:
    coarse = Image.fromarray(rng.integers(0, 256, (20, 27, 3), dtype=np.uint8))
    return coarse.resize((333, 245), Image.Resampling.BICUBIC)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


KINDS = {
    "4:4:4": lambda image: encoded(image, quality=95, subsampling=0),
    "4:2:2": lambda image: encoded(image, subsampling=1),
    "4:2:0": lambda image: encoded(image, quality=40, subsampling=2),
    "progressive": lambda image: encoded(image, progressive=True),
    "grey": lambda image: encoded(image.convert("L")),
    "CMYK": lambda image: encoded(image.convert("CMYK")),
    "one pixel": lambda image: encoded(image.crop((0, 0, 1, 1))),
    "EXIF, upright": lambda image: encoded(image, exif=Image.Exif()),
    "EXIF, turned": lambda image: encoded(image, exif=turned()),
    "PNG": lambda image: encoded(image, "PNG"),
    "PNG with a palette": lambda image: encoded(image.quantize(16), "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fast", [True, False])
def test_the_pixels_are_those_of_pil(
    kind: str, fast: bool, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert processing_pixels.simplejpeg is not None
    if not fast:
        monkeypatch.setattr(processing_pixels, "simplejpeg", None)
    data = KINDS[kind](photo)
    opened = Image.open(io.BytesIO(data))
    expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    found = pixels_of({"bytes": data, "path": None})
    assert found.dtype == torch.uint8
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)
    assert torch.equal(pixels_of(opened), found)


def test_a_path_alone_is_opened(photo: Image.Image, tmp_path: object) -> None:
    photo.save(tmp_path / "a.png")
    assert torch.equal(pixels_of({"bytes": None, "path": str(tmp_path / "a.png")}), pixels_of(photo))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_damaged_images_are_refused(share: float, photo: Image.Image) -> None:
    data = encoded(photo)
    with pytest.raises(OSError, match=r"image file|no image in one of"):
        pixels_of({"bytes": data[: int(len(data) * share)], "path": None})


def test_rows_not_decoded_give_the_same_tensors(photo: Image.Image) -> None:
    decoded, raw = [], []
    for i in range(3):
        images = [photo.crop((i, i, i + 200, i + 150)), photo.resize((96, 112)), photo.resize((50, 60))]
        stored = [{"bytes": encoded(image), "path": None} for image in images]
        opened = [Image.open(io.BytesIO(image["bytes"])) for image in stored]
        for rows, (whole, *faces) in ((raw, stored), (decoded, opened)):
            rows.append({"image": whole, "aligned_faces": faces[: 2 - i], "sampled_patches": [whole] * i})
    processor = GerProcessor(columns=["image", "aligned_faces", "sampled_patches"], resize_shorter=72, crop_size=64)
    for training in (False, True):
        generators = [[torch.Generator().manual_seed(i) for i in range(3)] if training else None for _ in "ab"]
        one, other = processor(raw, generators=generators[0]), processor(decoded, generators=generators[1])
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one if name != "pixel_values" or not training)
    difference = (one["pixel_values"] - other["pixel_values"]).abs()
    assert 0 < difference.mean() < 0.1, "in training, a JPEG is decoded no larger than its crop needs"
    assert one["face_counts"].tolist() == [2, 1, 0]
    assert one["face_pixels"].is_contiguous()
    assert one["pixel_values"].is_contiguous()


@pytest.mark.parametrize(
    ("least", "size"), [((20, 20), (40, 30)), ((100, 80), (120, 90)), ((121, 9), (160, 120)), ((161, 9), (320, 240))]
)
def test_a_jpeg_is_decoded_no_smaller_than_asked(
    least: tuple[int, int], size: tuple[int, int], photo: Image.Image
) -> None:
    photo = photo.resize((320, 240))
    stored = {"bytes": encoded(photo, quality=95), "path": None}
    assert jpeg_size(stored) == (320, 240)
    reduced = reduced_pixels_of(stored, *least)
    assert (reduced.shape[2], reduced.shape[1]) == size
    assert (reduced.float() - pixels_of(photo.resize(size, Image.Resampling.BOX)).float()).abs().mean() < 4


def test_only_upright_jpegs_are_decoded_smaller(photo: Image.Image) -> None:
    for other in (photo, {"bytes": encoded(photo, exif=turned()), "path": None}, {"bytes": None, "path": "x.jpg"}):
        assert jpeg_size(other) is None
    assert jpeg_size({"bytes": encoded(photo), "path": None}) == photo.size


def test_the_cut_is_inside_the_photo_and_never_empty() -> None:
    pixels = torch.arange(48, dtype=torch.uint8).reshape(1, 6, 8).expand(3, -1, -1)
    assert torch.equal(cut(pixels, (2, 1, 5, 4), 3, 3), pixels[:, 1:4, 2:5])
    assert torch.equal(cut(pixels, (7.6, 5.7, 7.9, 5.9), 1, 1), pixels[:, 5:, 7:])
    assert torch.equal(cut(pixels, (-3, -2, 20, 30), 8, 6), pixels)
    assert cut(pixels, (0, 0, 8, 6), 4, 3).shape == (3, 3, 4)


@pytest.mark.parametrize(("name", "resampling"), [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)])
def test_interpolations_are_pils(photo: Image.Image, name: str, resampling: int) -> None:
    processor = GerProcessor(crop_size=64, resize_shorter=64, keep_aspect=False, interpolation=name)
    made = processor.raw([photo])["pixel_values"][0].permute(1, 2, 0).numpy().astype(int)
    expected = np.asarray(photo.resize((64, 64), resampling)).astype(int)
    assert np.abs(made - expected).max() <= 1
    with pytest.raises(ValueError, match="interpolation must be one of bilinear, bicubic, not 'lanczos'"):
        GerProcessor(interpolation="lanczos")
