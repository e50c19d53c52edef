"""A split that is read from its Parquet shards when its rows are needed, from disk or the Hub, never as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import fsspec
import pyarrow.parquet as pq
from datasets import Features, IterableDataset, List
from datasets.distributed import split_dataset_by_node

from ..support.hub_connection import read_from_hub, rows_from_hub

BUFFER = 512  # rows, not decoded, from which the next is drawn: about 50 MB of photos


class Stream:
    """What of a `datasets.Dataset` training needs, of a split that is streamed.

    `len` is its rows, by the footers of its shards; `stream["label"]` is a column, read from the shards by itself.

    Args:
        rows: the split, streaming.
        shards: its Parquet files, paths or addresses that fsspec opens.
        columns: those that are read.
    """

    def __init__(self, rows: IterableDataset, shards: Sequence[str], columns: Sequence[str]) -> None:
        self.rows, self.shards, self.column_names = rows, list(shards), list(columns)
        self.features: Features = rows.features

    def __len__(self) -> int:
        return sum(footer.num_rows for footer in self.footers)

    def __getitem__(self, column: str) -> list[Any]:
        return [value for shard in self.shards for value in read_from_hub(shard, partial(_column, shard, column))]

    @cached_property
    def footers(self) -> list[pq.FileMetaData]:
        """Of every shard: its rows and columns, a few kilobytes."""
        return [read_from_hub(shard, partial(_footer, shard)) for shard in self.shards]

    def is_empty(self, column: str) -> bool:
        """Whether no row has anything in `column`; a list counts as something."""
        if isinstance(self.features[column], List):
            return False
        return all(_nulls(footer, column) == footer.num_rows for footer in self.footers)

    def in_order(self) -> Iterator[dict[str, Any]]:
        """Every row, images not decoded."""
        yield from self._read(self.rows.decode(False))

    def shuffled(self, seed: int, epoch: int, process: int, processes: int) -> Iterator[dict[str, Any]]:
        """The rows that are this process's share of an epoch, images not decoded, in an order of the epoch's own.

        The shards come in random order, and rows are drawn from a buffer that is filled from them.
        """
        # of one shard at a time: reading several at once waits seconds for its threads to end
        rows = self.rows.decode(False).shuffle(seed=seed, buffer_size=BUFFER, max_buffer_input_shards=1)
        if processes > 1:
            rows = split_dataset_by_node(rows, process, processes)
        rows.set_epoch(epoch)
        yield from self._read(rows)

    def _read(self, rows: IterableDataset) -> Iterator[dict[str, Any]]:
        """datasets itself tries again what fails amid a shard."""
        return rows_from_hub(self.shards[0], rows)

    def largest_share(self, processes: int) -> int:
        """The most rows that a process can get: of whole shards, where they can be dealt out, else of single rows."""
        if len(self.shards) % processes:
            return -(-len(self) // processes)
        largest = sorted(footer.num_rows for footer in self.footers)[-(len(self.shards) // processes) :]
        return sum(largest)


def _column(shard: str, column: str) -> list[Any]:
    with fsspec.open(shard, "rb") as file:
        return pq.read_table(file, columns=[column])[column].to_pylist()


def _footer(shard: str) -> pq.FileMetaData:
    with fsspec.open(shard, "rb") as file:
        return pq.read_metadata(file)


def _nulls(footer: pq.FileMetaData, column: str) -> int:
    """How often the first leaf of `column` is null, by the metadata of the shard."""
    count = 0
    for group in (footer.row_group(i) for i in range(footer.num_row_groups)):
        leaves = [group.column(i) for i in range(group.num_columns)]
        leaf = next(leaf for leaf in leaves if leaf.path_in_schema.split(".")[0] == column)
        if leaf.statistics is not None and leaf.statistics.has_null_count:
            count += leaf.statistics.null_count
    return count
