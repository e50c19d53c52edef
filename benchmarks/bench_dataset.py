"""What preparing and loading cost: ratios, each measured side by side in one run.

python benchmarks/bench_dataset.py --photos FOLDER
python benchmarks/bench_dataset.py                    # on drawn group photos

| figure | meaning |
|---|---|
| prepare_to_faces | photos per second of preparing, one process, over those of FaceExtractor alone on decoded photos |
| faces_to_facenet | photos per second of FaceExtractor over facenet-pytorch with a second pass for the features |
| prepare_to_facenet | photos per second of preparing, over preparing with facenet-pytorch so used in its place |
| two_processes | photos per second of preparing with two processes over one, one thread each, start-up left out |
| pruned_bytes | share of the dataset's bytes that reading face_features alone touches |
| load_seconds | load_dataset of `rows` rows, first time, and again |
| memory_growth | peak memory of preparing ten times as many photos over that of the fewer |
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import disable_progress_bars, load_dataset
from facenet_pytorch import MTCNN
from PIL import Image

from ger_datasets.faces import FaceExtractor, Faces
from ger_datasets.photos.reading import SUFFIXES, read_photo
from ger_datasets.preparation.run import prepare
from ger_datasets.preparation.shards import Shard, ShardWriter, Work
from ger_datasets.records import Record
from ger_datasets.sample.drawing import draw_photo
from ger_datasets.schema import CLASS_NAMES
from ger_datasets.support.command_line import run


@dataclass
class Arguments:
    photos: Path | None = field(default=None, metadata={"help": "Folder of photos. Default: 12 drawn group photos."})
    rounds: int = field(default=5, metadata={"help": "How often each side of a ratio is measured."})
    rows: int = field(default=4000, metadata={"help": "Rows that load_dataset loads; also the larger memory run."})
    peak_of: Path | None = field(
        default=None, metadata={"help": "Only prepare this raw folder; tell the peak memory."}
    )


def main(arguments: Arguments) -> dict:
    disable_progress_bars()
    if arguments.peak_of is not None:
        return peak_memory(arguments.peak_of)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = given_photos(arguments.photos) if arguments.photos else drawn_photos(folder / "drawn")
        return {
            "photos": len(photos),
            **speed(photos, folder, arguments.rounds),
            **processes(photos, folder, arguments.rounds),
            **loading(folder, arguments.rows),
        }


class Facenet:
    """facenet-pytorch behind FaceExtractor's door: what one would prepare with instead.

    It returns no features, so they take a second pass of its O-Net over the faces, as the original had it.
    """

    def __init__(self) -> None:
        self.mtcnn = MTCNN(keep_all=True)
        self.mtcnn.onet.prelu5.register_forward_hook(self._keep)

    def _keep(self, module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        self.hidden = output

    def extract(self, images: Sequence[Image.Image]) -> list[Faces]:
        return [self._faces(image) for image in images]

    def _faces(self, image: Image.Image) -> Faces:
        boxes, scores, landmarks = self.mtcnn.detect(image, landmarks=True)
        if boxes is None:
            return Faces.none()
        boxes = np.asarray(boxes, np.float32).clip(0, [*image.size, *image.size])
        features = self._features(image, boxes)
        return Faces(boxes, np.asarray(scores, np.float32), np.asarray(landmarks, np.float32), features)

    @torch.inference_mode()
    def _features(self, image: Image.Image, boxes: np.ndarray) -> np.ndarray:
        crops = [image.crop(tuple(int(edge) for edge in box)) for box in boxes]
        crops = [np.array(crop.resize((48, 48), Image.Resampling.BOX)) for crop in crops]
        pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()  # (faces, 3, 48, 48)
        self.mtcnn.onet((pixels - 127.5) * 0.0078125)
        return self.hidden.numpy()


def given_photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def drawn_photos(folder: Path) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{people}.jpg" for people in range(1, 13)]
    for people, path in enumerate(paths, start=1):
        draw_photo(rng, "Positive", people)[0].save(path, quality=90)
    return paths


def speed(photos: Sequence[Path], folder: Path, rounds: int) -> dict:
    """Preparing a shard against finding the faces of its photos, decoded beforehand."""
    extractor = FaceExtractor()
    images = [read_photo(path).image for path in photos]
    records = [Record(str(i), path, "train", 0) for i, path in enumerate(photos)]
    (folder / "data").mkdir()
    writer = ShardWriter(Work(folder, folder / "data", CLASS_NAMES))
    shard = Shard("train-00000-of-00001.parquet", "train", records)
    other = ShardWriter(Work(folder, folder / "data", CLASS_NAMES))
    other.detector = Facenet()
    ratios, gains, detections = [], [], []
    for i in range(rounds + 1):  # the first is the warm-up
        facenet = seconds(lambda: other.detector.extract(images))
        faces = seconds(lambda: extractor.extract(images))
        slower = seconds(lambda: other.write(shard, None, lambda: None))
        whole = seconds(lambda: writer.write(shard, None, lambda: None))  # last, so that its file is what is left
        if i:
            ratios.append(faces / whole)
            gains.append(slower / whole)
            detections.append(facenet / faces)
    metadata = pq.ParquetFile(folder / "data" / shard.name).metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(metadata.num_columns)]
    features = sum(c.total_compressed_size for c in chunks if c.path_in_schema.startswith("face_features."))
    return {
        "prepare_to_faces": round(statistics.median(ratios), 3),
        "of_rounds": rounded(ratios),
        "faces_to_facenet": round(statistics.median(detections), 2),
        "faces_rounds": rounded(detections),
        "prepare_to_facenet": round(statistics.median(gains), 2),
        "facenet_rounds": rounded(gains),
        "pruned_bytes": round(features / sum(chunk.total_compressed_size for chunk in chunks), 4),
    }


def processes(photos: Sequence[Path], folder: Path, rounds: int) -> dict:
    """Two processes that write half of the shards each against one that writes all, timed when all are warm."""
    half = len(photos) * -(-30 // len(photos))  # both halves hold all photos, equally often: the same work
    records = [Record(str(i), photos[i % len(photos)], "train", 0) for i in range(2 * half)]
    halves = [Shard("train-00000-of-00002.parquet", "train", records[:half])]
    halves.append(Shard("train-00001-of-00002.parquet", "train", records[half:]))
    work = Work(folder, folder / "data", CLASS_NAMES)
    ratios = []
    for _ in range(rounds):
        one = together([(work, halves)])
        two = together([(work, halves[:1]), (work, halves[1:])])
        ratios.append(one / two)
    return {"two_processes": round(statistics.median(ratios), 2), "two_of_rounds": rounded(ratios)}


def together(parts: Sequence[tuple[Work, Sequence[Shard]]]) -> float:
    """Seconds until all processes, one for each part, have written their shards; all begin at once."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(parts) + 1)
    workers = [context.Process(target=write_part, args=(*part, barrier)) for part in parts]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    elapsed = time.perf_counter() - start
    for worker in workers:
        worker.join()
    return elapsed


