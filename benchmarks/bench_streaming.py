"""How much memory training takes from streams of few and of many photos.

python benchmarks/bench_streaming.py

| figure | meaning |
|---|---|
| few_megabytes, many_megabytes | the most memory that `train.py --streaming` and its workers held at once, median |
| many_to_few | of the two |
| many_photos_megabytes | what the photos of the larger dataset have as JPEG |

The photos are noise of about 100 kB, one model that sees them reduced to 64 pixels reads them all once.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
from bench_load import SCRIPTS, usage
from PIL import Image
from tqdm import tqdm

from ger_datasets.schema import CLASS_NAMES
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError

SIZE = (480, 640, 3)
SHARD = 250  # photos


@dataclass
class Arguments:
    few: int = field(default=1000, metadata={"help": "Photos of the smaller dataset."})
    many: int = field(default=6000, metadata={"help": "Photos of the larger dataset."})
    rounds: int = field(default=3, metadata={"help": "Runs of each, in turn."})


def main(arguments: Arguments) -> dict:
    if not Path("/proc/self/status").is_file():
        raise UserError("this benchmark reads /proc, which there is on Linux alone")
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in ("few", "many")}
        written = {name: write(folder, getattr(arguments, name)) for name, folder in folders.items()}
        held: dict[str, list[int]] = {name: [] for name in folders}
        for turn in range(arguments.rounds):
            for name, folder in folders.items():
                held[name].append(peak(folder, Path(place) / f"{name}_{turn}"))
    most = {name: statistics.median(peaks) for name, peaks in held.items()}
    return {
        "many_to_few": round(most["many"] / most["few"], 3),
        **{f"{name}_megabytes": round(peak / 1e6) for name, peak in most.items()},
        "many_photos_megabytes": round(written["many"] / 1e6),
    }


def write(folder: Path, photos: int) -> int:
    """A dataset of `photos` to train and 12 to validate; returns the bytes of the photos."""
    features = datasets.Features(
        image_id=datasets.Value("string"), image=datasets.Image(), label=datasets.ClassLabel(names=CLASS_NAMES)
    )
    (folder / "data").mkdir(parents=True)
    rng, total = np.random.default_rng(0), 0
    for split, count in (("train", photos), ("validation", 12)):
        shards = -(-count // SHARD)
        for shard in tqdm(range(shards), unit="shard", desc=split):
            rows = []
            for number in range(shard * SHARD, min(count, (shard + 1) * SHARD)):
                buffer = io.BytesIO()
                Image.fromarray(rng.integers(96, 160, SIZE, np.uint8)).save(buffer, "JPEG", quality=80)
                total += buffer.tell()
                rows.append(
                    {
                        "image_id": f"{split}/{number}",
                        "image": {"bytes": buffer.getvalue(), "path": None},
                        "label": number % 3,
                    }
                )
            name = f"{split}-{shard:05d}-of-{shards:05d}.parquet"
            datasets.Dataset.from_list(rows, features).to_parquet(folder / "data" / name)
    return total


def peak(dataset: Path, output: Path) -> int:
    """The most bytes that a training from `dataset` and its children held at once."""
    words = ["--model", "densenet_emotic", "--config_overrides", "backbone=test_resnet", "--initial_weights", "random"]
    words += ["--dataset", dataset, "--streaming", "--epochs", "1", "--output_dir", output]
    process = subprocess.Popen(
        [sys.executable, *map(str, [SCRIPTS / "train.py", *words])],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr), daemon=True)
    reader.start()
    most = 0
    while process.poll() is None:
        most = max(most, usage(process.pid)[0])
        time.sleep(0.1)
    reader.join()
    if process.returncode:
        raise UserError(f"train.py ended with {process.returncode}: {''.join(log)[-500:]}")
    return most


if __name__ == "__main__":
    run(main, Arguments)
