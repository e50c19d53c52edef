"""Imported before torch: waiting OpenMP threads release their core.

By default they spin. If other processes share the cores, such as the workers that decode photos, spinning keeps the
awaited thread from running, and predicting with a small model becomes slower (docs/results.md). OpenMP reads
OMP_WAIT_POLICY (OpenMP 5.0, section 6.7) when it is loaded, so it must be set before. A user's own setting is kept.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
