"""Many small photos through prepare.py and predict.py, a run each: does it stay as fast and as small as it began?

python benchmarks/bench_load.py

| figure | meaning |
|---|---|
| photos_per_second | from the first finished thousandth of the photos to the last |
| last_to_first | photos per second of the last tenth over those of the first tenth |
| last_to_first_cpu | the same per second of processor time, which what else runs on the machine changes less |
| memory_growth | the most memory that the processes held in the last tenth over that in the second tenth |
| handles_growth | open files in the last tenth less those in the second tenth |

The photos are drawn people, reduced to 64 x 48 pixels and turned in colour, so that no two are alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ger_datasets.sample.drawing import draw_photo
from ger_datasets.schema import CLASS_NAMES
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError
from ger_models.presets import build

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
SIZE = (64, 48)
DRAWN = 30  # different photos, from which the others are made
EVERY = 0.1  # seconds between two looks


@dataclass
class Arguments:
    photos: int = field(default=10_000, metadata={"help": "How many, at least 1,000."})
    num_proc: int = field(default=1, metadata={"help": "Processes that prepare."})


@dataclass
class Look:
    """What was seen at one moment: seconds, photos that are done, bytes, open files, seconds of processor time."""

    seconds: float
    photos: int
    bytes: int
    handles: int
    cpu: float


def main(arguments: Arguments) -> dict:
    if not Path("/proc/self/fd").is_dir():
        raise UserError("this benchmark reads /proc, which there is on Linux alone")
    if arguments.photos < 1000:
        raise UserError(f"--photos must be 1,000 or more, not {arguments.photos}")
    with tempfile.TemporaryDirectory() as place:
        raw, prepared, model, table = (Path(place) / name for name in ("raw", "prepared", "model", "p.parquet"))
        draw(raw, arguments.photos)
        torch.manual_seed(0)
        checkpoint, processor = build("densenet_emotic", CLASS_NAMES, overrides="backbone=test_resnet")
        checkpoint.save_pretrained(model)
        processor.resize_shorter, processor.crop_size = 72, 64
        processor.save_pretrained(model)
        command = ["prepare.py", "--dataset", "gaf3", "--source", raw, "--output", prepared]
        looks = watched([*command, "--num_proc", arguments.num_proc], lambda: 100 * count(prepared, "manifest/*.json"))
        figures = {f"prepare_{name}": value for name, value in told(looks, arguments.photos).items()}
        command = ["predict.py", "--model", model, "--dataset", prepared, "--split", "train", "--output", table]
        part = -(-arguments.photos // 64) if arguments.photos > 64 * 16 else 16
        looks = watched([*command, "--device", "cpu"], lambda: part * count(table.parent, ".p.parquet.parts-*/*.json"))
        figures |= {f"predict_{name}": value for name, value in told(looks, arguments.photos).items()}
    return {"photos": arguments.photos, **figures}


def draw(raw: Path, photos: int) -> None:
    """`photos` photos to train and three in val, in GAF 3.0's layout."""
    rng = np.random.default_rng(0)
    drawn = [np.asarray(draw_photo(rng, CLASS_NAMES[i % 3], 1 + i % 9)[0].resize(SIZE)) for i in range(DRAWN)]
    for number in tqdm(range(photos + 3), unit="photo", desc="drawing"):
        name = CLASS_NAMES[number % 3]
        folder = raw / ("train" if number < photos else "val") / name
        folder.mkdir(parents=True, exist_ok=True)
        shades = drawn[number % DRAWN] * rng.uniform(0.6, 1, 3) + rng.normal(0, 3, (SIZE[1], SIZE[0], 3))
        Image.fromarray(shades.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=92)


def count(folder: Path, pattern: str) -> int:
    return sum(1 for _ in folder.glob(pattern))


def watched(command: list[object], done: Callable[[], int]) -> list[Look]:
    """Run a script and look at it again and again: the photos that are done, its memory and its open files."""
    looks, start = [], time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *map(str, [SCRIPTS / str(command[0]), *command[1:]])],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    with tempfile.TemporaryFile("w+") as log:
        reader = threading.Thread(target=lambda: log.writelines(process.stderr), daemon=True)
        reader.start()
        while process.poll() is None:
            held, handles, cpu = usage(process.pid)
            looks.append(Look(time.monotonic() - start, done(), held, handles, cpu))
            time.sleep(EVERY)
        reader.join()
        if process.returncode:
            log.seek(0)
            raise UserError(f"{command[0]} ended with {process.returncode}: {log.read()[-500:]}")
    return looks


def usage(pid: int) -> tuple[int, int, float]:
    """Memory in bytes, open files and processor time in seconds of a process and its children."""
    held, handles, ticks = 0, 0, 0
    for one in [pid, *children(pid)]:
        try:
            status = Path(f"/proc/{one}/status").read_text()
            held += sum(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
            handles += len(list(Path(f"/proc/{one}/fd").iterdir()))
            ticks += sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]))
        except OSError:  # it has ended
            continue
    return held, handles, ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def told(looks: list[Look], photos: int) -> dict[str, float]:
    """The figures, from looks at a whole run; tenths are counted from the first finished piece of work."""
    working = [look for before, look in pairwise(looks) if look.photos > before.photos]
    seconds, counts = np.array([look.seconds for look in working]), np.array([look.photos for look in working])
    cpu = np.array([look.cpu for look in working])
    first, last = counts[0], min(counts[-1], photos)
    tenth = (last - first) / 10

    def at(share: float, clock: np.ndarray = seconds) -> float:
        return float(np.interp(first + share * tenth, counts, clock))

    begin, second, end = at(1), at(2), at(9)
    early = [look for look in looks if begin <= look.seconds <= second]
    late = [look for look in looks if end <= look.seconds <= at(10)]
    return {
        "photos_per_second": round((last - first) / (at(10) - at(0)), 1),
        "last_to_first": round((at(1) - at(0)) / (at(10) - at(9)), 3),
        "last_to_first_cpu": round((at(1, cpu) - at(0, cpu)) / (at(10, cpu) - at(9, cpu)), 3),
        "memory_growth": round(max(look.bytes for look in late) / max(look.bytes for look in early), 3),
        "memory_megabytes": round(max(look.bytes for look in looks) / 1e6),
        "handles_growth": max(look.handles for look in late) - max(look.handles for look in early),
    }


if __name__ == "__main__":
    run(main, Arguments)
