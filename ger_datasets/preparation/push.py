"""A prepared dataset -> a dataset repository on the Hugging Face Hub, in one commit.

Only the card and the shards travel: never raw photos, never what a run left beside them, never a path of this machine.
The token is huggingface_hub's own affair (`hf auth login` or HF_TOKEN); it is neither an argument nor in any message.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..prepared import PreparedDataset, read_prepared
from ..support.errors import UserError, one_line
from ..support.hub_push import push_files

logger = logging.getLogger(__name__)

# /a/b, C:\a, ~/a, \\host\share, file:/a; not the slashes of a web address, of "and/or" or of train/Positive/1
LOCAL_PATH = re.compile(
    r"(?<![\w.:/*<)\]-])/(?:[\w.@+-]+/)+[\w.@+-]+"
    r"|(?<!\w)[A-Za-z]:[\\/]\w"
    r"|(?<![\w/])~[\w-]*/\w"
    r"|\\\\\w+\\"
    r"|\bfile:/"
)


def push_dataset(folder: Path, repo: str, private: bool = True, revision: str | None = None) -> dict[str, Any]:
    """Push the card and the shards of a prepared dataset; other shards of earlier pushes are deleted.

    What has arrived is not uploaded again: after an interruption, the same call uploads what is missing.

    Args:
        folder: a folder that prepare has finished.
        repo: `ORG/NAME`; made if it does not exist.
        private: whether only those whom the owner lets in may see it.
        revision: a branch, made if it does not exist; None: the main one.

    Returns:
        `repo`, `url`, `commit`, `files`, `bytes` and `private`.

    Raises:
        UserError: the folder is not a finished dataset or names paths of this machine, or as `push_files`.
    """
    dataset = read_prepared(folder)
    refuse_local_paths(dataset)
    if private:
        logger.info("private: %s", dataset.terms or "photos of people are shown only on purpose (--private False)")
    elif dataset.terms:
        logger.warning("PUBLIC, although this dataset's card says: %s Anyone can download the photos.", dataset.terms)
    files = {"README.md": folder / "README.md"}
    files |= {f"data/{path.name}": path for paths in dataset.shards.values() for path in paths}
    return push_files(files, repo, "dataset", private=private, revision=revision, replaced="data/*.parquet")


def refuse_local_paths(dataset: PreparedDataset) -> None:
    """UserError if the card, the Parquet metadata or a text column names a file or folder of this machine."""
    _refuse_in("README.md", (dataset.folder / "README.md").read_text(encoding="utf-8"))
    for path in (path for paths in dataset.shards.values() for path in paths):
        try:
            with pq.ParquetFile(path) as file:
                for text in _texts(file):
                    _refuse_in(path.name, text)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path} cannot be read: {one_line(error)}; prepare it again") from error


def _texts(file: pq.ParquetFile) -> Iterator[str]:
    """Every text in a Parquet file: its metadata, then its text columns and the paths of its images."""
    yield file.schema_arrow.to_string(truncate_metadata=False)
    for key, value in (file.metadata.metadata or {}).items():
        if key != b"ARROW:schema":  # the same again, encoded
            yield value.decode(errors="replace")
    leaves = [file.schema.column(i) for i in range(len(file.schema))]
    columns = [leaf.path for leaf in leaves if leaf.logical_type.type == "STRING"]
    for number in range(file.num_row_groups):
        yield from _strings(file.read_row_group(number, columns=columns).to_pydict())


def _refuse_in(where: str, text: str) -> None:
    home = str(Path.home())
    match = LOCAL_PATH.search(text)
    if match or (len(home) > 1 and home in text):
        found = text[match.start() : match.start() + 60].split("\n")[0] if match else home
        raise UserError(f"{where} names a place on this machine, {found!r}: nothing was uploaded; prepare it again")


def _strings(value: Any) -> Iterator[str]:
    """Every string within lists and dicts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
