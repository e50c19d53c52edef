"""Runs scripts in forked children that something happens to: a signal, a limit, a clock that jumps.

Reads jobs, one JSON object a line, from stdin, and answers each with one line: code, stdout, stderr and whether the
signal was sent. Has imported everything before it forks, so that what happens falls into the work.

    {"argv": ["prepare", "--dataset", ...], "signal": 15, "after": "GLOB", "more": 1, "clock": true, "fsize": 100000}
"""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from ger_datasets import shards
from ger_datasets.cli import run

ROOT = Path(__file__).resolve().parents[2]
torch.set_num_threads(1)
shards.SHARD_ROWS, shards.GROUP_ROWS = 2, 1


def loaded(name: str) -> object:
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SCRIPTS = {name: loaded(name) for name in ("prepare", "predict", "train")}


def jump_about() -> None:
    """From now on the clock is anywhere within ten years, another time at every look."""
    real, drawn = time.time, random.Random(0)
    time.time = lambda: real() + drawn.uniform(-1.6e8, 1.6e8)
    time.time_ns = lambda: int(time.time() * 1e9)


def child(job: dict, out: int, log: int) -> None:
    os.setsid()
    os.dup2(out, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    if job.get("fsize"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["fsize"], job["fsize"]))
    if job.get("clock"):
        jump_about()
    if job.get("small_parts"):
        from ger_models import inputs

        inputs.LEAST_PART, inputs.PARTS = 2, 100
    name, *words = job["argv"]
    code = 1
    try:
        run(SCRIPTS[name].main, SCRIPTS[name].Arguments, words)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001 - shown to who asked
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def do(job: dict) -> dict:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        before = len(glob.glob(job.get("after", ""), include_hidden=True))
        pid = os.fork()
        if pid == 0:
            child(job, out.fileno(), log.fileno())
        sent, status, end = False, None, time.monotonic() + 120
        while status is None:
            done, state = os.waitpid(pid, os.WNOHANG)
            status = state if done else None
            if done:
                break
            there = len(glob.glob(job.get("after", ""), include_hidden=True))
            if not sent and job.get("signal") and there >= before + job.get("more", 1):
                os.kill(pid, job["signal"])
                sent = True
            if time.monotonic() > end:
                os.kill(pid, 9)
            time.sleep(0.002)
        told = {"code": os.waitstatus_to_exitcode(status), "sent": sent}
        for name, file in (("stdout", out), ("stderr", log)):
            file.seek(0)
            told[name] = file.read().decode(errors="replace")
        return told


print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(do(json.loads(line))), flush=True)
