"""Whether a MATLAB file is whole, found out before scipy reads it: a damaged one can end the process."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from ..support.errors import UserError
from .annotations import check_size

MAX_INFLATED_BYTES = 2 * 2**30  # some 60,000 a person

# "MAT-File Format", The MathWorks: a header of 128 bytes, then elements of a type, a size and content.
_HEADER_BYTES = 128
_BYTE_ORDERS = {b"IM": "<", b"MI": ">"}
_VERSION_5, _VERSION_73 = 0x0100, 0x0200
_MATRIX, _COMPRESSED = 14, 15
_FLAGS_TAG = (6, 8)  # every matrix begins with its flags: two unsigned integers
_CHUNK_BYTES = 2**20


class _Damaged(ValueError):
    """What is wrong with the file."""


def check_mat(path: Path) -> None:
    """Check the outline of the MATLAB file `path`, the checksums of its compressed elements and their sizes.

    MATLAB compresses what it saves, except with `-v6`; uncompressed elements have no checksum.

    Raises:
        UserError: the file is missing, empty, too large, cut, damaged, or of another MATLAB version than 5 to 7.
    """
    check_size(path)
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            order = _BYTE_ORDERS.get(header[126:])
            if order is None:
                raise _Damaged("no such header")
            version = struct.unpack(f"{order}H", header[124:126])[0]
            if version == _VERSION_73:
                raise UserError(f"{path.name} is a MATLAB 7.3 file, which is not read: save it with -v7")
            if version != _VERSION_5:
                raise _Damaged("no such header")
            inflated = 0
            while tag := file.read(8):
                kind, size = _tag(tag, order)
                if size > path.stat().st_size - file.tell():  # before memory is asked for
                    raise _Damaged("it is cut short")
                content = file.read(size)
                if kind == _COMPRESSED:
                    inflated += _check_compressed(content, order, MAX_INFLATED_BYTES - inflated)
                elif kind != _MATRIX or _tag(content[:8], order) != _FLAGS_TAG:
                    raise _Damaged(f"an element of type {kind} that is not an array")
    except (_Damaged, OSError, zlib.error) as error:
        raise UserError(f"{path.name} cannot be read as a MATLAB file ({error}): download it again") from error


def _tag(content: bytes, order: str) -> tuple[int, int]:
    """Type and size of an element."""
    if len(content) < 8:
        raise _Damaged("it is cut short")
    kind, size = struct.unpack(f"{order}II", content[:8])
    return kind, size


def _check_compressed(content: bytes, order: str, most: int) -> int:
    """Inflate an element, keeping only its beginning; zlib compares the checksum. Returns the inflated size."""
    stream = zlib.decompressobj()
    beginning, inflated = b"", 0
    while not stream.eof:
        chunk = stream.decompress(content, _CHUNK_BYTES)
        if not chunk and not stream.eof:
            raise _Damaged("it is cut short")
        content = stream.unconsumed_tail
        beginning = beginning or chunk
        inflated += len(chunk)
        if inflated > most:
            raise _Damaged(f"it unpacks to more than {MAX_INFLATED_BYTES:,} bytes")
    if _tag(beginning, order) != (_MATRIX, inflated - 8) or _tag(beginning[8:], order) != _FLAGS_TAG:
        raise _Damaged("a compressed element that is not an array")
    return inflated
