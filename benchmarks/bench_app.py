"""Load on the web app, on loopback: 1, 4 and 16 clients send photos for some seconds each.

    python benchmarks/bench_app.py --seconds 60
    python benchmarks/bench_app.py --clients 4 --seconds 1800

A client uploads a photo, asks for its answer and waits for it, again and again. For each number of clients: answers
per second, errors, the median and 95th percentile of the seconds that an answer takes, and the app's memory. The first
line is the rate of the pipeline alone, in this process.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120


def start_app(log: Path) -> tuple[subprocess.Popen, str]:
    """The app's process and address."""
    command = [sys.executable, str(ROOT / "scripts" / "app.py"), "--port", "0", "--device", "cpu"]
    with log.open("w") as opened:
        process = subprocess.Popen(command, stdout=opened, stderr=opened)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"open (http\S+)/ in", log.read_text()):
            return process, found[1]
        time.sleep(0.2)
    process.kill()
    raise SystemExit(f"the app has not started: {log.read_text()[-2000:]}")


def memory_mb(pid: int) -> float:
    """The memory that a process has at the moment, MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def load(url: str, photo: str, clients: int, seconds: float) -> dict[str, float]:
    """The figures of some clients."""
    from gradio_client import Client, handle_file

    taken: list[float] = []
    errors: list[str] = []
    connected = [Client(url, verbose=False) for _ in range(clients)]
    begin = time.monotonic()

    def send(client: Client) -> None:
        while time.monotonic() < begin + seconds:
            start = time.monotonic()
            try:
                client.predict(photo=handle_file(photo), api_name="/photo")
                taken.append(time.monotonic() - start)
            except Exception as error:  # noqa: BLE001 - counted, whatever it is
                errors.append(repr(error))

    threads = [threading.Thread(target=send, args=(client,)) for client in connected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.monotonic() - begin
    middle, late = np.percentile(taken, [50, 95]) if taken else (0, 0)
    return {
        "clients": clients,
        "answers_per_second": round(len(taken) / whole, 2),
        "errors": len(errors),
        "median_seconds": round(float(middle), 2),
        "p95_seconds": round(float(late), 2),
    }


def pipeline_rate(photo: str, seconds: float) -> float:
    """Answers per second of the pipeline alone."""
    from ger_models.inference.answers import answers, find_photos, load_pipeline

    pipe, photos = load_pipeline("starter", "cpu"), find_photos([photo])
    list(answers(pipe, photos, 1))
    begin, count = time.monotonic(), 0
    while time.monotonic() < begin + seconds:
        count += len(list(answers(pipe, photos, 1)))
    return round(count / (time.monotonic() - begin), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=60, help="for each number of clients")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)

    from ger_datasets.sample.drawing import draw_photo

    with tempfile.TemporaryDirectory() as folder:
        photo = str(Path(folder, "party.jpg"))
        draw_photo(np.random.default_rng(0), "Positive", 4)[0].save(photo)
        print(
            json.dumps({"pipeline_answers_per_second": pipeline_rate(photo, min(10, arguments.seconds))}), flush=True
        )
        process, url = start_app(Path(folder, "log"))
        try:
            load(url, photo, 1, 2)  # loads the detector
            for clients in arguments.clients:
                before = memory_mb(process.pid)
                figures = load(url, photo, clients, arguments.seconds)
                memory = {"memory_mb_before": round(before), "memory_mb_after": round(memory_mb(process.pid))}
                print(json.dumps({**figures, **memory}), flush=True)
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
