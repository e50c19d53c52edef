"""Small videos whose cuts are known."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
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


BITS = 10  # of a frame's number


def numbered(number: int, height: int = 64) -> np.ndarray:
    """(height, 160, 3) uint8: a frame with its number drawn in, as black and white columns of 16 pixels."""
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    return np.array(bits, np.uint8).repeat(16)[None, :, None].repeat(height, axis=0).repeat(3, axis=2)


def number_in(image: object) -> int:
    """The number that `numbered` has drawn into a picture, of any size."""
    pixels = np.asarray(image, float).mean(axis=(0, 2))
    middles = (np.arange(BITS) + 0.5) * len(pixels) / BITS
    return sum(1 << bit for bit, place in enumerate(middles) if pixels[int(place)] > 127)


def write_numbered(
    path: Path,
    length: int,
    codec: str = "libx264",
    milliseconds: Sequence[int] | None = None,
    codec_options: dict[str, str] | None = None,
    **container: object,
) -> Path:
    """A video of numbered frames, 25 per second or at the given times."""
    with av.open(str(path), "w", **container) as file:
        stream = file.add_stream(codec, rate=25, options=codec_options or {})
        stream.width, stream.height, stream.pix_fmt = 160, 64, "yuv420p"
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(length):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            if milliseconds is not None:
                frame.time_base, frame.pts = Fraction(1, 1000), milliseconds[number]
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def write_combed(path: Path, codec: str = "libx264", length: int = 12, **options: str) -> Path:
    """An interlaced video of a white bar that moves by half its width from field to field."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 128, 96, "yuv420p", 4_000_000
        for number in range(length):
            pixels = np.zeros((96, 128, 3), np.uint8)
            pixels[0::2, number * 8 : number * 8 + 16] = 220
            pixels[1::2, number * 8 + 8 : number * 8 + 24] = 220
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


def write_coloured(
    path: Path, pixels: np.ndarray, pix_fmt: str, matrix: int, transfer: int, primaries: int, full_range: bool = False
) -> Path:
    """Three H.264 frames of `pixels`, (height, width, 3) uint16 of coded RGB, with these properties (ITU-T H.273)."""
    coded_range = 2 if full_range else 1
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"qp": "1"})
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_trc, context.color_primaries = matrix, transfer, primaries
        context.color_range = coded_range
        rgb = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
        for _ in range(3):
            frame = rgb.reformat(format=pix_fmt, dst_colorspace=matrix or None, dst_color_range=coded_range)
            frame.colorspace, frame.color_range = matrix, coded_range
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
