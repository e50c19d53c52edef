"""What the loader feeds, against its limit and against a plain loop over files: ratios, all in turn in one run.

python benchmarks/bench_loading.py --dataset ger_datasets/gaf3
python benchmarks/bench_loading.py                    # on drawn group photos, prepared for the purpose

| figure | meaning |
|---|---|
| to_limit | photos per second of the loader over decoding the same JPEG bytes with Pillow and nothing else |
| to_fastest_decoder | the same, over decoding with simplejpeg, which the loader itself decodes with |
| to_plain | the same, over Image.open and torchvision's transforms for each file |
| processor_to_limit | as to_limit, of the processor time of all processes: less sensitive to other programs (Linux) |
| processor_ms | processor time of the loader for each photo, all processes |

All have the same rows, the same number of workers, and start anew each epoch with their workers running.
"""

from __future__ import annotations

import io
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import simplejpeg
import torch
from datasets import Dataset, disable_progress_bars
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from tqdm import tqdm

from ger_datasets.loading.rows import Rows
from ger_datasets.loading.splits import load_splits
from ger_datasets.preparation.run import prepare
from ger_datasets.sample.drawing import draw_sample
from ger_datasets.support.command_line import run
from ger_models.presets import preset
from ger_models.processing_ger import IMAGENET_MEAN, IMAGENET_STD, GerProcessor
from ger_models.training.loading.batching import Collator, make_loader

PRESETS = ("densenet_emotic", "face_aligned")


@dataclass
class Arguments:
    dataset: str | None = field(default=None, metadata={"help": "Prepared dataset. Default: 48 drawn group photos."})
    photos: int = field(default=960, metadata={"help": "Photos per epoch; those of the dataset, again and again."})
    num_workers: int = field(default=2, metadata={"help": "Processes of each."})
    rounds: int = field(default=5, metadata={"help": "Epochs of each that are measured."})


def main(arguments: Arguments) -> dict:
    disable_progress_bars()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        dataset = arguments.dataset or str(drawn(Path(name)))
        for model in PRESETS:
            folder = Path(name) / model
            folder.mkdir()
            figures[model] = compare(model, dataset, folder, arguments)
    return {"num_workers": arguments.num_workers, **figures}


def drawn(folder: Path) -> Path:
    logging.getLogger("ger_datasets").setLevel(logging.WARNING)
    draw_sample(folder / "raw", {"train": 48, "validation": 3, "test": 3}, seed=0)
    prepare("sample", folder / "raw", folder / "drawn", num_proc=1)
    return folder / "drawn"


def compare(model: str, dataset: str, folder: Path, arguments: Arguments) -> dict:
    chosen = preset(model)
    split = load_splits(dataset, chosen.columns, ("train",))["train"]
    rows = split.select([i % len(split) for i in range(arguments.photos)])
    options = {"batch_size": chosen.recipe.batch_size, "num_workers": arguments.num_workers}
    processor = GerProcessor(columns=chosen.processor_columns(), **chosen.processor)
    files = written(split, chosen.columns[0], processor.max_faces, folder)
    workers = {**options, "persistent_workers": arguments.num_workers > 0, "shuffle": True}
    contenders: dict[str, Iterable] = {
        "ours": make_loader(rows, Collator(processor, train_seed=0), **options, seed=0),
        "pillow": DataLoader(Rows(rows), collate_fn=Decoding(with_pillow, processor), **workers),
        "simplejpeg": DataLoader(Rows(rows), collate_fn=Decoding(simplejpeg.decode_jpeg, processor), **workers),
        "plain": DataLoader(
            Files([files[i % len(files)] for i in range(len(rows))], PLAIN[model]), collate_fn=plain_batch, **workers
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    processor: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in tqdm(range(arguments.rounds + 1), unit="round", desc=model):
        for name, batches in contenders.items():
            start, before = time.perf_counter(), processor_seconds(batches)
            for _ in batches:
                pass
            if turn:  # the first starts the workers
                seconds[name].append(time.perf_counter() - start)
                processor[name].append(processor_seconds(batches) - before)
    figures: dict[str, Any] = {"photos_per_second": round(len(rows) / statistics.median(seconds["ours"]))}
    figures["images_per_photo"] = round(sum(map(len, files)) / len(files), 2)
    for name, other in (("to_limit", "pillow"), ("to_fastest_decoder", "simplejpeg"), ("to_plain", "plain")):
        ratios = [theirs / ours for theirs, ours in zip(seconds[other], seconds["ours"], strict=True)]
        figures[name] = round(statistics.median(ratios), 2)
        figures[f"{name}_rounds"] = [round(ratio, 2) for ratio in sorted(ratios)]
    if all(processor["ours"]):
        ratios = [theirs / ours for theirs, ours in zip(processor["pillow"], processor["ours"], strict=True)]
        figures["processor_to_limit"] = round(statistics.median(ratios), 2)
        figures["processor_to_limit_rounds"] = [round(ratio, 2) for ratio in sorted(ratios)]
        figures["processor_ms"] = round(statistics.median(processor["ours"]) / len(rows) * 1000, 3)
    return figures


def processor_seconds(batches: Any) -> float:
    """Processor time so far of this process and of the loader's workers; 0 where Linux does not report it."""
    workers = getattr(getattr(batches, "_iterator", None), "_workers", ())
    files = [
        f for pid in (os.getpid(), *(w.pid for w in workers)) for f in Path(f"/proc/{pid}/task").glob("*/schedstat")
    ]
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def with_pillow(data: bytes) -> None:
    Image.open(io.BytesIO(data)).load()


class Decoding:
    """Decodes the images of a batch and throws them away."""

    def __init__(self, decode: Callable[[bytes], object], processor: GerProcessor) -> None:
        self.decode, self.processor = decode, processor

    def __call__(self, rows: Sequence[dict]) -> int:
        (column,) = self.processor.columns
        for row in rows:
            for image in row[column][: self.processor.max_faces] if isinstance(row[column], list) else [row[column]]:
                self.decode(image["bytes"])
        return len(rows)


def written(split: Dataset, column: str, max_faces: int, folder: Path) -> list[list[Path]]:
    """The images of each row as files, byte for byte."""
    files = []
    for i, row in enumerate(Rows(split).__getitems__(range(len(split)))):
        images = row[column][:max_faces] if isinstance(row[column], list) else [row[column]]
        files.append([folder / f"{i}_{k}.jpg" for k in range(len(images))])
        for path, image in zip(files[-1], images, strict=True):
            path.write_bytes(image["bytes"])
    return files


class Files:
    """What one writes without this package: the files of a photo, opened and transformed one by one."""

    def __init__(self, files: Sequence[Sequence[Path]], transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        return [self.transform(Image.open(path).convert("RGB")) for path in self.files[index]]


def plain_batch(photos: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
    return torch.stack([image for photo in photos for image in photo])


PLAIN = {
    "densenet_emotic": transforms.Compose(
        [
            transforms.RandomResizedCrop(224, scale=(0.35, 1), ratio=(3 / 4, 4 / 3)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    ),
    "face_aligned": transforms.Compose(
        [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    ),
}


if __name__ == "__main__":
    run(main, Arguments)
