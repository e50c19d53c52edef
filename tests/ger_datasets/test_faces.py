"""Faces are facenet-pytorch's, and every feature belongs to its face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from PIL import Image

from ger_datasets.faces import FaceExtractor, Faces, align_faces, crop_faces
from ger_datasets.faces.alignment import SPHEREFACE_TEMPLATE, similarity_transform
from ger_datasets.faces.resampling import SummedAreaTable
from ger_datasets.sample.drawing import draw_photo


@pytest.fixture(scope="module")
def extractor() -> FaceExtractor:
    return FaceExtractor()


@pytest.fixture(scope="module")
def reference() -> MTCNN:
    return MTCNN(keep_all=True)


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    rng = np.random.default_rng(5)
    return [draw_photo(rng, "Positive", people)[0] for people in (1, 5, 12)]


def assert_same_faces(image: Image.Image, extractor: FaceExtractor, reference: MTCNN) -> int:
    boxes, scores, landmarks = reference.detect(image, landmarks=True)
    (faces,) = extractor.extract([image])
    if boxes is None:
        assert len(faces) == 0
        return 0
    order = np.argsort(-scores.astype(float), kind="stable")
    expected = boxes[order].clip(0, [*image.size, *image.size]).astype(float)
    assert len(faces) == len(expected)
    np.testing.assert_allclose(faces.boxes, expected, atol=0.01)
    np.testing.assert_allclose(faces.scores, scores[order].astype(float), atol=1e-5)
    np.testing.assert_allclose(faces.landmarks, landmarks[order].astype(float), atol=0.05)
    return len(faces)


def test_faces_equal_facenet_pytorch_on_drawn_photos(
    drawn: list[Image.Image], extractor: FaceExtractor, reference: MTCNN
) -> None:
    assert sum(assert_same_faces(image, extractor, reference) for image in drawn) >= 16


def test_faces_equal_facenet_pytorch_on_real_photos(shared: Path, extractor: FaceExtractor, reference: MTCNN) -> None:
    photos = [Image.open(path).convert("RGB") for path in sorted((shared / "data" / "photos").glob("*.jpg"))]
    assert sum(assert_same_faces(image, extractor, reference) for image in photos) == 52


def test_every_feature_is_the_hidden_layer_of_its_own_face(
    drawn: list[Image.Image], extractor: FaceExtractor, reference: MTCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row, recomputed from its own crop by facenet-pytorch's O-Net, gives back its feature."""
    squares: list[torch.Tensor] = []
    original = SummedAreaTable.crops

    def remember(table: SummedAreaTable, boxes: torch.Tensor, side: int) -> torch.Tensor:
        if side == 48:
            squares.append(boxes)
        return original(table, boxes, side)

    monkeypatch.setattr(SummedAreaTable, "crops", remember)
    hidden: list[torch.Tensor] = []
    reference.onet.prelu5.register_forward_hook(lambda module, inputs, output: hidden.append(output))
    for image in drawn:
        squares.clear()
        (faces,) = extractor.extract([image])
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        features, scores = [], []
        for x1, y1, x2, y2 in torch.cat(squares).tolist():
            crop = torch.nn.functional.interpolate(pixels[:, :, y1:y2, x1:x2], (48, 48), mode="area")
            with torch.no_grad():
                _, _, probabilities = reference.onet((crop - 127.5) * 0.0078125)
            features.append(hidden[-1][0].numpy())
            scores.append(float(probabilities[0, 1]))
        assert len(faces) > 0
        for i in range(len(faces)):
            near = np.flatnonzero(np.abs(np.array(scores) - faces.scores[i]) < 1e-5)
            distance = min(np.abs(features[j] - faces.features[i]).max() for j in near)
            assert distance < 1e-3, f"face {i}: {distance}"


def test_batches_give_what_single_photos_give(drawn: list[Image.Image], extractor: FaceExtractor) -> None:
    together = extractor.extract([*drawn, Image.new("RGB", (50, 40))])
    for image, faces in zip([*drawn, Image.new("RGB", (50, 40))], together, strict=True):
        (alone,) = extractor.extract([np.asarray(image)])
        for name in ("boxes", "scores", "landmarks", "features"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(faces, name))


def test_rows_are_sorted_and_boxes_lie_inside(drawn: list[Image.Image], extractor: FaceExtractor) -> None:
    for image, faces in zip(drawn, extractor.extract(drawn), strict=True):
        assert (np.diff(faces.scores) <= 0).all()
        assert (faces.boxes >= 0).all()
        assert (faces.boxes <= [*image.size, *image.size]).all()
        assert (faces.boxes[:, 2:] > faces.boxes[:, :2]).all()


@pytest.mark.parametrize("size", [(1, 1), (10, 10), (12, 300), (19, 19), (20, 20), (21, 400), (300, 200)])
@pytest.mark.parametrize("fill", ["black", "white", "noise"])
def test_photos_without_faces(size: tuple[int, int], fill: str, extractor: FaceExtractor) -> None:
    if fill == "noise":
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    else:
        image = Image.new("RGB", size, fill)
    (faces,) = extractor.extract([image])
    assert faces.boxes.shape == (len(faces), 4)
    assert faces.landmarks.shape == (len(faces), 5, 2)
    assert faces.features.shape == (len(faces), 256)
    assert len(faces) == 0


