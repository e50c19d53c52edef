"""Hostile photos meet what reads photos: prepare, predict, the pipeline, skeletons, and layouts of raw folders."""

from __future__ import annotations

import base64
import csv
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import corpus
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from checks import Meeting, reasons_in, within
from PIL import Image
from transformers import pipeline

from ger_datasets.builders import BUILDERS
from ger_datasets.photos.reading import decode_photo
from ger_datasets.prepared import read_prepared
from ger_datasets.records import Record
from ger_datasets.schema import features
from ger_datasets.support.errors import BadPhoto, UserError, printable


def pictures() -> Iterator[tuple[str, bytes]]:
    """Names and bytes of hostile photos, and of good ones whose names are."""
    yield from corpus.photos().items()
    good = corpus.saved(corpus.picture(), "JPEG", quality=90)
    for stem in corpus.names():
        yield os.fsdecode(stem + b".jpg"), good
    for number, content in enumerate(corpus.mutated(good, 80)):
        yield f"damaged_{number}.jpg", content
    for format, suffix in (("HEIF", "heic"), ("AVIF", "avif")):
        for number, content in enumerate(corpus.mutated(corpus.saved(corpus.picture(), format), 15)):
            yield f"damaged_{number}.{suffix}", content


def laid_out(folder: Path) -> list[str]:
    """The pictures in `folder`; the names of those that the file system takes."""
    folder.mkdir(parents=True)
    there = []
    for name, content in pictures():
        try:
            (folder / name).write_bytes(content)
        except OSError:  # a name that this file system does not allow
            continue
        there.append(name)
    return there


def usable(path: Path) -> bool:
    try:
        decode_photo(path.read_bytes())
    except BadPhoto:
        return False
    return True


def test_photos_of_phones_are_accepted_or_refused_as_stated() -> None:
    stated = corpus.phone_photos()
    read = {}
    for name, (content, _) in stated.items():
        with within():
            try:
                read[name] = decode_photo(content).image.size > (0, 0)
            except BadPhoto:
                read[name] = False
    assert read == {name: accepted for name, (_, accepted) in stated.items()}


def arrays() -> dict[str, tuple[Any, bool]]:
    """Arrays, tensors and texts that are given for photos, and whether they are read."""
    good = np.asarray(corpus.picture())
    encoded = base64.b64encode(corpus.saved(corpus.picture(), "PNG")).decode()
    return {
        "good": (good, True), "channels first": (good.transpose(2, 0, 1), True), "grey": (good[..., 0], True),
        "float": (good / 255, True), "half": (torch.from_numpy(good / 255).half(), True),
        "not a number": (np.full((48, 64, 3), np.nan), False), "infinite": (np.full((48, 64, 3), np.inf), False),
        "negative": (np.full((48, 64, 3), -1.0), False), "int64": (good.astype(np.int64), False),
        "object": (np.full((48, 64, 3), None), False), "text": (np.full((48, 64, 3), "a"), False),
        "nothing": (np.zeros((0, 0, 3), np.uint8), False), "no dimension": (np.array(5, np.uint8), False),
        "many dimensions": (np.zeros((1,) * 30, np.uint8), False), "two channels": (good[..., :2], False),
        "strip": (np.zeros((16, 4000, 3), np.uint8), False), "dot": (good[:1, :1], False),
        "200 megapixels of nothing": (np.broadcast_to(np.uint8(0), (20_000, 10_000, 3)), False),
        "50 megapixels of nothing": (np.broadcast_to(np.uint8(0), (5_000, 10_000, 3)), True),
        "complex": (good.astype(complex), False), "record": (np.zeros((48, 64), "u1,u1,u1"), False),
        "base64": (encoded, True), "data URL": (f"data:;base64,{encoded}", True), "base64, cut": (encoded[:90], False),
        "data URL of text": ("data:text/html;base64,PGh0bWw+", False), "data URL without data": ("data:,", False),
        "NUL": ("a\0.jpg", False), "one long name": ("a" * 100_000, False), "surrogates": ("\udcff.jpg", False),
    }  # fmt: skip


def test_arrays_and_texts(model: Path, here: Path, ended: Callable) -> None:
    ask = pipeline("group-emotion", model=str(model), device="cpu")
    meeting = Meeting("pipeline, arrays and texts", UserError)
    stated = arrays()
    for name, (given, _) in stated.items():
        meeting.meet(name, lambda given=given: ask(given))
    assert sorted(meeting.accepted) == sorted(name for name, (_, accepted) in stated.items() if accepted)
    ended(meeting)


