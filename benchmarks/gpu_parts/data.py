"""The photos that the other parts work on: drawn, prepared, and a longer dataset of the same photos; and versions."""

from __future__ import annotations

import importlib.metadata
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ger_datasets.preparation.run import prepare
from ger_datasets.sample.drawing import draw_sample
from ger_datasets.support.cpu_cores import usable_cores

from .part import Part


def part_data(part: Part) -> None:
    """Draw photos, prepare them, and write a longer dataset of the same photos."""

    names = ("torch", "torchvision", "timm", "transformers", "accelerate", "datasets", "pyarrow", "numpy",
             "facenet-pytorch")  # fmt: skip
    part.put("versions", {name: importlib.metadata.version(name) for name in names})
    part.put("cores", usable_cores())
    part.put("python", sys.version.split()[0])
    begin = time.perf_counter()
    draw_sample(part.work / "raw", part.size.photos, seed=0)
    drawn = time.perf_counter()
    part.put("seconds_drawing", round(drawn - begin, 1))
    prepare("sample", part.work / "raw", part.work / "drawn", num_proc=None if part.full else 1)
    part.put("seconds_preparing", round(time.perf_counter() - drawn, 1))
    if part.device == "cuda":
        about = torch.cuda.get_device_properties(0)
        part.put("gpu", {"name": about.name, "gigabytes": round(about.total_memory / 1e9, 1)})
    repeat(part.work / "drawn", part.work / "long", part.size.rows)


def repeat(short: Path, long: Path, rows: int) -> None:
    """The dataset `short` with its training photos again and again, under other names."""

    (long / "data").mkdir(parents=True)
    for path in sorted((short / "data").glob("*.parquet")):
        table = pq.read_table(path)
        if path.name.startswith("train"):
            tables = []
            for turn in range(-(-rows // len(table))):
                ids = pa.array([f"{turn}_{name}" for name in table["image_id"].to_pylist()], pa.string())
                tables.append(table.set_column(table.column_names.index("image_id"), "image_id", ids))
            table = pa.concat_tables(tables)
        pq.write_table(table, long / "data" / path.name, row_group_size=64, compression="none")
