"""Prepares a raw folder in a child that is killed at random moments, again and again, and last undisturbed.

python kill_prepare.py RAW OUTPUT KILLS SEED; prints how many shards were whole after each kill. Forks a process that
has imported everything already, so that a kill falls into the work and not into the imports.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from ger_datasets.preparation import shards
from ger_datasets.preparation.run import prepare

shards.SHARD_ROWS, shards.GROUP_ROWS = 2, 1
raw, output, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
random.seed(seed)


def run() -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare("gaf3", raw, output, num_proc=1)
            code = 0
        finally:
            os._exit(code)
    return child


def wait_for(pattern: str, child: int, seconds: float = 60) -> None:
    """Until the output holds one more file like `pattern`, or the child has ended."""
    before = set(output.rglob(pattern))
    end = time.monotonic() + seconds
    while time.monotonic() < end and not set(output.rglob(pattern)) - before:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.005)


shard_seconds, whole = 0.0, 0
for _ in range(kills):
    child = run()
    wait_for(".*.parquet.*.tmp", child)  # the work has begun
    if not shard_seconds:
        start = time.monotonic()
        wait_for("*.parquet.json", child)
        shard_seconds = time.monotonic() - start
    else:
        time.sleep(random.uniform(0, 2 * shard_seconds))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    before, whole = whole, len(list((output / "manifest").glob("*.json")))
    if whole == before:
        shard_seconds *= 1.25  # the machine has become slower
    print(whole, flush=True)
_, status = os.waitpid(run(), 0)
sys.exit(os.waitstatus_to_exitcode(status))
