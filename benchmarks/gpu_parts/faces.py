"""FaceExtractor against facenet-pytorch on one device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou

from ger_datasets.faces import FaceExtractor

from .part import Part, profiled, tf32


def part_faces(part: Part) -> None:
    """Both detectors on photos of one size, and on photos as they are."""
    paths = sorted((part.work / "raw").rglob("*.jpg"))[: part.size.together]
    mixed = [Image.open(path).convert("RGB") for path in paths]
    images = [image.resize((900, 640)) for image in mixed]
    ours, theirs = FaceExtractor(device=part.device), MTCNN(keep_all=True, device=part.device)
    ways: dict[str, Callable[[], list[Any]]] = {
        "ours single": lambda: [ours.extract([image])[0] for image in images],
        "ours batched": lambda: ours.extract(images),
        "ours mixed sizes": lambda: ours.extract(mixed),
        "theirs single": lambda: [theirs.detect(image, landmarks=True) for image in images],
        "theirs batched": lambda: list(zip(*theirs.detect(images, landmarks=True), strict=True)),
    }
    for name, way in ways.items():
        part.measure(name, lambda way=way: {"photos_per_second": round(len(images) / part.seconds(way), 2)})
    rates = {name: (part.figures[name] or {}).get("photos_per_second", 0) for name in ways}
    if rates["theirs single"] and rates["theirs batched"]:
        part.put("ratio", {way: round(rates[f"ours {way}"] / rates[f"theirs {way}"], 2)
                           for way in ("single", "batched")})  # fmt: skip
    with tf32(False):  # ours computes so anyway
        expected = ways["theirs single"]()
    for name in ("ours single", "ours batched"):
        part.measure(f"{name} against theirs", apart, expected, ways[name], images)
    on_cpu = [(one.boxes, one.scores, one.landmarks) for one in FaceExtractor().extract(images[:8])]
    part.measure("ours against ours on the CPU", apart, on_cpu, lambda: ours.extract(images[:8]), images)
    part.measure("profile, ours batched", profiled, part, ways["ours batched"])


def apart(expected: Sequence[tuple], find: Callable[[], list[Any]], images: Sequence[Image.Image]) -> dict[str, Any]:
    """How far faces lie apart from those `expected`; `same` by our tests' limits.

    A face is compared with the one that it overlaps most: where scores are nearly equal, the order says nothing.
    """
    furthest = {"box_pixels": 0.0, "landmark_pixels": 0.0, "score": 0.0}
    found, faces, alone = find(), 0, 0
    for theirs, ours, image in zip(expected, found, images, strict=False):
        faces += len(ours)
        pairs, without = matched(_arrays(*theirs, image), (ours.boxes, ours.landmarks, ours.scores))
        alone += without
        for name, gap in zip(furthest, pairs, strict=True):
            furthest[name] = max(furthest[name], gap)
    limits = {"box_pixels": 0.01, "landmark_pixels": 0.05, "score": 1e-5}
    same = not alone and all(furthest[name] <= limit for name, limit in limits.items())
    return {"same": same, "faces": faces, "faces_without_another": alone, **furthest}


def matched(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> tuple[list[float], int]:
    """The largest differences of boxes, landmarks and scores, and how many faces of either have no other."""
    if not len(expected[0]) or not len(found[0]):
        return [0.0] * len(expected), len(expected[0]) + len(found[0])
    overlaps = box_iou(torch.from_numpy(expected[0]), torch.from_numpy(found[0]).double()).numpy()
    rows, columns = linear_sum_assignment(-overlaps)
    pairs = overlaps[rows, columns] > 0.5
    rows, columns = rows[pairs], columns[pairs]
    gaps = [
        float(np.abs(one[rows] - other[columns]).max(initial=0)) for one, other in zip(expected, found, strict=True)
    ]
    return gaps, len(expected[0]) + len(found[0]) - 2 * len(rows)


def _arrays(boxes: Any, scores: Any, points: Any, image: Image.Image) -> list[np.ndarray]:
    """What facenet-pytorch gives, None without a face, as boxes clipped to the photo, landmarks and scores."""
    if boxes is None or not len(boxes):
        return [np.zeros(shape) for shape in ((0, 4), (0, 5, 2), (0,))]
    clipped = np.asarray(boxes, float).clip(0, [*image.size, *image.size])
    return [clipped, np.asarray(points, float), np.asarray(scores, float)]
