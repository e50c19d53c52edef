"""What training, prediction and face detection reach on this machine's GPU, beside plain PyTorch: one JSON object.

python benchmarks/bench_gpu.py --output bench.json
python benchmarks/bench_gpu.py --device cpu --size small --parts faces,step

| part | what is measured |
|---|---|
| train | train.py end to end from Parquet with 16 workers: images/s, and what its time is spent on |
| step | a step of train.py's loop against forward, backward and optimizer step alone, on a batch on the GPU |
| faces | FaceExtractor against facenet-pytorch, photo by photo and batched: photos/s, and whether they find the same |
| predict | predict.py on photos and on a split against decoding the same photos in one process |
| encode | a ViT-B/16 as encoder of photos against its network alone; the starter as encoder of faces |
| resume | weights of a run that was stopped and resumed against those of one that was not, both deterministic |
| batch | train.py --find_batch_size with a batch that does not fit |
| fsdp | train.py with FSDP 2 and with DeepSpeed ZeRO-2, one process: train, save, resume |
| compile | train.py's loop with --dynamo_backend inductor; only if asked for |
| profile | what bare steps launch, copy and wait for; only if asked for |

Photos are drawn and prepared first (`data`). Each part is a process group of its own with its own share of --limit:
one that fails, hangs or runs out of memory is reported with the end of its log and what it had measured, and the
others go on. It runs from a checkout, without installing the package and without network.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOG_LINES = 40  # of the log of a part that failed
# name -> where it is, and its share of the time, about the seconds it takes on one H100 whose processors are slow (an
# H200 beside faster ones took two thirds); the most valuable first
PARTS: dict[str, tuple[str, float]] = {
    "data": ("data", 45),
    "train": ("runs", 65),
    "step": ("steps", 85),
    "faces": ("faces", 45),
    "predict": ("predicting", 45),
    "encode": ("encoding", 30),
    "resume": ("runs", 40),
    "batch": ("runs", 30),
    "fsdp": ("runs", 70),
    "compile": ("steps", 120),
    "profile": ("steps", 60),
}
ONLY_IF_ASKED_FOR = ("compile", "profile")
SIZES = ("full", "small")
MODELS = ("densenet_emotic", "vit_base", "fusion_crossvit")


@dataclass
class Arguments:
    device: str = field(default="cuda", metadata={"help": "cuda or cpu."})
    size: str = field(default="full", metadata={"help": "full, or small: to try the benchmark itself."})
    parts: str = field(
        default="",
        metadata={
            "help": "Which, comma-separated; faces=20: at most 20 seconds. Default: all but compile and profile."
        },
    )
    limit: float = field(default=480, metadata={"help": "Seconds for everything; what a part leaves, later ones get."})
    output: Path | None = field(default=None, metadata={"help": "File that the report is written to as well."})
    part: str | None = field(default=None, metadata={"help": "Used by the benchmark itself: run this part."})
    folder: Path | None = field(default=None, metadata={"help": "Used by the benchmark itself: where parts work."})

    def __post_init__(self) -> None:
        from ger_datasets.support.errors import UserError, listing

        chosen = [word.strip().partition("=")[::2] for word in self.parts.split(",") if word.strip()]
        usual = [(name, "") for name in PARTS if name not in ONLY_IF_ASKED_FOR]
        self.limits = {name: float(limit or "inf") for name, limit in chosen or usual}
        unknown = [name for name in self.limits if name not in PARTS]
        if unknown:
            raise UserError(f"--parts has {listing(unknown)}: there are {listing(PARTS, 20)}")
        if self.size not in SIZES or self.device not in ("cuda", "cpu"):
            raise UserError(f"--size must be one of {listing(SIZES)} and --device cuda or cpu")


def main(arguments: Arguments) -> dict[str, Any]:
    if arguments.part is not None:
        from gpu_parts.part import Part  # here, as processes that parts start import this file and need no torch

        part = Part(arguments.part, arguments.device, arguments.size, arguments.folder or Path())
        module = importlib.import_module(f"gpu_parts.{PARTS[part.name][0]}")
        getattr(module, f"part_{part.name}")(part)
        return {"part": part.name}
    begin, report = time.monotonic(), {"device": arguments.device, "size": arguments.size, "parts": {}}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        names = list(dict.fromkeys(["data", *arguments.limits]))
        for at, part in enumerate(names):
            left = arguments.limit - (time.monotonic() - begin)
            share = PARTS[part][1] / sum(PARTS[other][1] for other in names[at:])
            limit = min(left / 2 if part == "data" else left * share, arguments.limits.get(part, left))
            print(f"[{time.monotonic() - begin:.0f} s] {part}, at most {limit:.0f} s", file=sys.stderr, flush=True)
            report["parts"][part] = outcome(arguments, part, Path(name), limit)
            report["seconds"] = round(time.monotonic() - begin, 1)
            report["failed"] = [
                name for name, figures in report["parts"].items() if '"error": ' in json.dumps(figures)
            ]
            report["summary"] = summary(report["parts"])
            if arguments.output is not None:
                arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def as_if_installed(folder: Path) -> None:
    """Have this process and its children find the package and, if it is not installed, a version of it in `folder`."""
    try:
        importlib.metadata.version("group-emotion")
    except importlib.metadata.PackageNotFoundError:
        described = folder / "group_emotion-0.dist-info" / "METADATA"
        described.parent.mkdir()
        described.write_text("Metadata-Version: 2.1\nName: group-emotion\nVersion: 0\n", encoding="utf-8")
    paths = [str(ROOT), str(folder)]
    sys.path[1:1] = paths
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*paths, os.environ.get("PYTHONPATH")]))


def outcome(arguments: Arguments, part: str, folder: Path, limit: float) -> dict[str, Any]:
    """The figures of a part, run in a process group of its own that has ended afterwards."""
    words = ["--part", part, "--folder", folder, "--device", arguments.device, "--size", arguments.size]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "TMPDIR": str(folder)}
    if arguments.device == "cpu":
        environment |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    if part == "resume":
        environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what deterministic matrix products ask for
    begin, log = time.monotonic(), folder / f"{part}.log"
    error = None
    with open(log, "w", encoding="utf-8") as file:
        child = subprocess.Popen([sys.executable, __file__, *map(str, words)], env=environment, stdout=file,
                                 stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
        try:
            if child.wait(max(limit, 0.1)):
                error = f"exit code {child.returncode}"
        except subprocess.TimeoutExpired:
            error = f"not finished after {limit:.0f} seconds"
        finally:
            end(child)
    found = folder / f"{part}.json"
    figures = json.loads(found.read_text(encoding="utf-8")) if found.exists() else {}
    if error:
        figures |= {"error": error, "log": last_lines(log)}
    for line in figures.get("log", ()):
        print(f"    {line}", file=sys.stderr)
    return {"seconds": round(time.monotonic() - begin, 1), **figures}


def end(child: subprocess.Popen) -> None:
    """End a part and all that it has started; launchers take theirs along when they are asked to end."""
    for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(seconds)


def last_lines(log: Path) -> list[str]:
    """The end of a log, without progress bars."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if line.strip() and "%|" not in line][-LOG_LINES:]


def summary(parts: dict[str, Any]) -> dict[str, Any]:
    """The figures that there are goals for, those that could be measured."""

    def figure(part: str, name: str, key: str) -> Any:
        found = parts.get(part, {}).get(name)
        return found.get(key) if isinstance(found, dict) else None

    def ratio(above: float | None, below: float | None) -> float | None:
        return round(above / below, 3) if above and below else None

    speeds = "images_per_second"
    bare = figure("step", "densenet_emotic loop bf16", "bare") or {}
    return {
        **{f"loop to bare, {name}": figure("step", f"{name} loop bf16", "to_bare") for name in MODELS},
        "train to bare": ratio(figure("train", "end to end", speeds), bare.get(speeds)),
        "faces to facenet-pytorch, batched": figure("faces", "ratio", "batched"),
        "faces to facenet-pytorch, single": figure("faces", "ratio", "single"),
        "predict photos to decoding": figure("predict", "photos", "to_decoding"),
        "predict split to decoding": figure("predict", "split", "to_decoding"),
        "encoder to its network": parts.get("encode", {}).get("to network alone"),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as site:
        as_if_installed(Path(site))
        from ger_datasets.support.command_line import run

        run(main, Arguments)
