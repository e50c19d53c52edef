"""FaceExtractor finds what facenet-pytorch finds: on drawn, real and composed photos."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from facenet_pytorch import MTCNN
from faces_compared import assert_same_faces
from PIL import Image

from ger_datasets.faces import FaceExtractor, Faces
from ger_datasets.sample.drawing import draw_photo


def faces_of(image: Image.Image, reference: MTCNN) -> Faces:
    """What facenet-pytorch finds, without features, in our order and clipped as ours."""
    boxes, scores, landmarks = reference.detect(image, landmarks=True)
    if boxes is None:
        return Faces.none()
    order = np.argsort(-scores.astype(float), kind="stable")
    clipped = boxes[order].clip(0, [*image.size, *image.size]).astype(np.float32)
    return Faces(clipped, scores[order].astype(float), landmarks[order].astype(float), np.zeros((len(order), 0)))


def assert_all_same(images: Iterable[Image.Image], extractor: FaceExtractor, reference: MTCNN) -> int:
    """The number of faces found, in batches, after each photo's were compared."""
    images = list(images)
    found = extractor.extract(images)
    for image, faces in zip(images, found, strict=True):
        assert_same_faces(faces, faces_of(image, reference), landmark_pixels=0.05)
    return sum(map(len, found))


@pytest.mark.slow
def test_on_80_drawn_photos(extractor: FaceExtractor, reference: MTCNN) -> None:
    rng = np.random.default_rng(7)
    sizes = [(220, 160), (160, 210), (241, 163), (251, 180)]
    drawn = (draw_photo(rng, "Positive", 1 + i % 6, size=sizes[i % 4])[0] for i in range(80))
    assert assert_all_same(drawn, extractor, reference) > 80


@pytest.mark.slow
def test_on_drawn_photos_of_usual_size(extractor: FaceExtractor, reference: MTCNN) -> None:
    rng = np.random.default_rng(5)
    drawn = [draw_photo(rng, "Positive", people)[0] for people in (1, 5, 12)]
    assert assert_all_same(drawn, extractor, reference) >= 16


@pytest.mark.slow
def test_on_real_photos(shared: Path, extractor: FaceExtractor, reference: MTCNN) -> None:
    photos = [Image.open(path).convert("RGB") for path in sorted((shared / "data" / "photos").glob("*.jpg"))]
    assert assert_all_same(photos, extractor, reference) == 52


@pytest.mark.slow
def test_on_30_collages(shared: Path, extractor: FaceExtractor, reference: MTCNN, tmp_path: Path) -> None:
    source = ["--source", shared / "data" / "expressions", "--out", tmp_path / "collages"]
    counts = ["--train", "18", "--val", "6", "--test", "6"]
    subprocess.run(
        [sys.executable, str(shared / "tools" / "make_collages.py"), *map(str, source), *counts],
        check=True,
        capture_output=True,
    )
    paths = sorted((tmp_path / "collages").rglob("*.jpg"))
    assert len(paths) == 30
    collages = [Image.open(path).convert("RGB") for path in paths]
    small = [image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX) for image in collages]
    assert assert_all_same(small, extractor, reference) > 100
