"""Records -> columns -> Parquet shards and a card: a folder that `datasets.load_dataset` opens.

Shards are the unit of work. Each is written under a temporary name, renamed when whole, and entered in the manifest;
a run that was stopped is taken up by running it again. What is written depends on the photos and the settings alone,
not on the number of processes: each works with one thread, so that every sum is taken in the same order.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from . import schema
from .builders import Builder, builder_class
from .cards import write_card
from .columns import encoded, photo_columns
from .errors import BadPhoto, UserError
from .faces import FaceExtractor, Faces
from .files import write_text
from .manifest import Manifest
from .photos import Photo, printable, read_photo
from .processes import usable_cores
from .records import Record

logger = logging.getLogger(__name__)

SHARD_ROWS = 100  # at most; also about what a crash can cost each process
ROW_GROUP_ROWS = 25  # what is held in memory, and what a streaming reader fetches at once


@dataclass(frozen=True)
class Shard:
    """One Parquet file to be: its name and the records that go into it, in order."""

    name: str
    split: str
    records: Sequence[Record]


def row(record: Record, photo: Photo, faces: Faces) -> dict[str, Any]:
    """The row of one photo, as `schema.features` has it."""
    columns = photo_columns(photo.image, faces)
    columns["image"] = {"bytes": photo.encoded, "path": None}  # as they are: encoding them again would lose
    told = {"image_id": record.image_id, "label": record.label, "group": record.group}
    return {**told, **encoded(columns), **record.extras}


def plan_shards(records: Sequence[Record], limit: int | None = None) -> list[Shard]:
    """The shards of all splits.

    Photos are put in the order of a hash of their image_id: the same everywhere, and mixed, so that every shard and
    every `limit` (photos per split) holds all classes.
    """
    shards = []
    by_split: dict[str, list[Record]] = {split: [] for split in schema.SPLITS}
    for record in records:
        by_split.setdefault(record.split, []).append(record)
    for split, members in by_split.items():
        members.sort(key=lambda record: hashlib.sha256(record.image_id.encode()).digest())
        members = members[:limit]
        count = -(-len(members) // SHARD_ROWS)
        for i in range(count):
            part = members[i * len(members) // count : (i + 1) * len(members) // count]
            shards.append(Shard(f"{split}-{i:05d}-of-{count:05d}.parquet", split, part))
    return shards


class ShardWriter:
    """Turns shards into files; one per process, so that the networks are loaded once.

    Args:
        source: the raw folder; quarantined files are named relative to it.
        data_folder: where the files go.
        class_names: the names of the labels.
    """

    def __init__(self, source: Path, data_folder: Path, class_names: Sequence[str]) -> None:
        self.source, self.data_folder, self.class_names = source, data_folder, class_names
        self.schema = schema.features(class_names).arrow_schema
        self.extractor = FaceExtractor()

    def write(self, shard: Shard, advance: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """Write `shard` whole or not at all; `advance` is called after each photo. Returns its manifest entry."""
        entry: dict[str, Any] = {"split": shard.split, "rows": 0, "labels": {}, "faces": {}, "quarantined": []}
        path = self.data_folder / shard.name
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with pq.ParquetWriter(temporary, self.schema, compression="snappy") as writer:
                for rows in _groups(self._rows(shard, entry, advance), ROW_GROUP_ROWS):
                    writer.write_table(pa.Table.from_pylist(rows, schema=self.schema))
            entry["bytes"] = temporary.stat().st_size
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return entry

    def _rows(self, shard: Shard, entry: dict[str, Any], advance: Callable[[], object]) -> Iterator[dict[str, Any]]:
        for record in shard.records:
            try:
                photo = read_photo(record.path)
            except BadPhoto as reason:
                file = printable(os.path.relpath(record.path, self.source))
                entry["quarantined"].append({"image_id": record.image_id, "file": file, "reason": str(reason)})
            else:
                (faces,) = self.extractor.extract([photo.image])
                entry["rows"] += 1
                for counts, key in ((entry["labels"], str(record.label)), (entry["faces"], str(len(faces)))):
                    counts[key] = counts.get(key, 0) + 1
                yield row(record, photo, faces)
            advance()


def prepare(
    dataset: str, source: Path, output: Path, num_proc: int | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Prepare the raw folder `source` of the dataset named `dataset` into the folder `output`.

    Args:
        dataset: a name in `builders.BUILDERS`.
        source: the raw download.
        output: gets `data/SPLIT-*.parquet`, `README.md` (the card), `manifest.json` and `quarantine.jsonl`.
        num_proc: processes, one thread each; None: as many as there are cores.
        limit: at most so many photos per split.

    Returns:
        the run's figures: photos, rows, faces, and how many photos were faceless or quarantined.

    Raises:
        UserError: nothing to prepare, a folder that holds something else, a disk that is full or read-only.
    """
    if num_proc is not None and num_proc < 1:
        raise UserError(f"num_proc must be 1 or more, not {num_proc}")
    if limit is not None and limit < 1:
        raise UserError(f"limit must be 1 or more, not {limit}")
    builder = builder_class(dataset)(source)
    shards = plan_shards(builder.records(), limit)
    try:
        return _prepare(dataset, builder, shards, source, output, num_proc)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror or error}") from error


