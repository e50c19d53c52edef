"""MATLAB files (version 5 to 7) -> structs, cells, texts and numbers, read with bounds.

`scipy.io.loadmat` is not used: one changed byte in a struct can end the process in its C code, and it allocates
whatever a file declares (scipy 1.17: 400 MB from 390 KB). The format is "MAT-File Format", The MathWorks.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ..support.errors import UserError
from .annotations import check_size

MAX_INFLATED_BYTES = 2**30  # some 30,000 a person
MOST_NUMBERS = 16  # that are kept of an array; no field of an annotation has more
MOST_TEXT_BYTES = 2**20
MOST_DEPTH = 32
MOST_ARRAYS = 5_000_000  # in one variable; EMOTIC's have about a million
_CHUNK_BYTES = 2**20

_BYTE_ORDERS = {b"IM": "<", b"MI": ">"}
_VERSION_5, _VERSION_73 = 0x0100, 0x0200
_MATRIX, _COMPRESSED = 14, 15
_FLAGS_TAG = (6, 8)  # every matrix begins with its flags: two unsigned integers
_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}  # of data elements
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMERIC = range(6, 16)  # double, single and the integers
_COMPLEX, _LOGICAL = 0x0800, 0x0200


class Damaged(ValueError):
    """What is wrong with the file."""


class Structs(list[dict[str, "Value"]]):
    """The structs of an array, each as field -> value, in MATLAB's order."""

    kind = "structs"


class Cells(list["Value"]):
    """The values in a cell array."""

    kind = "objects"


class Texts(list[str]):
    """The rows of a character array."""

    kind = "text"


@dataclass(frozen=True)
class Numbers:
    """An array of numbers: how many, and the first `MOST_NUMBERS` of them; `kind` says what they are."""

    size: int
    first: tuple[float, ...]
    kind: str = "numbers"


Value = Structs | Cells | Texts | Numbers
_NOTHING = Numbers(0, ())


class _Source(Protocol):
    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; Damaged if there are fewer."""
        ...


class _Stored:
    """The content of an element that is not compressed."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, size: int) -> bytes:
        content = self.file.read(size) if size <= self.left else b""
        if len(content) != size:
            raise Damaged("it is cut short")
        self.left -= size
        return content


class _Inflated:
    """The content of a compressed element, inflated as it is read; zlib compares the checksum at its end."""

    def __init__(self, stored: _Stored, most: int) -> None:
        self.stored, self.left, self.count = stored, most, 0
        self.stream, self.ahead = zlib.decompressobj(), bytearray()

    def read(self, size: int) -> bytes:
        while len(self.ahead) < size and not self.stream.eof:
            content = self.stream.unconsumed_tail or self.stored.read(min(_CHUNK_BYTES, self.stored.left))
            chunk = self.stream.decompress(content, _CHUNK_BYTES)
            if not chunk and not content:
                raise Damaged("it is cut short")
            self.ahead += chunk
            self.count += len(chunk)
            if self.count > self.left:
                raise Damaged(f"it unpacks to more than {MAX_INFLATED_BYTES:,} bytes")
        if len(self.ahead) < size:
            raise Damaged("it is cut short")
        content = bytes(self.ahead[:size])
        del self.ahead[:size]
        return content


