"""Prepare a dataset on a Ray cluster: each Ray task runs scripts/prepare.py for one of n parts.

python examples/ray_prepare.py --parts 8 -- --dataset gaf3 --source RAW --output /shared/gaf3

All machines must see the same source and output folder. The result has the same bytes as one run of prepare.py. A part
that fails is tried again and continues with its unfinished shards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import ray

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "prepare.py"


def run_part(part: int, parts: int, options: list[str]) -> str:
    """Run part `part` (from 1) of `parts`; returns the last line that prepare.py prints, its figures as JSON."""
    command = [sys.executable, str(SCRIPT), *options, "--num_proc", "1", "--shard", f"{part}/{parts}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, required=True, help="Number of parts; each takes one CPU core.")
    parser.add_argument("--address", help="Address of the Ray cluster. Default: start Ray on this machine.")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="After --: the options of prepare.py.")
    arguments = parser.parse_args()
    options = [option for option in arguments.options if option != "--"]
    ray.init(address=arguments.address)
    task = ray.remote(num_cpus=1, max_retries=2, retry_exceptions=True)(run_part)
    waiting = [task.remote(part, arguments.parts, options) for part in range(1, arguments.parts + 1)]
    while waiting:
        done, waiting = ray.wait(waiting)
        print(ray.get(done[0]), flush=True)


if __name__ == "__main__":
    main()
