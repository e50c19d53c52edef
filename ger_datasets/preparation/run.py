"""Records -> columns -> Parquet shards and a card: a folder that `datasets.load_dataset` opens.

Shards are the unit of work. Each is written under a temporary name, renamed when complete, and entered in the
manifest; an interrupted run resumes when the same command is run again. The result depends on the photos and the
settings only, not on the number of processes or machines: each works with one thread, so that sums are taken in the
same order. The process that finds all shards complete writes the card.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..builders import Builder, make_builder
from ..detectors import DEFAULT_DETECTOR, DETECTORS
from ..photos.duplicates import duplicate_summary
from ..support.atomic_files import write_text
from ..support.cpu_cores import usable_cores
from ..support.errors import UserError, one_line
from ..support.locks import alone
from . import shards as shards_module
from .card import write_card
from .column_sources import ColumnSource, encoded_features, source_settings
from .manifest import Manifest
from .shards import Shard, ShardWriter, Work, plan_shards

logger = logging.getLogger(__name__)

Done = tuple[Shard, dict[str, Any]]
PHOTOS_PER_PROCESS = 50  # starting a process takes as long as finding the faces of about 40 photos


def prepare(
    dataset: str,
    source: Path,
    output: Path,
    *,
    num_proc: int | None = None,
    limit: int | None = None,
    options: Mapping[str, Any] | None = None,
    sources: Sequence[ColumnSource] = (),
    detector: str = DEFAULT_DETECTOR,
    device: str = "cpu",
    min_face_pixels: int | None = None,
    part: tuple[int, int] = (0, 1),
    everyone: Any = None,
) -> dict[str, Any]:
    """Prepare the raw folder `source` of the dataset named `dataset` into the folder `output`.

    Args:
        dataset: a name in `builders.BUILDERS`.
        source: the raw download.
        output: gets `data/SPLIT-*.parquet`, `README.md` (the card), `quarantine.jsonl` and the manifest.
        num_proc: processes, one thread each; where `device` is a GPU, threads of one process that decode photos for
            it. None: as many as there are cores, but on a CPU one for each `PHOTOS_PER_PROCESS` photos.
        limit: maximum number of photos per split.
        options: the dataset's own, by name; those that are None are left out.
        sources: what fills further columns, see `column_sources.SOURCES`; most can be added to a prepared dataset.
        detector: a name in `detectors.DETECTORS`.
        device: where the detector runs, such as `cpu` or `cuda:0`.
        min_face_pixels: side of the smallest face that the detector finds, in pixels; None: its default.
        part: (i, n): work on the i-th (from 0) of n equal parts of the shards.
        everyone: called when this part is done; returns when all parts of this run are. None: the run does not wait.

    Returns:
        the run's figures: whether the dataset is `complete`, photos, rows, faces, and how many photos were faceless,
        quarantined or near-duplicates of one in another split; without these while it is not complete.

    Raises:
        UserError: nothing to prepare, a folder that holds something else or that another process is preparing into,
            a disk that is full or read-only.
    """
    if num_proc is not None and num_proc < 1:
        raise UserError(f"num_proc must be 1 or more, not {num_proc}")
    if limit is not None and limit < 1:
        raise UserError(f"limit must be 1 or more, not {limit}")
    _ = DETECTORS[detector]  # before the records: an unknown name is refused at once
    given = {name: value for name, value in (options or {}).items() if value is not None}
    builder = make_builder(dataset, source, output / "frames", given)
    encoded = encoded_features(sources)
    if taken := sorted(encoded.keys() & builder.extra_features.keys()):
        raise UserError(f"{taken[0]} is a column of {dataset}: choose another name for the encoder's")
    try:
        shards = plan_shards(builder.records(), limit)
    except OSError as error:
        raise UserError(f"{source} cannot be read: {one_line(error)}") from error
    mine = shards[part[0] :: part[1]]
    lock = alone(output / f".part-{part[0] + 1}-of-{part[1]}.lock", f"preparing into {output}")
    try:
        with lock:
            extra = {**builder.extra_features, **encoded}
            processes, decoders = division(device, num_proc, sum(len(shard.records) for shard in mine))
            what = (source, output / "data", builder.class_names, extra, sources)
            work = Work(*what, detector, device, decoders, min_face_pixels)
            writer = ShardWriter(work)
            settings = _settings(dataset, builder, shards, given, writer)
            manifest = Manifest(output, settings, addable=work.added)
            work.data_folder.mkdir(parents=True, exist_ok=True)
            _write_shards(dataset, writer, mine, manifest, processes)
            if everyone is not None:
                everyone()
            remarks = list(builder.remarks())
            for column_source in sources:
                remarks += getattr(column_source, "remarks", list)()
            return _finish(dataset, builder, shards, manifest, output, remarks, extra)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {one_line(error)}") from error


def division(device: str, num_proc: int | None, photos: int) -> tuple[int, int]:
    """The processes that find faces on `device`, and the threads that decode photos ahead for each of them.

    On a CPU each process decodes for itself (0 threads). On a GPU several processes would each take memory for a CUDA
    context and their own networks, so there is one, and the cores decode for it.

    >>> division("cpu", 4, photos=10), division("cpu", None, photos=10), division("cuda:0", 4, photos=10)
    ((4, 0), (1, 0), (1, 4))
    """
    if torch.device(device).type != "cpu":
        return 1, num_proc or usable_cores()
    return num_proc or min(usable_cores(), -(-photos // PHOTOS_PER_PROCESS)), 0


def _settings(
    dataset: str, builder: Builder, shards: Sequence[Shard], options: Mapping[str, Any], writer: ShardWriter
) -> dict[str, Any]:
    """Everything that the rows depend on."""
    ids = sorted(record.image_id for shard in shards for record in shard.records)
    return {
        "dataset": dataset,
        "options": dict(options),
        "class_names": list(builder.class_names),
        "photos": len(ids),
        "photos_sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        "shard_rows": shards_module.SHARD_ROWS,
        "detector": writer.detector.settings,
        **source_settings(writer.work.sources, later=False),
        **writer.work.added,
    }


def _write_shards(
    dataset: str, writer: ShardWriter, shards: Sequence[Shard], manifest: Manifest, processes: int
) -> None:
    """Write those of `shards` that are not there yet, or lack a column that is to be added."""
    wanted: list[tuple[Shard, dict[str, Any] | None]] = []
    for shard in shards:
        entry = manifest.entry(shard.name)
        path = writer.work.data_folder / shard.name
        if entry is None or not path.exists() or path.stat().st_size != entry["bytes"]:
            wanted.append((shard, None))
        elif any(name not in entry or entry[name] != manifest.settings[name] for name in writer.work.added):
            wanted.append((shard, entry))
    if len(wanted) < len(shards):
        logger.info("%d of %d shards are there already", len(shards) - len(wanted), len(shards))
    processes = min(processes, len(wanted))
    total = sum(len(shard.records) for shard, _ in wanted)
    with tqdm(total=total, unit="photo", desc=f"preparing {dataset}", mininterval=0.5) as bar:
        work = _write_here(writer, wanted, bar) if processes <= 1 else _write_in(processes, writer.work, wanted, bar)
        for shard, entry in work:
            manifest.add(shard.name, entry)


def _write_here(writer: ShardWriter, wanted: Sequence[tuple[Shard, Any]], bar: tqdm) -> Iterator[Done]:
    """Write the shards in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for shard, entry in wanted:
            yield shard, writer.write(shard, entry, bar.update)
    finally:
        torch.set_num_threads(threads)


