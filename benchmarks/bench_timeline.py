"""Time a video's timeline against detection and model alone on the same frames, and compare memory of two lengths.

python benchmarks/bench_timeline.py                    # one and ten minutes of 640 x 360, drawn
python benchmarks/bench_timeline.py --minutes 1 60 --width 1920

`speed` is the frames per second of the whole run, decoding, pictures, tracking and page among it, divided by those of
a loop that has the decoded frames in memory and only finds faces and asks the model. The two are measured in turn, and
every second round begins with the other one; the median of the rounds' ratios counts. `speed_processor` is the same by
processor time of all threads, which others on the machine disturb less. `memory` is the median peak of the longer
video divided by that of the shorter one; each is measured in processes of its own, in turn.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from ger_datasets.sample.drawing import draw_photo
from ger_datasets.support.command_line import run

FPS, BATCH = 2.0, 8


@dataclass
class Arguments:
    minutes: list[float] = field(default_factory=lambda: [1.0, 10.0], metadata={"help": "Lengths of the two videos."})
    width: int = field(default=640, metadata={"help": "Width of the frames, pixels; 16:9."})
    speed_frames: int = field(default=96, metadata={"help": "Sampled frames on which the speed is measured."})
    rounds: int = field(default=5, metadata={"help": "How often the speed is measured; the median ratio counts."})
    memory_rounds: int = field(default=1, metadata={"help": "How often the memory of each video is measured."})


def main(arguments: Arguments) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        videos = [draw(folder / f"{i}.mp4", 60 * n, arguments.width) for i, n in enumerate(arguments.minutes)]
        short = draw(folder / "speed.mp4", arguments.speed_frames / FPS, arguments.width)
        found = speeds(short, folder, arguments.rounds)
        peaks = [
            [peak(video, folder / f"{video.stem}_{number}") for video in videos]
            for number in range(arguments.memory_rounds)
        ]
    whole, alone = (np.array([each[side] for each in found]) for side in (0, 1))  # (rounds, 2) seconds each
    middle = np.median(peaks, axis=0)
    return {
        "speed": round(float(np.median(alone[:, 0] / whole[:, 0])), 3),
        "speed_processor": round(float(np.median(alone[:, 1] / whole[:, 1])), 3),
        "frames_per_second": {
            "whole": np.round(arguments.speed_frames / whole[:, 0], 2).tolist(),
            "alone": np.round(arguments.speed_frames / alone[:, 0], 2).tolist(),
        },
        "memory": round(float(middle[-1] / middle[0]), 3),
        "peak_mib": np.round(middle).tolist(),
        "minutes": arguments.minutes,
    }


def draw(path: Path, seconds: float, width: int) -> Path:
    """A video of three moods, each ten seconds in turn, at 25 frames per second."""
    size = width, round(width * 9 / 32) * 2
    rng = np.random.default_rng(0)
    moods = [np.asarray(draw_photo(rng, mood, 5, size=size)[0]) for mood in ("Positive", "Neutral", "Negative")]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(round(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(moods[number // 250 % 3], format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def speeds(video: Path, folder: Path, rounds: int) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """For each round the seconds of the clock and of the processor: of the whole run, and of detection and model."""
    from ger_models.timeline.reading import FrameReader
    from ger_models.timeline.run import video_timeline
    from ger_models.timeline.sampling import sampled_frames

    reader = FrameReader()
    images: list[Image.Image] = [frame.image for frame in sampled_frames(video, FPS)]

    def alone() -> None:
        for place in range(0, len(images), BATCH):
            reader.ask_alone(images[place : place + BATCH])

    video_timeline(video, folder / "first", reader, fps=FPS, batch_size=BATCH)  # the first of everything is slower
    found = []
    for number in range(rounds):
        whole = partial(video_timeline, video, folder / f"round{number}", reader, fps=FPS, batch_size=BATCH)
        times = {work: seconds(work) for work in ((whole, alone) if number % 2 else (alone, whole))}
        found.append((times[whole], times[alone]))
    return found


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of the processor, in all threads of this process."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def peak(video: Path, folder: Path) -> float:
    """Peak memory of a run in a process of its own, MiB; of Linux."""
    code = (
        "import sys; from pathlib import Path; from ger_models.timeline.run import video_timeline; "
        "video_timeline(sys.argv[1], sys.argv[2]); print(Path('/proc/self/status').read_text())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(video), str(folder)], check=True, capture_output=True, text=True
    )
    # not getrusage's maximum, which a process inherits from the one that starts it
    return int(done.stdout.partition("VmHWM:")[2].split()[0]) / 2**10


if __name__ == "__main__":
    run(main, Arguments)
