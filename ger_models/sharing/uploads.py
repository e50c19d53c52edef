"""Pushes a run's model to the Hub during training."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from ger_datasets.support.errors import UserError, one_line
from ger_datasets.support.hub_push import push_files

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 3600.0  # how long the end of a run waits for a push


class Uploads:
    """Pushes the current state of a run in background threads. A failed push is a warning; the run continues.

    Training never waits for a push, and its end waits for `PATIENCE_SECONDS` at most; a terminated process waits only
    for the file in transfer.

    Args:
        repo: `ORG/NAME`; created if it does not exist.
        names: the run's files to push, where they exist.
        private: whether the repository is private.
    """

    def __init__(self, repo: str, names: Sequence[str], private: bool = True) -> None:
        self.repo, self.names, self.private = repo, names, private
        self.running: _Push | None = None
        atexit.register(self.silence)  # before the streams are closed, in a run that is stopped

    def start(self, run: Path) -> None:
        """Push the run's files as they are now, unless an earlier push is still running."""
        if self.running is None or not self.running.is_alive():
            self.running = self._begin(run)

    def finish(self, run: Path) -> bool:
        """Push the finished run; returns whether it arrived."""
        if self.running is not None:
            self.running.join(PATIENCE_SECONDS)
        last = None
        if self.running is None or not self.running.is_alive():
            last = self.running = self._begin(run)
        if last is not None:
            last.join(PATIENCE_SECONDS)
        arrived = last is not None and last.arrived
        self.silence()
        if not arrived:
            logger.warning(
                "%s was NOT pushed to %s; run the same command with --resume to push it",
                run,
                self.repo,
            )
        return arrived

    def silence(self) -> None:
        """Let no push log from here on: the process ends, and what it logs to may be closed."""
        if self.running is not None:
            self.running.silence()

    def _begin(self, run: Path) -> _Push | None:
        try:
            snapshot = _snapshot(run, self.names)
        except OSError as error:  # such as a full disk, which the next checkpoint reports
            logger.warning("a push failed: %s cannot be written: %s", run, one_line(error))
            return None
        push = _Push(self.repo, self.private, snapshot)
        push.start()
        return push


class _Push(threading.Thread):
    """One push of a snapshot, which is deleted after it.

    Attributes:
        arrived: whether the push is complete.
    """

    def __init__(self, repo: str, private: bool, snapshot: tempfile.TemporaryDirectory) -> None:
        super().__init__(name="upload", daemon=True)  # the process need not wait for it
        self.repo, self.private, self.snapshot, self.arrived = repo, private, snapshot, False
        self._logging, self._silent = threading.Lock(), False

    def silence(self) -> None:
        """Log nothing from here on; a message that is being logged is waited for."""
        with self._logging:
            self._silent = True

    def _log(self, level: int, message: str, about: object) -> None:
        with self._logging:
            if not self._silent:
                logger.log(level, message, about)

    def run(self) -> None:
        try:
            files = {path.name: path for path in sorted(Path(self.snapshot.name).iterdir())}
            url = push_files(files, self.repo, "model", private=self.private)["url"]
        except (UserError, OSError) as error:  # OSError: the snapshot is gone, as the process ends
            self._log(logging.WARNING, "a push failed: %s", error)
        else:
            self.arrived = True
            self._log(logging.INFO, "pushed to %s", url)
        finally:
            self.snapshot.cleanup()


def _snapshot(run: Path, names: Sequence[str]) -> tempfile.TemporaryDirectory:
    """A folder in the run with hard links to its files, which later epochs replace but do not change.

    It is deleted when the process ends, at the latest.
    """
    folder = tempfile.TemporaryDirectory(prefix=".push_", dir=run, ignore_cleanup_errors=True)
    try:
        for name in names:
            if (run / name).exists():
                try:
                    os.link(run / name, Path(folder.name) / name)
                except OSError:  # a file system without hard links
                    shutil.copy2(run / name, Path(folder.name) / name)
    except OSError:
        folder.cleanup()
        raise
    return folder
