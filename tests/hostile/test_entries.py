"""Every entry point meets the files that fit it: read, or refused in one line that names the file."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import corpus
import corpus_arrays as arrays
import corpus_tables as tables
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from checks import Meeting
from drawn_videos import write_cuts
from parsers import PARSERS, checkpoints, predictions_table
from transformers import pipeline

from ger_datasets.builders import builder_class
from ger_datasets.errors import BadPhoto, UserError
from ger_datasets.hub import refuse_local_paths
from ger_datasets.legacy import LegacySource
from ger_datasets.photos import decode_photo, printable
from ger_datasets.prepare import prepare
from ger_datasets.prepared import read_prepared
from ger_datasets.records import Record
from ger_datasets.skeletons import skeleton_source
from ger_datasets.video import BadVideo, key_frames
from ger_models.convert import convert
from ger_models.evaluation.joining import join, read_members
from ger_models.inference import load_checkpoint
from ger_models.loading import load_splits
from ger_models.presets import build

CLASSES = ["Negative", "Neutral", "Positive"]
FULL = 2_000  # cases that are asked for at least
CASES: dict[str, int] = {}  # entry point -> cases that it met


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Code that runs shows in the folder that the process works in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that reads the whole image."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    torch.manual_seed(0)
    made, processor = build("densenet_emotic", CLASSES, overrides="backbone=test_resnet")
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def ended(meeting: Meeting, *folders: Path) -> None:
    CASES[meeting.entry] = meeting.end(*folders)


def pictures() -> Iterator[tuple[str, bytes]]:
    """Names and bytes of hostile photos, and of good ones whose names are."""
    yield from corpus.photos().items()
    good = corpus.saved(corpus.picture(), "JPEG", quality=90)
    for stem in corpus.names():
        yield os.fsdecode(stem + b".jpg"), good
    for number, content in enumerate(corpus.mutated(good, 80)):
        yield f"damaged_{number}.jpg", content


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


def test_gaf3_and_prepare(run_script: Callable, raw_folder: Path, here: Path) -> None:
    train = raw_folder / "train" / "Neutral"
    shutil.rmtree(train)
    names = laid_out(train)
    (train / "out.jpg").symlink_to("/etc/passwd")
    (train / "circle.jpg").symlink_to("circle.jpg")
    (train / "pipe_like").mkdir()
    meeting = Meeting("prepare")
    words = ("--dataset", "gaf3", "--source", raw_folder, "--output", here / "out", "--num_proc", 1)
    code, figures, log = run_script("prepare", *words)
    assert code == 0, log
    assert "Traceback" not in log
    assert not [line for line in log.splitlines() if "\x1b[31m" in line], "no name moves the terminal's cursor"
    lines = (here / "out" / "quarantine.jsonl").read_text().splitlines()
    reasons = {line["file"]: line["reason"] for line in map(json.loads, lines)}
    for name in names:
        file = f"train/Neutral/{printable(name)}"
        assert (file in reasons) != usable(train / name), name
        meeting.told(name, f"{file}: {reasons[file]}" if file in reasons else None, printable(name))
    assert figures["rows"] + figures["quarantined"] == len(names) + 9
    ids = pq.read_table(here / "out" / "data", columns=["image_id"])["image_id"].to_pylist()
    assert len(set(ids)) == len(ids) == figures["rows"], "no row lost or doubled"
    read_prepared(here / "out")
    ended(meeting, raw_folder)


def test_predict_and_pipeline(run_script: Callable, model: Path, here: Path) -> None:
    names = laid_out(here / "photos")
    meeting = Meeting("predict")
    words = ("--model", model, "--photos", here / "photos", "--output", here / "p.parquet", "--device", "cpu")
    code, figures, log = run_script("predict", *words)
    assert code == 0, log
    assert "Traceback" not in log
    reasons = {line["file"]: line["reason"] for line in figures["quarantined"]}
    for name in names:
        shown = printable(name)
        meeting.told(name, f"{shown}: {reasons[shown]}" if shown in reasons else None, shown)
        assert (shown in figures["labels"]) == (shown not in reasons)
    ended(meeting)

    meeting = Meeting("pipeline")
    answers = pipeline("group-emotion", model=str(model), device="cpu")(
        [str(here / "photos" / name) for name in names]
    )
    for name, answer in zip(names, answers, strict=True):
        meeting.told(name, answer.get("error"), printable(name))
        assert ("error" in answer) == (printable(name) in reasons)
    ended(meeting)


def test_ten_thousand_files_in_a_folder(raw_folder: Path, here: Path) -> None:
    folder = raw_folder / "train" / "Positive"
    for number in range(10_000):
        (folder / f"x{number}.jpg").touch()
    meeting = Meeting("10,000 files")
    records: list[Record] = []
    meeting.meet("gaf3", lambda: records.extend(builder_class("gaf3")(raw_folder).records()))
    assert len(records) == 10_012
    ended(meeting)


def layouts(raw: Path) -> dict[str, Callable[[], object]]:
    """Changes of a raw folder that lead out of it, or in circles."""
    outside = raw.parent / "outside"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(corpus.saved(corpus.picture(), "JPEG"))
    train = raw / "train"
    return {
        "class folder is a link out": lambda: (
            shutil.rmtree(train / "Neutral"),
            (train / "Neutral").symlink_to(outside),
        ),
        "split folder is a link out": lambda: (shutil.rmtree(train), train.symlink_to(outside)),
        "folder in itself": lambda: (train / "Neutral" / "Neutral").symlink_to(train / "Neutral"),
        "circle": lambda: (train / "Circle").symlink_to(train),
        "list is a link out": lambda: (raw / "val_list").symlink_to("/etc/passwd"),
        "list is a folder": lambda: (raw / "val_list").mkdir(),
        "unknown class": lambda: (train / "a\nb").mkdir(),
        "class with control characters": lambda: (train / "\x1b[31mred").mkdir(),
        "file for a folder": lambda: (shutil.rmtree(train), train.touch()),
        "photo leads out": lambda: (train / "Neutral" / "link.jpg").symlink_to(outside / "secret.jpg"),
    }


@pytest.mark.parametrize("number", range(10))
def test_layouts_of_gaf3(raw_folder: Path, number: int) -> None:
    name, change = list(layouts(raw_folder).items())[number]
    change()
    meeting, records = Meeting(f"gaf3 {name}", UserError), []
    meeting.meet(name, lambda: records.extend(builder_class("gaf3")(raw_folder).records()))
    ended(meeting)
    assert not [record for record in records if os.path.realpath(record.path).endswith("secret.jpg")]


def test_emotic(here: Path) -> None:
    photos = here / "raw" / "emotic" / "mscoco" / "images"
    photos.mkdir(parents=True)
    (photos / "a.jpg").write_bytes(corpus.saved(corpus.picture(), "JPEG"))
    folder = here / "raw" / "Annotations"
    folder.mkdir()
    meeting = Meeting("emotic", UserError)
    for file, seeds in (
        ("Annotations.mat", tables.mats()),
        ("train.csv", PARSERS["csv"].seeds()),
        ("train_annotations.npz", PARSERS["valences"].seeds()),
    ):
        for case, content in seeds.items():
            (folder / file).write_bytes(content)
            # a file that is read may hold no photo that is there, which is told of the folder
            meeting.meet(f"{file} {case}", lambda: builder_class("emotic")(here / "raw").records(), file, "emotic")
        (folder / file).unlink()
    ended(meeting)


def test_legacy(here: Path) -> None:
    photo = here / "raw" / "train" / "Neutral" / "a.png"
    photo.parent.mkdir(parents=True)
    image = corpus.picture()
    image.save(photo)
    good = {
        "FaceCoordinates": {
            "a": np.array([[1, 2, 30, 40, 0.9]]),
            "b": np.array([[5, 25, 15, 8, 22, 10, 10, 20, 30, 30.0]]),
        },
        "FaceFeatures": {"a": np.ones((1, 256))},
        "CroppedFaces": {"a": np.zeros((1, 9, 9, 3), np.uint8)},
        "GlobalFeatures": {"a": np.ones(2208)},
    }
    for name, content in good.items():
        (here / "old" / name / "train" / "Neutral").mkdir(parents=True)
        np.savez(here / "old" / name / "train" / "Neutral" / "a.npz", **content)
    source, record = LegacySource(here / "old", here / "raw"), Record("a", photo, "train")
    assert len(source.columns(record, image)["face_boxes"]) == 1
    meeting = Meeting("legacy", BadPhoto)
    for name in good:
        path = here / "old" / name / "train" / "Neutral" / "a.npz"
        whole = path.read_bytes()
        for case, content in PARSERS["npz"].seeds().items():
            path.write_bytes(content)
            meeting.meet(f"{name} {case}", lambda: source.columns(record, image), "legacy: ")
        path.write_bytes(whole)
    ended(meeting)


def test_skeletons(here: Path) -> None:
    photo = here / "raw" / "train" / "Neutral" / "a.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(corpus.saved(corpus.picture(), "JPEG"))
    meeting = Meeting("skeletons", BadPhoto)
    cases = [("a_keypoints.json", tables.poses()), ("a_rendered.png", corpus.photos())]
    for file, seeds in cases:
        folder = here / file
        folder.mkdir()
        for case, content in seeds.items():
            (folder / file).write_bytes(content)
            source = skeleton_source(str(folder), here / "raw")
            meeting.meet(
                f"{file} {case}", lambda source=source: source.columns(Record("a", photo, "train"), corpus.picture())
            )
    ended(meeting)


def videos(here: Path) -> Iterator[tuple[str, bytes]]:
    for suffix, options in ((".mp4", {}), (".avi", {}), (".mkv", {}), (".mp4", {"movflags": "faststart"})):
        whole = write_cuts(here / f"whole{suffix}", [4], 8, options=options).read_bytes()
        yield f"whole{suffix}", whole
        for box in (b"moov", b"mdat", b"stss", b"stco", b"stsz", b"stts", b"idx1", b"movi"):
            if box in whole:
                yield f"no_{box.decode()}{suffix}", whole.replace(box, b"free")
                place = whole.index(box) + 8
                yield f"lying_{box.decode()}{suffix}", whole[:place] + b"\xff" * 12 + whole[place + 12 :]
        for number, content in enumerate(corpus.mutated(whole, 12)):
            yield f"damaged_{number}{suffix}", content
    yield "playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    yield "concat.mkv", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "sdp.avi", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"


def test_videos(run_script: Callable, model: Path, here: Path) -> None:
    meeting, folder = Meeting("videos", BadVideo), here / "videos"
    folder.mkdir()
    for name, content in videos(here):
        (folder / name).write_bytes(content)
        meeting.meet(name, lambda name=name: key_frames(folder / name))
    ended(meeting)
    for path in sorted(folder.iterdir())[::3]:
        path.unlink()  # a part of them is enough to see that each is named
    meeting = Meeting("predict --videos")
    words = ("--model", model, "--videos", folder, "--output", here / "p.parquet", "--device", "cpu")
    code, figures, log = run_script("predict", *words)
    assert code == 0, log
    reasons = {line["file"]: line["reason"] for line in figures["quarantined"]}
    for path in folder.iterdir():
        meeting.told(path.name, f"{path.name}: {reasons[path.name]}" if path.name in reasons else None, path.name)
    ended(meeting)


def test_convert(here: Path) -> None:
    meeting = Meeting("convert", UserError)
    for suffix, seeds in ((".pth", checkpoints()), (".safetensors", tables.tensors())):
        for case, content in seeds.items():
            path = here / f"weights{suffix}"
            path.write_bytes(content)
            meeting.meet(
                f"{case}{suffix}", lambda path=path: convert(path, "resnet_places", here / "new", CLASSES), path.name
            )
    assert not meeting.accepted, "none of them is a ResNet"
    assert not (here / "new").exists()
    ended(meeting)


def test_evaluate_and_ensemble(here: Path) -> None:
    (here / "good.parquet").write_bytes(predictions_table())
    meeting = Meeting("evaluate", UserError)
    for suffix, name in ((".parquet", "predictions"), (".npz", "predictions_npz")):
        for case, content in PARSERS[name].seeds().items():
            path = here / f"other{suffix}"
            path.write_bytes(content)

            def joined(path: Path = path) -> object:
                return join(read_members([here / "good.parquet", path]), "test")

            meeting.meet(f"{case}{suffix}", joined)
    ended(meeting)


CONFIGS = {
    "nothing": b"",
    "text": b"x",
    "list": b"[]",
    "number": b"5",
    "null": b"null",
    "empty": b"{}",
    "cut": b'{"model_type": "ger',
    "deep": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "other": b'{"model_type": "bert"}',
    "unknown": b'{"model_type": "../x"}',
    "code": b'{"model_type": "x", "auto_map": {"AutoConfig": "evil.C", "AutoModelForImageClassification": "evil.M"}}',
    "utf8": b"\xff\xfe",
    "zeros": bytes(100),
}


def test_checkpoints_that_are_opened(model: Path, here: Path) -> None:
    bad = here / "bad_model"
    meeting = Meeting("load_checkpoint", UserError)
    whole = json.loads((model / "config.json").read_text())
    configs = dict(CONFIGS)
    for field in whole:
        for kind, value in (("null", None), ("text", "x\n"), ("number", -1), ("list", [[]]), ("huge", 10**30)):
            configs[f"{field}_{kind}"] = json.dumps({**whole, field: value}).encode()
    cases = [("config.json", configs), ("model.safetensors", tables.tensors()), ("preprocessor_config.json", CONFIGS)]
    for file, seeds in cases:
        for case, content in seeds.items():
            shutil.rmtree(bad, ignore_errors=True)
            shutil.copytree(model, bad)
            (bad / file).write_bytes(content)
            (bad / "evil.py").write_text(f"import os\nos.mkdir({corpus.MARKER!r})\n")
            (bad / "pytorch_model.bin").write_bytes(arrays.pickles()["mkdir"])
            meeting.meet(f"{file} {case}", lambda: load_checkpoint(str(bad)), bad.name)
    assert "evil" not in sys.modules
    ended(meeting)


def test_prepared_datasets_of_other_shapes(drawn_dataset: Path, here: Path) -> None:
    """What push, train and predict read: another's Parquet, another's card."""
    bad = here / "bad_dataset"
    shutil.copytree(drawn_dataset, bad)
    (shard,) = (bad / "data").glob("test-*")
    (test,) = (drawn_dataset / "data").glob("test-*")
    meeting = Meeting("push", UserError)
    good = pq.read_table(test)
    small = good.select(["image_id", "image", "label", "group", "face_boxes", "face_scores", "skeleton"])
    for case, content in {
        **tables.tables(small),
        **dict(enumerate(corpus.mutated(test.read_bytes()[-9000:], 40))),
    }.items():
        shard.write_bytes(content)
        meeting.meet(str(case), lambda: refuse_local_paths(read_prepared(bad)), bad.name)
    shard.write_bytes(test.read_bytes())
    card = (bad / "README.md").read_bytes()
    for case, content in PARSERS["cards"].seeds().items():
        (bad / "README.md").write_bytes(content)
        meeting.meet(f"card {case}", lambda: refuse_local_paths(read_prepared(bad)), "README.md")
    (bad / "README.md").write_bytes(card)
    ended(meeting)

    meeting = Meeting("load_splits", UserError)
    chosen = (
        "nothing",
        "magic",
        "footer_huge",
        "notes_no_json",
        "notes_deep",
        "notes_lying",
        "notes_number",
        "notes_code",
        "notes_features_list",
        "image_id_number",
        "label_text",
        "label_list",
        "without_label",
        "no_rows",
        "no_columns",
        "image_number",
        "face_boxes_text",
        "same_name",
        "notes_unknown",
    )
    made = tables.tables(small)
    for case in chosen:
        shard.write_bytes(made[case])
        meeting.meet(case, lambda: load_splits(str(bad), ["image", "face_boxes"], ["test"]), bad.name)
    ended(meeting)


def test_prepare_refuses_what_is_no_output_of_its_own(raw_folder: Path, here: Path) -> None:
    prepare("gaf3", raw_folder, here / "out", num_proc=1)
    meeting = Meeting("manifest", UserError)
    for path in (here / "out" / "manifest.json", next((here / "out" / "manifest").iterdir())):
        whole = path.read_bytes()
        for case, content in {**CONFIGS, **dict(enumerate(corpus.mutated(whole, 20)))}.items():
            path.write_bytes(content)
            meeting.meet(f"{path.name} {case}", lambda: prepare("gaf3", raw_folder, here / "out", num_proc=1), "out")
        path.write_bytes(whole)
    ended(meeting)


def test_there_were_enough() -> None:
    if len(CASES) < 20:
        pytest.skip("only some of the entry points were asked")
    assert sum(CASES.values()) >= FULL, CASES
