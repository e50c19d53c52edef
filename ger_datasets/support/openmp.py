"""Imported before torch: OpenMP's threads give their core away while they wait for each other.

By default they go on asking. Where the cores are shared, with the workers that decode photos or with other programs,
the thread that is waited for then cannot run: predicting with a small model becomes slower (docs/results.md).
OMP_WAIT_POLICY (OpenMP 5.0, section 6.7) is read when OpenMP is loaded, so that it must be set before; what the user
has set stays.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
