"""A photo file of any kind -> upright RGB pixels, and the bytes that go into the dataset."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..support.errors import BadPhoto
from .metadata import without_metadata

SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
# Pillow formats that are opened; others (PDF, EPS, raw camera files, ...) bring interpreters and sizes of their own.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")

MIN_SIDE = 16  # pixels; below, nothing can be seen, and P-Net's window is 12
MAX_SIDE_RATIO = 50  # longer strips are no photos, and their pyramid levels no pictures
MAX_PIXELS = 178_956_970  # what Pillow itself calls a decompression bomb; 12,000 x 9,000 is 108 million
STORED_PIXELS = 25_000_000  # larger photos are reduced to this: 25 million pixels show every face MTCNN can use
MAX_BYTES = 256 * 2**20
MAX_SCAN_PIXELS = 4_000_000_000  # pixels times scans of a JPEG, each of which passes over all; cameras write ten
MAX_DECODING_BYTES = 480_000_000  # of memory: 120 million pixels of a PNG, or of a JPEG before it is reduced
# What Pillow and the format's library hold for each pixel while they decode, as measured; beside what the mode takes
DECODING_BYTES = {"WEBP": 16, "TIFF": 8}
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # of the other modes: 4
STRIP_ROWS = 32  # rows that a large photo is converted and reduced by, so that it is in memory only once

JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}

Thing = TypeVar("Thing")

# EXIF orientation -> what makes the photo upright
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Photo:
    """An upright RGB photo and the very bytes it is stored as: decoding `encoded` gives `image`, pixel for pixel.

    Read with `lossless`, `encoded` may be a grey image, whose grey `image` has three times.
    """

    image: Image.Image
    encoded: bytes


def encode_jpeg(image: Image.Image) -> bytes:
    """`image` (RGB) as JPEG of quality 95 without chroma subsampling."""
    buffer = io.BytesIO()
    image.save(buffer, **JPEG)
    return buffer.getvalue()


def _encode_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def read_photo(path: Path, lossless: bool = False) -> Photo:
    """The photo in the file `path`.

    EXIF orientation is applied; transparency is laid on white; 16-bit grey is scaled to 8 bits; of an animation the
    first frame is taken; photos of more than `STORED_PIXELS` are reduced. A file that needs none of this and is a
    JPEG or PNG keeps its coded pixels; the others are encoded anew as JPEG. What a file says besides, such as EXIF
    with the place where a photo was taken, is not in `encoded`.

    Args:
        path: the image file.
        lossless: an 8-bit grey JPEG or PNG keeps its coded pixels too, and what has to be encoded anew becomes a PNG:
            for small pictures, in which every pixel counts.

    Raises:
        BadPhoto: the file is missing, empty, too large, damaged, or no photo. The message holds no path.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise BadPhoto("the file is empty (0 bytes)")
        if size > MAX_BYTES:
            raise BadPhoto(f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read")
        return decode_photo(path.read_bytes(), lossless)
    except OSError as error:
        raise BadPhoto(f"the file cannot be read: {error.strerror or type(error).__name__}") from error


def decode_photo(content: bytes, lossless: bool = False) -> Photo:
    """The photo in `content`, the bytes of an image file; otherwise, with its BadPhoto, as `read_photo`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow's own size warning comes earlier than our limit; odd EXIF is common
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _upright_rgb(image, content, lossless)
    except BadPhoto:
        raise
    except Image.DecompressionBombError as error:
        raise BadPhoto(f"more than {MAX_PIXELS:,} pixels: not decoded") from error
    except Image.UnidentifiedImageError as error:
        raise BadPhoto(f"not an image in one of the formats {', '.join(FORMATS)}") from error
    except Exception as error:
        raise BadPhoto(f"damaged: {' '.join(str(error).split()) or type(error).__name__}") from error


def large_photo(image: Image.Image) -> Photo:
    """The photo of more than `STORED_PIXELS` pixels that somebody else has opened, without a copy of all its pixels.

    Otherwise, with its BadPhoto, as `read_photo`; what Pillow raises while it reads the pixels is passed on.
    """
    check_decoding(image, image.size)
    size = _load(image, _stored_size(image))
    return _stored(encode_jpeg(_upright(image, size, TURNS.get(image.getexif().get(0x0112, 1)))))


def in_groups(
    things: Iterable[Thing], most: int, most_pixels: int, pixels: Callable[[Thing], int]
) -> Iterator[list[Thing]]:
    """`things` in lists of at most `most` and, unless it is one alone, of at most `most_pixels` pixels in all.

    >>> list(in_groups([1, 2, 9, 1, 1, 1], 3, 5, lambda pixels: pixels))
    [[1, 2], [9], [1, 1, 1]]
    """
    group: list[Thing] = []
    there = 0
    for thing in things:
        size = pixels(thing)
        if group and (len(group) == most or there + size > most_pixels):
            yield group
            group, there = [], 0
        group.append(thing)
        there += size
    if group:
        yield group


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height that an image is stored with, before it is turned; BadPhoto if it is no photo."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadPhoto(f"{width} x {height} pixels: more than {MAX_PIXELS:,} are not decoded")
    if min(width, height) < MIN_SIDE:
        raise BadPhoto(f"{width} x {height} pixels: a side below {MIN_SIDE} shows nothing")
    if max(width, height) > MAX_SIDE_RATIO * min(width, height):
        raise BadPhoto(f"{width} x {height} pixels: a strip, not a photo")
    if image.mode == "F":
        raise BadPhoto("32-bit floating-point pixels have no defined range")
    reduction = max(1.0, (width * height / STORED_PIXELS) ** 0.5)
    return int(width / reduction), int(height / reduction)


def check_decoding(image: Image.Image, size: tuple[int, int]) -> None:
    """BadPhoto if it takes too long, or too much memory, to decode `image`, where that has not been done already.

    Args:
        image: as Pillow has opened it; perhaps told to decode to fewer pixels.
        size: its width and height in the file.
    """
    file, (width, height) = getattr(image, "fp", None), size
    if file is None:
        return
    held = max(DECODING_BYTES.get(image.format or "", 1), MODE_BYTES.get(image.mode, 4)) * image.width * image.height
    if image.info.get("progressive"):  # the coefficients of the whole picture, 16 bits each
        held += 2 * len(image.getbands()) * width * height
    if held > MAX_DECODING_BYTES:
        raise BadPhoto(
            f"{width} x {height} pixels as {image.format} take {held // 10**6:,} MB to decode; at most "
            f"{MAX_DECODING_BYTES // 10**6:,} MB are given"
        )
    if image.format in ("JPEG", "MPO") or "jpeg" in str(image.info.get("compression")):
        place = file.tell()
        file.seek(0)
        scans = file.read(MAX_BYTES).count(b"\xff\xda")
        file.seek(place)
        if scans * width * height > MAX_SCAN_PIXELS:
            raise BadPhoto(f"{width} x {height} pixels in {scans:,} scans: a JPEG that takes too long to decode")


def _load(image: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """Decode `image`; returns `size`, swapped where Pillow turns what it decodes (TIFF)."""
    before = image.size
    image.load()
    return size[::-1] if image.size == before[::-1] else size


def _upright_rgb(image: Image.Image, content: bytes, lossless: bool) -> Photo:
    whole, size = image.size, _stored_size(image)
    if size != whole:
        # a JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the memory; never below the size that is wanted
        image.draft(None, size)
    check_decoding(image, whole)
    size = _load(image, size)
    turn = TURNS.get(image.getexif().get(0x0112, 1))  # after load(): Pillow turns TIFFs itself
    if (
        image.format in ("JPEG", "PNG")
        and (image.mode == "RGB" or (lossless and image.mode == "L"))
        and turn is None
        and size == whole
        and "transparency" not in image.info
        and getattr(image, "n_frames", 1) == 1
        and (bare := without_metadata(content, image.format)) is not None
    ):
        return Photo(_bare(image if image.mode == "RGB" else image.convert("RGB")), bare)

    encoded = (_encode_png if lossless else encode_jpeg)(_upright(image, size, turn))
    image.close()  # its pixels, of which there may be many, are not needed any more
    return _stored(encoded)


def _upright(image: Image.Image, size: tuple[int, int], turn: Image.Transpose | None) -> Image.Image:
    """RGB, brought to `size`, turned, without what else the file says."""
    upright = _to_rgb(image) if image.size == size else _reduced(image, size)
    upright.info.clear()  # it is never `image` itself
    return upright if turn is None else upright.transpose(turn)


def _stored(encoded: bytes) -> Photo:
    """Faces are looked for in the stored bytes, so that every column can be recomputed from them."""
    with Image.open(io.BytesIO(encoded)) as stored:
        stored.load()
        return Photo(_bare(stored), encoded)


def _bare(image: Image.Image) -> Image.Image:
    """A copy without EXIF and whatever else the file says: it stands upright already, and may say nonsense."""
    copy = image.copy()
    copy.info.clear()
    return copy


def _reduced(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`image` as RGB of this smaller size, each pixel the mean of those that it covers."""
    reduced = Image.new("RGB", size)
    scale = image.height / size[1]
    for top in range(0, size[1], STRIP_ROWS):
        rows = min(STRIP_ROWS, size[1] - top)
        first, last = int(top * scale), min(image.height, math.ceil((top + rows) * scale))
        strip = _to_rgb(image.crop((0, first, image.width, last)))
        covered = (0, top * scale - first, image.width, min((top + rows) * scale - first, strip.height))
        reduced.paste(strip.resize((size[0], rows), Image.Resampling.BOX, box=covered), (0, top))
    return reduced


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # one of Pillow's integer modes
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise BadPhoto(f"pixel values from {values.min()} to {values.max()}: more than 16 bits")
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
