"""What preparing and loading cost: ratios, each measured side by side in one run.

python benchmarks/bench_dataset.py --photos FOLDER
python benchmarks/bench_dataset.py                    # on drawn group photos

| figure | meaning |
|---|---|
| prepare_to_faces | photos per second of preparing, one process, over those of FaceExtractor alone on decoded photos |
| two_processes | photos per second of preparing with two processes over one, start-up left out |
| pruned_bytes | share of the dataset's bytes that reading face_features alone touches |
| load_seconds | load_dataset of `rows` rows, first time, and again |
| memory_growth | peak memory of preparing ten times as many photos over that of the fewer |
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from datasets import disable_progress_bars, load_dataset
from PIL import Image

from ger_datasets.cli import run
from ger_datasets.faces import FaceExtractor
from ger_datasets.photos import SUFFIXES, read_photo
from ger_datasets.prepare import prepare
from ger_datasets.records import Record
from ger_datasets.sample.drawing import draw_photo
from ger_datasets.schema import CLASS_NAMES
from ger_datasets.shards import Shard, ShardWriter, Work


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
    ratios = []
    for i in range(rounds + 1):  # the first is the warm-up
        faces = seconds(lambda: extractor.extract(images))
        whole = seconds(lambda: writer.write(shard, None, lambda: None))
        if i:
            ratios.append(faces / whole)
    return {"prepare_to_faces": round(statistics.median(ratios), 3), "of_rounds": rounded(ratios)}


def processes(photos: Sequence[Path], folder: Path, rounds: int) -> dict:
    """Two processes that prepare at the same time against one, each half of the work; they say when they begin."""
    raw = folder / "many"
    ratios = []
    linked = link_photos(photos, raw, max(200, len(photos)))
    for i in range(rounds):
        times = {}
        for num_proc in (1, 2):
            output = folder / f"out-{i}-{num_proc}"
            times[num_proc] = steady_seconds(raw, output, num_proc)
        ratios.append(times[1] / times[2])
    return {
        "two_processes": round(statistics.median(ratios), 2),
        "two_of_rounds": rounded(ratios),
        "of_photos": linked,
    }


def link_photos(photos: Sequence[Path], raw: Path, count: int) -> int:
    """A raw folder in the GAF 3.0 layout that names the photos again and again."""
    for i in range(count):
        place = raw / "train" / CLASS_NAMES[i % 3] / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(photos[i % len(photos)].read_bytes())
    return count


def steady_seconds(raw: Path, output: Path, num_proc: int) -> float:
    """Seconds from the first photo that is done to the last shard, by the prepared files' own times."""
    from ger_datasets import prepare as module

    shown: list[float] = []

    class Bar(module.tqdm):
        def update(self, n: int = 1) -> None:
            if n:
                shown.append(time.perf_counter())
            super().update(n)

    original, module.tqdm = module.tqdm, Bar
    try:
        prepare("gaf3", raw, output, num_proc=num_proc)
    finally:
        module.tqdm = original
    return time.perf_counter() - shown[0]


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
    one_column = whole = 0
    for path in sorted((output / "data").glob("*.parquet")):
        metadata = pq.ParquetFile(path).metadata
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(column)
                whole += chunk.total_compressed_size
                one_column += chunk.total_compressed_size * chunk.path_in_schema.startswith("face_features.")
    return {
        "rows": rows,
        "load_seconds": [round(first, 2), round(again, 2)],
        "memory_growth": round(peaks[many] / peaks[few], 3),
        "peak_megabytes": [round(peaks[raw] / 1e6) for raw in (few, many)],
        "pruned_bytes": round(one_column / whole, 4),
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
