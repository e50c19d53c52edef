"""Load on the web app, on loopback: 1, 4 and 16 clients send photos for some seconds each.

    python benchmarks/bench_app.py --seconds 60
    python benchmarks/bench_app.py --soak_minutes 30 --pause 1

A client uploads a photo, asks for its answer and waits for it, again and again. For each number of clients: answers
per second, errors, the median and 95th percentile of the seconds that an answer takes, and the app's memory. The first
line is the rate of the pipeline alone, in this process.

The soak is one client that pauses between its photos, for a long time: a line with the app's memory every minute, and
in the end its memory at the start, after the first five minutes and at the end, and how much it grows per minute
between the last two.
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
SAMPLE_SECONDS, WARM_UP_MINUTES = 60, 5  # of a soak


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


def load(url: str, photo: str, clients: int, seconds: float, pause: float = 0.0) -> dict[str, float]:
    """The figures of some clients, each of which pauses between its photos."""
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
            time.sleep(pause)

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


def soak(url: str, photo: str, pid: int, minutes: float, pause: float) -> dict[str, float]:
    """The figures of one client that sends photos for `minutes`."""
    samples = [(0.0, memory_mb(pid))]
    figures: dict[str, float] = {}
    client = threading.Thread(target=lambda: figures.update(load(url, photo, 1, 60 * minutes, pause)))
    begin = time.monotonic()
    client.start()
    while client.is_alive():
        client.join(SAMPLE_SECONDS)
        samples.append(((time.monotonic() - begin) / 60, memory_mb(pid)))
        print(json.dumps({"minute": round(samples[-1][0], 1), "memory_mb": round(samples[-1][1], 1)}), flush=True)
    warm_up = min(WARM_UP_MINUTES, minutes / 2)
    warm = np.array([sample for sample in samples if sample[0] >= warm_up])
    return {
        **figures,
        "minutes": round(samples[-1][0], 1),
        "memory_mb_start": round(samples[0][1], 1),
        "memory_mb_warm": round(float(warm[0, 1]), 1),
        "memory_mb_end": round(samples[-1][1], 1),
        "memory_mb_per_minute": round(float(np.polyfit(warm[:, 0], warm[:, 1], 1)[0]), 3) if len(warm) > 1 else 0.0,
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
    parser.add_argument("--soak_minutes", type=float, help="one client for so long, instead of the loads")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two photos of the soak")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)

    from ger_datasets.sample.drawing import draw_photo

    with tempfile.TemporaryDirectory() as folder:
        photo = str(Path(folder, "party.jpg"))
        draw_photo(np.random.default_rng(0), "Positive", 4)[0].save(photo)
        if arguments.soak_minutes is None:
            alone = pipeline_rate(photo, min(10, arguments.seconds))
            print(json.dumps({"pipeline_answers_per_second": alone}), flush=True)
        process, url = start_app(Path(folder, "log"))
        try:
            load(url, photo, 1, 2)  # loads the detector
            if arguments.soak_minutes is not None:
                print(json.dumps(soak(url, photo, process.pid, arguments.soak_minutes, arguments.pause)))
                return
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
