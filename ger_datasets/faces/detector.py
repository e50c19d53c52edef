"""FaceExtractor: photos in, for each its faces out: boxes, scores, landmarks and 256-d features of the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchvision.ops import nms

from ..schema import FACE_FEATURE_DIM
from .nets import ONet, PNet, RNet
from .resampling import SummedAreaTable

# Crops per forward: what keeps a chunk's activations inside a CPU's cache.
RNET_CHUNK, ONET_CHUNK = 64, 16


@dataclass(frozen=True)
class Faces:
    """The faces of one photo, most confident first; row i of every array is the same face.

    Attributes:
        boxes: (faces, 4) float32, x1 y1 x2 y2 in pixels, clipped to the photo.
        scores: (faces,) float32, the probability that this is a face.
        landmarks: (faces, 5, 2) float32, x y in pixels: left eye, right eye, nose, left and right mouth corner.
        features: (faces, 256) float32, O-Net's last hidden layer.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: np.ndarray) -> Faces:
        """The faces `rows` (indices or a mask), in that order."""
        return Faces(self.boxes[rows], self.scores[rows], self.landmarks[rows], self.features[rows])

    @classmethod
    def none(cls) -> Faces:
        """No face at all, in the right shapes."""
        shapes = ((0, 4), (0,), (0, 5, 2), (0, FACE_FEATURE_DIM))
        return cls(*(np.zeros(shape, np.float32) for shape in shapes))


class FaceExtractor:
    """MTCNN (Zhang et al. 2016, arXiv 1604.02878) with facenet-pytorch's weights, thresholds and arithmetic.

    The original of this system ran MTCNN twice per photo and picked the feature rows with indices of another array,
    so that more than half of its features belonged to a different face. Here they are the hidden layer of the very
    forward that accepted the face.

    Args:
        min_face_pixels: side of the smallest face that is looked for, in pixels of the photo.
        thresholds: least face probability after P-Net, R-Net and O-Net (facenet-pytorch's defaults).
        factor: ratio of neighbouring sizes of the image pyramid.
        device: where the networks run.
    """

    def __init__(
        self,
        min_face_pixels: int = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        device: str | torch.device = "cpu",
    ) -> None:
        if min_face_pixels < 12:
            raise ValueError(f"min_face_pixels must be 12 (P-Net's window) or more, not {min_face_pixels}")
        if not 0 < factor < 1:
            raise ValueError(f"factor must lie between 0 and 1, not {factor}")
        self.min_face_pixels, self.thresholds, self.factor = min_face_pixels, thresholds, factor
        self.device = torch.device(device)
        self.pnet, self.rnet, self.onet = (
            net.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)
            for net in (PNet(), RNet(), ONet())
        )

    @property
    def settings(self) -> dict[str, object]:
        """What the faces that are found depend on, as JSON values."""
        return {
            "name": "mtcnn",
            "min_face_pixels": self.min_face_pixels,
            "thresholds": list(self.thresholds),
            "factor": self.factor,
        }

    @torch.inference_mode()
    def extract(self, images: Sequence[Image.Image | np.ndarray]) -> list[Faces]:
        """The faces of each of `images`: RGB PIL images, or uint8 arrays (height, width, 3), of any sizes."""
        return [self._extract_one(_pixels(image)) for image in images]

    def _extract_one(self, pixels: np.ndarray) -> Faces:
        height, width, _ = pixels.shape
        table = SummedAreaTable(pixels, self.device)

        boxes = self._propose(table)
        if not len(boxes):
            return Faces.none()

        boxes, squares = _crop_squares(boxes, width, height)
        scores, corrections = _in_chunks(self.rnet, table, squares, 24, RNET_CHUNK)
        kept = (scores > self.thresholds[1]).nonzero()[:, 0]
        kept = kept[nms(boxes[kept], scores[kept], 0.7)]
        boxes = _to_square(_corrected(boxes[kept], corrections[kept]))
        if not len(boxes):
            return Faces.none()

        boxes, squares = _crop_squares(boxes, width, height)
        scores, corrections, landmarks, features = _in_chunks(self.onet, table, squares, 48, ONET_CHUNK)
        kept = (scores > self.thresholds[2]).nonzero()[:, 0]
        boxes, scores, landmarks = boxes[kept], scores[kept], landmarks[kept]
        corner, size = boxes[:, None, :2], (boxes[:, None, 2:] - boxes[:, None, :2] + 1)  # (faces, 1, 2)
        points = landmarks.view(-1, 2, 5).transpose(1, 2) * size + corner - 1  # (faces, 5, 2)
        boxes = _corrected(boxes, corrections[kept])

        found = [t.cpu().numpy() for t in (boxes, scores, points, features[kept])]
        faces = Faces(*found)
        faces = faces.select(_nms_over_smaller(faces.boxes, faces.scores, 0.7))
        np.clip(faces.boxes, 0, np.array([width, height, width, height], np.float32), out=faces.boxes)
        return faces.select((faces.boxes[:, 2:] > faces.boxes[:, :2]).all(1))

    def _propose(self, table: SummedAreaTable) -> torch.Tensor:
        """P-Net over the image pyramid: square candidate boxes (candidates, 4)."""
        found_boxes, found_scores, found_corrections = [], [], []
        for scale in self._scales(table.height, table.width):
            level = table.resize(int(table.height * scale + 1), int(table.width * scale + 1))
            probability, corrections = (output[0] for output in self.pnet(level))
            places = (probability >= self.thresholds[0]).nonzero()
            cells = places.flip(1).float()
            boxes = torch.cat([((2 * cells + 1) / scale).floor(), ((2 * cells + 12) / scale).floor()], 1)
            rows, columns = places.unbind(1)
            scores = probability[rows, columns]
            kept = nms(boxes, scores, 0.5)
            found_boxes.append(boxes[kept])
            found_scores.append(scores[kept])
            found_corrections.append(corrections[:, rows[kept], columns[kept]].T)
        if not found_boxes:
            return torch.zeros(0, 4, device=self.device)
        boxes, scores, corrections = torch.cat(found_boxes), torch.cat(found_scores), torch.cat(found_corrections)
        kept = nms(boxes, scores, 0.7)
        boxes, corrections = boxes[kept], corrections[kept]
        size = boxes[:, 2:] - boxes[:, :2]
        return _to_square(boxes + corrections * torch.cat([size, size], 1))

    def _scales(self, height: int, width: int) -> list[float]:
        """Sizes of the image pyramid, largest first, as fractions of the photo's: P-Net's window is 12 pixels."""
        scales, scale, side = [], 12 / self.min_face_pixels, min(height, width) * 12 / self.min_face_pixels
        while side >= 12:
            scales.append(scale)
            scale, side = scale * self.factor, side * self.factor
        return scales


