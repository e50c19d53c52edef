"""Hostile annotations, weights, tables, lists and skeletons, made by code: the same bytes on every machine."""

from __future__ import annotations

import io
import json
import pickle
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from corpus_arrays import archive, pickles
from scipy.io import savemat

# annotations


def person(**changes: Any) -> dict[str, Any]:
    ratings = {"valence": 7.0, "arousal": 5.0, "dominance": 5.0}
    return {
        "body_bbox": [1.0, 2.0, 30.0, 40.0],
        "annotations_categories": {"categories": ["Peace"]},
        "annotations_continuous": ratings,
        "gender": "Male",
        "age": "Adult",
        **changes,
    }


def mats() -> dict[str, bytes]:
    """EMOTIC's Annotations.mat with fields of wrong types and numbers that no photo has."""
    nan, inf = float("nan"), float("inf")
    wrong: dict[str, Any] = {
        "text": "x",
        "number": 5.0,
        "nan": nan,
        "infinite": inf,
        "empty": [],
        "complex": 1 + 2j,
        "cell": ["a", "b"],
        "struct": {"x": 1.0},
        "true": True,
        "matrix": np.zeros((3, 3)),
        "negative": [-1e300, -1.0, 1e300, 5.0],
        "nans": [nan] * 4,
        "five": [1.0] * 5,
        "huge": np.zeros((200, 200)),
        "nested": {"a": {"b": {"c": [1.0]}}},
        "traversal": "../../../etc/passwd",
        "control": "a\x00b\n\x1b[31m",
        "long": "x" * 5000,
    }
    fields = ("body_bbox", "annotations_categories", "annotations_continuous", "gender", "age")
    made: dict[str, Any] = {}
    for kind, value in wrong.items():
        for field in fields:
            made[f"{field}_{kind}"] = {"train": photo(person(**{field: value}))}
        for field in ("filename", "folder", "person", "image_size"):
            made[f"{field}_{kind}"] = {"train": {**photo(person()), field: value}}
        made[f"train_{kind}"] = {"train": value}
        made[f"valence_{kind}"] = {"train": photo(person(annotations_continuous={"valence": value}))}
    made["others"] = {"x": 1.0}
    return {f"{name}.mat": mat(content) for name, content in made.items()}


def photo(person: Any) -> dict[str, Any]:
    return {
        "filename": "a.jpg",
        "folder": "mscoco/images",
        "image_size": {"n_row": 48.0, "n_col": 64.0},
        "person": person,
    }


def mat(content: Mapping[str, Any], compressed: bool = True) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, content, do_compression=compressed, long_field_names=True)
    written = buffer.getvalue()
    return b"MATLAB 5.0 MAT-file".ljust(116) + written[116:]  # the date stands there


# safetensors, Parquet, lists, skeletons


def safetensors(header: Any, data: bytes = bytes(64), length: int | None = None) -> bytes:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if length is None else length) + content + data


