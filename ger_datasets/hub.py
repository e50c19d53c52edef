"""A prepared dataset -> a dataset repository on the Hugging Face Hub, in one commit.

Only the card and the shards travel: never raw photos, never what a run left beside them, never a path of this machine.
The token is huggingface_hub's own affair (`hf auth login` or HF_TOKEN); it is neither an argument nor in any message.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from .errors import UserError
from .prepared import PreparedDataset, read_prepared

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
    """Push the card and the shards of a prepared dataset; shards of an earlier push that are no longer part go.

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


def push_files(
    files: Mapping[str, Path],
    repo: str,
    kind: str,
    *,
    private: bool,
    revision: str | None = None,
    replaced: str | None = None,
) -> dict[str, Any]:
    """Push files in one commit; none if nothing has changed.

    Args:
        files: by their names in the repository.
        repo: `ORG/NAME`; made if it does not exist.
        kind: `dataset` or `model`.
        private: what the repository is, or is made.
        revision: a branch, made if it does not exist; None: the main one.
        replaced: files in the repository that match this pattern and are not among `files` are deleted.

    Returns:
        as `push_dataset`.

    Raises:
        UserError: the name is malformed, the repository is public although `private` was asked or the reverse, the
            Hub cannot be reached, refuses, or fails.
    """
    _check_name(repo)
    api = HfApi()
    size = sum(path.stat().st_size for path in files.values())
    with told_plainly(repo, api.endpoint):
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo, repo_type=kind, branch=revision, exist_ok=True)
        there = api.repo_info(repo, repo_type=kind, revision=revision)
        if bool(there.private) != private:  # create_repo leaves one that exists as it is
            is_now, would_be = ("private", "public") if there.private else ("public", "private")
            raise UserError(
                f"{repo} is {is_now} and was to be {would_be}: nothing was uploaded; change it in its settings on the "
                f"Hub, or say --private {bool(there.private)}"
            )
        logger.info("pushing %d files (%.1f MB) to %s", len(files), size / 1e6, repo)
        names = [file.rfilename for file in there.siblings or []]
        gone = [name for name in names if replaced and fnmatchcase(name, replaced) and name not in files]
        commit = api.create_commit(
            repo,
            repo_type=kind,
            revision=revision,
            operations=[
                *(CommitOperationAdd(name, path) for name, path in files.items()),
                *(CommitOperationDelete(name) for name in gone),
            ],
            commit_message=f"Push {len(files)} files",
            parent_commit=there.sha,
        )
    if commit.oid == there.sha:
        logger.info("nothing has changed since the last push")
    url = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    state = {"repo": repo, "url": url, "commit": commit.oid}
    return {**state, "files": len(files), "bytes": size, "private": private}


def refuse_local_paths(dataset: PreparedDataset) -> None:
    """UserError if the card, the Parquet metadata or a text column names a file or folder of this machine."""
    _refuse_in("README.md", (dataset.folder / "README.md").read_text(encoding="utf-8"))
    for path in (path for paths in dataset.shards.values() for path in paths):
        try:
            with pq.ParquetFile(path) as file:
                for text in _texts(file):
                    _refuse_in(path.name, text)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path} cannot be read: {_line(error)}; prepare it again") from error


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


def _check_name(repo: str) -> None:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"{repo!r} cannot be the name of a repository; it must read ORG/NAME") from error
    if repo.count("/") != 1:
        raise UserError(f"{repo!r} does not say whose the repository is; it must read ORG/NAME")


@contextlib.contextmanager
def told_plainly(repo: str, endpoint: str) -> Iterator[None]:
    """What goes wrong between here and the Hub as a UserError, without the token."""
    try:
        yield
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise UserError(_without_token(_reason(error, repo, endpoint))) from None  # the chain may hold headers


def _reason(error: BaseException, repo: str, endpoint: str) -> str:
    # an upload that fails comes as a RuntimeError, and what happened as its cause
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    for each in causes:
        if isinstance(each, HfHubHTTPError):
            return _answer(each, repo)
        if isinstance(each, OfflineModeIsEnabled):
            return "the Hub is switched off: HF_HUB_OFFLINE is set; unset it and run the same command again"
        if isinstance(each, UnicodeEncodeError):  # of a header
            return "the token holds characters that no token has: look at HF_TOKEN, or run `hf auth login`"
        if isinstance(each, (HTTPError, ConnectionError, TimeoutError)):
            return (
                f"the connection to {endpoint} failed: {_line(each)}; look at the network and run the same command "
                "again: what has arrived stays"
            )
    return f"pushing to {repo} failed: {_line(causes[-1])}"


def _answer(error: HfHubHTTPError, repo: str) -> str:
    """What the Hub's answer means and what to do."""
    status = error.response.status_code
    if status == 401:
        have = "does not accept the token" if get_token() else "asks for a token"
        return f"the Hub {have} (401): run `hf auth login`, or set HF_TOKEN to a token that may write"
    if status == 403:
        return f"the Hub does not let this token write to {repo} (403): use one with write access, or another --repo"
    if status == 404:
        return f"{repo} is not there, or this token may not see it (404): look at --repo and --revision"
    if status in (409, 412):
        return f"somebody else changed {repo} meanwhile ({status}): run the same command again"
    if status == 429 or status >= 500:
        return f"the Hub fails ({status}): run the same command again later; what has arrived stays"
    return f"the Hub refuses ({status}): {(error.server_message or _line(error))[:300]}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _without_token(message: str) -> str:
    token = get_token()
    return " ".join((message.replace(token, "...") if token else message).split())
