"""Arrays in the `.npz` files of others, read with bounds and without unpickling anything."""

from __future__ import annotations

import io
import math
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..support.errors import BadPhoto, listing, one_line
from .pickled_arrays import read_pickled_array

# What the n-th array may be called: by name as the original did, or by position as np.savez does unasked.
NAMES = (("a", "arr_0"), ("b", "arr_1"))
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # savez, savez_compressed; others decompress without a bound
_ENCRYPTED = 1


def read_npz(path: Path, max_bytes: int, pickled: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """The arrays `a` (or `arr_0`) and `b` (or `arr_1`) of the file `path`; None for a `b` that is not there.

    Args:
        path: a file that `np.savez` or `np.savez_compressed` has written.
        max_bytes: the most that the file, and each array in it when decompressed, may have.
        pickled: also read `a` where it is an array of objects: Python numbers or arrays of numbers.

    Returns:
        arrays of booleans, integers or floating-point numbers, read-only; an array of objects, each such an array,
        only where `pickled`. An array that is not asked for is not read.

    Raises:
        BadPhoto: missing, too large, damaged, or other content. The message holds no path.
    """
    with _opened(path, max_bytes) as archive:
        first, second = (_array(archive, names, max_bytes, pickled) for names in NAMES)
        names = archive.namelist()
    if first is None:
        raise BadPhoto(f"no array {' or '.join(NAMES[0])} in it, but {listing(map(ascii, names), 3)}")
    return first, second


def read_named_arrays(path: Path, max_bytes: int, name: re.Pattern[str]) -> dict[str, np.ndarray]:
    """Every array of the file `path` whose whole name `name` matches, in the order of the file.

    Args:
        path: a file that `np.savez` or `np.savez_compressed` has written.
        max_bytes: the most that the file, and all these arrays together when decompressed, may have.

    Returns:
        name -> an array of booleans, numbers or strings; one of objects is read where they are numbers or strings.

    Raises:
        BadPhoto: as `read_npz`.
    """
    arrays: dict[str, np.ndarray] = {}
    left = max_bytes
    with _opened(path, max_bytes) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy") and name.fullmatch(info.filename[:-4]):
                content = _member(archive, info, left)
                left -= len(content)
                arrays[info.filename[:-4]] = _npy(content, info.filename[:-4], pickled=True, strings=True)
    return arrays


@contextmanager
def _opened(path: Path, max_bytes: int) -> Iterator[zipfile.ZipFile]:
    try:
        if not path.is_file():
            raise BadPhoto("no file")
        if path.stat().st_size > max_bytes:
            raise BadPhoto(f"the file has {path.stat().st_size:,} bytes; at most {max_bytes:,} are read")
        content = path.read_bytes()
    except OSError as error:
        raise BadPhoto(f"the file cannot be read: {error.strerror or type(error).__name__}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers written by Python 2, and what damage makes of them
            yield archive
    except BadPhoto:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds on damaged bytes
        raise BadPhoto(f"damaged, or no .npz file: {one_line(error)}") from error


def _array(archive: zipfile.ZipFile, names: tuple[str, ...], max_bytes: int, pickled: bool) -> np.ndarray | None:
    found = set(archive.namelist())
    for name in names:
        if f"{name}.npy" in found:
            content = _member(archive, archive.getinfo(f"{name}.npy"), max_bytes)
            return _npy(content, name, pickled)
    return None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """The decompressed bytes of one member: as many as it declares, and not more than `max_bytes`."""
    if info.file_size > max_bytes:
        raise BadPhoto(f"an array of {info.file_size:,} bytes; at most {max_bytes:,} are read")
    if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
        raise BadPhoto("compressed or encrypted in a way that np.savez does not use")
    with archive.open(info) as member:
        content = member.read(max_bytes + 1)  # stops at the declared size, and compares the checksum there
    if len(content) != info.file_size:
        raise BadPhoto(f"an array of {len(content):,} bytes that declares {info.file_size:,}")
    return content


def _npy(content: bytes, name: str, pickled: bool, strings: bool = False) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise BadPhoto(f"array {name} has format version {version}: for field names, which no plain array has")
    shape, fortran_order, dtype = _HEADERS[version](stream)
    start = stream.tell()
    if dtype.kind == "O" and pickled:
        array = read_pickled_array(content[start:], strings)
        if array.shape != shape:
            raise BadPhoto(f"array {name}: a header of shape {shape} before an array of shape {array.shape}")
        return array
    if dtype.kind not in ("biufSU" if strings else "biuf") or dtype.subdtype is not None:
        kind = "objects" if dtype.hasobject else str(dtype)[:40]
        raise BadPhoto(f"array {name} holds {kind} instead of numbers, and nothing in it was executed")
    size = len(content) - start
    if any(side < 0 for side in shape) or size != math.prod(shape) * dtype.itemsize:
        raise BadPhoto(f"array {name} of shape {str(shape)[:60]} and {dtype} has {size:,} bytes: cut or damaged")
    return np.frombuffer(content, dtype, offset=start).reshape(shape, order="F" if fortran_order else "C")
