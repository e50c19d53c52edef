"""How many processes this machine has room for."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The cores that this process may use; all there are where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
