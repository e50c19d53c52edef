"""Small videos whose cuts are known."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np


def scene(seed: int, width: int = 64, height: int = 48) -> np.ndarray:
    """(height, width, 3) uint8: coloured blocks of 16 pixels, others for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    return blocks.repeat(16, axis=0).repeat(16, axis=1)


def write_video(
    path: Path, frames: Sequence[np.ndarray], codec: str = "mpeg4", options: dict[str, str] | None = None
) -> Path:
    """A video of RGB `frames` at 25 frames per second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_cuts(path: Path, cuts: Sequence[int], length: int, seed: int = 0, **options: object) -> Path:
    """A video of `length` frames whose picture stands still but for a new scene at each frame of `cuts`."""
    starts = [0, *cuts]
    scenes = [scene(seed + i) for i in range(len(starts))]
    frames = [scenes[sum(start <= number for start in starts) - 1] for number in range(length)]
    return write_video(path, frames, **options)


def write_sound(path: Path) -> Path:
    """A file with sound and no video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for i in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, i * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write what a player does to the picture into an MP4 file: x' = a x + c y, y' = b x + d y (ISO 14496-12)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # after version, flags, times, id, duration, layer, group and volume
    struct.pack_into(">9i", content, start, *(a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30))
    path.write_bytes(content)
