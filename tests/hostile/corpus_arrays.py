"""Hostile pickles, arrays and archives, made by code: the same bytes on every machine."""

from __future__ import annotations

import functools
import io
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

from corpus import MARKER, zeros

WHEN = (2020, 1, 1, 0, 0, 0)


class Calls:
    """Pickles to a call of `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def named(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def laughs() -> bytes:
    """A list that holds another twice, which holds another twice, ...: short, and endless when it is written out."""
    twice = (b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
    return b"\x80\x02]q\x00" + b"".join(twice)


def pickles() -> dict[str, bytes]:
    """Pickles that make the folder `MARKER`, crash or fill the memory when they are unpickled."""
    code = f"__import__('os').mkdir({MARKER!r})"
    made = {
        "mkdir": pickle.dumps(Calls(os.mkdir, MARKER), 2),
        "mkdir_protocol_0": pickle.dumps(Calls(os.mkdir, MARKER), 0),
        "mkdir_protocol_4": pickle.dumps(Calls(os.mkdir, MARKER), 4),
        "mkdir_protocol_5": pickle.dumps(Calls(os.mkdir, MARKER), 5),
        "eval": pickle.dumps(Calls(eval, code), 2),
        "exec": pickle.dumps(Calls(exec, code), 4),
        "in_a_list": pickle.dumps([Calls(eval, code), "pos_1.jpg"], 2),
        "in_a_dict": pickle.dumps({"state_dict": {"fc.weight": Calls(eval, code)}}, 2),
        "as_a_key": b"\x80\x02}" + named("builtins", "eval") + text(code) + b"\x85RK\x01s.",
        "partial": pickle.dumps(Calls(functools.partial, os.mkdir, MARKER), 2),
        "getattr": b"\x80\x02" + named("builtins", "getattr") + named("os", "path") + text("join") + b"\x86R.",
        "inst": b"(S'" + MARKER.encode() + b"'\nios\nmkdir\n.",
        "obj": b"\x80\x02(" + named("os", "mkdir") + text(MARKER) + b"o.",
        "build_setstate": b"\x80\x02"
        + named("collections", "OrderedDict")
        + b")R}"
        + text("__setstate__")
        + named("os", "mkdir")
        + b"sb"
        + text(MARKER)
        + b"b.",
        "newobj": b"\x80\x02" + named("pathlib", "Path") + text(MARKER) + b"\x85\x81.",
        "reduce_torch": b"\x80\x02" + named("torch._utils", "_rebuild_parameter") + named("os", "mkdir") + b"\x85R.",
        "torch_load": b"\x80\x02" + named("torch", "load") + text("x.pt") + b"\x85R.",
        "torch_hub": b"\x80\x02" + named("torch.hub", "load") + text("a/b") + text("c") + b"\x86R.",
        "jit": b"\x80\x02" + named("torch.jit", "load") + text("x.pt") + b"\x85R.",
        "module_tricks": b"\x80\x02" + named("torch.nn.modules.container", "os.mkdir") + text(MARKER) + b"\x85R.",
        "numpy_f2py": b"\x80\x02" + named("numpy.f2py", "run_main") + b"]\x85R.",
        "numpy_load": b"\x80\x02" + named("numpy", "load") + text("x.npy") + b"N\x88\x87R.",
        "codecs": b"\x80\x02" + named("_codecs", "decode") + text(code) + text("rot13") + b"\x86R.",
        "persistent": b"\x80\x02" + text(MARKER) + b"Q.",
        "persistent_text": b"P" + MARKER.encode() + b"\n.",
        "extension": b"\x80\x02\x82\x01.",
        "buffer": b"\x80\x05\x97.",
        "readonly_buffer": b"\x80\x05N\x98.",
        "empty": b"",
        "stop": b".",
        "protocol_only": b"\x80\x02",
        "protocol_99": b"\x80\x63N.",
        "no_stop": b"\x80\x02N",
        "pop_nothing": b"\x80\x020.",
        "mark_only": b"\x80\x02(.",
        "marks": b"\x80\x02" + b"(" * 100_000 + b".",
        "deep_list": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
        "deep_tuple": b"\x80\x02N" + b"\x85" * 200_000 + b".",
        "deep_dict": b"\x80\x02" + b"}K\x01" * 20_000 + b"N" + b"s" * 20_000 + b".",
        "laughs": laughs() + b".",
        "laughs_as_a_module": laughs() + text("x") + b"\x93.",
        "laughs_as_a_name": b"\x80\x04" + text("x") + laughs()[2:] + b"\x93.",
        "laughs_as_a_key": b"\x80\x04}" + laughs()[2:] + b"\x85K\x01s.",
        "laughs_called": laughs() + named("numpy", "dtype") + b"h\x05\x85R.",
        "laughs_as_a_state": b"\x80\x04"
        + named("numpy", "dtype")
        + text("u1")
        + b"\x89\x88\x87R"
        + laughs()[2:]
        + b"b.",
        "holds_itself": b"\x80\x02]q\x00h\x00a.",
        "dict_holds_itself": b"\x80\x02}q\x00K\x01h\x00s.",
        "memo_far": b"\x80\x02Nr\xff\xff\xff\xff.",
        "memo_missing": b"\x80\x02h\x05.",
        "long_bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b".",
        "long_text": b"\x80\x02X\xff\xff\xff\xff.",
        "long_number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "big_number": b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20) + b".",
        "decimal_number": b"L" + b"9" * 100_000 + b"L\n.",
        "negative_length": b"T\xff\xff\xff\xff.",
        "bad_text": b"\x80\x02X\x02\0\0\0\xff\xfe.",
        "bad_escape": b"S'\\x'\n.",
        "bad_float": b"Fnan(\n.",
        "surrogates": b"\x80\x02X\x03\0\0\0\xed\xa0\x80.",
        "frame_long": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7fN.",
    }
    return made


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header) + 1)
    return b"\x93NUMPY" + version + length + header.encode("latin-1", "replace") + b"\n" + data


def described(shape: str = "(1,)", descr: str = "'<f8'", data: bytes = bytes(8), **options: Any) -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}", data, **options)


def npys() -> dict[str, bytes]:
    """Arrays as np.save writes them that lie about themselves, or hold pickles that would run code."""
    made = {f"objects_{name}": described(descr="'|O'", data=content) for name, content in pickles().items()}
    nested = "(" * 5000 + ")" * 5000
    return made | {
        "nothing": b"",
        "magic": b"\x93NUMPY",
        "version_9": described(version=b"\x09\x00"),
        "version_3": described(version=b"\x03\x00"),
        "no_header": npy(""),
        "call": npy(f"__import__('os').mkdir({MARKER!r})"),
        "braces": npy("{" * 5000),
        "nested": npy(nested),
        "nested_shape": described(f"({nested},)"),
        "huge": described("(1000000000000,)"),
        "overflow": described(f"({2**62}, 16)"),
        "negative": described("(-1,)"),
        "zero_times_huge": described(f"(0, {2**63})", data=b""),
        "long_number": described(f"({'9' * 9000},)"),
        "float_side": described("(1.0,)"),
        "true_side": described("(True,)"),
        "text_shape": described("'1'"),
        "many_axes": described("(" + "1," * 100 + ")"),
        "fields": described(descr="[('a', '<f8'), ('b', 'O')]"),
        "field_overlap": described(descr="{'names': ['a', 'b'], 'formats': ['O', '<i8'], 'offsets': [0, 0]}"),
        "void": described(descr="'|V8'"),
        "datetime": described(descr="'<M8[ns]'"),
        "complex": described(descr="'<c16'"),
        "text": described(descr="'<U2'"),
        "huge_text": described(descr="'<U999999999'"),
        "bits": described(descr="'?'"),
        "nan": described("(5,)", data=struct.pack("<5d", *[float("nan")] * 5)),
        "infinite": described("(1, 5)", data=struct.pack("<5d", *[float("inf")] * 5)),
        "largest": described("(1, 5)", data=struct.pack("<5d", *[1.7e308] * 5)),
        "no_number": described(descr="''"),
        "lying_header_length": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
    }


def archive(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED, **attributes: Any) -> bytes:
    """A zip file with these members, whatever they are called; the same bytes at any time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, WHEN)
            info.compress_type = method
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            file.writestr(info, content)
    return buffer.getvalue()