def test_gaf3_and_prepare(run_script: Callable, raw_folder: Path, here: Path, ended: Callable) -> None:
    train = raw_folder / "train" / "Neutral"
    shutil.rmtree(train)
    names = laid_out(train)
    (train / "out.jpg").symlink_to("/etc/passwd")
    (train / "circle.jpg").symlink_to("circle.jpg")
    (train / "pipe_like").mkdir()
    meeting = Meeting("prepare --dataset gaf3")
    words = ("--dataset", "gaf3", "--source", raw_folder, "--output", here / "out", "--num_proc", 1)
    code, figures, log = run_script("prepare", *words)
    assert code == 0, log
    assert "Traceback" not in log
    assert "\x1b[31m" not in log, "no name moves the terminal's cursor"
    reasons = reasons_in(here / "out")
    for name in names:
        file = f"train/Neutral/{printable(name)}"
        assert (file in reasons) != usable(train / name), name
        meeting.told(name, f"{file}: {reasons[file]}" if file in reasons else None, name)
    assert figures["rows"] + figures["quarantined"] == len(names) + 9
    ids = pq.read_table(here / "out" / "data", columns=["image_id"])["image_id"].to_pylist()
    assert len(set(ids)) == len(ids) == figures["rows"], "no row lost or doubled"
    read_prepared(here / "out")
    ended(meeting, raw_folder)


def test_emotic_and_prepare(run_script: Callable, here: Path, ended: Callable) -> None:
    folder = here / "raw" / "emotic" / "mscoco" / "images"
    names = [name for name in laid_out(folder) if "\ufffd" not in name and name.isprintable() and name.isascii()]
    row = ["mscoco/images", "", "[64, 48]", "[1, 2, 30, 40]", "['Peace']", "[7.0, 5.0, 5.0]", "Male", "Adult"]
    header = ["Folder", "Filename", "Image Size", "BBox", "Categorical_Labels", "Continuous_Labels", "Gender", "Age"]
    with open(here / "raw" / "train.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *([row[0], name, *row[2:]] for name in names)])
    meeting = Meeting("prepare --dataset emotic")
    words = ("--dataset", "emotic", "--source", here / "raw", "--output", here / "out", "--num_proc", 1)
    code, figures, log = run_script("prepare", *words)
    assert code == 0, log
    reasons = reasons_in(here / "out")
    for name in names:
        file = f"emotic/mscoco/images/{name}"
        assert (file in reasons) != usable(folder / name), name
        meeting.told(name, f"{file}: {reasons[file]}" if file in reasons else None, name)
    assert figures["rows"] + figures["quarantined"] == len(names)
    ended(meeting)


def test_predict_and_pipeline(run_script: Callable, model: Path, here: Path, ended: Callable) -> None:
    names = laid_out(here / "photos")
    meeting = Meeting("predict --photos")
    words = ("--model", model, "--photos", here / "photos", "--output_dir", here / "drawn", "--device", "cpu")
    code, figures, log = run_script("predict", *words)
    assert code == 0, log
    assert "Traceback" not in log
    assert "\x1b[31m" not in log
    reasons = {line["file"]: line["reason"] for line in figures["failed"]}
    for name in names:
        shown = printable(name)
        meeting.told(name, f"{shown}: {reasons[shown]}" if shown in reasons else None, name)
        assert (shown in figures["labels"]) == (shown not in reasons)
    ended(meeting)

    meeting = Meeting("pipeline, paths")
    ask = pipeline("group-emotion", model=str(model), device="cpu")
    for name, answer in zip(names, ask([str(here / "photos" / name) for name in names]), strict=True):
        meeting.told(name, answer.get("error"), name)
        assert ("error" in answer) == (printable(name) in reasons)
    ended(meeting)

    meeting = Meeting("pipeline, PIL images", UserError)
    for name in names[::3]:
        try:
            image = Image.open(here / "photos" / name)
        except Exception:  # noqa: BLE001 - whoever opens a file meets what Pillow raises
            continue
        meeting.meet(name, lambda image=image: ask(image), name)
    odd = {"bytes": b"\xff\xd8", "a number": 5, "nothing": None, "a row": {}, "a row of text": {"image": "a.jpg"}}
    for name, given in odd.items():
        meeting.meet(name, lambda given=given: ask(given))
    ended(meeting)


def test_skeleton_pictures(run_script: Callable, raw_folder: Path, here: Path, ended: Callable) -> None:
    """Rendered skeletons through prepare: each photo whose skeleton is refused says which file that was."""
    train = raw_folder / "train" / "Neutral"
    shutil.rmtree(train)
    train.mkdir()
    skeletons = here / "skeletons" / "train" / "Neutral"
    skeletons.mkdir(parents=True)
    made = [content for name, content in pictures()][::2]
    good = corpus.saved(corpus.picture(), "JPEG")
    for number, content in enumerate(made):
        (train / f"neu_{number}.jpg").write_bytes(good)
        (skeletons / f"neu_{number}_rendered.png").write_bytes(content)
    (skeletons / "neu_0_rendered.png").unlink()
    (skeletons / "neu_0_rendered.png").symlink_to("/etc/passwd")
    meeting = Meeting("prepare --skeletons, pictures")
    words = ("--dataset", "gaf3", "--source", raw_folder, "--output", here / "out", "--num_proc", 1)
    code, _, log = run_script("prepare", *words, "--skeletons", here / "skeletons")
    assert code == 0, log
    reasons = reasons_in(here / "out")
    for number in range(len(made)):
        file, skeleton = f"train/Neutral/neu_{number}.jpg", f"train/Neutral/neu_{number}_rendered.png"
        meeting.told(skeleton, f"{file}: {reasons[file]}" if file in reasons else None, skeleton)
    assert len(meeting.refused) > 30
    ended(meeting, raw_folder)


def dataset_of(folder: Path, images: dict[str, Any]) -> Path:
    """A prepared dataset, hand-made, whose split test has these images and no faces."""
    schema = features().arrow_schema
    empty = dict.fromkeys(schema.names)
    lists = {name: [] for name in schema.names if name.startswith("face_")} | {"aligned_faces": []}
    rows = [
        {**empty, **lists, "image_id": name, "group": name, "label": 0, "image": image, "sampled_patches": []}
        for name, image in images.items()
    ]
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "data" / "test-00000-of-00001.parquet")
    return folder


