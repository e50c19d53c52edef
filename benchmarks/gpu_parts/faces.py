"""FaceExtractor against facenet-pytorch on one device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from facenet_pytorch import MTCNN
from PIL import Image

from ger_datasets.faces import FaceExtractor

from .part import Part, profiled, tf32


def part_faces(part: Part) -> None:
    """Both detectors on photos of one size, and on photos as they are."""
    paths = sorted((part.work / "raw").rglob("*.jpg"))[: part.size.together]
    mixed = [Image.open(path).convert("RGB") for path in paths]
    images = [image.resize((900, 640)) for image in mixed]
    ours, theirs = FaceExtractor(device=part.device), MTCNN(keep_all=True, device=part.device)
    wide = FaceExtractor(device=part.device, group_megapixels=1000)
    ways: dict[str, Callable[[], list[Any]]] = {
        "ours single": lambda: [ours.extract([image])[0] for image in images],
        "ours batched": lambda: ours.extract(images),
        "ours all at once": lambda: wide.extract(images),
        "ours mixed sizes": lambda: ours.extract(mixed),
        "theirs single": lambda: [theirs.detect(image, landmarks=True) for image in images],
        "theirs batched": lambda: list(zip(*theirs.detect(images, landmarks=True), strict=True)),
    }
    for name, way in ways.items():
        part.measure(name, lambda way=way: {"photos_per_second": round(len(images) / part.seconds(way), 2)})
    rates = {name: (part.figures[name] or {}).get("photos_per_second", 0) for name in ways}
    best = max(rates["ours batched"], rates["ours all at once"])
    if rates["theirs single"] and rates["theirs batched"]:
        part.put("ratio", {"single": round(rates["ours single"] / rates["theirs single"], 2),
                           "batched": round(rates["ours batched"] / rates["theirs batched"], 2),
                           "all at once": round(best / rates["theirs batched"], 2)})  # fmt: skip
    on_cpu = [(one.boxes, one.scores, one.landmarks) for one in FaceExtractor().extract(images[:8])]
    for label, wanted in (("default", None), ("exact fp32", False)):
        if part.device == "cpu" and wanted is not None:
            continue
        with tf32(wanted):
            expected = ways["theirs single"]()
            for name in ("ours single", "ours batched", "ours all at once"):
                part.measure(f"{name} against theirs, {label}", apart, expected, ways[name], images)
            part.measure(f"ours against ours on the CPU, {label}", apart, on_cpu, ways["ours batched"], images)
    for name in ("ours batched", "ours all at once", "theirs batched"):
        part.measure(f"profile, {name}", profiled, part, ways[name])


def apart(expected: Sequence[tuple], find: Callable[[], list[Any]], images: Sequence[Image.Image]) -> dict[str, Any]:
    """How far faces lie apart, in photos with something `expected` and equally many; `same` by our tests' limits."""
    furthest = {"box_pixels": 0.0, "landmark_pixels": 0.0, "score": 0.0}
    found, differing = find(), 0
    for (boxes, scores, points), faces, image in zip(expected, found, images, strict=False):
        if (0 if boxes is None else len(boxes)) != len(faces):
            differing += 1
        elif boxes is not None and len(boxes):
            order = np.argsort(-np.asarray(scores, float), kind="stable")
            clipped = np.asarray(boxes, float)[order].clip(0, [*image.size, *image.size])
            pairs = zip(furthest, (clipped, points, scores), (faces.boxes, faces.landmarks, faces.scores), strict=True)
            for name, theirs, ours in pairs:
                ordered = theirs if theirs is clipped else np.asarray(theirs, float)[order]
                furthest[name] = max(furthest[name], float(np.abs(ordered - ours).max()))
    same = not differing and furthest["box_pixels"] <= 0.01 and furthest["landmark_pixels"] <= 0.05
    return {"same": same and furthest["score"] <= 1e-5, "faces": sum(map(len, found)),
            "photos_with_another_number": differing, **furthest}  # fmt: skip