def archives(good: bytes, name: str) -> dict[str, bytes]:
    """Zip files around the member `name` with the content `good` that lie, explode or lead elsewhere."""
    plain = archive({name: good})
    size = struct.pack("<I", len(good))
    bomb = bytearray(archive({name: b""}, zipfile.ZIP_DEFLATED))
    link = archive({name: b"/etc/passwd"}, external_attr=(stat.S_IFLNK | 0o777) << 16)
    return {
        "nothing": b"",
        "only_end": b"PK\x05\x06" + bytes(18),
        "only_start": plain[:40],
        "no_end": plain[:-22],
        "end_twice": plain + plain[-22:],
        "prefix": b"#!/bin/sh\nmkdir " + MARKER.encode() + b"\n" + plain,
        "traversal": archive({f"../../{MARKER}": good, f"/tmp/{MARKER}": good, name: good}),
        "backslashes": archive({f"..\\..\\{MARKER}": good}),
        "link": link,
        "twice": archive({name: good}) + plain,
        "folder": archive({f"{name}/": b""}),
        "odd_names": archive({"a\nb": good, "\u202e": good, "": good}),
        "many": archive({f"x{i}": b"" for i in range(3000)}),
        "bzip2": archive({name: good}, zipfile.ZIP_BZIP2),
        "lzma": archive({name: good}, zipfile.ZIP_LZMA),
        "encrypted": archive({name: good}).replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"),
        "huge_declared": plain.replace(size, b"\xfe\xff\xff\xff"),
        "none_declared": plain.replace(size, bytes(4)),
        "zip64_lying": plain.replace(size, b"\xff\xff\xff\xff"),
        "offset_far": plain[:-6] + b"\xff\xff\xff\x7f\0\0",
        "count_lying": plain[:-14] + b"\xff\xff\xff\xff" + plain[-10:],
        "overlapping": overlapping(name, 200),
        "empty_deflated": bytes(bomb),
        "deflated_zeros": deflated(name, 1 << 30),
        "nested": archive({name: archive({name: archive({name: good})})}),
    }


def deflated(name: str, count: int) -> bytes:
    """A zip whose member inflates to `count` zeros, and says so."""
    data = zeros(count)[2:-4]
    head = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(data), count, len(name), 0)
    local = b"PK\x03\x04" + head + name.encode() + data
    central = b"PK\x01\x02" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode()
    return local + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


def overlapping(name: str, count: int) -> bytes:
    """A zip whose many members are all the same bytes of the file."""
    one = deflated(name, 1 << 24)
    start = one.index(b"PK\x01\x02")
    central, end = one[start:-22], one[-22:]
    renamed = b"".join(central[: -len(name)] + f"{i:0{len(name)}d}"[: len(name)].encode() for i in range(count))
    return (
        one[:start]
        + renamed
        + central
        + end[:8]
        + struct.pack("<HHI", count + 1, count + 1, len(renamed + central))
        + end[16:]
    )
