"""The perceptual hash knows copies of a photo and no other, and every pair across splits is found."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from ger_datasets.photos.duplicates import MAX_DISTANCE, duplicate_summary, near_duplicates, perceptual_hash
from ger_datasets.sample.drawing import draw_photo
from ger_datasets.schema import CLASS_NAMES


def recompressed(image: Image.Image, quality: int = 50) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, share: float) -> Image.Image:
    x, y = int(image.width * share), int(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], int]] = {
    "quality 50": (recompressed, MAX_DISTANCE),
    "half the size": (halved, MAX_DISTANCE),
    "half the size, quality 60": (lambda image: recompressed(halved(image), 60), MAX_DISTANCE),
    "grey": (lambda image: image.convert("L").convert("RGB"), 0),
    "darker": (lambda image: ImageEnhance.Brightness(image).enhance(0.7), MAX_DISTANCE),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.3), MAX_DISTANCE + 2),
    "1 % cut off each side": (lambda image: cropped(image, 0.01), MAX_DISTANCE + 2),
    "2 % cut off each side": (lambda image: cropped(image, 0.02), 14),
}


def distance(one: int | None, other: int | None) -> int:
    return bin(one ^ other).count("1")


def check(photos: list[Image.Image]) -> None:
    hashes = [perceptual_hash(photo) for photo in photos]
    for name, (copy, most) in COPIES.items():
        for photo, known in zip(photos, hashes, strict=True):
            assert distance(perceptual_hash(copy(photo)), known) <= most, name
    for i, one in enumerate(hashes):
        assert all(distance(one, other) > MAX_DISTANCE for other in hashes[:i])


@pytest.mark.slow
def test_copies_of_drawn_photos() -> None:
    check([draw_photo(np.random.default_rng(i), CLASS_NAMES[i % 3], 1 + i)[0] for i in range(12)])


def test_copies_of_real_photos(shared: Path) -> None:
    check([Image.open(path).convert("RGB") for path in sorted((shared / "data" / "photos").glob("*.jpg"))])


def test_different_portraits_are_different(shared: Path) -> None:
    """A thousand people photographed alike, one face each: harder than groups."""
    paths = sorted((shared / "data" / "expressions" / "images").glob("*.jpg"))
    hashes = np.array([perceptual_hash(Image.open(path).convert("RGB")) for path in paths], np.uint64)
    assert len(hashes) > 1000
    assert len(near_duplicates(hashes, [str(i) for i in range(len(hashes))])) == 0


def test_collages_are_different(shared: Path, tmp_path: Path) -> None:
    data = ["--source", shared / "data" / "expressions", "--out", tmp_path / "raw"]
    count = ["--train", "12", "--val", "6", "--test", "6"]
    subprocess.run([sys.executable, shared / "tools" / "make_collages.py", *data, *count], check=True)
    check([Image.open(path).convert("RGB") for path in sorted((tmp_path / "raw").rglob("*.jpg"))])


@pytest.mark.parametrize("size", [(64, 48), (16, 16), (500, 33), (1200, 900)])
def test_images_that_show_nothing_have_no_hash(size: tuple[int, int], rng: np.random.Generator) -> None:
    width, height = size
    plain = Image.new("RGB", size, (200, 30, 90))
    gradient = np.broadcast_to(np.linspace(0, 255, width)[None, :, None], (height, width, 3)).astype(np.uint8)
    for image in (plain, Image.fromarray(gradient), Image.fromarray(gradient.transpose(1, 0, 2).copy())):
        assert perceptual_hash(image) is None
        assert perceptual_hash(recompressed(image, 30)) is None
    if size == (1200, 900):  # noise averages out
        assert perceptual_hash(Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))) is None


def test_a_hash_is_64_bits_that_json_keeps() -> None:
    value = perceptual_hash(draw_photo(np.random.default_rng(3), "Neutral", 3)[0])
    assert isinstance(value, int)
    assert bin(value).count("1") == 32
    assert json.loads(json.dumps(value)) == value
    assert np.array([value], np.uint64)[0] == value


def test_every_pair_across_splits_and_no_other(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ger_datasets.photos.duplicates.ROWS_AT_ONCE", 7)
    hashes = rng.integers(0, 2**64, 150, dtype=np.uint64, endpoint=False)
    for i in range(100, 150):  # near one of the others, 0 to 9 bits away
        flipped = sum(1 << int(bit) for bit in rng.choice(64, int(rng.integers(0, 10)), replace=False))
        hashes[i] = hashes[int(rng.integers(0, 100))] ^ np.uint64(flipped)
    splits = [("train", "test", "challenge")[int(i)] for i in rng.integers(0, 3, 150)]
    for most in (0, 1, MAX_DISTANCE, 30):
        expected = [
            [i, j]
            for i in range(150)
            for j in range(i + 1, 150)
            if splits[i] != splits[j] and distance(int(hashes[i]), int(hashes[j])) <= most
        ]
        assert near_duplicates(hashes, splits, most).tolist() == expected
        assert expected


def test_none_and_one() -> None:
    assert near_duplicates(np.array([], np.uint64), []).shape == (0, 2)
    assert near_duplicates(np.array([5], np.uint64), ["train"]).shape == (0, 2)
    assert duplicate_summary([], [], []) == {"pairs": 0, "photos": 0, "examples": []}


def test_the_summary_is_the_same_in_any_order(rng: np.random.Generator) -> None:
    far = 2**64 - 1
    photos = [
        ("train/a", 5, "train"),
        ("train/b", 5, "train"),
        ("test/c", 4, "test"),
        ("test/d", far, "test"),
        ("train/flat", None, "train"),
        ("test/flat", None, "test"),
    ]
    expected = {"pairs": 2, "photos": 3, "examples": [("test/c", "train/a"), ("test/c", "train/b")]}
    for _ in range(5):
        shuffled = [photos[i] for i in rng.permutation(len(photos))]
        assert duplicate_summary(*zip(*shuffled, strict=True)) == expected
    assert duplicate_summary(*zip(*photos, strict=True), examples=1)["examples"] == expected["examples"][:1]
    with pytest.raises(ValueError, match="argument"):
        duplicate_summary(["a"], [1, 2], ["train", "test"])


def test_seventeen_thousand_photos_in_seconds(rng: np.random.Generator) -> None:
    hashes = rng.integers(0, 2**64, 17_000, dtype=np.uint64, endpoint=False)
    hashes[-1] = hashes[0]
    splits = ["train"] * 9_815 + ["validation"] * 4_185 + ["challenge"] * 3_000
    start = time.perf_counter()
    pairs = near_duplicates(hashes, splits)
    assert time.perf_counter() - start < 20, "about one second on one core"
    assert [0, 16_999] in pairs.tolist()
