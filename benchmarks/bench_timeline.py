"""Time a video's timeline against detection and model alone on the same frames, and compare memory of two lengths.

python benchmarks/bench_timeline.py                    # one and ten minutes of 640 x 360, drawn
python benchmarks/bench_timeline.py --minutes 1 60 --width 1920

`speed` is the frames per second of the whole run, decoding, pictures, tracking and page among it, divided by those of
a loop that has the decoded frames in memory and only finds faces and asks the model. `memory` is the peak of the
longer video divided by that of the shorter one; each is measured in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
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
    rounds: int = field(default=3, metadata={"help": "How often the speed is measured; the median ratio counts."})


def main(arguments: Arguments) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        videos = [draw(folder / f"{i}.mp4", 60 * n, arguments.width) for i, n in enumerate(arguments.minutes)]
        short = draw(folder / "speed.mp4", arguments.speed_frames / FPS, arguments.width)
        ratios = speeds(short, folder, arguments.rounds)
        peaks = [peak(video, folder / video.stem) for video in videos]
    return {
        "speed": round(float(np.median([whole / alone for whole, alone in ratios])), 3),
        "frames_per_second": [[round(whole, 2), round(alone, 2)] for whole, alone in ratios],
        "memory": round(peaks[-1] / peaks[0], 3),
        "peak_mib": [round(each) for each in peaks],
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


def speeds(video: Path, folder: Path, rounds: int) -> list[tuple[float, float]]:
    """Sampled frames per second of the whole run, and of detection and model alone, in turn."""
    from ger_datasets.videos.frames import Frame
    from ger_models.timeline.reading import FrameReader
    from ger_models.timeline.run import video_timeline
    from ger_models.timeline.sampling import sampled_frames

    reader = FrameReader()
    frames: list[Frame] = list(sampled_frames(video, FPS))
    images: list[Image.Image] = [frame.image for frame in frames]
    reader.ask_alone(images[:BATCH])  # the first pass is slower
    found = []
    for number in range(rounds):
        start = time.perf_counter()
        for place in range(0, len(images), BATCH):
            reader.ask_alone(images[place : place + BATCH])
        middle = time.perf_counter()
        video_timeline(video, folder / f"round{number}", reader, fps=FPS, batch_size=BATCH)
        end = time.perf_counter()
        found.append((len(images) / (end - middle), len(images) / (middle - start)))
    return found


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
