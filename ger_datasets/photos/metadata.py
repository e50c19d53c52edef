"""JPEG and PNG files without what their pixels do not need: EXIF with its position and thumbnail, XMP, comments.

Sources: ITU-T T.81 annex B (JPEG), ITU-T T.872 (the Adobe and JFIF segments), PNG third edition, section 11.
"""

from __future__ import annotations

import re
import struct
import zlib

import simplejpeg

# A marker within the coded pixels: not a stuffed FF 00, a restart marker or a fill byte
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
FIRST, LAST = b"\xff\xd8", b"\xff\xd9"
SCAN, JFIF, PROFILE, ADOBE, COMMENT = 0xDA, 0xE0, 0xE2, 0xEE, 0xFE
# Frames of every coding, Huffman and arithmetic tables, quantisation, restart interval, lines, expansion
CODING = {*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xDE, 0xDF} - {0xC8}
SEGMENTS = {*CODING, SCAN, *range(0xE0, 0xF0), COMMENT}
CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
STORED_CHUNKS = CRITICAL | {b"tRNS", b"iCCP"}
# Also orientation and animation, which are applied before the photo is stored
DECODED_CHUNKS = STORED_CHUNKS | {b"eXIf", b"acTL", b"fcTL", b"fdAT"}
MAX_PROFILE_BYTES = 2**20  # Pillow refuses PNG files with larger ones
TRANSPARENT_COLOUR_BYTES = {0: 2, 2: 6}  # grey, RGB
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def without_metadata(content: bytes, format: str) -> bytes | None:
    """The same file with only its coded pixels, what decodes them, and its colour profile.

    EXIF (the place and time of the photo, the camera, a thumbnail), XMP, IPTC, comments, further images, and bytes
    after the end are removed.

    Args:
        content: a JPEG or PNG file.
        format: `JPEG` or `PNG`.

    Returns:
        The file, or None where its structure is invalid, although decoders may accept it.

    >>> from PIL import Image
    >>> from ger_datasets.photos.reading import encode_jpeg
    >>> plain = encode_jpeg(Image.new("RGB", (32, 32)))
    >>> commented = plain[:2] + b"\\xff\\xfe\\x00\\x07hello" + plain[2:]
    >>> without_metadata(commented, "JPEG") == plain
    True
    """
    return _jpeg(content) if format == "JPEG" else _png(content, STORED_CHUNKS)


def without_faulty_chunks(content: bytes) -> bytes:
    """A PNG without the chunks that its pixels do not need and that Pillow may refuse it for.

    These are ancillary chunks with a wrong checksum, texts, and colour profiles of more than `MAX_PROFILE_BYTES`.
    Any other content is returned as it is.
    """
    return _png(content, DECODED_CHUNKS) or content


def with_end_marker(jpeg: bytes) -> bytes | None:
    """A JPEG that lacks only its end marker, with it; None if it lacks pixels too, or is no JPEG."""
    ended = jpeg.rstrip(b"\xff") + LAST
    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(ended)
        # strict: libjpeg's warnings, such as that of missing pixels, are errors. At 1/8 of the size it is fast
        colours = "CMYK" if colours in ("CMYK", "YCCK") else "RGB"
        simplejpeg.decode_jpeg(ended, colours, min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError:
        return None
    return ended


def _jpeg(content: bytes) -> bytes | None:
    if content[:2] != FIRST:
        return None
    kept, place = [FIRST], 2
    while True:
        while content[place : place + 2] == b"\xff\xff":  # fill bytes
            place += 1
        if content[place : place + 2] == LAST:
            return b"".join([*kept, LAST])
        if len(content) < place + 4:
            return None
        fill, kind, length = struct.unpack_from(">BBH", content, place)
        end = place + 2 + length
        if fill != 0xFF or kind not in SEGMENTS or length < 2 or end > len(content):
            return None
        segment = content[place:end]
        if kind == SCAN:
            behind = MARKER.search(content, end)
            if behind is None:  # the end is not marked, which decoders forgive where all pixels are there
                return b"".join([*kept, content[place:], LAST])
            end = behind.start()
            kept.append(content[place:end])
        elif kind in CODING or (kind == ADOBE and segment[4:9] == b"Adobe"):
            kept.append(segment)
        elif kind == JFIF and segment[4:9] == b"JFIF\0" and len(segment) >= 18:
            kept.append(b"\xff\xe0\x00\x10" + segment[4:16] + b"\0\0")  # without its thumbnail
        elif kind == PROFILE and segment[4:16] == b"ICC_PROFILE\0":
            kept.append(segment)
        place = end


def _png(content: bytes, wanted: set[bytes]) -> bytes | None:
    """The file with only the `wanted` chunks; None if it is no PNG, or ends before its pixels do."""
    if content[:8] != SIGNATURE:
        return None
    kept, place = [SIGNATURE], 8
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if end > len(content):
            return None
        if kind in wanted and (kind in CRITICAL or _is_sound(kind, content[place + 4 : end], colour_type=content[25])):
            kept.append(content[place:end])
        if kind == b"IEND":
            return b"".join(kept)
        place = end
    return None


def _is_sound(kind: bytes, chunk: bytes, colour_type: int) -> bool:
    """Whether an ancillary PNG chunk (type, data, checksum) can be decoded."""
    if zlib.crc32(chunk[:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    if kind == b"tRNS":
        return len(chunk) - 8 == TRANSPARENT_COLOUR_BYTES.get(colour_type, len(chunk) - 8)
    if kind != b"iCCP":
        return True
    compressed = chunk[4:-4].partition(b"\0")[2]
    decoder = zlib.decompressobj()
    try:
        decoder.decompress(compressed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return compressed[:1] == b"\0" and decoder.eof
