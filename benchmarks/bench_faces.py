"""Time FaceExtractor against facenet-pytorch on the same photos, in turn, and check that they find the same faces.

python benchmarks/bench_faces.py --photos FOLDER
python benchmarks/bench_faces.py                    # on drawn group photos

Each implementation runs in processes of its own, in two settings: one process of two threads, and two processes of
one thread that take the next photo as they are ready. `ratio` compares the better setting of each. FaceExtractor also
returns the 256-d features, which facenet-pytorch does not. `ratio_first_pass` is of the one pass in which every photo
is new to its process: oneDNN generates code for each new size, which later passes find ready.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from torchvision.ops import box_iou
from tqdm import tqdm

from ger_datasets.faces import FaceExtractor, detector, resampling
from ger_datasets.photos.reading import SUFFIXES, read_photo
from ger_datasets.sample.drawing import draw_photo
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError

SETTINGS = {"1 process, 2 threads": (1, 2), "2 processes, 1 thread": (2, 1)}


@dataclass
class Arguments:
    photos: Path | None = field(default=None, metadata={"help": "Folder of photos. Default: drawn group photos."})
    drawn: int = field(default=12, metadata={"help": "How many group photos are drawn when no folder is given."})
    rounds: int = field(default=5, metadata={"help": "How often each implementation goes through all photos."})
    profile: bool = field(default=False, metadata={"help": "Also print the time of each stage to stderr."})
    json: bool = field(default=False, metadata={"help": "Accepted for clarity: the last line is always JSON."})


def main(arguments: Arguments) -> dict[str, Any]:
    images = photos_in(arguments.photos) if arguments.photos else drawn_photos(arguments.drawn)
    images.sort(key=lambda image: -image.width * image.height)  # the longest work first, as a scheduler would
    contenders = {(name, setting): start(name, images, *SETTINGS[setting]) for name in FINDERS for setting in SETTINGS}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in contenders}
    found: dict[str, list[tuple]] = {}
    try:
        for _ in tqdm(range(arguments.rounds + 1), unit="round"):
            for key, pool in contenders.items():
                begin = time.perf_counter()
                found[key[0]] = list(pool.map(find, range(len(images))))
                seconds[key].append(time.perf_counter() - begin)
    finally:
        for pool in contenders.values():
            pool.shutdown()
    if arguments.profile:
        profile(images)

    first, medians = {}, {}
    for key, times in seconds.items():
        first[key], medians[key] = times[0], statistics.median(times[1:])
    best = {name: min((medians[name, setting], setting) for setting in SETTINGS)[1] for name in FINDERS}
    theirs, ours = (seconds[name, best[name]][1:] for name in ("facenet-pytorch", "FaceExtractor"))
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 2),
        "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
        "ratio_1_process_2_threads": ratio_of(medians, "1 process, 2 threads"),
        "ratio_2_processes_1_thread": ratio_of(medians, "2 processes, 1 thread"),
        "ratio_first_pass": round(
            min(first["facenet-pytorch", setting] for setting in SETTINGS)
            / min(first["FaceExtractor", setting] for setting in SETTINGS),
            2,
        ),
        "best_setting": best,
        "photos_per_second": {
            f"{name}, {setting}": round(len(images) / medians[name, setting], 2) for name, setting in medians
        },
        "photos": len(images),
        "megapixels": round(sum(image.width * image.height for image in images) / 1e6, 2),
        **equivalence(found["facenet-pytorch"], found["FaceExtractor"], images),
        "rounds": arguments.rounds,
    }


def ratio_of(medians: dict[tuple[str, str], float], setting: str) -> float:
    return round(medians["facenet-pytorch", setting] / medians["FaceExtractor", setting], 2)


def photos_in(folder: Path) -> list[Image.Image]:
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"no photos in {folder}")
    return [read_photo(path).image for path in paths]


def drawn_photos(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [draw_photo(rng, "Positive", 1 + i % 12)[0] for i in range(count)]


def facenet_pytorch() -> Any:
    finder = MTCNN(keep_all=True)
    return lambda image: finder.detect(image, landmarks=True)


def face_extractor() -> Any:
    finder = FaceExtractor()

    def find_one(image: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        (faces,) = finder.extract([image])
        return faces.boxes, faces.scores, faces.landmarks

    return find_one


FINDERS = {"facenet-pytorch": facenet_pytorch, "FaceExtractor": face_extractor}
_worker: dict[str, Any] = {}  # what a worker process holds


def start(name: str, images: list[Image.Image], processes: int, threads: int) -> ProcessPoolExecutor:
    """Processes that hold the photos and the networks, all of them ready."""
    context = multiprocessing.get_context("spawn")  # torch and fork do not go together
    ready = context.Barrier(processes + 1, timeout=120)
    pool = ProcessPoolExecutor(processes, context, _prepare, (name, images, threads, ready))
    for _ in range(processes):
        pool.submit(int)  # a process starts with each task that finds none idle
    ready.wait()
    return pool


def _prepare(name: str, images: list[Image.Image], threads: int, ready: Any) -> None:
    torch.set_num_threads(threads)
    _worker.update(find=FINDERS[name](), images=images)
    _worker["find"](images[-1].resize((160, 120)))  # the libraries' own start-up
    ready.wait()


def find(row: int) -> tuple:
    """The faces of photo `row`, in a worker process."""
    return _worker["find"](_worker["images"][row])


def equivalence(theirs: list[tuple], ours: list[tuple], images: list[Image.Image]) -> dict[str, Any]:
    """How far the two results lie apart, face by face, on the photos where they find equally many."""
    pixels, landmarks, overlap, differing = [0.0], [0.0], [1.0], 0
    for (boxes, scores, points), (own_boxes, _, own_points), image in zip(theirs, ours, images, strict=True):
        if (0 if boxes is None else len(boxes)) != len(own_boxes):
            differing += 1
            continue
        if boxes is None:
            continue
        order = np.argsort(-scores.astype(float), kind="stable")
        expected = boxes[order].clip(0, [*image.size, *image.size]).astype(np.float32)
        pixels.append(float(np.abs(expected - own_boxes).max()))
        landmarks.append(float(np.abs(points[order] - own_points).max()))
        overlap.append(float(box_iou(torch.from_numpy(expected), torch.from_numpy(own_boxes)).diagonal().min()))
    return {
        "faces": sum(len(boxes) for boxes, *_ in ours),
        "photos_with_another_number_of_faces": differing,
        "furthest_box_edge_pixels": round(max(pixels), 5),
        "furthest_landmark_pixels": round(max(landmarks), 5),
        "least_iou": round(min(overlap), 6),
    }


def profile(images: list[Image.Image], rounds: int = 5) -> None:
    """Print the milliseconds per photo that each stage takes on one thread; stages nest as they are indented."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    extractor, spent = FaceExtractor(), Counter[str]()

    def timed(label: str, function: Any) -> Any:
        def wrapped(*args: Any) -> Any:
            begin = time.process_time()
            result = function(*args)
            spent[label] += time.process_time() - begin
            return result

        return wrapped

    stages = {
        "table": (resampling.AreaPhotos, "__init__"),
        "proposals, all": (extractor, "_propose"),
        "  resizing": (resampling.AreaPhotos, "level"),
        "  P-Net": (extractor, "pnet"),
        "suppression, all": (detector, "suppressed"),
        "crops": (resampling.AreaPhotos, "crops"),
        "R-Net": (extractor, "rnet"),
        "O-Net": (extractor, "onet"),
    }
    originals = {label: getattr(owner, name) for label, (owner, name) in stages.items()}
    extractor.extract(images)
    for label, (owner, name) in stages.items():
        setattr(owner, name, timed(label, originals[label]))
    begin = time.process_time()
    for _ in range(rounds):
        extractor.extract(images)
    total = time.process_time() - begin
    for label, (owner, name) in stages.items():
        setattr(owner, name, originals[label])
    torch.set_num_threads(threads)
    print(f"stage, one thread{'ms per photo':>22}", file=sys.stderr)
    for label in (*stages, "all"):
        milliseconds = (total if label == "all" else spent[label]) / rounds / len(images) * 1000
        print(f"{label:<20}{milliseconds:>12.1f}", file=sys.stderr)


if __name__ == "__main__":
    run(main, Arguments)
