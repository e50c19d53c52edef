"""Runs scripts in forked children that something happens to: a signal, a limit, a clock that jumps, a deaf Hub.

Reads jobs, one JSON object a line, from stdin, and answers each with one line: code, stdout, stderr, the most bytes
that it held, the seconds that it computed, and whether the signal was sent. Has imported everything before it forks,
so that what happens falls into the work.

    {"argv": ["prepare", "--dataset", ...], "signal": 15, "after": "GLOB", "more": 1}   the signal, after a new file
    {..., "victim": "worker"}      it goes to a child of the child
    {..., "clock": true}           the clock jumps by years
    {..., "fsize": 100000}         no file may grow larger
    {..., "small_parts": true}     predict works in parts of two photos
    {..., "hasty": true}           nothing waits long before it tries again
    {..., "silence": 1}            seconds without an answer that count as none
    {..., "usual_shards": true}    prepare writes shards as users get them, and not of two photos
    {"argv": ["-c", CODE, ...]}    Python code in the place of a script
    {..., "beside": ["predict", ...]}   a second child at the same time; the answer has its own under "beside"
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants

from ger_datasets.preparation import shards
from ger_datasets.support import hub_connection
from ger_datasets.support.command_line import run
from ger_models.inference import inputs

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))  # after the imports above: it has folders of the same names
from forked import Forked, forked  # noqa: E402

torch.set_num_threads(1)
USUAL = shards.SHARD_ROWS, shards.GROUP_ROWS
shards.SHARD_ROWS, shards.GROUP_ROWS = 2, 1


def loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


NAMES = ("prepare", "predict", "train", "push", "ensemble", "evaluate_predictions", "convert_checkpoint")
SCRIPTS = {name: loaded(name) for name in NAMES}
# What the scripts import when they need it, so that no child has to
LATE = (
    "timm", "matplotlib.pyplot", "mpl_toolkits.mplot3d", "scipy.io", "scipy.stats", "ger_models.auto",
    "ger_models.encoders.encoders", "ger_models.encoders.sources", "ger_models.evaluation.report.writing",
    "ger_models.inference.predict_run", "ger_models.training.loop", "ger_models.training.run_report",
)  # fmt: skip
for late in LATE:
    importlib.import_module(late)
gc.freeze()  # its collections would copy what the children share


def jump_about() -> None:
    """From now on the clock is anywhere within ten years, another time at every look."""
    real, drawn = time.time, random.Random(0)
    time.time = lambda: real() + drawn.uniform(-1.6e8, 1.6e8)
    time.time_ns = lambda: int(time.time() * 1e9)


def hurry() -> None:
    real = time.sleep
    time.sleep = lambda seconds: real(min(seconds, 0.01))


def suffer(job: dict, argv: list[str]) -> None:
    """Run the script in this child, and let happen to it what the job says."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
    if job.get("fsize"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["fsize"], job["fsize"]))
    if job.get("clock"):
        jump_about()
    if job.get("hasty"):
        hurry()
    if job.get("silence"):
        hub_connection.SILENT_SECONDS = job["silence"]
        constants.HF_HUB_DOWNLOAD_TIMEOUT = constants.HF_HUB_ETAG_TIMEOUT = job["silence"]
    if job.get("usual_shards"):
        shards.SHARD_ROWS, shards.GROUP_ROWS = USUAL
    if job.get("small_parts"):
        inputs.LEAST_PART, inputs.PARTS = 2, 100
    name, *words = argv
    if name == "-c":
        sys.argv = words
        exec(words[0], {"__name__": "__main__"})
    else:
        run(SCRIPTS[name].main, SCRIPTS[name].Arguments, words)


@dataclass
class Child:
    """A script under way; `status` is None until it has ended."""

    process: Forked
    status: int | None = None
    used: Any = None

    def look(self) -> None:
        if self.status is None:
            done, state, self.used = os.wait4(self.process.pid, os.WNOHANG)
            self.status = state if done else None

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = {"code": os.waitstatus_to_exitcode(self.status)}
        told |= {"held": self.used.ru_maxrss * 1024, "seconds": self.used.ru_utime + self.used.ru_stime}
        told["stdout"], told["stderr"] = self.process.printed()
        return told


def victims(job: dict, pid: int) -> list[int]:
    if job.get("victim") != "worker":
        return [pid]
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def files(pattern: str) -> int:
    """How many there are, hidden ones too; the pattern is absolute, or empty."""
    return sum(1 for _ in Path("/").glob(pattern[1:])) if pattern else 0


def do(job: dict) -> dict:
    before = files(job.get("after", ""))
    children = [Child(forked(suffer, job, argv)) for argv in (job["argv"], job.get("beside")) if argv]
    sent, end = False, time.monotonic() + 120
    while any(each.status is None for each in children):
        for each in children:
            each.look()
        first = children[0]
        there = files(job.get("after", ""))
        if not sent and first.status is None and job.get("signal") and there >= before + job.get("more", 1):
            for pid in victims(job, first.process.pid):
                os.kill(pid, job["signal"])
                sent = True
        if time.monotonic() > end:
            for each in children:
                if each.status is None:
                    os.kill(each.process.pid, 9)
        time.sleep(0.002)
    told = {**children[0].told(), "sent": sent}
    return {**told, **({"beside": children[1].told()} if len(children) > 1 else {})}


print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(do(json.loads(line))), flush=True)
