"""A photo file of any kind -> upright RGB pixels, and the bytes that go into the dataset."""

from __future__ import annotations

import contextlib
import io
import math
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from pillow_heif import register_heif_opener

from ..support.errors import BadPhoto, one_line
from .colours import ColourConversion
from .file_kinds import describe_content
from .metadata import SIGNATURE, with_end_marker, without_faulty_chunks, without_metadata

register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)  # Pillow has no reader of HEIC

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
        *(".heic", ".heif", ".hif", ".avif"),
    }
)
# Pillow's names of the formats that are read; others (PDF, EPS, ...) start interpreters or have sizes of their own
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "HEIF")

MIN_SIDE = 16  # pixels; below, nothing can be seen, and P-Net's window is 12
MAX_SIDE_RATIO = 50  # longer strips are not photos
MAX_PIXELS = 178_956_970  # what Pillow itself calls a decompression bomb; 12,000 x 9,000 is 108 million
STORED_PIXELS = 25_000_000  # larger photos are reduced to this: 25 million pixels show every face MTCNN can use
MAX_BYTES = 256 * 2**20
MAX_SCAN_PIXELS = 4_000_000_000  # pixels times scans of a JPEG, each of which passes over all; cameras write ten
MAX_DECODING_BYTES = 480_000_000  # of memory: 120 million pixels of a PNG, or of a JPEG before it is reduced
# Bytes per pixel that Pillow and the format's library hold while they decode, as measured, if more than MODE_BYTES
DECODING_BYTES = {"WEBP": 16, "TIFF": 8, "AVIF": 10, "HEIF": 9}
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # of the other modes: 4
STRIP_ROWS = 32  # rows that a large photo is converted and reduced by, so that it is in memory only once
# How far a sequence whose first frame is blank is searched for one that is not
MAX_FRAMES = 100
MAX_FRAME_PIXELS = 200_000_000
SEQUENCES = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")  # formats whose frames show the same thing

JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}

Thing = TypeVar("Thing")

ORIENTATION = 0x0112  # the EXIF tag
# its value -> what makes the photo upright
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
    """An upright RGB photo and the bytes that it is stored as: decoding `encoded` gives `image`, pixel for pixel.

    Read with `lossless`, `encoded` may be a grey image; `image` is RGB all the same.
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

    EXIF orientation is applied; colours are converted to sRGB by the file's profile; transparency shows white; 16-bit
    grey is scaled to 8 bits; of an animation the first frame that shows something is taken; photos of more than
    `STORED_PIXELS` are reduced. A JPEG or PNG file that needs none of this keeps its coded pixels; all others are
    encoded as JPEG. Metadata, such as EXIF with the place where a photo was taken, is not in `encoded`.

    Args:
        path: the image file.
        lossless: an 8-bit grey JPEG or PNG keeps its coded pixels too, and the others are encoded as PNG: for small
            pictures, in which every pixel counts.

    Raises:
        BadPhoto: the file is missing, empty, too large, damaged, or not a photo. The message contains no path.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            raise BadPhoto("the file is empty (0 bytes)")
        if size > MAX_BYTES:
            raise BadPhoto(f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read")
        return decode_photo(path.read_bytes(), lossless)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BadPhoto(f"the file cannot be read: {reason}") from error


def decode_photo(content: bytes, lossless: bool = False) -> Photo:
    """The photo in `content`, the bytes of an image file. Everything else is as in `read_photo`."""
    with _raises_bad_photo(content):
        content = without_faulty_chunks(content)
        try:
            return _decode(content, lossless)
        except OSError as error:
            ended = with_end_marker(content) if "truncated" in str(error) else None
            if ended is None:
                raise
            return _decode(ended, lossless)


def convert_image(image: Image.Image) -> Image.Image:
    """The upright sRGB photo in a PIL image that somebody else has opened or made, which stays unchanged.

    The pixels are those that `read_photo` gives of a file with the same pixels; BadPhoto is raised as there.
    """
    with _raises_bad_photo():
        upright, unchanged = _upright(image)
        return upright if unchanged else _stored(encode_jpeg(upright)).image


@contextlib.contextmanager
def open_photo(path: Path) -> Iterator[Image.Image]:
    """The photo file `path`, opened but not decoded, for its size and `orientation`.

    Raises:
        BadPhoto: the file cannot be read, or is not an image. The message contains no path.
    """
    with _raises_bad_photo(), open(path, "rb") as file:
        is_png = file.read(len(SIGNATURE)) == SIGNATURE
        file.seek(0)
        source = io.BytesIO(without_faulty_chunks(file.read(MAX_BYTES))) if is_png else file
        with Image.open(source, formats=FORMATS) as image:
            yield image


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 to 8; 1 where there is none, or EXIF is damaged."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, TypeError, KeyError, ValueError, struct.error):
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def in_groups(
    things: Iterable[Thing], most: int, most_pixels: int, pixels: Callable[[Thing], int]
) -> Iterator[list[Thing]]:
    """`things` in lists of at most `most` things and, unless it is a single one, at most `most_pixels` pixels.

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


