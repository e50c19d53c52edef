"""A run's model to the Hub, while training goes on."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ger_datasets.errors import UserError
from ger_datasets.hub import push_files

from .run_folder import METRICS, RECIPE

logger = logging.getLogger(__name__)

FILES = ("config.json", "model.safetensors", "preprocessor_config.json", METRICS, RECIPE, "curves.png", "README.md")


class Uploads:
    """Pushes what a run has so far, in a thread of its own. A push that fails is a warning; the run goes on.

    Args:
        repo: `ORG/NAME`; made if it does not exist.
        private: what the repository is, or is made.
    """

    def __init__(self, repo: str, private: bool = True) -> None:
        self.repo, self.private = repo, private
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="upload")
        self.running: Future | None = None

    def start(self, run: Path) -> None:
        """Push the run's files as they are now, unless an earlier push is still on its way."""
        if self.running is None or self.running.done():
            self.running = self.thread.submit(self._push, _snapshot(run))

    def finish(self, run: Path) -> bool:
        """Push the finished run; returns whether it arrived."""
        if self.running is not None:
            self.running.result()
        arrived = self._push(_snapshot(run))
        self.thread.shutdown()
        if not arrived:
            logger.warning(
                "%s was NOT pushed to %s; the run is whole: the same command with --resume pushes it", run, self.repo
            )
        return arrived

    def _push(self, snapshot: Path) -> bool:
        try:
            files = {path.name: path for path in sorted(snapshot.iterdir())}
            result: dict[str, Any] = push_files(files, self.repo, "model", private=self.private)
        except UserError as error:
            logger.warning("a push failed: %s", error)
            return False
        finally:
            shutil.rmtree(snapshot, ignore_errors=True)
        logger.info("pushed to %s", result["url"])
        return True


def _snapshot(run: Path) -> Path:
    """A folder beside the run's files that holds them as they are: later ones replace, and do not change, a file."""
    folder = Path(tempfile.mkdtemp(prefix=".push_", dir=run))
    for name in FILES:
        if (run / name).exists():
            try:
                os.link(run / name, folder / name)
            except OSError:  # a file system without hard links
                shutil.copy2(run / name, folder / name)
    return folder
