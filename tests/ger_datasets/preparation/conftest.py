"""Worker processes that begin at once."""

from __future__ import annotations

import multiprocessing

import pytest


@pytest.fixture
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forked from a server that has imported the packages, where they else are new interpreters.

    What they get is pickled all the same, and nothing of this process is in them.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["ger_datasets.preparation.run", "ger_models", "pytest"])
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: server)
