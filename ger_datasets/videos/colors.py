"""Coded RGB of high dynamic range (PQ, HLG) or wide primaries (BT.2020, Display P3) -> ordinary 8-bit sRGB.

FFmpeg's conversion to RGB changes neither the transfer function nor the primaries, so that such frames look grey and
dark. FFmpeg's own filters for them (zscale, libplacebo) are not in PyAV's builds; this is done here in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc

REFERENCE_WHITE = 203.0  # cd/m2 of white paper or a face's highlight in PQ and HLG (ITU-R BT.2408-7, table 1)
HLG_PEAK = 1000.0  # cd/m2 of the nominal HLG display, for which the system gamma is 1.2 (ITU-R BT.2100-2, table 5)
HLG_GAMMA = 1.2
KNEE = 0.6  # of the reference white: below, light is kept as it is; above, it approaches 1 without reaching it
STRIP_PIXELS = 2**19  # converted at a time: about 20 MB of float32

# Linear RGB with these primaries -> linear RGB of sRGB; white is D65 in all three (ITU-R BT.2087-0 for BT.2020;
# Display P3 by the same derivation from the primaries of SMPTE EG 432-1)
TO_SRGB_PRIMARIES = {
    ColorPrimaries.BT2020: np.array(
        [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
    ),
    ColorPrimaries.SMPTE432: np.array(
        [[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]], np.float32
    ),
}
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020 (ITU-R BT.2100-2, table 4)
HIGH_DYNAMIC_RANGE = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


def needs_conversion(transfer: int, primaries: int) -> bool:
    """Whether RGB with these properties (numbers of ITU-T H.273) differs visibly from sRGB."""
    return transfer in HIGH_DYNAMIC_RANGE or primaries in TO_SRGB_PRIMARIES


def to_srgb(pixels: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Coded RGB -> sRGB.

    PQ and HLG become light relative to `REFERENCE_WHITE`; of a brighter pixel the largest channel is compressed
    smoothly and the others in proportion, which keeps its hue. Colours that sRGB does not have are clipped.

    Args:
        pixels: (height, width, 3) uint16, full range.
        transfer: the transfer characteristics, numbered as in ITU-T H.273, 8.2; others than PQ and HLG are taken for
            that of sRGB.
        primaries: numbered as in ITU-T H.273, 8.1; those of PQ and HLG are BT.2020 where the file does not say.

    Returns:
        (height, width, 3) uint8.
    """
    if primaries == ColorPrimaries.UNSPECIFIED and transfer in HIGH_DYNAMIC_RANGE:
        primaries = ColorPrimaries.BT2020
    matrix = TO_SRGB_PRIMARIES.get(ColorPrimaries(primaries)) if primaries in TO_SRGB_PRIMARIES else None
    height, width, _ = pixels.shape
    converted = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        light = _linear(pixels[top : top + rows], transfer)
        if matrix is not None:
            light = np.maximum(light @ matrix.T, 0)
        if transfer in HIGH_DYNAMIC_RANGE:
            light = _tone_mapped(light)
        steps = np.sqrt(np.clip(light, 0, 1)) * (len(_srgb_levels()) - 1) + 0.5
        converted[top : top + rows] = _srgb_levels()[steps.astype(np.uint16)]
    return converted


def _linear(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """(..., 3) float32: light, 1 being white; more than 1 for highlights of PQ and HLG."""
    light = _light_of_codes(transfer)[pixels]
    if transfer == ColorTrc.ARIB_STD_B67:  # the OOTF: from light in the scene to light of the display
        luminance = np.maximum(light @ LUMINANCE, 1e-6)[..., None]
        light *= luminance ** (HLG_GAMMA - 1) * (HLG_PEAK / REFERENCE_WHITE)
    return light


@cache
def _light_of_codes(transfer: int) -> np.ndarray:
    """(65536,) float32: the light of each coded value; of HLG in the scene, from 0 to 1."""
    codes = np.arange(65536, dtype=np.float64) / 65535
    curves: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        ColorTrc.SMPTE2084: _pq_light,
        ColorTrc.ARIB_STD_B67: _hlg_light,
    }
    return curves.get(transfer, _srgb_light)(codes).astype(np.float32)


def _pq_light(codes: np.ndarray) -> np.ndarray:
    """Relative to the reference white (the EOTF of SMPTE ST 2084, with its constants)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    powers = codes ** (1 / m2)
    return 10000 / REFERENCE_WHITE * (np.maximum(powers - c1, 0) / (c2 - c3 * powers)) ** (1 / m1)


def _hlg_light(codes: np.ndarray) -> np.ndarray:
    """The inverse OETF of ITU-R BT.2100-2, table 5."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)


def _srgb_light(codes: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def _tone_mapped(light: np.ndarray) -> np.ndarray:
    """(..., 3): light below 1. Straight up to `KNEE`, then k + (1 - k) t / (1 + t), which continues its slope."""
    largest = light.max(axis=-1, keepdims=True)
    above = np.maximum(largest - KNEE, 0) / (1 - KNEE)
    mapped = np.minimum(largest, KNEE) + (1 - KNEE) * above / (1 + above)
    return light * (mapped / np.maximum(largest, 1e-6))


@cache
def _srgb_levels() -> np.ndarray:
    """(4096,) uint8: the sRGB level of light whose square root is i / 4095."""
    light = (np.arange(4096) / 4095) ** 2
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(coded * 255).astype(np.uint8)