def test_no_photos_and_what_is_no_photo(extractor: FaceExtractor) -> None:
    assert extractor.extract([]) == []
    with pytest.raises(ValueError, match="uint8"):
        extractor.extract([np.zeros((40, 40, 3), np.float32)])
    with pytest.raises(ValueError, match="12"):
        FaceExtractor(min_face_pixels=5)
    with pytest.raises(ValueError, match="factor"):
        FaceExtractor(factor=1.0)


def test_area_resampling_equals_pytorch(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (97, 131, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    table = SummedAreaTable(pixels)
    for size in ((58, 79), (12, 16), (97, 131)):
        expected = torch.nn.functional.interpolate(tensor, size, mode="area")
        torch.testing.assert_close(table.resize(*size), expected, atol=1e-3, rtol=0)
    boxes = torch.tensor([[0, 0, 131, 97], [5, 7, 8, 9], [130, 96, 131, 97], [10, 20, 90, 95]])
    for side in (24, 48):
        expected = torch.cat(
            [
                torch.nn.functional.interpolate(tensor[:, :, y1:y2, x1:x2], (side, side), mode="area")
                for x1, y1, x2, y2 in boxes.tolist()
            ]
        )
        torch.testing.assert_close(table.crops(boxes, side), expected, atol=1e-3, rtol=0)


def test_sums_that_wrap_around_still_average_right() -> None:
    """255 everywhere on 12 million pixels overflows a 32-bit sum; the averages must not show it."""
    table = SummedAreaTable(np.full((3000, 4000, 3), 255, np.uint8))
    assert table.resize(12, 16).unique().tolist() == pytest.approx([255.0])


def test_similarity_transform_is_found_again(rng: np.random.Generator) -> None:
    angle, scale, shift = 0.4, 2.5, np.array([30.0, -12.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (SPHEREFACE_TEMPLATE - shift) @ np.linalg.inv(turn).T
    matrices = similarity_transform(np.stack([points, SPHEREFACE_TEMPLATE]))
    np.testing.assert_allclose(matrices[0, :, :2], turn, atol=1e-9)
    np.testing.assert_allclose(matrices[0, :, 2], shift, atol=1e-9)
    np.testing.assert_allclose(matrices[1], [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_aligned_faces_put_the_landmarks_on_the_template() -> None:
    """Dots at the landmarks of a turned, doubled face come out at the template's places."""
    angle = np.deg2rad(25)
    turn = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = SPHEREFACE_TEMPLATE @ turn.T + [180, 40]
    image = np.zeros((420, 480, 3), np.uint8)
    for x, y in landmarks:
        rows, columns = np.mgrid[:420, :480]
        image[np.hypot(columns - x, rows - y) < 5] = 255
    (face,) = align_faces(Image.fromarray(image), landmarks[None].astype(np.float32))
    assert face.size == (96, 112)
    bright = np.asarray(face)[..., 0] > 128
    for x, y in SPHEREFACE_TEMPLATE:
        corner = np.array([int(y) - 5, int(x) - 5])
        near = corner + np.argwhere(bright[corner[0] : corner[0] + 12, corner[1] : corner[1] + 12])
        np.testing.assert_allclose(near.mean(0), [y, x], atol=0.5)
    assert not bright[:40].any()


def test_aligning_never_fails() -> None:
    image = Image.new("RGB", (60, 50), "white")
    same = np.full((1, 5, 2), 25, np.float32)
    outside = (SPHEREFACE_TEMPLATE[None] + 1000).astype(np.float32)
    faces = align_faces(image, np.concatenate([same, outside]))
    assert [face.size for face in faces] == [(96, 112)] * 2
    assert np.asarray(faces[1]).max() == 0
    assert align_faces(image, np.zeros((0, 5, 2), np.float32)) == []


def test_crops_are_the_boxes_as_they_stand() -> None:
    image = Image.linear_gradient("L").convert("RGB")
    crops = crop_faces(image, np.array([[10.2, 20.7, 30.1, 40.0], [0, 0, 256, 256], [3.1, 3.1, 3.2, 3.2]]))
    assert [crop.size for crop in crops] == [(21, 20), (256, 256), (1, 1)]
    assert crops[0].getpixel((0, 0)) == image.getpixel((10, 20))


def test_selecting_faces_selects_every_array() -> None:
    faces = Faces(
        *(
            np.arange(3 * n, dtype=np.float32).reshape(3, *s)
            for n, s in ((4, (4,)), (1, ()), (10, (5, 2)), (256, (256,)))
        )
    )
    some = faces.select(np.array([2, 0]))
    assert len(some) == 2
    assert some.scores.tolist() == [2, 0]
    assert some.features[0, 0] == 512
