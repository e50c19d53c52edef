"""Time FaceExtractor against facenet-pytorch on the same photos, in turn, and check that they find the same faces.

python benchmarks/bench_faces.py --photos FOLDER
python benchmarks/bench_faces.py                    # on drawn group photos
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from tqdm import tqdm

from ger_datasets.cli import run
from ger_datasets.errors import UserError
from ger_datasets.faces import FaceExtractor
from ger_datasets.photos import SUFFIXES, read_photo
from ger_datasets.sample.drawing import draw_photo


@dataclass
class Arguments:
    photos: Path | None = field(default=None, metadata={"help": "Folder of photos. Default: 12 drawn group photos."})
    rounds: int = field(default=5, metadata={"help": "How often each implementation goes through all photos."})
    threads: int = field(default=2, metadata={"help": "Threads of each implementation."})


def main(arguments: Arguments) -> dict:
    torch.set_num_threads(arguments.threads)
    images = photos_in(arguments.photos) if arguments.photos else drawn_photos()
    theirs, ours = MTCNN(keep_all=True), FaceExtractor()

    def run_theirs() -> list:
        return [theirs.detect(image, landmarks=True) for image in images]

    def run_ours() -> list:
        return ours.extract(images)

    furthest = max(map(difference, run_theirs(), run_ours(), images))  # also the warm-up
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in tqdm(range(arguments.rounds), unit="round"):
        for name, work in (("theirs", run_theirs), ("ours", run_ours)):
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(seconds["theirs"], seconds["ours"], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
        "photos": len(images),
        "faces": sum(map(len, run_ours())),
        "photos_per_second": {name: round(len(images) / statistics.median(s), 2) for name, s in seconds.items()},
        "furthest_pixels": round(furthest, 4),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
    }


def photos_in(folder: Path) -> list[Image.Image]:
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"no photos in {folder}")
    return [read_photo(path).image for path in paths]


def drawn_photos() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [draw_photo(rng, "Positive", people)[0] for people in range(1, 13)]


def difference(theirs: tuple, ours: object, image: Image.Image) -> float:
    """The furthest that a box's edge or a landmark lies apart, in pixels; infinite if the faces differ in number."""
    boxes, scores, landmarks = theirs
    if boxes is None or len(boxes) != len(ours):
        return 0.0 if boxes is None and not len(ours) else float("inf")
    order = np.argsort(-scores.astype(float), kind="stable")
    edges = boxes[order].clip(0, [*image.size, *image.size]) - ours.boxes
    return float(max(np.abs(edges).max(), np.abs(landmarks[order] - ours.landmarks).max()))


if __name__ == "__main__":
    run(main, Arguments)
