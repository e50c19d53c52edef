"""Files -> one commit in a repository on the Hugging Face Hub."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from .errors import UserError
from .hub_connection import patiently, told_plainly

logger = logging.getLogger(__name__)


def push_files(
    files: Mapping[str, Path],
    repo: str,
    kind: str,
    *,
    private: bool,
    revision: str | None = None,
    replaced: str | None = None,
    sdk: str = "gradio",
) -> dict[str, Any]:
    """Push files in one commit; none if nothing has changed.

    Args:
        files: by their names in the repository.
        repo: `ORG/NAME`; made if it does not exist.
        kind: `dataset`, `model` or `space`.
        private: what the repository is, or is made.
        revision: a branch, made if it does not exist; None: the main one.
        replaced: files in the repository that match this pattern and are not among `files` are deleted.
        sdk: what runs a new Space: `gradio`, or `static` for a page.

    Returns:
        `repo`, `url`, `commit`, `files`, `bytes` and `private`.

    Raises:
        UserError: the name is malformed, the repository is public although `private` was asked or the reverse, the
            Hub cannot be reached, refuses, or fails.
    """
    _check_name(repo)
    api = HfApi()
    size = sum(path.stat().st_size for path in files.values())

    def push() -> str:
        space_sdk = sdk if kind == "space" else None
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True, space_sdk=space_sdk)
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
        return str(commit.oid)

    with told_plainly(repo, api.endpoint):
        commit = patiently(push)  # a commit whose answer was lost is found to be there
    url = f"{api.endpoint}/{'' if kind == 'model' else f'{kind}s/'}{repo}"
    state = {"repo": repo, "url": url, "commit": commit}
    return {**state, "files": len(files), "bytes": size, "private": private}


def _check_name(repo: str) -> None:
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UserError(f"{repo!r} cannot be the name of a repository; it must read ORG/NAME") from error
    if repo.count("/") != 1:
        raise UserError(f"{repo!r} does not say whose the repository is; it must read ORG/NAME")
