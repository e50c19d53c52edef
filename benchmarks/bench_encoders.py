"""What adding a column of vectors to a prepared dataset costs: ratios, each measured side by side in one run.

python benchmarks/bench_encoders.py --photos FOLDER
python benchmarks/bench_encoders.py                    # on drawn group photos

| figure | meaning |
|---|---|
| prepare_to_encoder | photos per second of `prepare.py --features`, one process, over timm alone on decoded photos |
| encoder_to_timm | photos per second of the package's encoder over timm alone (its transforms, a forward pass) |

Both in wall time and in processor time, which other processes on the machine disturb less.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import timm
import torch
from timm.models import save_for_hf

from ger_datasets.photos.reading import SUFFIXES, read_photo
from ger_datasets.preparation.column_sources import encoded_features
from ger_datasets.preparation.shards import Shard, ShardWriter, Work
from ger_datasets.records import Record
from ger_datasets.sample.drawing import draw_photo
from ger_datasets.schema import CLASS_NAMES
from ger_datasets.support.command_line import run
from ger_models.encoders.sources import EncodedColumn

CHUNK = 32  # photos per forward


@dataclass
class Arguments:
    photos: Path | None = field(default=None, metadata={"help": "Folder of photos. Default: 24 drawn group photos."})
    network: str = field(default="vit_small_patch16_224", metadata={"help": "A timm model; its weights are random."})
    rounds: int = field(default=5, metadata={"help": "How often each side of a ratio is measured."})


def main(arguments: Arguments) -> dict:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = timm.create_model(arguments.network, num_classes=0).eval()
        save_for_hf(network, folder / "network", safe_serialization=True)
        if arguments.photos is not None:
            photos = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in SUFFIXES)
        else:
            photos = drawn_photos(folder / "drawn")
        column = EncodedColumn("vector", f"timm:local-dir:{folder / 'network'}")
        return {
            "photos": len(photos),
            "network": arguments.network,
            **speed(photos, folder, network, column, arguments),
        }


def speed(
    photos: list[Path], folder: Path, network: torch.nn.Module, column: EncodedColumn, arguments: Arguments
) -> dict:
    """Adding the column to a shard, the encoder, and timm alone; the last two on decoded photos."""
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    images = [read_photo(path).image for path in photos]
    shard = Shard(
        "train-00000-of-00001.parquet", "train", [Record(str(i), path, "train", 0) for i, path in enumerate(photos)]
    )
    (folder / "data").mkdir()
    entry = ShardWriter(Work(folder, folder / "data", CLASS_NAMES)).write(shard, None, lambda: None)
    work = Work(folder, folder / "data", CLASS_NAMES, encoded_features([column]), [column])
    writer = ShardWriter(work)

    @torch.inference_mode()
    def bare() -> np.ndarray:
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        return np.concatenate([network(torch.stack([transform(image) for image in chunk])) for chunk in chunks])

    np.testing.assert_allclose(bare(), column.encoder.encode(images), atol=1e-4)  # also the warm-up
    sides: dict[str, Callable[[], object]] = {
        "timm": bare,
        "encoder": lambda: column.encoder.encode(images),
        "prepare": lambda: writer.write(shard, entry, lambda: None),
    }
    measured = [{name: seconds(work) for name, work in sides.items()} for _ in range(arguments.rounds)]
    figures = {}
    for figure, (fast, slow) in {
        "prepare_to_encoder": ("timm", "prepare"),
        "encoder_to_timm": ("timm", "encoder"),
    }.items():
        for i, clock in enumerate(("wall", "processor")):
            ratios = sorted(each[fast][i] / each[slow][i] for each in measured)
            figures[f"{figure}_{clock}"] = round(statistics.median(ratios), 3)
            figures[f"{figure}_{clock}_rounds"] = [round(ratio, 3) for ratio in ratios]
    processor = statistics.median(each["timm"][1] for each in measured)
    return {**figures, "timm_photos_per_processor_second": round(len(photos) / processor, 1)}


def drawn_photos(folder: Path) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.jpg" for i in range(24)]
    for i, path in enumerate(paths):
        draw_photo(rng, "Positive", 1 + i % 12)[0].save(path, quality=90)
    return paths


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time."""
    start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start[0], time.process_time() - start[1]


if __name__ == "__main__":
    run(main, Arguments)
