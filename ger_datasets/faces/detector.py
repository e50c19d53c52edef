"""FaceExtractor: photos in, for each its faces out: boxes, scores, landmarks and 256-d features of the same rows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from PIL import Image

from .modes import MODES, WINDOW, Level
from .nets import ONet, PNet, RNet
from .precision import exact_float32
from .protocol import Faces
from .resampling import RESAMPLERS, Photos
from .suppression import suppressed, suppressed_by_smaller, suppressed_together

# What one forward takes on: on a CPU, what keeps its activations inside the cache.
CHUNKS: dict[str, dict[str, int]] = {
    "cpu": {"pnet_pixels": 80_000, "rnet_crops": 64, "onet_crops": 16},
    "cuda": {"pnet_pixels": 16_000_000, "rnet_crops": 4096, "onet_crops": 1024},
}
# photos that go through the networks together: on a GPU about 30 bytes of its memory for each pixel
GROUP_MEGAPIXELS = {"cpu": 2, "cuda": 64}


class FaceExtractor:
    """MTCNN (Zhang et al. 2016, arXiv 1604.02878) with facenet-pytorch's weights, in one pass.

    The system this package re-creates ran MTCNN twice per photo, once for FaceCoordinates and once for FaceFeatures,
    and in the second run selected rows of the features of *all* candidates with indices into those above the last
    threshold: more than half of its features belonged to a different face. That is not reproduced in any mode: here
    features are the hidden layer of the very forward that accepted the face.

    Args:
        mode: a key of `modes.MODES`: `facenet` finds what facenet-pytorch 2.5.3 finds, `original` what the 2018 code
            found (FaceCoordinates, there not clipped to the photo).
        min_face_pixels: side of the smallest face that is detected, in pixels of the photo.
        thresholds: least face probability after P-Net, R-Net and O-Net; the mode's when left out.
        factor: ratio of neighbouring sizes of the image pyramid; the mode's when left out.
        device: where the networks run and crops are made.
        group_megapixels: photos of one size go through the networks together, up to this many megapixels; a larger
            photo goes alone. The device's when left out: 2 on a CPU, 64 on a GPU.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        mode: str = "facenet",
        min_face_pixels: int = 20,
        thresholds: tuple[float, float, float] | None = None,
        factor: float | None = None,
        device: str | torch.device = "cpu",
        group_megapixels: float | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        self.mode_name, self.mode = mode, MODES[mode]
        self.min_face_pixels = min_face_pixels
        self.thresholds = self.mode.thresholds if thresholds is None else tuple(thresholds)
        self.factor = self.mode.factor if factor is None else factor
        if min_face_pixels < WINDOW:
            raise ValueError(f"min_face_pixels must be {WINDOW} (P-Net's window) or more, not {min_face_pixels}")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor must lie between 0 and 1, not {factor}")
        if len(self.thresholds) != 3 or not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ValueError(f"thresholds must be three numbers between 0 and 1, not {thresholds}")
        self.device = torch.device(device)
        self.chunks = CHUNKS.get(self.device.type, CHUNKS["cuda"])
        if group_megapixels is None:
            group_megapixels = GROUP_MEGAPIXELS.get(self.device.type, GROUP_MEGAPIXELS["cuda"])
        if group_megapixels <= 0:
            raise ValueError(f"group_megapixels must be above 0, not {group_megapixels}")
        self.group_pixels = group_megapixels * 1e6
        self.pnet, self.rnet, self.onet = PNet(self.device), RNet(self.device), ONet(self.device)
        if self.device.type == "cpu":
            _keep_freed_memory()

    @property
    def settings(self) -> dict[str, object]:
        """What the faces that are found depend on, as JSON values."""
        return {
            "name": "mtcnn",
            "mode": self.mode_name,
            "min_face_pixels": self.min_face_pixels,
            "thresholds": list(self.thresholds),
            "factor": self.factor,
        }

    @torch.inference_mode()
    def extract(self, images: Sequence[Image.Image | np.ndarray]) -> list[Faces]:
        """The faces of each of `images`: RGB PIL images, or uint8 arrays (height, width, 3), of any sizes.

        Raises:
            ValueError: an array is not uint8 (height, width, 3).
        """
        faces: list[Faces] = [Faces.none()] * len(images)
        for rows in self._groups(images):
            found = self._extract(self._photos([images[row] for row in rows]), len(rows))
            for row, one in zip(rows, found, strict=True):
                faces[row] = one
        return faces

    @torch.inference_mode()
    def describe(self, images: Sequence[Image.Image | np.ndarray], boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """O-Net's features of faces that another detector found.

        Args:
            images: as for `extract`.
            boxes: for each image (faces, 4), x1 y1 x2 y2 in pixels; cut out as the squares around them.

        Returns:
            For each image (faces, 256) float32. Not what `extract` gives for the same box: that describes the square
            from which the box was computed.

        Raises:
            ValueError: a box lies outside its photo.
        """
        features = []
        for image, found in zip(images, boxes, strict=True):
            photos = self._photos([image])
            squares = self._to_square(torch.as_tensor(np.asarray(found), dtype=self.mode.precision).view(-1, 4))
            kept, _, squares = self._cut(squares.to(self.device), photos)
            if len(kept) != len(found):
                raise ValueError(f"a box lies outside its photo of {photos.width} x {photos.height} pixels")
            alone = torch.zeros_like(kept)
            features.append(self._run(self.onet, photos, alone, squares, 48)[-1].cpu().numpy())
        return features

    @torch.inference_mode()
    def whole_pictures(self, images: Sequence[Image.Image | np.ndarray]) -> list[Faces]:
        """Each of `images` taken as one face, for tight crops in which no face can be found any more.

        P-Net and R-Net are left out; O-Net looks at the whole picture, averaged or repeated to 48 x 48 pixels whatever
        its shape.

        Args:
            images: as for `extract`.

        Returns:
            For each image one face: the box is the picture, the score 1, landmarks and features are O-Net's.
        """
        faces: list[Faces] = [Faces.none()] * len(images)
        for rows in self._groups(images):
            photos = self._photos([images[row] for row in rows])
            picture = self._numbers(0, 0, photos.width, photos.height)[None]
            index = torch.arange(len(rows), device=self.device)
            output = self._run(self.onet, photos, index, picture.expand(len(rows), 4), 48)
            points = output[2].view(-1, 2, 5).transpose(1, 2) * picture[0, 2:]  # (faces, 5, 2)
            one = np.ones((len(rows), 1), np.float32)
            arrays = (one * picture.cpu().numpy(), one[:, 0], points.float().cpu().numpy(), output[3].cpu().numpy())
            for place, row in enumerate(rows):
                faces[row] = Faces(*(array[place : place + 1].astype(np.float32, copy=False) for array in arrays))
        return faces

    def _groups(self, images: Sequence[Image.Image | np.ndarray]) -> Iterator[list[int]]:
        """Rows of `images` of one size, as many as `group_pixels` allows."""
        by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for row, image in enumerate(images):
            by_size[image.size if isinstance(image, Image.Image) else image.shape[1::-1]].append(row)
        for size, rows in by_size.items():
            count = max(1, int(self.group_pixels // max(1, math.prod(size))))
            for start in range(0, len(rows), count):
                yield rows[start : start + count]

    def _photos(self, images: Sequence[Image.Image | np.ndarray]) -> Photos:
        return RESAMPLERS[self.mode.resampling]([_pixels(image) for image in images], self.device)

    def _extract(self, photos: Photos, count: int) -> list[Faces]:
        boxes, index = self._propose(photos, count)
        kept, boxes, squares = self._cut(boxes, photos)
        index = index[kept]
        scores, corrections = self._run(self.rnet, photos, index, squares, 24)
        boxes, index, scores, corrections = _above(scores, self.thresholds[1], boxes, index, scores, corrections)
        kept = self._few_suppressed(boxes, scores, index, count, 0.7)
        boxes, index = self._to_square(_corrected(boxes[kept], corrections[kept])), index[kept]

        kept, boxes, squares = self._cut(boxes, photos)
        index = index[kept]
        scores, corrections, landmarks, features = self._run(self.onet, photos, index, squares, 48)
        boxes, index, scores, corrections, landmarks, features = _above(
            scores, self.thresholds[2], boxes, index, scores, corrections, landmarks, features
        )
        corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2] + 1  # (faces, 1, 2)
        points = landmarks.view(-1, 2, 5).transpose(1, 2) * size + corner - self.mode.first_pixel  # (faces, 5, 2)
        boxes = _corrected(boxes, corrections)

        parts = (boxes, scores[:, None], points.flatten(1), features, index[:, None])
        fetched = torch.cat([part.float() for part in parts], 1).cpu().numpy()  # an accelerator is waited for once
        found = Faces(fetched[:, :4], fetched[:, 4], fetched[:, 5:15].reshape(-1, 5, 2), fetched[:, 15:-1])
        edges = np.array([photos.width, photos.height] * 2, np.float32)
        return [_finished(found.select(np.flatnonzero(fetched[:, -1] == i)), edges) for i in range(count)]

    def _propose(self, photos: Photos, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """P-Net over the image pyramid: square candidates (candidates, 4) and the photo of each (candidates,)."""
        levels = self.mode.levels(photos.height, photos.width, self.min_face_pixels, self.factor)
        found = [self._propose_at(level, photos, count) for level in levels]
        if not found:
            return torch.zeros(0, 4, device=self.device), torch.zeros(0, dtype=torch.long, device=self.device)
        boxes, scores, corrections, index = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = self._suppressed(boxes, scores, index, count, 0.7, photos)
        boxes, corrections = boxes[kept], corrections[kept]
        size = boxes[:, 2:] - boxes[:, :2] + self.mode.last_pixel
        return self._to_square(boxes + corrections * torch.cat([size, size], 1)), index[kept]

    def _propose_at(self, level: Level, photos: Photos, count: int) -> tuple[torch.Tensor, ...]:
        """Boxes, scores, corrections and photo of the candidates that stand out at one size of the pyramid."""
        # strips of P-Net's output, each from its own rows of the photo: a large photo is never held at float32
        places = (level.height - 1) // 2 - 4
        strips = math.ceil(2 * places * level.width * count / self.chunks["pnet_pixels"])
        strips = min(strips, math.ceil(places / 16))  # neighbouring strips share ten rows of pixels
        edges = [places * strip // strips for strip in range(strips + 1)]
        least = math.log(self.thresholds[0] / (1 - self.thresholds[0]))
        found = []
        for first, last in pairwise(edges):
            bottom = level.height if last == places else 2 * last + 10
            with exact_float32(self.device):
                output = self.pnet(photos.level(level.height, level.width, 2 * first, bottom))
            index, rows, columns = (output[:, 0] >= least).nonzero().unbind(1)
            found.append((output[index, :, rows, columns], index, rows + first, columns))
        values, index, rows, columns = (torch.cat(parts) for parts in zip(*found, strict=True))
        corner = 2 * torch.stack([columns, rows], 1).to(self.mode.precision) + 1
        boxes = self.mode.rounding(torch.cat([corner, corner + self.mode.window], 1) / level.scale)
        scores = values[:, 0].sigmoid()
        kept = self._suppressed(boxes, scores, index, count, 0.5, photos)
        return boxes[kept], scores[kept], values[kept, 1:], index[kept]

    def _cut(self, boxes: torch.Tensor, photos: Photos) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Whole-pixel crops of `boxes`, x1 y1 x2 y2 with x2 and y2 past the end.

        Boxes without a pixel of the photo are dropped. facenet-pytorch skips such crops but keeps their boxes, which
        shifts every later score to another box.

        Returns:
            The rows kept, their boxes as later steps go on with them, and their crops (boxes, 4) long.
        """
        end, past = self._numbers(*[photos.width, photos.height] * 2), self._numbers(0, 0, 1, 1)
        squares = boxes.trunc().long() + (past - self.mode.first_pixel)
        inside = squares.clamp(min=0).minimum(end)
        kept = (inside[:, 2:] > inside[:, :2]).all(1).nonzero()[:, 0]
        if self.mode.padded:
            return kept, boxes[kept].clamp(min=0).minimum((end - past).to(boxes)), squares[kept]
        return kept, boxes[kept], inside[kept]

    def _run(
        self, net: RNet | ONet, photos: Photos, index: torch.Tensor, squares: torch.Tensor, side: int
    ) -> list[torch.Tensor]:
        """`net` over crops of the photos, a chunk at a time; its outputs."""
        chunk = self.chunks["rnet_crops" if net is self.rnet else "onet_crops"]
        parts = zip(index.split(chunk), squares.split(chunk), strict=True)
        with exact_float32(self.device):
            outputs = [net(photos.crops(*part, side)) for part in parts if len(part[0])]
        if not outputs:
            outputs = [net(torch.zeros(1, 3, side, side, device=self.device))]
            return [values[:0] for values in outputs[0]]
        return [torch.cat(values) for values in zip(*outputs, strict=True)]

    def _to_square(self, boxes: torch.Tensor) -> torch.Tensor:
        """Each box grown to a square of its longer side about its centre."""
        size = boxes[:, 2:] - boxes[:, :2] + self.mode.last_pixel
        side = size.max(1, keepdim=True).values if len(size) else size[:, :1]
        corner = boxes[:, :2] + size * 0.5 - side * 0.5
        squares = torch.cat([corner, corner + side - self.mode.last_pixel], 1)
        return squares.round() if self.mode.whole_squares else squares

    def _suppressed(
        self,
        boxes: torch.Tensor,
        scores: torch.Tensor,
        index: torch.Tensor,
        count: int,
        threshold: float,
        photos: Photos,
    ) -> torch.Tensor:
        """Non-maximum suppression of P-Net's candidates, whose boxes are whole numbers, within each photo; the rows
        kept, photo by photo, most confident first."""
        boxes, scores = self._with_last_pixel(boxes), scores.to(boxes)
        if self.device.type == "cpu":
            return suppressed(boxes, scores, index, count, threshold)
        return suppressed_together(boxes, scores, index, count, max(photos.width, photos.height), threshold)

    def _few_suppressed(
        self, boxes: torch.Tensor, scores: torch.Tensor, index: torch.Tensor, count: int, threshold: float
    ) -> torch.Tensor:
        """As `_suppressed`, of few boxes of any numbers: on the CPU, as a GPU would be waited for at each photo."""
        boxes, scores = self._with_last_pixel(boxes), scores.to(boxes)
        kept = suppressed(boxes.cpu(), scores.cpu(), index.cpu(), count, threshold)
        return self._moved(kept)

    def _with_last_pixel(self, boxes: torch.Tensor) -> torch.Tensor:
        return boxes + self._numbers(0, 0, self.mode.last_pixel, self.mode.last_pixel)

    def _numbers(self, *values: int) -> torch.Tensor:
        """`values` on the device, which is not waited for."""
        return self._moved(torch.tensor(values))

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        # without waiting: CUDA has copied what comes from ordinary memory when the call returns
        return tensor.to(self.device, non_blocking=self.device.type == "cuda")


def _pixels(image: Image.Image | np.ndarray) -> np.ndarray:
    if isinstance(image, Image.Image):
        image = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"a photo must be uint8 (height, width, 3), not {image.dtype} {image.shape}")
    return np.require(image, requirements=["C", "W"])  # torch takes neither flipped nor read-only arrays


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of activations for the next forward instead of giving it back to the system.

    It returns blocks above a size that grows with the largest block freed so far, up to 32 MB; the kernel then clears
    every page again, which doubled the time of R-Net. Elsewhere than on glibc this does nothing.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _above(scores: torch.Tensor, threshold: float, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The rows of `arrays` whose score is above `threshold`."""
    kept = (scores > threshold).nonzero()[:, 0]
    return tuple(array[kept] for array in arrays)


def _corrected(boxes: torch.Tensor, corrections: torch.Tensor) -> torch.Tensor:
    """`boxes` moved by a network's corrections, which are fractions of the box's size."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + corrections * torch.cat([size, size], 1)


def _finished(faces: Faces, edges: np.ndarray) -> Faces:
    """The faces of one photo without doubles, most confident first, their boxes clipped to (width, height) twice."""
    faces = faces.select(suppressed_by_smaller(faces.boxes, faces.scores, 0.7))
    np.clip(faces.boxes, 0, edges, out=faces.boxes)
    return faces.select(np.all(faces.boxes[:, 2:] > faces.boxes[:, :2], axis=1))
