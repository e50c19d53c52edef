"""How many processes to use on this machine; and, if imported before torch, waiting OpenMP threads release their core.

By default they spin. If other processes share the cores, such as the workers that decode photos, spinning keeps the
awaited thread from running, and predicting with a small model becomes slower (docs/results.md). OpenMP reads
OMP_WAIT_POLICY (OpenMP 5.0, section 6.7) when it is loaded, so it must be set before. A user's own setting is kept.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def usable_cores() -> int:
    """The number of cores that this process may use; all cores if the system does not report it."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
