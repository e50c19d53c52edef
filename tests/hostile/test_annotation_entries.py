"""Hostile annotations, name lists, intermediate folders and skeletons meet the builders and prepare."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import corpus
import corpus_tables as tables
import numpy as np
import pytest
from checks import Meeting, reasons_in
from parsers import PARSERS

from ger_datasets.builders import BUILDERS, make_builder
from ger_datasets.legacy.source import LegacySource
from ger_datasets.preparation.column_sources import skeleton_source
from ger_datasets.records import Record
from ger_datasets.support.errors import BadPhoto, UserError, printable

GOOD = corpus.saved(corpus.picture(), "JPEG")
NAMES = [os.fsdecode(stem) for stem in corpus.names() if len(stem) < 200]


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_emotic(here: Path, ended: Callable) -> None:
    written(here / "raw" / "emotic" / "mscoco" / "images" / "a.jpg", GOOD)
    folder = here / "raw" / "Annotations"
    folder.mkdir()
    meeting = Meeting("emotic, annotations", UserError)
    for file, seeds in (
        ("Annotations.mat", tables.mats()),
        ("train.csv", PARSERS["csv"].seeds()),
        ("train_annotations.npz", PARSERS["valences"].seeds()),
        ("annot_arrs_train.csv", PARSERS["array_csv"].seeds()),
    ):
        for case, content in seeds.items():
            (folder / file).write_bytes(content)
            meeting.meet(f"{file} {case}", lambda: BUILDERS["emotic"](here / "raw").records(), file)
        (folder / file).unlink()
    ended(meeting)


@pytest.mark.parametrize("file", ["Annotations.mat", "train.csv"])
def test_boxes_that_no_photo_has(run_script: Callable, here: Path, ended: Callable, file: str) -> None:
    """What is read of hostile annotations goes into a dataset: each box lies in its photo, or is left out."""
    written(here / "raw" / "emotic" / "mscoco" / "images" / "a.jpg", GOOD)
    meeting = Meeting("prepare --dataset emotic, boxes")
    boxes = {name: content for name, content in tables.mats().items() if name.startswith("body_bbox")}
    if file != "Annotations.mat":
        boxes = {name: content for name, content in PARSERS["csv"].seeds().items() if name.endswith("_3")}
    for number, (case, content) in enumerate(boxes.items()):
        written(here / "raw" / "Annotations" / file, content)
        words = ("--dataset", "emotic", "--source", here / "raw", "--output", here / f"out_{number}", "--num_proc", 1)
        code, figures, log = run_script("prepare", *words)
        assert code in (0, 2), log
        assert "Traceback" not in log
        meeting.told(case, None if code == 0 else log.splitlines()[-1], *([] if code == 0 else [file]))
        if code == 0:
            assert figures["rows"] == 1
    assert len(meeting.accepted) > 3
    ended(meeting)


def test_name_lists(raw_folder: Path, ended: Callable) -> None:
    meeting = Meeting("gaf3, name lists", UserError)
    for place in (raw_folder, raw_folder / "val"):
        for case, content in tables.lists().items():
            written(place / "val_list", content)
            meeting.meet(case, lambda: BUILDERS["gaf3"](raw_folder).records(), "val_list")
        (place / "val_list").unlink()
    ended(meeting)


def test_label_files(raw_folder: Path, here: Path, ended: Callable) -> None:
    written(here / "flat" / "train" / "pos_1.jpg", GOOD)
    written(here / "clips" / "Train" / "1_1.mp4", GOOD)
    meeting = Meeting("gaf3, vgaf, happei: label files", UserError)
    for case, content in PARSERS["label_files"].seeds().items():
        for dataset, folder in (("gaf3", here / "flat"), ("vgaf", here / "clips"), ("happei", here / "flat")):
            written(folder / "train_labels.txt", content)
            builder = make_builder(dataset, folder, here / "work", {})
            # the file, or the split folder whose photos it does not name
            meeting.meet(f"{dataset} {case}", lambda builder=builder: builder.records(), "train")
    ended(meeting)


def test_tables_of_photos(here: Path, ended: Callable) -> None:
    written(here / "mine" / "a.jpg", GOOD)
    written(here / "finding" / "Run_1" / "a.jpg", GOOD)
    heading = b"image_path,valence,arousal,emotion\n/Run_1/a.jpg,1,2,Joy\n"
    meeting = Meeting("folders, findingemo: tables", UserError)
    for case, content in PARSERS["tables"].seeds().items():
        written(here / "mine" / "labels.csv", content)
        written(here / "finding" / "annotations.csv", heading + content)
        for dataset, folder in (("folders", here / "mine"), ("findingemo", here / "finding")):
            meeting.meet(
                f"{dataset} {case}", lambda d=dataset, f=folder: make_builder(d, f, here, {}).records(), ".csv"
            )
    ended(meeting)


LEGACY = {
    "FaceCoordinates": {
        "a": np.array([[1, 2, 30, 40, 0.9]]),
        "b": np.array([[5, 25, 15, 8, 22, 10, 10, 20, 30, 30.0]]),
    },
    "FaceFeatures": {"a": np.ones((1, 256))},
    "CroppedFaces": {"a": np.zeros((1, 9, 9, 3), np.uint8)},
    "GlobalFeatures": {"a": np.ones(2208)},
}


def good_legacy(folder: Path, stem: str) -> None:
    for name, content in LEGACY.items():
        (folder / name / "train" / "Neutral").mkdir(parents=True, exist_ok=True)
        np.savez(folder / name / "train" / "Neutral" / f"{stem}.npz", **content)


def test_legacy(here: Path, ended: Callable) -> None:
    photo = written(here / "raw" / "train" / "Neutral" / "a.png", corpus.saved(corpus.picture(), "PNG"))
    good_legacy(here / "old", "a")
    source, record = LegacySource(here / "old", here / "raw"), Record("a", photo, "train")
    assert len(source.columns(record, corpus.picture())["face_boxes"]) == 1
    meeting = Meeting("legacy", BadPhoto)
    for name in LEGACY:
        path = here / "old" / name / "train" / "Neutral" / "a.npz"
        whole = path.read_bytes()
        for case, content in PARSERS["npz"].seeds().items():
            path.write_bytes(content)
            file = f"{name}/train/Neutral/a.npz"
            meeting.meet(f"{name} {case}", lambda: source.columns(record, corpus.picture()), file)
        path.write_bytes(whole)
    ended(meeting)


def test_legacy_and_prepare(run_script: Callable, raw_folder: Path, here: Path, ended: Callable) -> None:
    """As a user runs it: hostile files, hostile names, aligned faces that are bombs, links that lead out."""
    train = raw_folder / "train" / "Neutral"
    shutil.rmtree(train)
    told: dict[str, str] = {}  # photo -> what its refusal must name
    for number, (case, content) in enumerate(PARSERS["npz"].seeds().items()):
        name = list(LEGACY)[number % 4]
        written(train / f"{case}.png", corpus.saved(corpus.picture(), "PNG"))
        good_legacy(here / "old", case)
        written(here / "old" / name / "train" / "Neutral" / f"{case}.npz", content)
        told[f"{case}.png"] = f"{name}/train/Neutral/{case}.npz"
    for number, (_, content) in enumerate(list(corpus.photos().items())[::3]):
        stem = f"aligned{number}"
        written(train / f"{stem}.png", corpus.saved(corpus.picture(), "PNG"))
        good_legacy(here / "old", stem)
        written(here / "old" / "AlignedCroppedImages" / "train" / "Neutral" / f"{stem}_0.jpg", content)
        told[f"{stem}.png"] = f"AlignedCroppedImages/train/Neutral/{stem}_0.jpg"
    for stem in NAMES:
        written(train / f"{stem}.png", corpus.saved(corpus.picture(), "PNG"))
        written(here / "old" / "FaceCoordinates" / "train" / "Neutral" / f"{stem}.npz", b"no archive")
        told[f"{stem}.png"] = f"FaceCoordinates/train/Neutral/{stem}.npz"
    link = here / "old" / "FaceFeatures" / "train" / "Neutral" / "leads_out.npz"
    good_legacy(here / "old", "leads_out")
    link.unlink()
    link.symlink_to("/etc/passwd")
    written(train / "leads_out.png", corpus.saved(corpus.picture(), "PNG"))
    (here / "old" / "FaceCoordinates" / "circle").symlink_to(here / "old")
    meeting = Meeting("prepare --legacy")
    words = ("--dataset", "gaf3", "--source", raw_folder, "--output", here / "out", "--num_proc", 1)
    code, figures, log = run_script("prepare", *words, "--legacy", here / "old")
    assert code == 0, log
    assert "Traceback" not in log
    assert "\x1b[31m" not in log
    reasons = reasons_in(here / "out")
    for name, file in told.items():
        photo = printable(f"train/Neutral/{name}")
        meeting.told(name, f"{photo}: {reasons[photo]}" if photo in reasons else None, name, file)
    assert len(meeting.refused) > 100
    there = sum(len(files) for *_, files in os.walk(raw_folder))
    assert figures["rows"] + figures["quarantined"] == there, "no row lost or doubled"
    ended(meeting, raw_folder, here / "old")


def test_skeletons(here: Path, ended: Callable) -> None:
    photo = written(here / "raw" / "train" / "Neutral" / "a.jpg", GOOD)
    meeting = Meeting("skeletons", BadPhoto)
    for file, seeds in (("a_keypoints.json", tables.poses()), ("a_rendered.png", corpus.photos())):
        folder = here / file
        folder.mkdir()
        for case, content in seeds.items():
            (folder / file).write_bytes(content)
            source = skeleton_source(str(folder), here / "raw")
            record = Record("a", photo, "train")
            call = lambda source=source, record=record: source.columns(record, corpus.picture())  # noqa: E731
            meeting.meet(f"{file} {case}", call, file)
    ended(meeting)


def test_skeletons_and_prepare(run_script: Callable, raw_folder: Path, here: Path, ended: Callable) -> None:
    """As a user runs it, first into a new dataset, then added to one that has none."""
    train = raw_folder / "train" / "Neutral"
    shutil.rmtree(train)
    poses, skeletons = tables.poses(), here / "skeletons" / "train" / "Neutral"
    told = {}
    for case, content in [*poses.items(), *((stem, b"no JSON") for stem in NAMES)]:
        written(train / f"{case}.jpg", GOOD)
        told[f"{case}.jpg"] = written(skeletons / f"{case}_keypoints.json", content).name
    meeting = Meeting("prepare --skeletons, JSON")
    words = ("--dataset", "gaf3", "--source", raw_folder, "--output", here / "out", "--num_proc", 1)
    code, _, log = run_script("prepare", *words, "--skeletons", here / "skeletons")
    assert code == 0, log
    assert "\x1b[31m" not in log
    reasons = reasons_in(here / "out")
    for name, file in told.items():
        photo = printable(f"train/Neutral/{name}")
        meeting.told(name, f"{photo}: {reasons[photo]}" if photo in reasons else None, name, file)
    assert len(meeting.refused) > 40

    words = ("--dataset", "gaf3", "--source", raw_folder, "--output", here / "later", "--num_proc", 1)
    assert run_script("prepare", *words)[0] == 0
    code, _, log = run_script("prepare", *words, "--skeletons", here / "skeletons")
    meeting.told("added later", log.splitlines()[-1] if code == 2 else None, "_keypoints.json")
    assert code == 2
    ended(meeting, raw_folder)


def test_there_were_enough(enough: Callable) -> None:
    enough(7)
