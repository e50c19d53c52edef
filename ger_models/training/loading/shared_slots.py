"""Memory that a loader's worker processes share with the main process, for the pixels of batches in transfer."""

from __future__ import annotations

import itertools
import math
import mmap
import multiprocessing
from collections.abc import Mapping, Sequence
from weakref import WeakValueDictionary

import torch

_numbers = itertools.count()
_all: WeakValueDictionary[int, SharedSlots] = WeakValueDictionary()  # a worker sends a number instead of the memory


class SharedSlots:
    """Slots of one size. A worker fills a slot, and the main process frees it when it has read the batch.

    The memory is anonymous: unlike PyTorch's shared memory it does not count towards the size of /dev/shm, which is 64
    MB in many containers, and it is mapped once, not for each tensor. Only forked processes inherit it: pickled, there
    are no slots. The system provides a page when it is first written.

    Args:
        count: number of slots.
        size: bytes of each.

    Raises:
        OSError: the system does not provide the memory.
    """

    def __init__(self, count: int, size: int) -> None:
        self.number, self.size = next(_numbers), size
        self.pixels = torch.frombuffer(mmap.mmap(-1, count * size), dtype=torch.uint8).view(count, size)
        self.busy = torch.frombuffer(mmap.mmap(-1, count), dtype=torch.uint8)
        self.lock = multiprocessing.Lock()
        _all[self.number] = self

    @classmethod
    def find(cls, number: int) -> SharedSlots:
        """The slots of this process that have this `number`."""
        return _all[number]

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> tuple[int, dict[str, tuple[int, ...]]] | None:
        """Copy images into the first free slot.

        Args:
            tensors: uint8, (images, channels, height, width) each.

        Returns:
            The slot and the tensors' shapes, which `view` takes; None if they do not fit or no slot is free.
        """
        if sum(tensor.numel() for tensor in tensors.values()) > self.size or not self.lock.acquire(timeout=1):
            return None  # a killed worker may hold the lock
        try:
            free = (self.busy == 0).nonzero()
            if not len(free):
                return None
            slot = int(free[0])
            self.busy[slot] = 1
        finally:
            self.lock.release()
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        for name, place in self.view(slot, shapes).items():
            place.copy_(tensors[name])
        return slot, shapes

    def view(self, slot: int, shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        """The tensors (images, channels, height, width) in `slot`, without a copy; channels last in memory."""
        sizes = [math.prod(shape) for shape in shapes.values()]
        parts = self.pixels[slot, : sum(sizes)].split(sizes)
        return {
            name: part.view(images, height, width, channels).permute(0, 3, 1, 2)
            for (name, (images, channels, height, width)), part in zip(shapes.items(), parts, strict=True)
        }

    def free(self, slot: int) -> None:
        """Make `slot` available again."""
        self.busy[slot] = 0
