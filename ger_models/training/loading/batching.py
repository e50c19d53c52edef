"""Rows of a prepared dataset -> batches. Order and augmentation depend only on the seed, the epoch and the row."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import skip_first_batches
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler, get_worker_info

from ger_datasets.loading.rows import Rows
from ger_datasets.loading.stream import Stream
from ger_datasets.support.errors import UserError, listing

from ...processing_ger import FACE_COLUMNS, GerProcessor
from .sampling_orders import ORDERS
from .shared_slots import SharedSlots
from .streaming import Handed, StreamBatches

PREFETCHED = 4  # batches that each worker prefetches
SLOT_BYTES_PER_ROW = 2**19  # pixels of a row that are handed over in shared memory: 417 x 417, or 16 aligned faces


class Collator:
    """Rows -> a batch of tensors with labels; in training, with augmentation and the rows' `image_ids`.

    The augmentation depends on the seed, the epoch and the row, not on the batch, worker or process.

    Args:
        train_seed: seed of the augmentation; None: no augmentation.
        device: device to which accelerate moves the batches of a prepared loader. For a GPU the batches are
            `Unfinished`, and the GPU normalises their pixels; otherwise they are dicts.

    Attributes:
        epoch: set it with `set_epoch`; running workers see the change.
    """

    def __init__(
        self, processor: GerProcessor, train_seed: int | None = None, device: torch.device | None = None
    ) -> None:
        self.processor, self.train_seed = processor, train_seed
        self.for_gpu = device is not None and device.type == "cuda"
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.slots: SharedSlots | None = None  # of the loader's workers

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "slots": None}  # only forked workers share memory

    @property
    def epoch(self) -> int:
        """The epoch that determines the augmentation; setting it also reaches the loader's worker processes."""
        return int(self._epoch)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:  # a dict; in a worker, a Travelling
        generators = None
        if self.train_seed is not None:
            generators = [torch.Generator().manual_seed(self._seed(row)) for row in rows]
        try:
            batch: dict[str, Any] = dict(self.processor.raw(rows, generators))
        except OSError as error:
            raise UserError(f"{self._damaged(rows)} cannot be read: {error}; prepare the dataset again") from error
        if "label" in rows[0]:
            batch["labels"] = torch.tensor([row["label"] for row in rows])
        if self.train_seed is not None:
            batch["image_ids"] = [row["image_id"] for row in rows]  # to name them when a loss is NaN
        if get_worker_info() is not None:
            return Travelling(batch, self.processor, self.for_gpu, self.slots)
        return _made(batch, self.processor, self.for_gpu)

    def _damaged(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """The image_id of the first row whose images cannot be decoded."""
        for row in rows:
            try:
                self.processor.raw([row])
            except OSError:
                return str(row.get("image_id"))
        return "a row"

    def _seed(self, row: Mapping[str, Any]) -> int:
        parts = f"{self.train_seed} {self.epoch} {row.get('draw', 0)} {row['image_id']}"
        return int.from_bytes(hashlib.blake2b(parts.encode(), digest_size=7).digest(), "big")


class Unfinished:
    """A batch with uint8 pixels; `to`, which accelerate calls, normalises them on the device.

    This copies a quarter of the bytes of float32 pixels to the GPU.
    """

    def __init__(self, batch: dict[str, Any], processor: GerProcessor) -> None:
        self.batch, self.processor = batch, processor

    def pin_memory(self) -> Unfinished:
        """The batch in pinned memory, which a GPU reads asynchronously."""
        return Unfinished(_each(self.batch, torch.Tensor.pin_memory), self.processor)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> dict[str, Any]:
        """The normalised batch on `device`; does not wait for a GPU."""
        waits = torch.device(device).type != "cuda"
        return self.processor.finish(_each(self.batch, lambda tensor: tensor.to(device, non_blocking=not waits)))


class Travelling:
    """A batch in transfer from a worker process; unpickling it gives the batch itself.

    Its pixels are uint8, a quarter of float32. They are written to shared memory if a slot is free, and otherwise sent
    through the pipe with the rest. The loader would allocate shared memory for each tensor, which costs more in page
    faults than copying the bytes.
    """

    def __init__(
        self, batch: dict[str, Any], processor: GerProcessor, for_gpu: bool, slots: SharedSlots | None = None
    ) -> None:
        self.batch, self.processor, self.for_gpu = batch, processor, for_gpu
        self.slot: tuple[int, int, dict[str, tuple[int, ...]]] | None = None
        images = {name: value for name, value in batch.items() if _is_images(value)}
        filled = slots.fill(images) if slots is not None and images else None
        if slots is not None and filled is not None:
            self.slot = (slots.number, *filled)
            self.batch = {name: None if name in images else value for name, value in batch.items()}  # keeps the order

    def __reduce__(self) -> tuple:
        return _arrived, (_each(self.batch, torch.Tensor.numpy), self.processor, self.for_gpu, self.slot)


def _arrived(
    batch: dict[str, Any],
    processor: GerProcessor,
    for_gpu: bool,
    slot: tuple[int, int, dict[str, tuple[int, ...]]] | None,
) -> dict[str, Any] | Unfinished:
    tensors = {name: torch.from_numpy(value) for name, value in batch.items() if isinstance(value, np.ndarray)}
    batch = {**batch, **tensors}
    if slot is None:
        return _made(batch, processor, for_gpu)
    number, place, shapes = slot
    slots = SharedSlots.find(number)
    try:
        images = slots.view(place, shapes)
        if for_gpu:  # the pixels are read later
            images = {name: image.clone() for name, image in images.items()}
        return _made({**batch, **images}, processor, for_gpu)
    finally:
        slots.free(place)


def _is_images(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.uint8 and value.ndim == 4


def _made(batch: dict[str, Any], processor: GerProcessor, for_gpu: bool) -> dict[str, Any] | Unfinished:
    return Unfinished(batch, processor) if for_gpu else processor.finish(batch)


def _each(batch: dict[str, Any], change: Callable[[torch.Tensor], Any]) -> dict[str, Any]:
    return {name: change(value) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


class Order(Sampler[int]):
    """The keys of an epoch in one of the `sampling_orders`; uses the collator's epoch, so that both always agree."""

    def __init__(self, sampling: str, seed: int, collator: Collator, **known: Any) -> None:
        self.make, self.seed, self.collator, self.known = ORDERS[sampling], seed, collator, known

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.collator.epoch])
        yield from self.make(rng, **self.known).tolist()

    def __len__(self) -> int:
        return self.known["rows"]


def make_loader(
    split: Dataset | Stream,
    collator: Collator,
    batch_size: int,
    num_workers: int = 0,
    seed: int | None = None,
    sampling: str = "shuffle",
) -> DataLoader:
    """Batches of `split`.

    Args:
        num_workers: worker processes that decode photos; they live as long as the loader.
        seed: seed of the order, which changes each epoch (`set_epoch`). None: dataset order.
        sampling: `shuffle`; `balanced`, every class equally often; or `lengths`, about as many faces in every batch.

    Raises:
        UserError: unknown sampling, or the rows lack a column that it needs.
    """
    if sampling not in ORDERS:
        raise UserError(f"unknown sampling {sampling!r}: there are {listing(ORDERS)}")
    rows: Any  # a dataset by its ways
    if isinstance(split, Stream):
        if seed is not None and sampling != "shuffle":
            raise UserError(f"the sampling {sampling!r} needs random access: leave --streaming out, or use shuffle")
        rows = Handed(split)
        order: dict[str, Any] = {"batch_sampler": StreamBatches(split, batch_size, seed, collator)}
    else:
        rows = Rows(split)
        order = {"batch_size": batch_size}
        if seed is not None:
            known: dict[str, Any] = {"rows": len(split), "batch_size": batch_size}
            if sampling == "balanced":
                known["labels"] = split["label"]
            elif sampling == "lengths":
                known["lengths"] = face_counts(split, collator.processor)
            order["sampler"] = Order(sampling, seed, collator, **known)
    if num_workers and collator.slots is None:
        with contextlib.suppress(OSError):  # without this memory, everything is sent through the pipe
            collator.slots = SharedSlots(num_workers * (PREFETCHED + 1), batch_size * SLOT_BYTES_PER_ROW)
    return DataLoader(
        rows,
        **order,
        collate_fn=collator,
        num_workers=num_workers,
        pin_memory=collator.for_gpu,
        persistent_workers=num_workers > 0,
        prefetch_factor=PREFETCHED if num_workers else None,
        generator=torch.Generator(),  # otherwise every epoch draws from the global generator, which changes dropout
    )


@contextlib.contextmanager
def report_killed_workers() -> Iterator[None]:
    """Report a loader's worker process that is killed within the block (as the kernel does when memory runs out) as a
    UserError; PyTorch raises wherever the main process is at that moment.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            "a worker process that decodes photos was killed, perhaps because memory ran out: continue with --resume "
            "and fewer --num_workers; the last complete checkpoint is kept"
        ) from error


def rest_of(loader: DataLoader, batch: int) -> DataLoader:
    """The batches of a prepared loader from number `batch` on; earlier ones are not decoded."""
    # a shortened loader starts new workers; at the beginning of an epoch, keep the running ones
    return skip_first_batches(loader, batch) if batch else loader


def set_epoch(loader: DataLoader, epoch: int) -> None:
    """Set the epoch of the order and the augmentation; also for loaders that accelerate has prepared or shortened."""
    loader.collate_fn.epoch = epoch  # type: ignore[union-attr]  # a Collator


def face_counts(split: Dataset, processor: GerProcessor) -> np.ndarray:
    """Number of faces of each row that the model sees, (rows,). Reads only the lengths of the lists.

    Raises:
        UserError: the model reads no faces.
    """
    column = next((column for column in processor.columns if column in FACE_COLUMNS), None)
    if column is None:
        raise UserError("the sampling 'lengths' needs faces, and this model reads none")
    if processor.min_face_score:
        scores = split.with_format("arrow").select_columns(["face_scores"])[:]["face_scores"].to_pylist()
        return np.array([processor.face_limit({"face_scores": row}) for row in scores])
    lists = split.with_format("arrow").select_columns([column])[:][column]
    counts = [np.diff(chunk.offsets.to_numpy()) for chunk in lists.chunks]
    return np.minimum(np.concatenate(counts), processor.max_faces)