def read_mat(path: Path, names: Collection[str]) -> Iterator[tuple[str, Value | None]]:
    """The variables of the MATLAB file `path`, in its order: name and value; None for those not in `names`.

    Raises:
        UserError: the file is missing, empty, too large, cut, damaged, or of another MATLAB version than 5 to 7.
    """
    check_size(path)
    try:
        with path.open("rb") as file:
            header = file.read(128)
            order = _BYTE_ORDERS.get(header[126:])
            version = struct.unpack(f"{order}H", header[124:126])[0] if order else 0
            if version == _VERSION_73:
                raise UserError(f"{path.name} is a MATLAB 7.3 file, which is not read: save it with -v7")
            if order is None or version != _VERSION_5:
                raise Damaged("no such header")
            inflated = 0
            while tag := file.read(8):
                if len(tag) < 8:
                    raise Damaged("it is cut short")
                kind, size = struct.unpack(f"{order}II", tag)
                end = file.tell() + size
                if end > path.stat().st_size:  # before memory is asked for
                    raise Damaged("it is cut short")
                stored = _Stored(file, size)
                if kind == _COMPRESSED:
                    source = _Inflated(stored, MAX_INFLATED_BYTES - inflated)
                    kind, size = struct.unpack(f"{order}II", source.read(8))
                    yield _Matrices(source, order).variable(kind, size, names)
                    if source.read(0) or source.ahead or not _at_end(source):
                        raise Damaged("more than an array in a compressed element")
                    inflated += source.count
                else:
                    yield _Matrices(stored, order).variable(kind, size, names)
                file.seek(end)
    except (Damaged, OSError, zlib.error) as error:
        raise UserError(f"{path.name} cannot be read as a MATLAB file ({error}): download it again") from error


def _at_end(source: _Inflated) -> bool:
    """Whether nothing is left, once the checksum has been read."""
    while not source.stream.eof:
        content = source.stream.unconsumed_tail or source.stored.read(min(_CHUNK_BYTES, source.stored.left))
        if source.stream.decompress(content, _CHUNK_BYTES):
            return False
        if not content:
            raise Damaged("it is cut short")
    return True


