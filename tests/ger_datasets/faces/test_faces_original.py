"""The `original` mode against a plain rendering of the 2018 code's rules: one box at a time, in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from PIL import Image

from ger_datasets.faces import FaceExtractor
from ger_datasets.sample.drawing import draw_photo


class Plain2018:
    """MTCNN by the original's rules: PIL's bilinear filter, inclusive pixels, rounding, black beyond the edge."""

    def __init__(self) -> None:
        self.pnet, self.rnet, self.onet = PNet().eval(), RNet().eval(), ONet().eval()

    def __call__(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = [self._level(image, scale) for scale in self._scales(image)]
        boxes = np.concatenate(found) if found else np.zeros((0, 9))
        boxes = boxes[self._nms(boxes, 0.7)]
        squares = self._squared(self._moved(boxes[:, :5], boxes[:, 5:]))
        crops, squares = self._crops(image, squares, 24)
        corrections, probabilities = (output.numpy() for output in self._run(self.rnet, crops))
        kept = probabilities[:, 1] > 0.7
        squares, corrections = squares[kept], corrections[kept]
        squares[:, 4] = probabilities[kept, 1]
        kept = self._nms(squares, 0.7)
        squares = self._squared(self._moved(squares[kept], corrections[kept]))
        crops, squares = self._crops(image, squares, 48)
        corrections, points, probabilities = (output.numpy() for output in self._run(self.onet, crops))
        kept = probabilities[:, 1] > 0.8
        squares, corrections, points = squares[kept], corrections[kept], points[kept].astype(float)
        squares[:, 4] = probabilities[kept, 1]
        width, height = (squares[:, 2 + i] - squares[:, i] + 1 for i in (0, 1))
        points[:, :5] = squares[:, :1] + width[:, None] * points[:, :5]
        points[:, 5:] = squares[:, 1:2] + height[:, None] * points[:, 5:]
        boxes = self._moved(squares, corrections)
        kept = self._nms(boxes, 0.7, smaller=True)
        return boxes[kept, :4], boxes[kept, 4], points[kept].reshape(-1, 2, 5).transpose(0, 2, 1)

    def _scales(self, image: Image.Image) -> list[float]:
        side, scales = min(image.size) * 0.6, []
        while side > 12:
            scales.append(0.6 * 0.707 ** len(scales))
            side *= 0.707
        return scales

    @torch.no_grad()
    def _run(self, net: torch.nn.Module, crops: list[Image.Image]) -> tuple[torch.Tensor, ...]:
        pixels = np.stack([np.asarray(crop, np.float32) for crop in crops]).transpose(0, 3, 1, 2)
        return net(torch.from_numpy((pixels - 127.5) * 0.0078125))

    def _level(self, image: Image.Image, scale: float) -> np.ndarray:
        size = math.ceil(image.width * scale), math.ceil(image.height * scale)
        corrections, probabilities = self._run(self.pnet, [image.resize(size, Image.Resampling.BILINEAR)])
        rows, columns = np.nonzero(probabilities[0, 1].numpy() > 0.6)
        boxes = np.empty((len(rows), 9))
        for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
            corners = [2 * column + 1, 2 * row + 1, 2 * column + 13, 2 * row + 13]
            boxes[i] = [
                *(np.round(corner / scale) for corner in corners),
                probabilities[0, 1, row, column],
                *corrections[0, :, row, column],
            ]
        return boxes[self._nms(boxes, 0.5)]

    def _nms(self, boxes: np.ndarray, threshold: float, smaller: bool = False) -> list[int]:
        kept: list[int] = []
        for i in np.argsort(boxes[:, 4])[::-1]:
            if all(self._overlap(boxes[i], boxes[j], smaller) <= threshold for j in kept):
                kept.append(i)
        return kept

    def _overlap(self, a: np.ndarray, b: np.ndarray, smaller: bool) -> float:
        sides = [max(0, min(a[2 + i], b[2 + i]) - max(a[i], b[i]) + 1) for i in (0, 1)]
        areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
        shared = sides[0] * sides[1]
        return shared / (min(areas) if smaller else sum(areas) - shared)

    def _moved(self, boxes: np.ndarray, corrections: np.ndarray) -> np.ndarray:
        boxes = boxes.copy()
        size = boxes[:, 2:4] - boxes[:, :2] + 1
        boxes[:, :4] += np.tile(size, 2) * corrections
        return boxes

    def _squared(self, boxes: np.ndarray) -> np.ndarray:
        boxes = boxes.copy()
        size = boxes[:, 2:4] - boxes[:, :2] + 1
        side = size.max(1, keepdims=True)
        boxes[:, :2] += size * 0.5 - side * 0.5
        boxes[:, 2:4] = boxes[:, :2] + side - 1
        boxes[:, :4] = np.round(boxes[:, :4])
        return boxes

    def _crops(self, image: Image.Image, boxes: np.ndarray, side: int) -> tuple[list[Image.Image], np.ndarray]:
        crops = []
        for x1, y1, x2, y2 in boxes[:, :4].astype(int).tolist():
            crop = image.crop((x1, y1, x2 + 1, y2 + 1))  # black where it leaves the photo
            crops.append(crop.resize((side, side), Image.Resampling.BILINEAR))
        boxes = boxes.copy()
        boxes[:, :4] = boxes[:, :4].clip(0, np.tile(image.size, 2) - np.array([0, 0, 1, 1]))  # the 2018 code does so
        return crops, boxes


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    rng = np.random.default_rng(3)
    drawn = [draw_photo(rng, "Positive", people, size=size)[0] for people, size in ((2, (300, 221)), (5, (360, 260)))]
    cut = drawn[1].crop((60, 40, 300, 260))  # faces at the edges
    return [*drawn, cut, cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]


def test_original_mode_follows_the_2018_rules(photos: list[Image.Image]) -> None:
    plain, extractor = Plain2018(), FaceExtractor(mode="original")
    total = 0
    for image, faces in zip(photos, extractor.extract(photos), strict=True):
        boxes, scores, points = plain(image)
        total += len(boxes)
        assert len(faces) == len(boxes)
        np.testing.assert_allclose(faces.boxes, boxes.clip(0, [*image.size, *image.size]), atol=0.01)
        np.testing.assert_allclose(faces.scores, scores, atol=1e-5)
        np.testing.assert_allclose(faces.landmarks, points, atol=0.05)
    assert total >= 6


def test_the_modes_differ_and_say_so(photos: list[Image.Image]) -> None:
    facenet, original = FaceExtractor(), FaceExtractor(mode="original")
    assert facenet.settings["mode"] == "facenet"
    assert original.settings == {
        "name": "mtcnn",
        "mode": "original",
        "min_face_pixels": 20,
        "thresholds": [0.6, 0.7, 0.8],
        "factor": 0.707,
    }
    (a,), (b,) = (extractor.extract(photos[:1]) for extractor in (facenet, original))
    assert a.boxes.shape != b.boxes.shape or not np.allclose(a.boxes, b.boxes, atol=0.01)
    with pytest.raises(ValueError, match="facenet, original"):
        FaceExtractor(mode="2018")
