"""Splits that are read as training goes: every row, in a new order each epoch, on any number of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from hub_server import HubServer

from ger_datasets.loading.splits import load_splits
from ger_datasets.loading.stream import Stream
from ger_datasets.support.errors import UserError
from ger_models import GerProcessor
from ger_models.training.dataset_checks import check_trainable, scene_dim
from ger_models.training.loading import streaming as streams
from ger_models.training.loading.batching import Collator, make_loader, rest_of, set_epoch

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def shards(drawn_dataset: Path, tmp_path: Path) -> Path:
    """The drawn dataset, its train split in shards of 3, 11 and 4 rows."""
    return cut(drawn_dataset, tmp_path / "shards", [3, 11, 4])


def cut(dataset: Path, folder: Path, sizes: list[int]) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_bytes((dataset / "README.md").read_bytes())
    for path in (dataset / "data").glob("*.parquet"):
        table, start = pq.read_table(path), 0
        split = path.name.split("-")[0]
        for i, size in enumerate(sizes if split == "train" else [len(table)]):
            name = f"{split}-{i:05d}-of-{len(sizes) if split == 'train' else 1:05d}.parquet"
            pq.write_table(table.slice(start, size), folder / "data" / name, row_group_size=4)
            start += size
    return folder


def stream_of(folder: Path, *columns: str, split: str = "train") -> Stream:
    return load_splits(str(folder), columns, [split], streaming=True)[split]


def loader_of(stream: Stream, processes: int = 1, process: int = 0, **options: object) -> torch.utils.data.DataLoader:
    options = {"batch_size": 4, "seed": 3, **options}
    processor = GerProcessor(
        columns=[name for name in stream.column_names if name not in ("image_id", "label")],
        resize_shorter=36,
        crop_size=32,
    )
    patched = SimpleNamespace(process_index=process, num_processes=processes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "PartialState", lambda: patched)
        loader = make_loader(stream, Collator(processor, train_seed=0), **options)
    return prepare_data_loader(loader, num_processes=processes, process_index=process)


def ids(loader: Iterable[dict]) -> list[list[str]]:
    return [batch["image_ids"] for batch in loader]


def test_a_stream_tells_what_a_dataset_tells(shards: Path) -> None:
    columns = ["image", "aligned_faces", "skeleton", "scene_feature"]
    stream, split = stream_of(shards, *columns), load_splits(str(shards), columns, ["train"])["train"]
    assert len(stream) == len(split) == 18
    assert set(stream.column_names) == set(split.column_names)
    assert stream.features["label"].names == split.features["label"].names
    assert stream["label"] == list(split["label"])
    assert scene_dim(stream) == scene_dim(split) == 0
    assert stream.is_empty("skeleton")
    assert not stream.is_empty("aligned_faces")
    decoded = GerProcessor(columns=columns[:2])([split[i] for i in range(3)])
    rows = [row for _, row in zip(range(3), stream.in_order(), strict=False)]
    assert all(torch.equal(decoded[name], made) for name, made in GerProcessor(columns=columns[:2])(rows).items())


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_row_once_whatever_the_shards(processes: int, shards: Path) -> None:
    """Two processes cannot share three shards, and take every second row; three take one shard each, of 3, 11, 4."""
    stream = stream_of(shards, "face_features")
    everywhere = Counter[str]()
    lengths = set()
    for process in range(processes):
        loader = loader_of(stream, processes, process)
        own = ids(loader)
        assert len(own) == len(loader)
        lengths.add(len(own))
        everywhere.update({name for batch in own for name in batch})
        if processes == 1:
            assert sorted(name for batch in own for name in batch) == sorted(stream["image_id"])
        else:
            assert {len(batch) for batch in own} == {4}
    assert lengths == {{1: 5, 2: 3, 3: 3}[processes]}, "all processes make equally many steps"
    assert sorted(everywhere) == sorted(stream["image_id"])
    assert set(everywhere.values()) == {1}, "no row is in the shares of two processes"


@pytest.mark.parametrize("processes", [1, 2])
def test_validation_reads_every_row_in_its_order(processes: int, shards: Path) -> None:
    stream = stream_of(shards, "face_features")
    own = [ids(loader_of(stream, processes, process, seed=None)) for process in range(processes)]
    together = [name for step in zip(*own, strict=True) for batch in step for name in batch]
    assert together[:18] == stream["image_id"]


def test_the_order_is_the_seeds_and_the_epochs_whatever_the_workers(shards: Path) -> None:
    stream = stream_of(shards, "image", "face_features")
    plain, workers = loader_of(stream), loader_of(stream, num_workers=2)
    orders = []
    for epoch in (1, 2):
        for loader in (plain, workers):
            set_epoch(loader, epoch)
        made = list(plain)
        for one, other in zip(made, workers, strict=True):
            assert one["image_ids"] == other["image_ids"]
            assert torch.equal(one["pixel_values"], other["pixel_values"])
            assert torch.equal(one["face_features"], other["face_features"])
        orders.append([batch["image_ids"] for batch in made])
    assert orders[0] != orders[1]
    assert ids(loader_of(stream, seed=4)) != ids(loader_of(stream))
    assert rest_of(plain, 0) is plain, "running workers are kept"


def test_what_is_skipped_is_not_decoded(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = loader_of(stream_of(shards, "image"))
    whole, decoded = ids(loader), []
    raw = GerProcessor.raw
    monkeypatch.setattr(GerProcessor, "raw", lambda self, rows, g: decoded.extend(rows) or raw(self, rows, g))
    assert ids(rest_of(loader, 3)) == whole[3:]
    assert len(decoded) == 6


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([7, 3, 0], "12 of 18 photos .* 'train' of .* none of the 3 classes: .* has [73], .*and 9 more"),
        ([-1, 0, 1], "6 of 18 photos .* have no label"),
        ([None, 0, 1], "6 of 18 photos .* have no label"),
        ([-2, 0, 1], "6 of 18 photos .* has -2"),
    ],
)
def test_labels_that_cannot_be_learned(
    labels: list[int | None], words: str, streaming: bool, shards: Path, tmp_path: Path
) -> None:
    for path in (shards / "data").glob("train-*.parquet"):
        table = pq.read_table(path)
        place = table.column_names.index("label")
        numbers = [labels[int(name.split("_")[-1].split(".")[0]) % 3] for name in table["image_id"].to_pylist()]
        changed = table.set_column(place, table.field("label"), pa.array(numbers, pa.int64()))
        pq.write_table(changed, path)
    data = load_splits(str(shards), ["face_features"], ["train"], streaming=streaming)
    with pytest.raises(UserError, match=words):
        check_trainable("it", data, ["face_features"])


def test_what_a_stream_cannot_do(shards: Path, tmp_path: Path) -> None:
    stream = stream_of(shards, "face_features")
    with pytest.raises(UserError, match="'balanced' needs random access: leave --streaming out"):
        loader_of(stream, sampling="balanced")
    with pytest.raises(UserError, match="has no skeleton_x"):
        check_trainable("it", {"train": stream}, ["skeleton_x"])
    with pytest.raises(UserError, match="the column skeleton of it is empty"):
        check_trainable("it", {"train": stream_of(shards, "skeleton")}, ["skeleton"])
    with pytest.raises(UserError, match="no split 'challenge'"):
        stream_of(shards, "image", split="challenge")
    with pytest.raises(UserError, match=r"no folder .*nothing"):
        stream_of(tmp_path / "nothing", "image")
    with pytest.raises(UserError, match="process 3 of 20 has no rows"):
        ids(loader_of(stream_of(cut(shards, tmp_path / "few", [2]), "face_features"), 20, 3))


@pytest.mark.slow
def test_training_from_uneven_shards_on_two_processes(shards: Path, tmp_path: Path) -> None:
    """One shard in the end has a single row: no process waits for the other for ever."""
    folder = cut(shards, tmp_path / "uneven", [1, 2])
    arguments = ["--model", "features_crossvit", "--dataset", folder, "--output_dir", tmp_path / "run"]
    arguments += ["--epochs", 2, "--batch_size", 2, "--streaming"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(word) for word in (*command, ROOT / "scripts" / "train.py", *arguments)],
        capture_output=True, text=True, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [epoch["step"] for epoch in metrics["history"]] == [1, 2]
    assert sum(map(sum, metrics["validation"]["confusion_matrix"])) == 6


@pytest.mark.slow
def test_streaming_from_the_hub(shards: Path, tmp_path: Path) -> None:
    """Only the columns that are asked for come over the line."""
    code = (
        "import sys, json; from ger_datasets.preparation.push import push_dataset; from pathlib import Path;"
        "from ger_datasets.loading.splits import load_splits;"
        "from ger_models.training.dataset_checks import check_trainable;"
        "push_dataset(Path(sys.argv[1]), 'me/shards');"
        "data = load_splits('me/shards', ['face_features'], ['train'], streaming=True);"
        "check_trainable('me/shards', data, ['face_features']);"
        "stream = data['train'];"
        "print(json.dumps([stream['image_id'], [row['image_id'] for row in stream.shuffled(0, 1, 0, 1)]]))"
    )
    with HubServer(tmp_path / "hub", token="hf_testtokentesttoken") as hub:
        environment = hub.environment(tmp_path / "home")
        command = [sys.executable, "-c", code, str(shards)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    everything, streamed = json.loads(done.stdout.splitlines()[-1])
    assert sorted(streamed) == sorted(everything) != streamed
    assert not list((tmp_path / "home").rglob("*.arrow")), "no cache is filled"
