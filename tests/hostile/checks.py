"""What must hold for every hostile file: no code runs, nothing hangs, no memory bursts, a refusal is one told line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from corpus import MARKER

from ger_datasets.support.errors import printable

SECONDS = 30
MOST_BYTES = 2 * 10**9
BEFORE = 900_000_000  # what a process holds that has imported the package and done nothing
# The least number of cases of each file of tests: entry points, then the package's own parsers.
LEAST = {
    "test_photo_entries": 500,
    "test_annotation_entries": 700,
    "test_model_entries": 500,
    "test_table_entries": 700,
    "test_text_entries": 200,
    "test_video_entries": 150,
    "test_parsers": 2500,
}


class Hang(BaseException):
    """No `except Exception` may swallow it."""


@contextlib.contextmanager
def within(seconds: float = SECONDS) -> Iterator[None]:
    """Raises `Hang` where the block takes longer."""

    def ring(*_: object) -> None:
        raise Hang(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def forget_peak() -> None:
    with contextlib.suppress(OSError):  # where it is not allowed, the peak is that since the process began
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most memory that this process has held since `forget_peak`."""
    return _told("VmHWM")


def held_bytes() -> int:
    """The memory that this process holds."""
    return _told("VmRSS")


def _told(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        pytest.skip("the system does not tell the memory that a process holds")
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def reasons_in(output: Path) -> dict[str, str]:
    """Why prepare set photos aside, by file: what stands in the quarantine of `output`."""
    lines = (output / "quarantine.jsonl").read_text().splitlines()
    return {line["file"]: line["reason"] for line in map(json.loads, lines)}


class Meeting:
    """Some files meet one entry point: each is accepted, or refused in one line that names it.

    Args:
        entry: what the entry point is called in failures.
        refusals: the exceptions that are refusals.

    Attributes:
        plain: whether the refusals are this package's own, each in one line.
    """

    def __init__(self, entry: str, *refusals: type[Exception]) -> None:
        self.entry, self.refusals, self.plain = entry, refusals, True
        self.accepted: list[str] = []
        self.refused: dict[str, str] = {}
        self.failures: list[str] = []
        forget_peak()
        self.before = held_bytes()  # other tests of this process may have left much

    def __len__(self) -> int:
        return len(self.accepted) + len(self.refused) + len(self.failures)

    def meet(self, name: str, call: Callable[[], object], *named: str) -> None:
        """One case: `call` must return or refuse; a refusal must hold each of `named`: the file, or the folder."""
        try:
            with within():
                call()
        except self.refusals as error:
            self.told(name, str(error), *named)
        except (Exception, Hang):  # noqa: BLE001 - whatever else comes is what is looked for
            self.failures.append(f"{name}: {traceback.format_exc(limit=-4)}")
        else:
            self.accepted.append(name)

    def told(self, name: str, refusal: str | None, *named: str) -> None:
        """One case that went on elsewhere: its refusal, or None."""
        if refusal is None:
            self.accepted.append(name)
            return
        self.refused[name] = refusal
        lacking = [each for each in named if printable(each) not in refusal]
        if not refusal.strip() or lacking:
            self.failures.append(f"{name}: the refusal does not name {lacking}: {refusal[:300]!r}")
        elif not self.plain:
            return
        elif "Traceback" in refusal or len(refusal) > 2000:
            self.failures.append(f"{name}: no plain refusal: {refusal[:300]!r}")
        elif refusal != printable(refusal):
            self.failures.append(f"{name}: more than one line, or what moves a cursor: {refusal[:300]!r}")

    def end(self, *folders: Path) -> int:
        """Fails with all failures; returns how many files there were."""
        peak = BEFORE + peak_bytes() - self.before
        ran = [place for folder in (Path.cwd(), *folders) for place in folder.rglob(MARKER) if place.is_dir()]
        assert not ran, f"{self.entry}: code ran: {ran}"
        assert not os.path.exists(f"/tmp/{MARKER}"), f"{self.entry}: an archive wrote outside"
        assert peak < MOST_BYTES, f"{self.entry}: {peak / 1e9:.1f} GB"
        shown = "\n".join(self.failures[:8])
        assert not self.failures, f"{self.entry}: {len(self.failures)} of {len(self)} files\n{shown}"
        return len(self)
