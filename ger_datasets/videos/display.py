"""A decoded frame -> the pixels that a player shows: square, upright, sRGB."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace, VideoReformatter

from .colors import needs_conversion, to_srgb

UNSPECIFIED = 2  # matrix coefficients that the file does not name (ITU-T H.273, 8.3)
SD_LINES = 576  # frames of more lines are BT.709 where the file does not say, as players take it
MOST_ASPECT = 4  # wider or taller pixels are a mistake of the file; anamorphic lenses stretch by 2 at most


def shown_size(frame: av.VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height with square pixels, before the frame is turned; no side is shorter than it is coded.

    Args:
        frame: as decoded.
        aspect: width of a pixel by its height; None, 0 and absurd values count as 1.
    """
    if not aspect or not Fraction(1, MOST_ASPECT) <= aspect <= MOST_ASPECT:
        return frame.width, frame.height
    if aspect > 1:
        return round(frame.width * aspect), frame.height
    return frame.width, round(frame.height / aspect)


def shown_pixels(frame: av.VideoFrame, size: tuple[int, int], interpolation: str = "BILINEAR") -> np.ndarray:
    """A frame as a player shows it.

    Args:
        frame: as decoded.
        size: the width and height wanted, before the frame is turned.
        interpolation: how FFmpeg scales to them.

    Returns:
        (height, width, 3) uint8: sRGB, turned as the display matrix says.
    """
    convert = needs_conversion(frame.color_trc, frame.color_primaries)
    width, height = size
    rgb = VideoReformatter().reformat(
        frame,
        width,
        height,
        format="rgb48le" if convert else "rgb24",
        src_colorspace=_matrix(frame),
        interpolation=interpolation,
    )
    pixels = rgb.to_ndarray()
    return _upright(to_srgb(pixels, frame.color_trc, frame.color_primaries) if convert else pixels, frame)


def _matrix(frame: av.VideoFrame) -> int | None:
    """The matrix coefficients where FFmpeg would guess wrongly: it takes all frames that do not say for BT.601."""
    if frame.colorspace == UNSPECIFIED and frame.height > SD_LINES:
        return Colorspace.ITU709
    return None


def _upright(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """(height, width, 3) uint8: `pixels` turned and flipped as the frame's display matrix says."""
    side_data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    if side_data is None:
        return pixels
    # libavutil/display.h: x' = a x + c y and y' = b x + d y, in fixed point; turns and flips differ by signs alone
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    if a < 0:
        pixels = pixels[:, ::-1]
    if d < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
