"""How long `--help` of each script takes, relative to `import torch, transformers`.

python benchmarks/bench_startup.py

Processor seconds (user and system) of whole processes, each the median of `RUNS`, which take turns. Ends with one line
of JSON: script -> ratio.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = 5
BASE = "import torch, transformers"
PARSER = "from transformers import HfArgumentParser"


def seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    commands = {BASE: ["-c", BASE], PARSER: ["-c", PARSER]}
    commands |= {path.name: [f"scripts/{path.name}", "--help"] for path in sorted((ROOT / "scripts").glob("*.py"))}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    medians = {name: statistics.median(each) for name, each in taken.items()}
    for name, median in medians.items():
        print(f"{name:45} {median:5.2f} s  {median / medians[BASE]:.2f}", file=sys.stderr)
    print(json.dumps({name: round(median / medians[BASE], 3) for name, median in medians.items()}))


if __name__ == "__main__":
    main()
