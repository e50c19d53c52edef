"""The number of processes to use on this machine."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The number of cores that this process may use; all cores if the system does not report it."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