def test_photos_of_a_dataset(run_script: Callable, model: Path, here: Path, ended: Callable) -> None:
    images: dict[str, Any] = {name: {"bytes": content, "path": None} for name, content in corpus.photos().items()}
    images |= {"a path": {"bytes": None, "path": "/etc/passwd"}, "an address": {"bytes": None, "path": "http://x/a"}}
    images |= {"nothing": None, "neither": {"bytes": None, "path": None}}
    images |= {"eps": {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n", "path": None}}
    dataset = dataset_of(here / "dataset", images)
    meeting = Meeting("predict --dataset, photos")
    words = ("--model", model, "--dataset", dataset, "--output", here / "p.parquet", "--device", "cpu")
    code, figures, log = run_script("predict", *words)
    assert code == 0, log
    reasons = {line["file"]: line["reason"] for line in figures["failed"]}
    for name in images:
        meeting.told(name, f"{name}: {reasons[name]}" if name in reasons else None, name)
    assert figures["photos"] + len(reasons) == len(images)
    assert {"a path", "an address", "nothing", "neither", "eps"} <= reasons.keys()
    ended(meeting)


def test_ten_thousand_files_in_a_folder(raw_folder: Path, ended: Callable) -> None:
    folder = raw_folder / "train" / "Positive"
    for number in range(10_000):
        (folder / f"x{number}.jpg").touch()
    meeting = Meeting("gaf3, 10,000 files")
    records: list[Record] = []
    meeting.meet("gaf3", lambda: records.extend(BUILDERS["gaf3"](raw_folder).records()))
    assert len(records) == 10_012
    ended(meeting)


def layouts(raw: Path) -> dict[str, tuple[Callable[[], object], str]]:
    """Changes of a raw folder that lead out of it, or in circles; and the file or folder that is refused for it."""
    outside = raw.parent / "outside"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(corpus.saved(corpus.picture(), "JPEG"))
    train = raw / "train"
    return {
        "class folder is a link out": (
            lambda: (shutil.rmtree(train / "Neutral"), (train / "Neutral").symlink_to(outside)),
            "train/Neutral",
        ),
        "split folder is a link out": (lambda: (shutil.rmtree(train), train.symlink_to(outside)), "raw/train"),
        "folder in itself": (lambda: (train / "Neutral" / "Neutral").symlink_to(train / "Neutral"), "Neutral"),
        "circle": (lambda: (train / "Circle").symlink_to(train), "Circle"),
        "list is a link out": (lambda: (raw / "val_list").symlink_to("/etc/passwd"), "val_list"),
        "list is a folder": (lambda: (raw / "val_list").mkdir(), "val_list"),
        "unknown class": (lambda: (train / "a\nb").mkdir(), "a\nb"),
        "class with control characters": (lambda: (train / "\x1b[31mred").mkdir(), "\x1b[31mred"),
        "class without utf-8": (lambda: (train / os.fsdecode(b"caf\xe9")).mkdir(), os.fsdecode(b"caf\xe9")),
        "file for a folder": (lambda: (shutil.rmtree(train), train.touch()), "train"),
        "photo leads out": (lambda: (train / "Neutral" / "link.jpg").symlink_to(outside / "secret.jpg"), "link.jpg"),
    }


@pytest.mark.parametrize("number", range(11))
def test_layouts_of_gaf3(raw_folder: Path, number: int, ended: Callable) -> None:
    name, (change, named) = list(layouts(raw_folder).items())[number]
    change()
    meeting, records = Meeting("gaf3, layouts", UserError), []
    meeting.meet(name, lambda: records.extend(BUILDERS["gaf3"](raw_folder).records()), named)
    ended(meeting)
    assert not [record for record in records if os.path.realpath(record.path).endswith("secret.jpg")]


def test_there_were_enough(enough: Callable) -> None:
    enough(10)