def write_part(work: Work, shards: Sequence[Shard], barrier: Any) -> None:
    torch.set_num_threads(1)
    writer = ShardWriter(work)
    for _ in range(2):
        writer.detector.extract([read_photo(shards[0].records[0].path).image])
    barrier.wait()
    for shard in shards:
        writer.write(shard, None, lambda: None)
    barrier.wait()


def link_photos(photos: Sequence[Path], raw: Path, count: int) -> int:
    """A raw folder in the GAF 3.0 layout that names the photos again and again."""
    for i in range(count):
        place = raw / "train" / CLASS_NAMES[i % 3] / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(photos[i % len(photos)].read_bytes())
    return count


def loading(folder: Path, rows: int) -> dict:
    """Loading many small photos, reading one column of them, and what their number does to the memory of preparing."""
    few, many = folder / "few", folder / "plenty"
    rng = np.random.default_rng(0)
    tiny = folder / "tiny"
    tiny.mkdir()
    paths = []
    for i in range(40):
        paths.append(tiny / f"{i}.jpg")
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(paths[-1], quality=90)
    link_photos(paths, few, rows // 10)
    link_photos(paths, many, rows)
    peaks = {}
    for raw in (few, many):
        command = [sys.executable, __file__, "--peak_of", str(raw)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[raw] = json.loads(done.stdout.splitlines()[-1])["peak_bytes"]
    output = many.with_name("plenty-out")
    first = seconds(lambda: load_dataset(str(output), cache_dir=str(folder / "cache")))
    again = seconds(lambda: load_dataset(str(output), cache_dir=str(folder / "cache")))
    return {
        "rows": rows,
        "load_seconds": [round(first, 2), round(again, 2)],
        "memory_growth": round(peaks[many] / peaks[few], 3),
        "peak_megabytes": [round(peaks[raw] / 1e6) for raw in (few, many)],
    }


def peak_memory(raw: Path) -> dict:
    prepare("gaf3", raw, raw.with_name(f"{raw.name}-out"), num_proc=1)
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def seconds(work: object) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rounded(ratios: Sequence[float]) -> list[float]:
    return [round(ratio, 3) for ratio in sorted(ratios)]


if __name__ == "__main__":
    run(main, Arguments)
