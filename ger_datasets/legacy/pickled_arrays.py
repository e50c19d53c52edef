"""Pickled NumPy arrays, as `np.savez` writes arrays of objects, read without unpickling anything."""

from __future__ import annotations

import enum
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..support.errors import BadPhoto
from .pickles import Machine, Meaning, interpret

MAX_INSTRUCTIONS = 1_000_000  # a run of pixels counts as one; a thousand faces take about 30,000
MAX_VALUES = 30_000_000  # in runs of pixels: one face of 10 million, stored number by number
MAX_SIDE = 100_000  # of any axis
MAX_AXES = 8

_NOTHING_RAN = "nothing in it was executed"


class _Name(enum.Enum):
    RECONSTRUCT = enum.auto()
    NDARRAY = enum.auto()
    DTYPE = enum.auto()


# Every name that a pickled array contains; NumPy 2 renamed `core` to `_core`.
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy", "ndarray"): _Name.NDARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
}
_DTYPE_CODE = re.compile(r"[iu][1248]|f[248]|b1|O[48]")
_ONE_BYTE_RUN = re.compile(rb"(?:K.)+", re.DOTALL)  # BININT1: the letter K and the number


@dataclass
class _Dtype:
    code: str
    byte_order: str = "="


@dataclass
class _Array:
    shape: tuple[int, ...] = ()
    dtype: _Dtype | None = None  # None until its BUILD
    fortran_order: bool = False
    content: Any = None


def read_pickled_array(content: bytes, strings: bool = False) -> np.ndarray:
    """The array in `content`: an array of numbers, or of objects that are arrays of numbers.

    `pickle` is not used: even an unpickler that allows only NumPy's classes passes states to NumPy's `__setstate__`,
    which trusts them. Here the opcodes are interpreted (`pickles.py`), and the numbers are read from their bytes.
    Protocols 2 to 4 are read, which `np.savez` has used. An array of Python numbers (the result of
    `np.array(faces, dtype=object)` for one face, or for faces of one size) is returned as an array of numbers.
    With `strings`, an array of strings is read too.

    Raises:
        BadPhoto: the content is not one pickled array, or is damaged.
    """
    try:
        return _finished(_interpreted(content), objects=True, strings=strings)
    except BadPhoto:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise BadPhoto(f"the pickled array is damaged, and {_NOTHING_RAN}") from error


def _interpreted(content: bytes) -> Any:
    """The value of the pickle."""
    stream, values = io.BytesIO(content), 0

    def pixels(machine: Machine, first: int) -> None:
        nonlocal values
        # reading continues at the stream's position: taking a run of pixels at once is 50 times faster
        run = _ONE_BYTE_RUN.match(content, stream.tell())
        machine.stack.append(first)
        if run:
            values += len(run[0]) // 2
            if values > MAX_VALUES:
                raise _refused("")
            machine.stack.extend(run[0][1::2])
            stream.seek(run.end())

    steps = {"BININT1": pixels}
    return interpret(stream, Meaning(_named, _reduced, _build, _refused, MAX_INSTRUCTIONS, steps))


def _refused(instruction: str) -> BadPhoto:
    if not instruction:
        return BadPhoto(f"the pickled array is too large, and {_NOTHING_RAN}")
    return BadPhoto(f"the pickle holds the instruction {instruction}: no array of faces, and {_NOTHING_RAN}")


def _named(module: Any, name: Any) -> _Name:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise ValueError("a name that is not text")  # not shown: nested lists could be endless
    if (module, name) not in _NAMES:
        shown = f"{module[:40]}.{name[:40]}".encode("ascii", "backslashreplace").decode()
        raise BadPhoto(f"the pickle asks for {shown!r}: no array of faces, and {_NOTHING_RAN}")
    return _NAMES[module, name]


def _reduced(function: Any, arguments: Any) -> _Array | _Dtype:
    """What `function(*arguments)` stands for. Only two calls are allowed: a new array and a new dtype."""
    if isinstance(arguments, tuple) and len(arguments) == 3:
        if function is _Name.RECONSTRUCT and arguments[0] is _Name.NDARRAY:
            return _Array()
        if function is _Name.DTYPE and isinstance(arguments[0], str) and _DTYPE_CODE.fullmatch(arguments[0]):
            return _Dtype(arguments[0])
    raise BadPhoto(f"the pickle makes something else than an array of numbers, and {_NOTHING_RAN}")


def _build(built: Any, state: Any) -> None:
    """Give an array its shape, dtype and content, or a dtype its byte order."""
    if isinstance(built, _Array) and isinstance(state, tuple) and len(state) == 5:
        _, shape, dtype, fortran_order, content = state
        if _is_shape(shape) and isinstance(dtype, _Dtype) and isinstance(content, (bytes, str, list)):
            built.shape, built.dtype = shape, dtype
            built.fortran_order, built.content = fortran_order is True or fortran_order == 1, content
            return
    elif isinstance(built, _Dtype) and isinstance(state, tuple) and len(state) >= 5:
        _, byte_order, subarray, names, fields = state[:5]
        if byte_order in ("|", "<", ">", "=") and subarray is names is fields is None:
            built.byte_order = byte_order
            return
    raise ValueError("an invalid array state")


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, tuple)
        and len(shape) <= MAX_AXES
        and all(type(side) is int and 0 <= side <= MAX_SIDE for side in shape)
    )


def _finished(array: Any, objects: bool, strings: bool = False) -> np.ndarray:
    """The NumPy array that `array` describes; objects and strings only if allowed."""
    if not isinstance(array, _Array) or array.dtype is None:
        raise BadPhoto(f"the pickle is not an array of numbers, and {_NOTHING_RAN}")
    order: Literal["F", "C"] = "F" if array.fortran_order else "C"
    if array.dtype.code.startswith("O"):
        if not objects or not isinstance(array.content, list):
            raise BadPhoto(f"the pickle nests arrays of objects, and {_NOTHING_RAN}")
        if len(array.content) != math.prod(array.shape):
            raise ValueError("as many objects as the shape says")
        if strings and array.content and all(type(item) is str for item in array.content):
            return np.array(array.content, dtype=object).reshape(array.shape, order=order)
        return _of_objects(array.content).reshape(array.shape, order=order)
    if isinstance(array.content, list):
        raise ValueError("numbers are stored as bytes")
    content = array.content.encode("latin-1") if isinstance(array.content, str) else array.content  # str: Python 2
    order_mark = "" if array.dtype.byte_order == "|" else array.dtype.byte_order
    dtype = np.dtype(order_mark + array.dtype.code)
    if len(content) != math.prod(array.shape) * dtype.itemsize:
        raise ValueError("as many bytes as shape and dtype say")
    return np.frombuffer(content, dtype).reshape(array.shape, order=order)


def _of_objects(items: Sequence[Any]) -> np.ndarray:
    if items and {type(item) for item in items} <= {int, float}:
        numbers = np.array(items)
        if numbers.dtype.kind not in "iuf":
            raise ValueError("numbers of at most 64 bits")
        return numbers
    arrays = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        arrays[i] = _finished(item, objects=False)
    return arrays