def _pixels(image: Image.Image | np.ndarray) -> np.ndarray:
    if isinstance(image, Image.Image):
        image = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"a photo must be uint8 (height, width, 3), not {image.dtype} {image.shape}")
    return image


def _in_chunks(net: torch.nn.Module, table: SummedAreaTable, squares: torch.Tensor, side: int, chunk: int) -> list:
    """`net` over the crops `squares` of the photo, `chunk` at a time; a list of its outputs."""
    outputs = [net(table.crops(part, side)) for part in squares.split(chunk)]
    return [torch.cat(parts) for parts in zip(*outputs, strict=True)]


def _crop_squares(boxes: torch.Tensor, width: int, height: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole-pixel crops (boxes, 4) of `boxes` inside the photo; boxes that lie outside are dropped from both.

    facenet-pytorch skips such crops but keeps their boxes, which shifts every later score to another box.
    """
    whole = boxes.trunc().long()
    left, top = whole[:, 0].clamp(min=1) - 1, whole[:, 1].clamp(min=1) - 1
    right, bottom = whole[:, 2].clamp(max=width), whole[:, 3].clamp(max=height)
    inside = (right > left) & (bottom > top)
    return boxes[inside], torch.stack([left, top, right, bottom], 1)[inside]


def _to_square(boxes: torch.Tensor) -> torch.Tensor:
    """Each box grown to a square of its longer side about its centre."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.amax(1, keepdim=True)
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return torch.cat([corner, corner + side], 1)


def _corrected(boxes: torch.Tensor, corrections: torch.Tensor) -> torch.Tensor:
    """`boxes` moved by a network's corrections, which are fractions of the box's size."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + corrections * torch.cat([size, size], 1)


def _nms_over_smaller(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Non-maximum suppression by intersection over the *smaller* box; the rows kept, most confident first."""
    x1, y1, x2, y2 = boxes.T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    order, kept = np.argsort(scores)[::-1], []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        overlap_width = np.maximum(0, np.minimum(x2[best], x2[order]) - np.maximum(x1[best], x1[order]) + 1)
        overlap_height = np.maximum(0, np.minimum(y2[best], y2[order]) - np.maximum(y1[best], y1[order]) + 1)
        share = overlap_width * overlap_height / np.minimum(area[best], area[order])
        order = order[share <= threshold]
    return np.array(kept, dtype=np.intp)
