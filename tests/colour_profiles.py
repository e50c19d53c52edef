"""ICC profiles made by code, and what they mean, computed without a colour management library.

The colorants are those of the colour spaces' definitions, adapted to D50 as ICC profiles hold them.
"""

from __future__ import annotations

import struct

import numpy as np

COLORANTS = {  # X, Y, Z of red, green and blue
    "sRGB": ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),
    "Display P3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
    "Adobe RGB": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
}
COLORANTS["red and blue exchanged"] = COLORANTS["sRGB"][::-1]
GAMMA = 2.2


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def assembled(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    """A profile of version 2.2 with these tags; `kind` is its device class."""
    tags = {b"wtpt": xyz((0.9642, 1.0, 0.8249)), **tags}
    place, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, place + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    body = struct.pack(">I", len(tags)) + table + data
    header = struct.pack(">I4sI4s4s4s12x4s", 128 + len(body), b"test", 0x02200000, kind, space, connection, b"acsp")
    return (header + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0") + body


def rgb_profile(name: str) -> bytes:
    """The profile of the colour space `name` with a plain gamma of 2.2."""
    red, green, blue = COLORANTS[name]
    curves = {tag: curve(GAMMA) for tag in (b"rTRC", b"gTRC", b"bTRC")}
    return assembled(b"RGB ", {b"rXYZ": xyz(red), b"gXYZ": xyz(green), b"bXYZ": xyz(blue), **curves})


def grey_profile(gamma: float) -> bytes:
    return assembled(b"GRAY", {b"kTRC": curve(gamma)})


def in_srgb(pixels: np.ndarray, name: str) -> np.ndarray:
    """Pixels (..., 3) uint8 of the colour space `name` with gamma 2.2 -> the same colours in sRGB."""
    linear = (pixels / 255) ** GAMMA
    linear = linear @ np.array(COLORANTS[name]) @ np.linalg.inv(np.array(COLORANTS["sRGB"]))
    linear = linear.clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (encoded * 255).round().astype(np.uint8)