@contextlib.contextmanager
def _raises_bad_photo(content: bytes = b"") -> Iterator[None]:
    """Turns the dozen kinds of exceptions that Pillow raises on `content` into BadPhoto."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes below our limit, and of odd EXIF
            yield
    except BadPhoto:
        raise
    except Image.DecompressionBombError as error:
        raise BadPhoto(f"more than {MAX_PIXELS:,} pixels: not decoded") from error
    except Image.UnidentifiedImageError as error:
        kind = describe_content(content)
        raise BadPhoto(
            f"not an image in one of the formats {', '.join(FORMATS)}" + (f"; the file is {kind}" if kind else "")
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise BadPhoto(f"the file cannot be read: {error.strerror}") from error
        raise BadPhoto(f"damaged: {one_line(error)}") from error


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


def _check_decoding(image: Image.Image, size: tuple[int, int]) -> None:
    """BadPhoto if decoding `image`, unless that has been done already, takes too long or too much memory.

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
            f"{MAX_DECODING_BYTES // 10**6:,} MB are allowed"
        )
    if image.format in ("JPEG", "MPO") or "jpeg" in str(image.info.get("compression")):
        place = file.tell()
        file.seek(0)
        scans = file.read(MAX_BYTES).count(b"\xff\xda")
        file.seek(place)
        if scans * width * height > MAX_SCAN_PIXELS:
            raise BadPhoto(f"{width} x {height} pixels in {scans:,} scans: a JPEG that takes too long to decode")


def _decode(content: bytes, lossless: bool) -> Photo:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        upright, unchanged = _upright(image, lossless, draft=True)
        if image.format in SEQUENCES and _is_blank(upright):
            found = _frame_that_shows_something(image)
            upright, unchanged = (upright, unchanged) if found is None else (found, False)
        if (
            unchanged
            and image.format in ("JPEG", "PNG")
            and getattr(image, "n_frames", 1) == 1
            and (bare := without_metadata(content, image.format)) is not None
        ):
            return Photo(upright, bare)
        image.close()  # frees its pixels, of which there may be many
    return _stored((_encode_png if lossless else encode_jpeg)(upright))


def _upright(image: Image.Image, lossless: bool = False, draft: bool = False) -> tuple[Image.Image, bool]:
    """A new upright sRGB image without metadata, and whether it has the same pixels as `image`.

    Args:
        lossless: whether a grey image counts as the same.
        draft: whether a large JPEG may be told to decode to fewer pixels, which changes `image`.
    """
    whole, size = image.size, _stored_size(image)
    if draft and size != whole:
        image.draft(None, size)  # at 1/2, 1/4 or 1/8, never below `size`, for a fraction of the memory
    _check_decoding(image, whole)
    has_16_bits = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) and not image.mode.startswith("I")
    before = image.size
    image.load()
    if image.size == before[::-1]:  # Pillow turns a TIFF while it decodes it
        size = size[::-1]
    turn = TURNS.get(orientation(image))  # after load(), when a turned TIFF has none any more
    colours = ColourConversion.of(image, has_16_bits)
    upright = colours.apply(image) if image.size == size else _reduced(image, size, colours)
    upright.info.clear()
    unchanged = (
        (image.mode == "RGB" or (lossless and image.mode == "L"))
        and (turn, size, colours.profile) == (None, whole, None)
        and "transparency" not in image.info
    )
    return (upright if turn is None else upright.transpose(turn)), unchanged


def _is_blank(image: Image.Image) -> bool:
    """Whether all pixels have the same colour."""
    return all(low == high for low, high in image.getextrema())  # type: ignore[misc]


def _frame_that_shows_something(image: Image.Image) -> Image.Image | None:
    """The first frame, upright and in sRGB, with more than one colour; None if none of the first frames has."""
    for number in range(1, min(MAX_FRAMES, MAX_FRAME_PIXELS // (image.width * image.height))):
        try:
            image.seek(number)
            upright, _ = _upright(image)
        except (EOFError, OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error, BadPhoto):
            return None
        if not _is_blank(upright):
            return upright
    return None


def _stored(encoded: bytes) -> Photo:
    """Faces are detected in the stored bytes, so that every column can be recomputed from them."""
    with Image.open(io.BytesIO(encoded)) as stored:
        image = stored.convert("RGB")
        image.info.clear()
        return Photo(image, encoded)


def _reduced(image: Image.Image, size: tuple[int, int], colours: ColourConversion) -> Image.Image:
    """`image` as sRGB of this smaller size, each pixel the mean of those that it covers."""
    reduced = Image.new("RGB", size)
    scale = image.height / size[1]
    for top in range(0, size[1], STRIP_ROWS):
        rows = min(STRIP_ROWS, size[1] - top)
        first, last = int(top * scale), min(image.height, math.ceil((top + rows) * scale))
        strip = colours.apply(image.crop((0, first, image.width, last)))
        covered = (0, top * scale - first, image.width, min((top + rows) * scale - first, strip.height))
        reduced.paste(strip.resize((size[0], rows), Image.Resampling.BOX, box=covered), (0, top))
    return reduced
