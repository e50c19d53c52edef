"""Archives of arrays are read within bounds; nothing pickled in them is executed."""

from __future__ import annotations

import builtins
import functools
import importlib
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ger_datasets.legacy.npz import read_npz
from ger_datasets.legacy.pickled_arrays import read_pickled_array
from ger_datasets.support.errors import BadPhoto

MIB = 2**20


def faces_of(*shapes: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    """An array of objects, each a face."""
    rng = np.random.default_rng(3)
    faces = np.empty(len(shapes), object)
    for i, shape in enumerate(shapes):
        faces[i] = rng.integers(0, 256, shape).astype(dtype)
    return faces


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy_with(header: str, data: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + b"\n" + data


def object_npy(payload: bytes, shape: str = "(1,)") -> bytes:
    """An array of objects whose pickle is `payload`."""
    return npy_with(f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}}}", payload)


# What is read


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(10, dtype=np.float32).reshape(2, 5),
        np.arange(10, dtype=">f8").reshape(2, 5),
        np.asfortranarray(np.arange(10, dtype=np.int64).reshape(2, 5)),
        np.array([]),
        np.array(5.0),
        np.zeros((1, 3, 5), np.float16),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_plain_arrays(tmp_path: Path, save: Any, array: np.ndarray) -> None:
    save(tmp_path / "x.npz", a=array, b=array + 1)
    a, b = read_npz(tmp_path / "x.npz", MIB)
    np.testing.assert_array_equal(a, array)
    np.testing.assert_array_equal(b, array + 1)
    assert a.dtype == array.dtype
    save(tmp_path / "y.npz", array)
    np.testing.assert_array_equal(read_npz(tmp_path / "y.npz", MIB)[0], array)
    assert read_npz(tmp_path / "y.npz", MIB)[1] is None


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, ">i2"])
def test_arrays_of_objects(protocol: int, dtype: Any) -> None:
    faces = faces_of((5, 4, 3), (7, 2, 3), (1, 1, 3), dtype=dtype)
    faces[1] = np.asfortranarray(faces[1])
    array = read_pickled_array(pickle.dumps(faces, protocol))
    assert array.shape == (3,)
    assert array.dtype == object
    for read, written in zip(array, faces, strict=True):
        np.testing.assert_array_equal(read, written)
        assert read.dtype == written.dtype


def test_an_array_that_python_2_pickled() -> None:
    payload = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
        b"(K\x01K\x01\x85cnumpy\ndtype\nq\x04U\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
        b"\x89]h\x01h\x02K\x00\x85U\x01b\x87R(K\x01K\x01K\x01K\x03\x87h\x04U\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\x01\xfe\x03tbatb."
    )
    (face,) = read_pickled_array(payload)
    np.testing.assert_array_equal(face, [[[1, 254, 3]]])


@pytest.mark.parametrize("count", [1, 3])
def test_faces_of_one_size_become_python_numbers_and_are_read(tmp_path: Path, count: int) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (count, 40, 30, 3), np.uint8)
    as_objects = np.array(list(faces), dtype=object)
    assert type(as_objects.flat[0]) is int
    np.savez(tmp_path / "x.npz", a=as_objects)
    np.testing.assert_array_equal(read_npz(tmp_path / "x.npz", MIB, pickled=True)[0], faces)
    np.testing.assert_array_equal(read_pickled_array(pickle.dumps(as_objects.astype(float).astype(object), 4)), faces)


def test_one_array_twice(tmp_path: Path) -> None:
    faces = faces_of((5, 4, 3), (5, 4, 3))
    faces[1] = faces[0]  # a reference in the pickle
    first, second = read_pickled_array(pickle.dumps(faces, 4))
    np.testing.assert_array_equal(first, second)


def test_an_empty_array_of_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([], dtype=object))
    assert read_npz(tmp_path / "x.npz", MIB, pickled=True)[0].shape == (0,)


# What is refused: pickles that are more than arrays