def tensors() -> dict[str, bytes]:
    """Safetensors files whose headers lie."""

    def one(**changes: Any) -> dict[str, Any]:
        return {"fc.weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64], **changes}}

    return {
        "nothing": b"",
        "length_only": bytes(8),
        "length_huge": safetensors(one(), length=1 << 62),
        "length_max": safetensors(one(), length=(1 << 64) - 1),
        "length_short": safetensors(one(), length=5),
        "beyond": safetensors(one(data_offsets=[0, 1 << 40])),
        "backwards": safetensors(one(data_offsets=[64, 0])),
        "negative": safetensors(one(data_offsets=[-64, 0])),
        "shape_huge": safetensors(one(shape=[1 << 62, 4])),
        "shape_overflow": safetensors(one(shape=[1 << 33, 1 << 33])),
        "shape_negative": safetensors(one(shape=[-4, -4])),
        "shape_text": safetensors(one(shape="4")),
        "dtype_unknown": safetensors(one(dtype="OBJ")),
        "dtype_other": safetensors(one(dtype="F64")),
        "no_dtype": safetensors({"a": {"shape": [1]}}),
        "overlap": safetensors({**one(), "b": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}),
        "hole": safetensors(one(shape=[4], data_offsets=[32, 48])),
        "list": safetensors([1, 2]),
        "text": safetensors("x"),
        "not_json": safetensors(b"{" * 100),
        "deep": safetensors(b'{"a":' * 5000 + b"1" + b"}" * 5000),
        "not_utf8": safetensors(b'{"\xff\xfe": 1}'),
        "twice": safetensors(b'{"a": {"dtype":"F32","shape":[],"data_offsets":[0,4]},' * 2 + b'"b": 1}'),
        "metadata_only": safetensors({"__metadata__": {"format": "pt"}}, b""),
        "metadata_wrong": safetensors({"__metadata__": 5}),
        "name_empty": safetensors({"": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}),
        "name_long": safetensors({"a" * 100_000: {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}),
        "name_control": safetensors({"a\n\x1b[31m": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}),
        "nan": safetensors(one(), struct.pack("<16f", *[float("nan")] * 16)),
        "fits": safetensors(one()),
        "pickle": pickles()["mkdir"],
        "zip": archive({"x": pickles()["mkdir"]}),
    }


def parquet(table: pa.Table, **metadata: Any) -> bytes:
    if metadata:
        table = table.replace_schema_metadata({key: str(value) for key, value in metadata.items()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def tables(good: pa.Table) -> dict[str, bytes]:
    """Parquet files like `good` but for one thing: a column that is another, the notes for datasets, the footer."""
    rows = len(good)
    columns: dict[str, list[Any]] = {
        "null": [None] * rows,
        "text": ["x"] * rows,
        "number": [5] * rows,
        "nan": [float("nan")] * rows,
        "bytes": [b"\xff\xfe"] * rows,
        "list": [[1.0, float("inf")]] * rows,
        "lists": [[["x"]]] * rows,
        "struct": [{"bytes": b"x", "path": "/etc/passwd"}] * rows,
        "empty": [[]] * rows,
        "huge": [1 << 62] * rows,
        "negative": [-5] * rows,
        "odd": [[0.0] * (i % 3) for i in range(rows)],
        "control": ["\x1b[31m\n\0"] * rows,
    }
    made = {"nothing": b"", "magic": b"PAR1", "magic_twice": b"PAR1PAR1", "footer_huge": b"PAR1\xff\xff\xff\x7fPAR1"}
    for number, name in enumerate(good.column_names):
        for kind, values in columns.items():
            made[f"{name}_{kind}"] = parquet(good.set_column(number, name, pa.array(values)))
        made[f"without_{name}"] = parquet(good.drop_columns(name))
    notes = (good.schema.metadata or {}).get(b"huggingface", b"{}").decode()
    swapped = {
        "none": "",
        "no_json": "{",
        "number": "5",
        "list": "[]",
        "no_info": "{}",
        "no_features": '{"info": {}}',
        "features_list": '{"info": {"features": []}}',
        "unknown": notes.replace("Value", "Unknown"),
        "lying": notes.replace("float32", "string"),
        "code": notes.replace('"Value"', '"__class__"'),
        "deep": '{"info":' * 3000 + "1" + "}" * 3000,
        "nan": notes.replace('"float32"', "NaN"),
    }
    for kind, content in swapped.items():
        made[f"notes_{kind}"] = parquet(good, huggingface=content)
    made["no_rows"] = parquet(good.slice(0, 0))
    made["same_name"] = parquet(pa.table([good.column(0), good.column(0)], names=["image_id", "image_id"]))
    made["no_columns"] = parquet(pa.table({}))
    return made


def lists() -> dict[str, bytes]:
    """Name lists that are none."""
    return {f"pickle_{name}": content for name, content in pickles().items()} | {
        "nothing": b"",
        "blank": b"\n\n\n",
        "numbers": b"1\n2\n",
        "no_utf8": b"\xff\xfa.jpg\n",
        "utf16_cut": b"\xff\xfea",
        "zeros": bytes(1000),
        "long": b"x" * 100_000 + b".jpg",
        "many": b"pos_1.jpg\n" * 50_000,
        "traversal": b"../../etc/passwd.jpg\n",
        "null": b"pos_1\0.jpg\n",
        "ansi": b"\x1b[31mpos_1.jpg\n",
        "tex": b"pos_1.jpg;rm",
        "list_of_numbers": pickle.dumps([1, 2], 2),
        "list_of_lists": pickle.dumps([["a.jpg"]], 2),
        "tuple": pickle.dumps(("a.jpg",), 2),
        "dict": pickle.dumps({"a.jpg": 1}, 2),
        "bytes": pickle.dumps([b"a.jpg"], 4),
        "set": pickle.dumps({"a.jpg"}, 4),
        "empty_list": pickle.dumps([], 2),
        "none": pickle.dumps(None),
        "two_pickles": pickle.dumps(["a.jpg"], 2) * 2,
        "good": pickle.dumps(["pos_1.jpg"], 2),
        "no_photos": pickle.dumps(["", "\n", "../x"], 2),
    }


def poses() -> dict[str, bytes]:
    """OpenPose JSON with people that nobody is."""

    def people(*numbers: Any, key: str = "pose_keypoints_2d") -> bytes:
        return json.dumps({"people": [{key: list(numbers)}]}).encode()

    values: dict[str, Any] = {
        "nan": float("nan"),
        "infinite": float("inf"),
        "negative": -1e308,
        "huge": 10**400,
        "text": "1",
        "none": None,
        "true": True,
        "list": [1],
        "dict": {},
        "zero": 0,
        "tiny": 5e-324,
        "share": 0.5,
    }
    made = {f"{name}_{count}": people(*[value] * count) for name, value in values.items() for count in (51, 54, 75)}
    good = [10.0, 20.0, 0.9]
    return made | {
        "nothing": b"",
        "null": b"null",
        "text": b'"x"',
        "number": b"5",
        "list": b"[]",
        "list_of_lists": b"[[]]",
        "no_people": b"{}",
        "people_dict": b'{"people": {}}',
        "person_list": b'{"people": [[]]}',
        "cut": people(*good)[:-5],
        "deep": b"[" * 100_000,
        "deep_people": b'{"people":' * 50_000,
        "not_utf8": b'{"people": "\xff"}',
        "bom": b"\xef\xbb\xbf{}",
        "utf16": '{"people": []}'.encode("utf-16"),
        "twice": b'{"people": [], "people": 5}',
        "wrong_count": people(*good * 7),
        "two_counts": json.dumps(
            {"people": [{"pose_keypoints_2d": good * 18}, {"pose_keypoints_2d": good * 25}]}
        ).encode(),
        "many_people": json.dumps({"people": [{"pose_keypoints_2d": good * 18}] * 501}).encode(),
        "long_number": b'{"people": [{"pose_keypoints_2d": [' + b"9" * 5000 + b"]}]}",
        "good": people(*good * 18),
        "coco_photos": json.dumps([{"image_id": i, "keypoints": good * 17} for i in range(3)]).encode(),
        "nan_literal": b'{"people": [{"pose_keypoints_2d": [NaN, -Infinity, 1e999]}]}',
        "nulls": bytes(100),
    }
