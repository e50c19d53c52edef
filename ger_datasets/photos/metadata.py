"""JPEG and PNG files without what their pixels do not need: EXIF with its position and thumbnail, XMP, comments.

Sources: ITU-T T.81 annex B (JPEG), ITU-T T.872 (the Adobe and JFIF segments), PNG third edition, section 11.
"""

from __future__ import annotations

import re
import struct

# A marker within the coded pixels: not a stuffed FF 00, nor a restart marker, nor FF that fills
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
FIRST, LAST = b"\xff\xd8", b"\xff\xd9"
SCAN, JFIF, PROFILE, ADOBE, COMMENT = 0xDA, 0xE0, 0xE2, 0xEE, 0xFE
# Frames of every coding, Huffman and arithmetic tables, quantisation, restart interval, lines, expansion
CODING = {*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xDE, 0xDF} - {0xC8}
SEGMENTS = {*CODING, SCAN, *range(0xE0, 0xF0), COMMENT}
# What decides about pixels and their colours
CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT"}
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def without_metadata(content: bytes, format: str) -> bytes | None:
    """A file of the same pixels, to the bit, that says nothing else.

    What stays: the coded pixels, what their decoding needs, and colour profiles. What goes: EXIF (the place and time
    of the photo, the camera, a thumbnail), XMP, IPTC, comments, further pictures, and bytes behind the end.

    Args:
        content: a JPEG or PNG file.
        format: `JPEG` or `PNG`.

    Returns:
        The file, or None where its structure is not that of its format, though a decoder may forgive it.

    >>> from PIL import Image
    >>> from ger_datasets.photos.reading import encode_jpeg
    >>> plain = encode_jpeg(Image.new("RGB", (32, 32)))
    >>> commented = plain[:2] + b"\\xff\\xfe\\x00\\x07hello" + plain[2:]
    >>> without_metadata(commented, "JPEG") == plain
    True
    """
    return _jpeg(content) if format == "JPEG" else _png(content)


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


def _png(content: bytes) -> bytes | None:
    if content[:8] != SIGNATURE:
        return None
    kept, place = [SIGNATURE], 8
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if end > len(content):
            return None
        if kind in CHUNKS:
            kept.append(content[place:end])
        if kind == b"IEND":
            return b"".join(kept)
        place = end
    return None
