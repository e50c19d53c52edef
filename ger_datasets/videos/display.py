"""A decoded frame -> the pixels that a player shows: square, upright, sRGB."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace, VideoReformatter

from .colors import needs_conversion, to_srgb

UNSPECIFIED = 2  # matrix coefficients that the file does not name (ITU-T H.273, 8.3)
SD_LINES = 576  # frames of more lines are BT.709 where the file does not say, as players take it
MOST_ASPECT = 4  # wider or taller pixels are a mistake of the file; anamorphic lenses stretch by 2 at most


Matrix = tuple[int, int, int, int]  # a, b, c, d of x' = a x + c y and y' = b x + d y, in fixed point


class View(NamedTuple):
    """How the frames of a video are shown.

    Attributes:
        size: width and height with square pixels, before they are turned.
        matrix: how they are turned and flipped (libavutil/display.h); None: not at all.
    """

    size: tuple[int, int]
    matrix: Matrix | None = None


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


class DisplayMatrix:
    """The display matrix of a video's frames, which hardly ever changes.

    It is read from the first frame, and again when a frame is turned otherwise: whoever reads a frame's side data
    keeps the frame in memory until Python's garbage collector runs, as the two refer to each other.
    """

    def __init__(self) -> None:
        self._rotation: int | None = None
        self._matrix: Matrix | None = None

    def of(self, frame: av.VideoFrame) -> Matrix | None:
        """The matrix of the next frame."""
        if frame.rotation != self._rotation:
            self._rotation = frame.rotation
            side_data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
            if side_data is None:
                self._matrix = None
            else:
                a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].tolist()
                self._matrix = (a, b, c, d)
        return self._matrix


def shown_pixels(frame: av.VideoFrame, view: View, interpolation: str = "BILINEAR") -> np.ndarray:
    """A frame as a player shows it.

    Args:
        frame: as decoded.
        view: how it is shown; with another size, it is scaled to that.
        interpolation: how FFmpeg scales.

    Returns:
        (height, width, 3) uint8: sRGB, upright.
    """
    convert = needs_conversion(frame.color_trc, frame.color_primaries)
    width, height = view.size
    rgb = VideoReformatter().reformat(
        frame,
        width,
        height,
        format="rgb48le" if convert else "rgb24",
        src_colorspace=_coefficients(frame),
        interpolation=interpolation,
    )
    pixels = rgb.to_ndarray()
    if convert:
        pixels = to_srgb(pixels, frame.color_trc, frame.color_primaries)
    return pixels if view.matrix is None else _upright(pixels, view.matrix)


def _coefficients(frame: av.VideoFrame) -> int | None:
    """The matrix coefficients where FFmpeg would guess wrongly: it takes all frames that do not say for BT.601."""
    if frame.colorspace == UNSPECIFIED and frame.height > SD_LINES:
        return Colorspace.ITU709
    return None


def _upright(pixels: np.ndarray, matrix: Matrix) -> np.ndarray:
    """(height, width, 3) uint8: turned and flipped; turns by right angles and flips differ by signs alone."""
    a, b, c, d = matrix
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    if a < 0:
        pixels = pixels[:, ::-1]
    if d < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