class _Matrices:
    """Reads the elements of one variable from its content."""

    def __init__(self, source: _Source, order: str) -> None:
        self.source, self.order, self.arrays = source, order, 0

    def variable(self, kind: int, size: int, names: Collection[str]) -> tuple[str, Value | None]:
        """Name and value of the variable whose matrix element has this kind and size."""
        if kind != _MATRIX:
            raise Damaged(f"an element of type {kind} that is not an array")
        left, name, value = self._matrix(size, 0, names)
        if left:
            raise Damaged("an array with bytes that nothing explains")
        return name, value

    def _matrix(self, size: int, depth: int, names: Collection[str] | None = None) -> tuple[int, str, Value | None]:
        """The matrix of `size` bytes: the bytes that are left, its name and its value."""
        self.arrays += 1
        if self.arrays > MOST_ARRAYS:
            raise Damaged(f"more than {MOST_ARRAYS:,} arrays in one")
        if size == 0:
            return 0, "", _NOTHING
        if depth > MOST_DEPTH:
            raise Damaged(f"arrays within arrays, more than {MOST_DEPTH} deep")
        left = size
        tag, content, used = self._element(left)
        if (tag, len(content)) != _FLAGS_TAG:
            raise Damaged("an array without flags")
        flags, left = struct.unpack(f"{self.order}I", content[:4])[0], left - used
        kind = flags & 0xFF
        if kind not in (_CELL, _STRUCT, _CHAR, *_NUMERIC):  # sparse arrays, objects, functions: no annotation is one
            self._skip(left)
            return 0, "", Numbers(1, (), f"an object of MATLAB's class {kind}")
        dimensions, left = self._integers(left)
        name, left = self._text(left)
        count = math.prod(dimensions) if len(dimensions) >= 2 and min(dimensions) >= 0 else -1
        if not 0 <= count <= MAX_INFLATED_BYTES:
            raise Damaged(f"an array of dimensions {str(dimensions)[:60]}")
        if names is not None and name not in names:
            self._skip(left)
            return 0, name, None
        if kind == _CELL:
            cells, left = self._values(left, count, depth)
            return left, name, Cells(cells)
        if kind == _STRUCT:
            return (*self._structs(left, count, depth, name),)
        if kind == _CHAR:
            texts, left = self._characters(left, dimensions)
            return left, name, texts
        numbers, left = self._numbers(left, count)
        word = "complex numbers" if flags & _COMPLEX else "a truth value" if flags & _LOGICAL else "numbers"
        if flags & _COMPLEX:  # the imaginary parts
            self._skip(left)
            left = 0
        return left, name, Numbers(count, numbers, word)

    def _structs(self, left: int, count: int, depth: int, name: str) -> tuple[int, str, Structs]:
        lengths, left = self._integers(left)
        tag, content, used = self._element(left)
        left -= used
        width = lengths[0] if lengths else 0
        if tag != 1 or not 0 < width <= 256 or len(content) % width:
            raise Damaged("a struct whose fields have no names")
        fields = [content[i : i + width].split(b"\0")[0].decode("latin-1") for i in range(0, len(content), width)]
        if count * max(1, len(fields)) > MAX_INFLATED_BYTES // 8:
            raise Damaged(f"{count:,} structs of {len(fields)} fields")
        structs = Structs()
        for _ in range(count if fields else 0):
            values, left = self._values(left, len(fields), depth)
            structs.append(dict(zip(fields, values, strict=True)))
        return left, name, structs

    def _values(self, left: int, count: int, depth: int) -> tuple[list[Value], int]:
        values: list[Value] = []
        for _ in range(count):
            if left < 8:
                raise Damaged("it is cut short")
            kind, size = struct.unpack(f"{self.order}II", self.source.read(8))
            left -= 8 + size
            if kind != _MATRIX or left < 0:
                raise Damaged(f"an element of type {kind} that is not an array")
            rest, _, value = self._matrix(size, depth + 1)
            self._skip(rest)
            if value is not None:
                values.append(value)
        return values, left

    def _characters(self, left: int, dimensions: tuple[int, ...]) -> tuple[Texts, int]:
        tag, content, used = self._element(left)
        if tag not in _TEXTS:
            raise Damaged(f"text of type {tag}")
        code = _TEXTS[tag]
        if code in ("utf-16", "utf-32"):
            code += "-le" if self.order == "<" else "-be"
        text, rows = content.decode(code, "replace"), max(1, dimensions[0])
        return Texts([text[row::rows] for row in range(rows)] if text else []), left - used

    def _numbers(self, left: int, count: int) -> tuple[tuple[float, ...], int]:
        tag, size, inline, used = self._tag(left)
        code = _NUMBERS.get(tag)
        if code is None or size != count * struct.calcsize(f"={code}"):
            raise Damaged(f"{size} bytes of type {tag} for {count} numbers")
        kept = min(count, MOST_NUMBERS)
        need = kept * struct.calcsize(f"={code}")
        content = inline[:need] if inline is not None else self.source.read(need)
        if inline is None:
            self._skip(used - 8 - need)
        return tuple(float(number) for number in struct.unpack(f"{self.order}{kept}{code}", content)), left - used

    def _integers(self, left: int) -> tuple[tuple[int, ...], int]:
        tag, content, used = self._element(left)
        if tag != 5 or len(content) % 4 or len(content) > 128:
            raise Damaged("an array without dimensions")
        return struct.unpack(f"{self.order}{len(content) // 4}i", content), left - used

    def _text(self, left: int) -> tuple[str, int]:
        tag, content, used = self._element(left)
        if tag not in (1, 16):
            raise Damaged("an array without a name")
        return content.decode("latin-1"), left - used

    def _element(self, left: int) -> tuple[int, bytes, int]:
        """A data element: its type, its content, and how many bytes it takes."""
        tag, size, inline, used = self._tag(left)
        if inline is not None:
            return tag, inline, used
        if size > MOST_TEXT_BYTES:
            raise Damaged(f"an element of {size:,} bytes")
        content = self.source.read(used - 8)
        return tag, content[:size], used

    def _tag(self, left: int) -> tuple[int, int, bytes | None, int]:
        """Type and size of a data element, its content if it is a small one, and how many bytes it takes."""
        if left < 8:
            raise Damaged("it is cut short")
        content = self.source.read(8)
        tag, size = struct.unpack(f"{self.order}II", content)
        if tag >> 16:  # a small element: size and type in one number
            tag, size = tag & 0xFFFF, tag >> 16
            if size > 4:
                raise Damaged("a small element that is not small")
            return tag, size, content[4 : 4 + size], 8
        used = 8 + (size + 7) // 8 * 8
        if used > left:
            raise Damaged("it is cut short")
        return tag, size, None, used

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self.source.read(min(size, _CHUNK_BYTES)))
