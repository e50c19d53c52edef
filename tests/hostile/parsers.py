"""The package's own parsers by name, each as bytes -> a result or a refusal; and the files that mutations begin with.

The corpus, hypothesis and atheris all go through this table.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import corpus
import corpus_arrays as arrays
import corpus_tables as tables
import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from ger_datasets.emotic.annotations import SPLITS
from ger_datasets.emotic.arrays import array_png, read_array_csv
from ger_datasets.emotic.mat_reader import read_mat
from ger_datasets.emotic.matlab import read_matlab
from ger_datasets.emotic.tables import read_csv
from ger_datasets.emotic.tables import read_npz as read_valences
from ger_datasets.layouts.label_files import labels_by_name, read_label_file
from ger_datasets.layouts.tables import read_table
from ger_datasets.legacy.index import Index, path_key
from ger_datasets.legacy.name_lists import read_name_list
from ger_datasets.legacy.npz import read_npz
from ger_datasets.legacy.pickled_arrays import read_pickled_array
from ger_datasets.photos.reading import decode_photo
from ger_datasets.preparation.card import read_card
from ger_datasets.records import Record
from ger_datasets.regions.archives import RegionArchives
from ger_datasets.skeletons.coco import CocoSkeletons
from ger_datasets.skeletons.openpose import read_poses
from ger_datasets.support.errors import BadPhoto, UserError
from ger_models.conversion.old_checkpoints import read_checkpoint
from ger_models.conversion.old_pickles import read_pickle
from ger_models.evaluation.npz_outputs import read_npz_outputs
from ger_models.evaluation.predictions import Predictions, read_predictions, write_predictions

MIB = 1 << 20


@dataclass(frozen=True)
class Parser:
    """Attributes:
    parse: reads the file at a path.
    file: what the file is called.
    refusals: what it may raise.
    seeds: good files, and bad ones worth changing.
    names_file: whether a refusal says which file; those of single photos are named by who asked.
    """

    parse: Callable[[Path], object]
    file: str
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], dict[str, bytes]]
    names_file: bool = False


def _saved(save: Callable[..., None], **named: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **named)
    return buffer.getvalue()


def _faces() -> np.ndarray:
    faces = np.empty(2, object)
    faces[:] = [np.arange(60, dtype=np.uint8).reshape(5, 4, 3), np.ones((2, 3, 3), np.uint8)]
    return faces


@cache
def predictions_table() -> bytes:
    """A good predictions table."""
    rows = 6
    made = Predictions(
        [f"test/Positive/pos_{i}" for i in range(rows)],
        ["test"] * rows,
        np.arange(rows) % 3,
        np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32),
        "tiny",
        ["Negative", "Neutral", "Positive"],
        faces=np.arange(rows),
        groups=["a"] * rows,
        face_attention=[[0.5]] * rows,
    )
    path = Path("good.parquet")
    write_predictions(path, made)
    content = path.read_bytes()
    path.unlink()
    return content


def _table_seeds() -> dict[str, bytes]:
    good = predictions_table()
    return {"good": good, **tables.tables(pa.parquet.read_table(io.BytesIO(good)))}


def _npz_seeds() -> dict[str, bytes]:
    good = _saved(np.savez, a=_faces(), b=np.ones((2, 10)))
    made = {"good": good, "plain": _saved(np.savez_compressed, a=np.ones((2, 5)), b=np.ones((2, 10)))}
    made |= {name: arrays.archive({"a.npy": content}) for name, content in arrays.npys().items()}
    return made | arrays.archives(arrays.described(), "a.npy")


def _output_seeds() -> dict[str, bytes]:
    good = _saved(
        np.savez,
        output_test_model1=np.ones((4, 3), np.float32),
        label_test=np.array([0, 1, 2, 0]),
        filename_test=np.array(["a", "b", "c", "d"]),
    )
    made = {"good": good}
    for name, content in arrays.npys().items():
        made[f"output_{name}"] = arrays.archive({"output_test_model1.npy": content})
        made[f"label_{name}"] = arrays.archive(
            {"output_test_model1.npy": arrays.described("(1, 1)"), "label_test.npy": content}
        )
    return made | arrays.archives(arrays.described("(1, 1)"), "output_test_model1.npy")


def _valence_seeds() -> dict[str, bytes]:
    good = {"image": np.array(["a.jpg"]), "folder": np.array(["mscoco/images"]), "valence": np.array([5.0])}
    texts = arrays.described(descr="'<U1'", data=b"x\0\0\0")
    made = {"good": _saved(np.savez, **good), "bytes": _saved(np.savez, **{**good, "image": np.array([b"a\xff.jpg"])})}
    for name, content in arrays.npys().items():
        made[f"image_{name}"] = arrays.archive(
            {"image.npy": content, "folder.npy": texts, "valence.npy": arrays.described()}
        )
        made[f"valence_{name}"] = arrays.archive({"image.npy": texts, "folder.npy": texts, "valence.npy": content})
    return made | arrays.archives(arrays.described(), "image.npy")


HEADER = b"Folder,Filename,Image Size,BBox,Categorical_Labels,Continuous_Labels,Gender,Age\n"


def _csv_seeds() -> dict[str, bytes]:
    cells = {
        "nan": b"nan",
        "infinite": b"[1e999, -1e999, 1e999]",
        "text": b"x",
        "empty": b"",
        "list": b'"[1, 2, 3, 4, 5]"',
        "call": b"\"[__import__('os').mkdir('x')]\"",
        "long": b"9" * 5000,
        "null": b"a\0b",
        "traversal": b"../../x.jpg",
        "quote": b'"never closed',
        "negative": b'"[-1, -1e308, -5]"',
        "utf8": b"\xff\xfe",
        "deep": b"[" * 5000,
        "huge": b"x" * 200_000,
        "control": b"\x1b[31m",
        "digits": b"1" + b"0" * 400,
    }
    row = [
        b"mscoco/images",
        b"a.jpg",
        b'"[64, 48]"',
        b'"[1, 2, 30, 40]"',
        b"\"['Peace']\"",
        b'"[7.0, 5.0, 5.0]"',
        b"Male",
        b"Adult",
    ]
    made = {
        "nothing": b"",
        "header": HEADER,
        "good": HEADER + b",".join(row) + b"\n",
        "commas": b"," * 10_000,
        "zeros": bytes(100),
    }
    for name, cell in cells.items():
        for place in range(len(row)):
            made[f"{name}_{place}"] = HEADER + b",".join([*row[:place], cell, *row[place + 1 :]]) + b"\n"
        made[f"header_{name}"] = cell + b"," + HEADER
    return made


@cache
def checkpoints() -> dict[str, bytes]:
    """Files of torch.save: good ones in both forms, and those whose pickle is another or whose archive lies."""
    torch.manual_seed(0)
    weights = {"fc.weight": torch.randn(3, 4), "fc.bias": torch.randn(3)}
    made = {}
    for form, zipped in (("zip", True), ("legacy", False)):
        buffer = io.BytesIO()
        torch.save({"epoch": 3, "state_dict": weights}, buffer, _use_new_zipfile_serialization=zipped)
        made[f"good_{form}"] = buffer.getvalue()
    heads = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    for name, content in arrays.pickles().items():
        made[f"zip_{name}"] = arrays.archive({"x/data.pkl": content, "x/data/0": bytes(64)})
        made[f"legacy_{name}"] = b"".join(heads) + content
        made[f"bare_{name}"] = content
    return made | {f"archive_{name}": c for name, c in arrays.archives(pickle.dumps({}, 2), "x/data.pkl").items()}


def _card_seeds() -> dict[str, bytes]:
    yaml = {
        "code": "a: !!python/object/apply:os.mkdir [hostile_code_ran]",
        "laughs": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "deep": "a: " + "[" * 500,
        "list": "- 1",
        "text": "x",
        "number": "5",
        "none": "",
        "tabs": "\ta: 1",
        "twice": "a: 1\na: 2",
        "bad": "a: [",
        "control": "a: \x01",
        "date": "notice: 2020-01-01",
        "key": "? [a, b]\n: 1",
        "good": "pretty_name: x\nnotice: y",
    }
    made = {name: f"---\n{content}\n---\n# Card\n".encode() for name, content in yaml.items()}
    return {
        **made,
        "nothing": b"",
        "no_yaml": b"# Card",
        "open": b"---\na: 1\n",
        "utf8": b"---\na: \xff\n---\n",
        "zeros": bytes(50),
    }


def _read_npz(path: Path) -> object:
    return read_npz(path, 16 * MIB, pickled=True)


def _index(path: Path) -> object:
    """The names of a tree of files -> their places in the index; the content is the list of paths."""
    folder = path.with_name("tree")
    folder.mkdir(exist_ok=True)
    made = []
    for name in path.read_bytes().split(b"\n")[:5]:
        name = name.replace(b"/", b"_").replace(b"\0", b"_")[:200]
        if name not in (b"", b".", b".."):
            place = folder / name.decode("utf-8", "surrogateescape")
            place.touch()
            made.append(place)
    try:
        index = Index(folder, {".npz", ".jpg"}, numbered=True)
        for place in made:
            path_key(place.relative_to(folder).parts)
            index.count(place.stem.lower())
        return index.by_key
    finally:
        for place in made:
            place.unlink(missing_ok=True)


def _yaml_seeds() -> dict[str, bytes]:
    good = b"%%YAML:1.0\n---\npose_0: !!opencv-nd-matrix\n   sizes: [ %s ]\n   dt: f\n   data: [ %s ]\n"
    numbers = b", ".join([b"1.5e+01, 20., 9.0e-01"] * 18)
    seeds = {"good": good % (b"1, 18, 3", numbers), "nobody": good % (b"  ", b"  ")}
    for kind, sizes in {
        "cut": b"1, 18",
        "huge": b"9" * 30 + b", 18, 3",
        "negative": b"-1, -18, 3",
        "text": b"a",
    }.items():
        seeds[f"sizes_{kind}"] = good % (sizes, numbers)
    for kind, number in {
        "nan": b".Nan",
        "infinite": b"-.Inf",
        "text": b"x",
        "long": b"9" * 5000,
        "call": b"f()",
    }.items():
        seeds[kind] = good % (b"1, 18, 3", b", ".join([number] * 54))
    return seeds | {"object": b"a: !!python/object/apply:os.mkdir [x]", "many": b"pose_0: !!opencv-nd-matrix " * 999}


def _read_coco(path: Path) -> object:
    source = CocoSkeletons(path, path.parent / "raw")
    source.check()
    with contextlib.suppress(BadPhoto):
        return source.columns(Record("a", path.parent / "raw" / "a.jpg", "train"), Image.new("RGB", (30, 20)))


def _coco_seeds() -> dict[str, bytes]:
    values = [None, True, -1, 1e999, "x", [], {}, [1] * 51, [1] * 50, ["1"] * 51, [[1] * 51], 10**400]
    image, person = (
        {"id": 1, "file_name": "a.jpg", "width": 30, "height": 20},
        {"image_id": 1, "keypoints": [9, 9, 2] * 17},
    )
    seeds = {"good": {"images": [image], "annotations": [person]}}
    for number, value in enumerate(values):
        for key in image:
            seeds[f"image_{key}_{number}"] = {"images": [{**image, key: value}], "annotations": [person]}
        for key in person:
            seeds[f"person_{key}_{number}"] = {"images": [image], "annotations": [{**person, key: value}]}
        seeds[f"images_{number}"] = {"images": value, "annotations": [person]}
        seeds[f"annotations_{number}"] = {"images": [image], "annotations": value}
    return {name: json.dumps(content).encode() for name, content in seeds.items()} | {"deep": b"[" * 100_000}


def _stored_mats() -> dict[str, bytes]:
    """Not compressed, so that damage reaches the structs."""
    photo = tables.photo(tables.person())
    contents = {
        "good": {"train": photo},
        "good_two": {"val": {**photo, "person": np.array([tables.person()])}, "x": 1.0},
    }
    return {name: tables.mat(content, compressed=False) for name, content in contents.items()} | tables.mats()


def _read_table(path: Path) -> object:
    rows = list(read_table(path, ("path", "label")))
    if not rows:
        raise UserError(f"{path.name} has no rows")
    return rows


def _table_texts() -> dict[str, bytes]:
    good = b"path,label,split\na.jpg,x,train\n"
    odd = {"null": b"path,label\na\0,x\n", "quote": b'path,label\n"a,x\n', "long": b"path,label\n" + b"x" * 200_000}
    odd |= {"no_utf8": b"path;label\n\xff;\xfe\n", "heading": b"path" * 100_000, "many": b"," * 100_000}
    return {**tables.lists(), **odd, "good": good}


def _read_regions(path: Path) -> object:
    source = RegionArchives(path.parent, path.parent / "raw")
    return source.columns(Record("hostile", path.parent / "raw" / "hostile.jpg", "train"), Image.new("RGB", (30, 20)))


def _region_seeds() -> dict[str, bytes]:
    boxes, features = np.array([[1.0, 2, 20, 15]]), np.ones((1, 4), np.float32)
    seeds = {"good": _saved(np.savez, boxes=boxes, features=features)}
    for number, content in enumerate(arrays.npys().values()):
        seeds[f"boxes_{number}"] = arrays.archive({"boxes.npy": content, "features.npy": _npy(features)})
        seeds[f"features_{number}"] = arrays.archive({"boxes.npy": _npy(boxes), "features.npy": content})
    return seeds | arrays.archives(_npy(boxes), "boxes.npy")


def _read_labels(path: Path) -> object:
    return labels_by_name(read_label_file(path), ("Negative", "Neutral", "Positive"), path.name, {"1": 2, "3": 0})


def _label_seeds() -> dict[str, bytes]:
    good = b'Vid_name Label\n1_1 1\n1_2\t3\n"1_3",Neutral\n'
    odd = {"null": b"a\0 1\n", "ansi": b"\x1b[31ma 1\n", "utf16_cut": b"\xff\xfea", "long": b"x" * 100_000 + b" 1"}
    odd |= {"quote": b'"a,1\n', "four": b"a 4\n", "twice": b"a 1\nA 3\n", "many": b"a 1\n" * 50_000}
    return {**tables.lists(), **odd, "good": good}


def _array_csv_seeds() -> dict[str, bytes]:
    header = b"Folder,Filename,Width,Height,Peace,X_min,Y_min,X_max,Y_max,Valence,Arousal,Dominance,Arr_name\n"
    good = [b"f", b"a.jpg", b"64", b"48", b"1", b"1", b"2", b"30", b"40", b"5", b"5", b"5", b"a.npy"]
    seeds = {"good": header + b",".join(good) + b"\n"}
    for kind, cell in {"nan": b"nan", "infinite": b"1e999", "text": b"x", "empty": b"", "long": b"9" * 5000,
                       "null": b"a\0b", "traversal": b"../../x.npy", "quote": b'"never'}.items():  # fmt: skip
        for column in range(len(good)):
            seeds[f"{kind}_{column}"] = header + b",".join([*good[:column], cell, *good[column + 1 :]]) + b"\n"
    return seeds


def _npy_seeds() -> dict[str, bytes]:
    photos = {"good": np.zeros((20, 30, 3), np.uint8), "grey": np.zeros((20, 30), np.uint8)}
    photos |= {"four": np.zeros((9, 9, 4), np.uint8), "float": np.zeros((9, 9, 3))}
    return {**{name: _npy(array) for name, array in photos.items()}, **arrays.npys(), "npz": _npz_seeds()["good"]}


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _old_pickle(path: Path) -> object:
    return read_pickle(io.BytesIO(path.read_bytes()))


def _names() -> dict[str, bytes]:
    return {str(i): name + b"_1.jpg\n" + name + b"_999999.npz\n" + name for i, name in enumerate(corpus.names())}


def _pictures() -> dict[str, bytes]:
    return {name: content for name, content in corpus.photos().items() if len(content) < 100_000}


def _good_pickle() -> dict[str, bytes]:
    return {"faces": pickle.dumps(_faces(), 4), "faces_2": pickle.dumps(_faces(), 2), **arrays.pickles()}


PARSERS: dict[str, Parser] = {
    "photos": Parser(lambda path: decode_photo(path.read_bytes()), "hostile.jpg", (BadPhoto,), _pictures),
    "pickled_arrays": Parser(
        lambda path: read_pickled_array(path.read_bytes()), "hostile.pkl", (BadPhoto,), _good_pickle
    ),
    "old_pickles": Parser(_old_pickle, "hostile.pkl", (UserError,), _good_pickle),
    "npz": Parser(_read_npz, "hostile.npz", (BadPhoto,), _npz_seeds),
    "mat_reader": Parser(lambda path: list(read_mat(path, SPLITS)), "hostile.mat", (UserError,), _stored_mats, True),
    "matlab": Parser(read_matlab, "hostile.mat", (UserError,), tables.mats, True),
    "csv": Parser(lambda path: read_csv(path, "train"), "hostile.csv", (UserError,), _csv_seeds, True),
    "array_csv": Parser(
        lambda path: read_array_csv(path, "train"), "hostile.csv", (UserError,), _array_csv_seeds, True
    ),
    "arrays": Parser(array_png, "hostile.npy", (BadPhoto,), _npy_seeds),
    "tables": Parser(_read_table, "hostile.csv", (UserError,), _table_texts, True),
    "regions": Parser(_read_regions, "hostile.npz", (BadPhoto,), _region_seeds, True),
    "label_files": Parser(_read_labels, "hostile.txt", (UserError,), _label_seeds, True),
    "valences": Parser(lambda path: read_valences(path, "train"), "hostile.npz", (UserError,), _valence_seeds, True),
    "openpose": Parser(read_poses, "hostile.json", (BadPhoto,), tables.poses),
    "openpose_yaml": Parser(read_poses, "hostile.yml", (BadPhoto,), _yaml_seeds),
    "coco": Parser(_read_coco, "hostile.json", (UserError,), _coco_seeds, True),
    "legacy_index": Parser(_index, "hostile.txt", (), _names),
    "name_lists": Parser(read_name_list, "hostile.pkl", (UserError,), tables.lists, True),
    "predictions": Parser(read_predictions, "hostile.parquet", (UserError,), _table_seeds, True),
    "predictions_npz": Parser(read_npz_outputs, "hostile.npz", (UserError,), _output_seeds, True),
    "checkpoints": Parser(read_checkpoint, "hostile.pth", (UserError,), checkpoints, True),
    "safetensors": Parser(read_checkpoint, "hostile.safetensors", (UserError,), tables.tensors, True),
    "cards": Parser(lambda path: read_card(str(path.parent)), "README.md", (UserError,), _card_seeds, True),
}