def _write_in(processes: int, work: Work, wanted: Sequence[tuple[Shard, Any]], bar: tqdm) -> Iterator[Done]:
    """Write the shards in several processes; yields each as it is done."""
    context = multiprocessing.get_context("spawn")  # torch and fork do not go together
    done = context.Value("q", 0)
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(processes, context, _start_worker, (work, done)) as pool:
        try:
            pending = _submit(pool, wanted)
            while pending:
                finished, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                bar.update(done.get_obj().value - bar.n)  # without its lock, which a killed worker may hold for ever
                for future in finished:
                    yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()  # one that was being started at that moment is waited for, but not ended, by the pool
            raise UserError(
                "a worker process was killed, perhaps because memory ran out: run the same command again with a "
                "smaller --num_proc; the shards that are done are kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, wanted: Sequence[tuple[Shard, Any]]) -> dict[Future, Shard]:
    """The futures of all shards; BrokenProcessPool if a worker is killed meanwhile."""
    try:
        return {pool.submit(_write_in_worker, shard, entry): shard for shard, entry in wanted}
    except OSError as error:  # "handle is closed", "Broken pipe": the pool is being taken down as this one hands in
        if error.errno not in (None, errno.EPIPE, errno.EBADF):
            raise
        raise BrokenProcessPool(str(error)) from error


_worker: ShardWriter  # of this worker process, and the photos that all have done
_done: Any


def _start_worker(work: Work, done: Any) -> None:
    global _worker, _done
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends the pool
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _worker, _done = ShardWriter(work), done


def _end_with_the_parent() -> None:
    """End this worker when the parent is killed: left alone it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:  # it is None where nothing was spawned
        wait_for_any([parent.sentinel])
        os._exit(1)


def _write_in_worker(shard: Shard, entry: dict[str, Any] | None) -> dict[str, Any]:
    def advance() -> None:
        with _done.get_lock():
            _done.value += 1

    return _worker.write(shard, entry, advance)


def _finish(
    dataset: str,
    builder: Builder,
    shards: Sequence[Shard],
    manifest: Manifest,
    output: Path,
    remarks: Sequence[str],
    extra_features: Mapping[str, Any],
) -> dict[str, Any]:
    """Write what concerns all shards, if all are whole."""
    known = [manifest.entry(shard.name) for shard in shards]
    entries = [entry for entry in known if entry is not None]
    missing = len(known) - len(entries)
    if missing:
        logger.info("%d of %d shards are still to be prepared", missing, len(shards))
        return {"dataset": dataset, "complete": False, "missing_shards": missing, "output": str(output)}
    for folder in (output / "data", output / "manifest"):
        for leftover in folder.glob(".*.tmp"):  # of a run that was killed
            with contextlib.suppress(FileNotFoundError):
                leftover.unlink()
    quarantined = [line for entry in entries for line in entry["quarantined"]]
    write_text(output / "quarantine.jsonl", "".join(json.dumps(line) + "\n" for line in quarantined))
    if quarantined:
        logger.warning(
            "%d photos cannot be used: %s lists them with reasons", len(quarantined), output / "quarantine.jsonl"
        )
    for split in dict.fromkeys(shard.split for shard in shards):
        if not any(entry["rows"] for entry in entries if entry["split"] == split):
            raise UserError(f"the split {split} is empty: every photo of it is in {output / 'quarantine.jsonl'}")
    duplicates = _near_duplicates(entries)
    write_card(output, dataset, builder, entries, manifest.settings, duplicates, remarks, extra_features)
    return {
        "dataset": dataset,
        "complete": True,
        "photos": manifest.settings["photos"],
        "rows": sum(entry["rows"] for entry in entries),
        "faces": sum(int(n) * photos for entry in entries for n, photos in entry["faces"].items()),
        "faceless": sum(entry["faces"].get("0", 0) for entry in entries),
        "quarantined": len(quarantined),
        "near_duplicates": duplicates["photos"],
        "output": str(output),
    }


def _near_duplicates(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Photos that look the same in two splits."""
    hashed = [(name, digest, entry["split"]) for entry in entries for name, digest in entry["hashes"].items()]
    names, digests, splits = zip(*hashed, strict=True)
    summary = duplicate_summary(names, digests, splits)
    if summary["pairs"]:
        examples = "; ".join(" and ".join(pair) for pair in summary["examples"][:3])
        logger.warning(
            "%d photos look the same as one in another split, which makes a test easier than it claims: %s",
            summary["photos"],
            examples,
        )
    return summary