def _prepare(
    dataset: str, builder: Builder, shards: list[Shard], source: Path, output: Path, num_proc: int | None
) -> dict[str, Any]:
    data_folder = output / "data"
    writer = ShardWriter(source, data_folder, builder.class_names)
    ids = sorted(record.image_id for shard in shards for record in shard.records)
    settings = {
        "dataset": dataset,
        "class_names": list(builder.class_names),
        "photos": len(ids),
        "photos_sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        "shard_rows": SHARD_ROWS,
        "detector": writer.extractor.settings,
    }
    manifest = Manifest(output, settings)
    data_folder.mkdir(parents=True, exist_ok=True)
    wanted = [s for s in shards if s.name not in manifest.shards or not (data_folder / s.name).exists()]
    if len(wanted) < len(shards):
        logger.info("%d of %d shards are there already", len(shards) - len(wanted), len(shards))

    processes = min(num_proc or usable_cores(), len(wanted))
    total = sum(len(shard.records) for shard in wanted)
    with tqdm(total=total, unit="photo", desc=f"preparing {dataset}", mininterval=0.5) as bar:
        work = _write_here(writer, wanted, bar) if processes <= 1 else _write_in(processes, writer, wanted, bar)
        for shard, entry in work:
            manifest.add(shard.name, entry)

    entries = [manifest.shards[shard.name] for shard in shards]
    quarantined = [line for entry in entries for line in entry["quarantined"]]
    write_text(output / "quarantine.jsonl", "".join(json.dumps(line) + "\n" for line in quarantined))
    if quarantined:
        logger.warning(
            "%d photos cannot be used: %s says which and why", len(quarantined), output / "quarantine.jsonl"
        )
    for split in dict.fromkeys(shard.split for shard in shards):
        if not any(entry["rows"] for entry in entries if entry["split"] == split):
            raise UserError(f"the split {split} is empty: every photo of it is in {output / 'quarantine.jsonl'}")
    write_card(output, dataset, builder, entries, settings)
    return {
        "dataset": dataset,
        "photos": len(ids),
        "rows": sum(entry["rows"] for entry in entries),
        "faces": sum(int(n) * photos for entry in entries for n, photos in entry["faces"].items()),
        "faceless": sum(entry["faces"].get("0", 0) for entry in entries),
        "quarantined": len(quarantined),
        "output": str(output),
    }


def _write_here(writer: ShardWriter, shards: list[Shard], bar: tqdm) -> Iterator[tuple[Shard, dict[str, Any]]]:
    """Write the shards in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for shard in shards:
            yield shard, writer.write(shard, bar.update)
    finally:
        torch.set_num_threads(threads)


def _write_in(
    processes: int, writer: ShardWriter, shards: list[Shard], bar: tqdm
) -> Iterator[tuple[Shard, dict[str, Any]]]:
    """Write the shards in several processes; yields each as it is done."""
    context = multiprocessing.get_context("spawn")  # torch and fork do not go together
    done = context.Value("q", 0)
    start = (writer.source, writer.data_folder, writer.class_names, done)
    with ProcessPoolExecutor(processes, context, _start_worker, start) as pool:
        pending = {pool.submit(_write_in_worker, shard): shard for shard in shards}
        try:
            while pending:
                finished, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                bar.update(done.value - bar.n)
                for future in finished:
                    yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed, perhaps for want of memory: run the same command again, with a smaller "
                "--num_proc; the shards that are done are kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(source: Path, data_folder: Path, class_names: Sequence[str], done: Any) -> None:
    global _worker, _done
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends the pool
    _worker, _done = ShardWriter(source, data_folder, class_names), done


def _write_in_worker(shard: Shard) -> dict[str, Any]:
    def advance() -> None:
        with _done.get_lock():
            _done.value += 1

    return _worker.write(shard, advance)


def _groups(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """`rows` in lists of `size`; the last may be shorter."""
    while group := list(itertools.islice(rows, size)):
        yield group
