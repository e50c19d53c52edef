"""A stream -> batches, in a new order each epoch, for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from accelerate import PartialState
from torch.utils.data import Sampler

from ger_datasets.loading.stream import Stream
from ger_datasets.support.errors import UserError


class StreamBatches(Sampler[list[Mapping[str, Any]]]):
    """Batches of rows instead of row numbers: workers receive the rows and decode them.

    The order therefore does not depend on the workers, and skipped batches are not decoded.

    In training, each process reads its own share of the rows. All yield equally many batches, so that no process waits
    at the end; a process with fewer rows repeats some. With n processes, accelerate takes every n-th batch of each
    sampler, so each batch is yielded n times. In validation (no seed),
    every process reads all rows, and accelerate distributes the batches as usual.

    Args:
        clock: has the `epoch`.
    """

    drop_last = False

    def __init__(self, stream: Stream, batch_size: int, seed: int | None, clock: Any) -> None:
        self.stream, self.batch_size, self.seed, self.clock = stream, batch_size, seed, clock
        state = PartialState()
        self.process = 0 if seed is None else int(state.process_index)
        self.processes = 1 if seed is None else int(state.num_processes)

    def __len__(self) -> int:
        return -(-self.stream.largest_share(self.processes) // self.batch_size) * self.processes

    def __iter__(self) -> Iterator[list[Mapping[str, Any]]]:
        batch: list[Mapping[str, Any]] = []
        for row in self._rows():
            batch.append(row)
            if len(batch) == self.batch_size:
                for _ in range(self.processes):
                    yield list(batch)
                batch = []
        if batch:
            yield batch

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        if self.seed is None:
            yield from self.stream.in_order()
            return
        wanted = len(self.stream) if self.processes == 1 else len(self) // self.processes * self.batch_size
        given, draw = 0, 0
        while given < wanted:
            before = given
            for row in self.stream.shuffled(self.seed, self.clock.epoch, self.process, self.processes):
                yield {**row, "draw": draw}
                given += 1
                if given == wanted:
                    return
            draw += 1
            if given == before:
                raise UserError(
                    f"process {self.process} of {self.processes} has no rows to train on: start fewer processes"
                )


class Handed:
    """The dataset of a loader whose sampler yields rows."""

    def __init__(self, stream: Stream) -> None:
        self.count = len(stream)

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [{name: _array(value) for name, value in row.items()} for row in rows]

    def __getitem__(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.__getitems__([row])[0]


def _array(value: Any) -> Any:
    numbers = isinstance(value, list) and value and isinstance(value[0], (list, float))
    return np.asarray(value, np.float32) if numbers else value