class Calls:
    """Pickles to a call of `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def in_array(*objects: object) -> bytes:
    array = np.empty(len(objects), object)
    array[:] = objects
    return pickle.dumps(array, 4)


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


RECONSTRUCT = stack_global("numpy._core.multiarray", "_reconstruct")
SCALAR_DTYPE = stack_global("numpy", "dtype") + text("O8") + b"\x89\x88\x87R"


def gadgets(target: Path) -> dict[str, bytes]:
    make = f"__import__('os').mkdir({str(target)!r})"
    path = b"X" + struct.pack("<I", len(os.fsencode(target))) + os.fsencode(target)
    return {
        "os.mkdir among faces": in_array(np.zeros((2, 2, 3), np.uint8), Calls(os.mkdir, str(target))),
        "os.system": in_array(Calls(os.system, f"mkdir {target}")),
        "builtins.eval": in_array(Calls(builtins.eval, make)),
        "builtins.exec": in_array(Calls(builtins.exec, make)),
        "getattr": in_array(Calls(getattr, "x", "upper")),
        "functools.partial": in_array(Calls(functools.partial, os.mkdir, str(target))),
        "numpy.load": in_array(Calls(np.load, str(target), None, True)),
        "numpy.save": in_array(Calls(np.save, str(target), 1)),
        "importlib": in_array(Calls(importlib.import_module, "antigravity")),
        "the whole pickle": pickle.dumps(Calls(os.mkdir, str(target)), 4),
        "protocol 0": b"cos\nmkdir\n(S'" + str(target).encode() + b"'\ntR.",
        "protocol 1 INST": b"(S'" + str(target).encode() + b"'\nios\nmkdir\n.",
        "nested attribute": b"\x80\x04" + stack_global("numpy._core.multiarray", "_reconstruct.__globals__") + b".",
        "nested module": b"\x80\x04" + stack_global("numpy", "load") + path + b"\x85R.",
        "numpy's own os": b"\x80\x04" + stack_global("numpy", "os.mkdir") + path + b"\x85R.",
        "scalar": b"\x80\x04" + stack_global("numpy._core.multiarray", "scalar") + SCALAR_DTYPE + b"C\x08" + b"\1" * 8
        # an object scalar of these eight bytes would be a pointer
        + b"\x86R.",
        "names from the memo": b"\x80\x04" + text("os") + b"\x94" + text("mkdir") + b"\x94" + b"00h\x00h\x01\x93"
        # POP is no instruction of arrays; the next has none
        + path + b"\x85R.",
        "names from the memo without POP": b"\x80\x04]("
        + text("os") + b"\x94" + text("mkdir") + b"\x94" + b"h\x00h\x01\x93" + path + b"\x85Re.",
        "another subtype": b"\x80\x04" + RECONSTRUCT + stack_global("numpy", "memmap") + b"K\x00\x85C\x01b\x87R.",
        "reconstruct of dtype": b"\x80\x04" + RECONSTRUCT + stack_global("numpy", "dtype") + b"K\x00\x85C\x01b\x87R.",
        "reconstruct of reconstruct": b"\x80\x04" + RECONSTRUCT + RECONSTRUCT + b"K\x00\x85C\x01b\x87R.",
        "ndarray called": b"\x80\x04" + stack_global("numpy", "ndarray") + b"K\x02K\x02K\x02\x87R.",
        "NEWOBJ": b"\x80\x04" + stack_global("numpy", "ndarray") + b"K\x02\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04" + stack_global("numpy", "ndarray") + b"K\x02\x85}\x92.",
        "OBJ": b"\x80\x02(cos\nmkdir\n" + path + b"o.",
        "persistent id": b"\x80\x04" + path + b"Q.",
        "persistent id, text": b"P" + str(target).encode() + b"\n.",
        "extension": b"\x80\x02\x82\x01.",
        "a dictionary": pickle.dumps({"a": 1}, 4),
        "a buffer from outside": b"\x80\x05\x97.",
        "a dtype with fields": pickle.dumps(np.zeros(1, [("x", "O")]), 4),
        "a dtype with metadata": pickle.dumps(np.zeros(1, np.dtype("i4", metadata={"a": 1})), 4),
    }  # fmt: skip


@pytest.mark.parametrize("name", gadgets(Path("x")))
def test_a_pickle_that_is_more_than_an_array_is_refused_and_runs_nothing(tmp_path: Path, name: str) -> None:
    target = tmp_path / "executed"
    payload = gadgets(target)[name]
    for shape in ("(1,)", "(2,)", "()"):
        archive(tmp_path / "x.npz", {"a.npy": object_npy(payload, shape)})
        with pytest.raises(BadPhoto, match="executed"):
            read_npz(tmp_path / "x.npz", MIB, pickled=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npz"]


def test_an_array_of_objects_where_numbers_are_expected(tmp_path: Path) -> None:
    archive(tmp_path / "x.npz", {"a.npy": object_npy(gadgets(tmp_path / "executed")["os.system"])})
    with pytest.raises(BadPhoto, match="array a holds objects instead of numbers"):
        read_npz(tmp_path / "x.npz", MIB)
    assert not (tmp_path / "executed").exists()


def array_pickle(shape: bytes, code: str, content: bytes, dtype_state: bytes = b"") -> bytes:
    """A pickled array with parts of one's own."""
    state = dtype_state or b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return (
        b"\x80\x04" + RECONSTRUCT + stack_global("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R(K\x01" + shape
        + stack_global("numpy", "dtype") + text(code) + b"\x89\x88\x87R" + state + b"\x89" + content + b"tb."
    )  # fmt: skip


def test_the_hand_made_pickle_is_as_numpy_would_have_it() -> None:
    np.testing.assert_array_equal(read_pickled_array(array_pickle(b"K\x02\x85", "u1", b"C\x02ab")), [97, 98])


@pytest.mark.parametrize(
    "payload",
    [
        array_pickle(b"K\x03\x85", "u1", b"C\x02ab"),  # less content than shape
        array_pickle(b"K\x01\x85", "u1", b"C\x02ab"),
        array_pickle(b"J\xff\xff\xff\xff\x85", "u1", b"C\x00"),  # -1
        array_pickle(b"K\x00\x8a\x08" + b"\xff" * 7 + b"\x7f\x86", "u1", b"C\x00"),  # 0 x 2**63
        array_pickle(b"\x88\x85", "u1", b"C\x01a"),  # a side of True
        array_pickle(b"K\x02", "u1", b"C\x02ab"),  # no tuple
        array_pickle(b"K\x01\x85", "O8", b"C\x08" + b"\1" * 8),  # pointers
        array_pickle(b"K\x01\x85", "V8", b"C\x08" + b"\1" * 8),
        array_pickle(b"K\x01\x85", "u8,O", b"C\x08" + b"\1" * 8),
        array_pickle(b"K\x01\x85", "u1", b"]K\x01a"),  # numbers in a list
        array_pickle(b"K\x01\x85", "O8", b"]h\x00a"),  # nothing remembered
        array_pickle(b"K\x01\x85", "O8", b"]Na"),
        array_pickle(b"K\x02\x85", "O8", b"](K\x01Xffffe"),
        array_pickle(b"K\x01\x85", "O8", b"]\x8a\x20" + b"\x7f" * 32 + b"a"),  # a number of 256 bits
        array_pickle(b"K\x01\x85", "O8", b"]\x94h\x00a"),  # a list that holds itself
        array_pickle(b"K\x01\x85", "u1", b"C\x01a", b"K\x00b"),  # a dtype's state that is no tuple
        array_pickle(b"K\x01\x85", "u1", b"C\x01a", b"(K\x03" + text("|") + b"K\x01NNK\x01K\x01K\x00tb"),  # a subarray
        array_pickle(b"K\x01\x85", "u1", b"C\x01a")[:-1],
        b"", b".", b"0.", b"N.", b"(.", b"].", b"R.", b"b.", b"a.", b"e.", b"t.", b"\x85.", b"\x93.", b"h\x00.",
        b"\x94.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a byte array of 2**63 bytes
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # bytes of that length
        b"\x80\x04B\xff\xff\xff\x7f.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",  # a frame of that length
        b"K\x01" * 20 + b".",
        b"\x80\x04" + RECONSTRUCT + stack_global("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R.",  # no state
        b"\x80\x04](K\x01K\x02e\x94" + b"h\x00\x85\x94" * 5 + b".",
    ],
)  # fmt: skip
def test_pickled_arrays_that_contradict_themselves(payload: bytes) -> None:
    with pytest.raises(BadPhoto, match="executed"):
        read_pickled_array(payload)


def test_a_memo_index_of_four_thousand_million_takes_no_memory() -> None:
    pickled = array_pickle(b"K\x02\x85r\xff\xff\xff\xff", "u1", b"C\x02ab")
    np.testing.assert_array_equal(read_pickled_array(pickled), [97, 98])


def test_too_many_instructions_or_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ger_datasets.legacy.pickled_arrays.MAX_INSTRUCTIONS", 1000)
    monkeypatch.setattr("ger_datasets.legacy.pickled_arrays.MAX_VALUES", 5000)
    for payload in (b"](" + b"N" * 2000 + b"e.", b"](" + b"K\x01" * 6000 + b"e."):
        with pytest.raises(BadPhoto, match="too large"):
            read_pickled_array(payload)


# What is refused: archives


def test_a_decompression_bomb_is_not_decompressed(tmp_path: Path) -> None:
    archive(tmp_path / "x.npz", {"a.npy": npy(np.zeros(8 * MIB, np.uint8))}, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.npz").stat().st_size < 20_000
    with pytest.raises(BadPhoto, match=r"an array of 8,388,736 bytes; at most 1,048,576 are read"):
        read_npz(tmp_path / "x.npz", MIB)


def test_a_bomb_that_declares_a_small_size(tmp_path: Path) -> None:
    content = npy(np.zeros(8 * MIB, np.uint8))
    path = archive(tmp_path / "x.npz", {"a.npy": content}, zipfile.ZIP_DEFLATED)
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", len(content)), struct.pack("<I", 1000)))
    with pytest.raises(BadPhoto, match="damaged"):
        read_npz(path, MIB)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_a_bound_are_refused(tmp_path: Path, method: int) -> None:
    path = archive(tmp_path / "x.npz", {"a.npy": npy(np.zeros(10))}, method)
    with pytest.raises(BadPhoto, match=r"in a way that np\.savez does not use"):
        read_npz(path, MIB)


DESCR = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"PK\x03\x04",
        npy(np.zeros(4))[:-1],
        npy(np.zeros(4)) + b"x",
        npy_with(DESCR, bytes(8)),
        npy_with(DESCR.replace("(2,)", f"({2**62}, 4)"), bytes(16)),
        npy_with(DESCR.replace("(2,)", "(-2, -1)"), bytes(16)),
        npy_with(DESCR.replace("(2,)", f"(0, {2**70})")),
        npy_with(DESCR.replace("(2,)", "(2.0,)"), bytes(16)),
        npy_with(DESCR.replace("(2,)", "__import__('os').getcwd()"), bytes(16)),
        npy_with(DESCR.replace("'<f8'", "[('x', '<f8')]"), bytes(16)),
        npy_with(DESCR.replace("'<f8'", "('<f8', (2,))"), bytes(32)),
        npy_with(DESCR.replace("<f8", "|S8"), bytes(16)),
        npy_with(DESCR.replace("<f8", "<M8[s]"), bytes(16)),
        npy_with(DESCR.replace("<f8", "<c8"), bytes(16)),
        npy_with(DESCR.replace("<f8", "|V8"), bytes(16)),
        npy_with(DESCR.replace("<f8", "nonsense"), bytes(16)),
        npy_with("(" * 5000, bytes(16)),
        npy_with(" " * 60_000 + DESCR, bytes(16)),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + DESCR.encode(),
        b"\x93NUMPY\x03\x00" + npy_with(DESCR, bytes(16), version=2)[8:],
        b"\x93NUMPY\x09\x00" + npy_with(DESCR, bytes(16))[8:],
    ],
)
def test_members_that_are_no_arrays(tmp_path: Path, content: bytes) -> None:
    path = archive(tmp_path / "x.npz", {"a.npy": content})
    for pickled in (False, True):
        with pytest.raises(BadPhoto):
            read_npz(path, MIB, pickled)


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(BadPhoto, match="no file"):
        read_npz(path, MIB)
    for content in (b"", b"PK", npy(np.zeros(3)), b"x" * 1000):
        path.write_bytes(content)
        with pytest.raises(BadPhoto, match=r"damaged, or no \.npz file"):
            read_npz(path, MIB)
    path.write_bytes(bytes(MIB + 1))
    with pytest.raises(BadPhoto, match="the file has 1,048,577 bytes; at most"):
        read_npz(path, MIB)


def test_other_names_have_no_effect(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", {"../a.npy": npy(np.zeros(3)), "/etc/a.npy": b"", "a": b"", "c.npy": b""})
    with pytest.raises(BadPhoto, match=r"no array a or arr_0 in it, but '\.\./a\.npy', '/etc/a\.npy', 'a' and 1 more"):
        read_npz(path, MIB)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("kind", ["plain", "objects", "numbers"])
def test_damage_anywhere_gives_an_array_or_a_reason(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(7)
    arrays = {
        "plain": np.arange(10, dtype=np.float32).reshape(2, 5),
        "objects": faces_of((3, 2, 3), (2, 3, 3)),
        "numbers": np.array([np.arange(12).reshape(2, 2, 3)], dtype=object),
    }
    whole = npy(arrays[kind])
    path = tmp_path / "x.npz"
    reasons = 0
    for turn in range(300):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        archive(path, {"a.npy": bytes(content[: rng.integers(len(content))] if turn % 10 == 0 else content)})
        if turn % 3 == 0:  # damage to the archive itself
            outer = bytearray(path.read_bytes())
            outer[rng.integers(len(outer))] ^= 1 << rng.integers(8)
            path.write_bytes(bytes(outer))
        try:
            (array, _) = read_npz(path, MIB, pickled=True)
        except BadPhoto:
            reasons += 1
        else:
            assert array.dtype == object or array.dtype.kind in "biuf"
    assert reasons > 50
