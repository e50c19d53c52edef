"""Folders of videos or frames -> records -> a dataset."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, load_dataset
from drawn_videos import write_cuts, write_sound
from PIL import Image
from refusals import refused

from ger_datasets.builders import BUILDERS
from ger_datasets.group_scene import builder as builder_module
from ger_datasets.group_scene.builder import GroupSceneBuilder
from ger_datasets.layouts.random_splits import split_names
from ger_datasets.preparation.run import prepare
from ger_datasets.support.errors import UserError
from ger_datasets.videos import frames as video


@pytest.fixture(scope="session")
def one_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 130 frames with cuts at 30 and 95."""
    return write_cuts(tmp_path_factory.mktemp("video") / "a.mp4", [30, 95], 130)


@pytest.fixture
def raw(tmp_path: Path, one_video: Path) -> Path:
    """A raw folder: ten videos Negative, four Positive."""
    return copies(one_video, tmp_path / "raw", Negative=10, Positive=4)


@pytest.fixture
def few(tmp_path: Path, one_video: Path) -> Path:
    """A raw folder of fewer, for tests that decode them: three videos of each class."""
    return copies(one_video, tmp_path / "raw", Negative=3, Positive=3)


def copies(video: Path, raw: Path, **counts: int) -> Path:
    for class_name, count in counts.items():
        (raw / class_name).mkdir(parents=True)
        for i in range(count):
            shutil.copy(video, raw / class_name / f"party_{i}.mp4")
    return raw


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three key frames for every video, without decoding; the list gets the names of the videos."""
    seen: list[str] = []

    def frames(path: Path, rule: str) -> Iterator[video.Frame]:
        seen.append(f"{path.parent.name}/{path.name}")
        for number in (5, 30, 95):
            yield video.Frame(number, number / 25, Image.new("RGB", (64, 48), (number, 90, 90)))

    monkeypatch.setattr(builder_module, "video_frames", frames)
    return seen


def splits_by_group(records: list) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = defaultdict(set)
    for record in records:
        splits[record.group].add(record.split)
    return splits


@pytest.mark.slow
def test_videos_become_key_frames(few: Path, tmp_path: Path) -> None:
    builder = GroupSceneBuilder(few, work_folder=tmp_path / "work")
    records = builder.records()
    groups = {record.group for record in records}
    assert groups == {f"{name}/party_{i}" for name in ("Negative", "Positive") for i in range(3)}
    frames = video.key_frames(few / "Negative" / "party_0.mp4")
    assert len(records) == 6 * len(frames)
    assert [record.image_id for record in records] == sorted({record.image_id for record in records})
    for record in records:
        name = f"frame_{frames[0]:06d}"
        assert record.image_id.startswith(f"{record.split}/{record.group}/frame_")
        assert builder.class_names[record.label] == record.group.split("/")[0]
        assert record.path.parent == tmp_path / "work" / "local_maxima" / record.group
        assert (record.path.parent / f"{name}.jpg").is_file()
        assert record.extras["seconds"] == pytest.approx(int(record.path.stem[6:]) / 25)
    assert builder.remarks() == [
        f"{len(records)} key frames of 6 videos (3 Negative, 3 Positive) by the rule local_maxima; "
        "split by video with seed 0."
    ]


def test_a_video_is_in_one_split_and_each_class_in_all(raw: Path, tmp_path: Path, fast: list[str]) -> None:
    records = GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()
    splits = splits_by_group(records)
    assert all(len(members) == 1 for members in splits.values())
    counts = Counter((group.split("/")[0], *members) for group, members in splits.items())
    assert counts == {
        ("Negative", "train"): 7,
        ("Negative", "validation"): 2,
        ("Negative", "test"): 1,
        ("Positive", "train"): 2,
        ("Positive", "validation"): 1,
        ("Positive", "test"): 1,
    }


def test_splits_depend_on_names_and_seed_alone() -> None:
    names = [f"Negative/{i}" for i in range(50)]
    shuffled = random.Random(1).sample(names, 50)
    assert split_names(names, 0) == split_names(shuffled, 0)
    assert split_names(names, 0) != split_names(names, 1)
    assert Counter(split_names(names, 3).values()) == {"train": 35, "validation": 10, "test": 5}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (1, 1, 0)),
        (3, (1, 1, 1)),
        (4, (2, 1, 1)),
        (10, (7, 2, 1)),
        (15, (10, 3, 2)),
    ],
)
def test_few_names(count: int, expected: tuple[int, int, int]) -> None:
    drawn = Counter(split_names([str(i) for i in range(count)], 0).values())
    assert tuple(drawn[split] for split in ("train", "validation", "test")) == expected


def test_too_few_videos_are_remarked_on(raw: Path, tmp_path: Path, fast: list[str]) -> None:
    for path in list((raw / "Positive").iterdir())[1:]:
        path.unlink()
    builder = GroupSceneBuilder(raw, work_folder=tmp_path / "work")
    assert {r.split for r in builder.records() if r.label == 1} == {"train"}
    assert builder.remarks()[-1] == "Positive has 1 videos: too few for train, validation and test."


def test_frames_drawn_at_random_are_warned_of(
    raw: Path, tmp_path: Path, fast: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    builder = GroupSceneBuilder(raw, GroupSceneBuilder.Options(split_by="frame", split_seed=4), tmp_path / "work")
    records = builder.records()
    assert any(len(splits) > 1 for splits in splits_by_group(records).values())
    assert Counter(r.split for r in records if r.label == 0) == {"train": 21, "validation": 6, "test": 3}
    assert len({record.image_id for record in records}) == 42
    assert "frames of one video are in several splits" in caplog.text
    assert any("frames of one video are in several splits" in remark for remark in builder.remarks())
    assert (
        records
        == GroupSceneBuilder(
            raw, GroupSceneBuilder.Options(split_by="frame", split_seed=4), tmp_path / "work"
        ).records()
    )
    assert (
        records
        != GroupSceneBuilder(
            raw, GroupSceneBuilder.Options(split_by="frame", split_seed=5), tmp_path / "work"
        ).records()
    )


def test_a_second_run_reads_no_video(raw: Path, tmp_path: Path, fast: list[str]) -> None:
    first = GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()
    assert len(fast) == 14
    assert GroupSceneBuilder(raw, work_folder=tmp_path / "work").records() == first
    assert len(fast) == 14
    GroupSceneBuilder(raw, GroupSceneBuilder.Options(key_frames="top"), tmp_path / "work").records()
    assert len(fast) == 28


def test_a_stopped_run_goes_on(raw: Path, tmp_path: Path, fast: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    frames = builder_module.video_frames

    def stop_in_the_fifth(path: Path, rule: str) -> Iterator[video.Frame]:
        yield from frames(path, rule)
        if len(fast) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(builder_module, "video_frames", stop_in_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()
    done = sorted(path.name for path in (tmp_path / "work" / "local_maxima" / "Negative").iterdir())
    assert done == [f"party_{i}" for i in range(4)]  # nothing half written beside them
    records = GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()
    assert len(records) == 42
    assert len(fast) == 5 + 10


def test_what_a_killed_run_left_is_no_video(raw: Path, tmp_path: Path, fast: list[str]) -> None:
    half = tmp_path / "work" / "local_maxima" / "Negative"
    for folder in (half / ".0123.tmp", half / "party_0"):  # the second without video.json: not written by us, or old
        folder.mkdir(parents=True)
        Image.new("RGB", (64, 48)).save(folder / "frame_000999.jpg")
    records = GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()
    assert len(records) == 42
    assert not any("999" in record.image_id for record in records)


def test_another_video_of_the_same_name_is_read(raw: Path, tmp_path: Path, fast: list[str]) -> None:
    GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()
    (raw / "Negative" / "party_3.mp4").write_bytes(b"another")
    GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()
    assert fast[14:] == ["Negative/party_3.mp4"]


def test_two_processes_at_once(raw: Path, tmp_path: Path, fast: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    frames = builder_module.video_frames

    def overtaken(path: Path, rule: str) -> Iterator[video.Frame]:
        monkeypatch.setattr(builder_module, "video_frames", frames)
        GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()  # the other process, which does them all
        yield from frames(path, rule)

    monkeypatch.setattr(builder_module, "video_frames", overtaken)
    assert len(GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()) == 42
    assert not list((tmp_path / "work").rglob("*.tmp"))


@pytest.mark.slow
def test_the_intact_part_of_a_video_is_used_and_reported_each_time(few: Path, tmp_path: Path) -> None:
    path = write_cuts(few / "Negative" / "cut.mp4", [40, 80], 120, options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    for _ in range(2):  # the second time its key frames are there
        builder = GroupSceneBuilder(few, work_folder=tmp_path / "work")
        assert "Negative/cut" in {record.group for record in builder.records()}
        remark = next(remark for remark in builder.remarks() if "incomplete" in remark)
        assert remark.startswith("1 of 7 videos are incomplete; the key frames of their intact parts were taken: cut")


@pytest.mark.slow
def test_a_broken_video_is_left_out_and_named(few: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (few / "Negative" / "party_0.mp4").write_bytes(b"x" * 100)
    (few / "Positive" / "quiet.mp4").write_bytes(b"")
    write_sound(few / "Positive" / "song.m4v")
    builder = GroupSceneBuilder(few, work_folder=tmp_path / "work")
    assert len({record.group for record in builder.records()}) == 5
    remark = next(remark for remark in builder.remarks() if "left out" in remark)
    assert remark.startswith("3 of 8 videos cannot be used and were left out: party_0.mp4 (no video, or damaged")
    assert "quiet.mp4 (the file is empty (0 bytes))" in remark
    assert "song.m4v (it has no video, only sound)" in remark
    assert str(tmp_path) not in remark
    assert "5 videos (2 Negative, 3 Positive)" in builder.remarks()[1]
    assert "3 of 8 videos cannot be used" in caplog.text


def test_names(raw: Path, tmp_path: Path, fast: list[str], caplog: pytest.LogCaptureFixture) -> None:
    (raw / "Positive").rename(raw / "POSITIVE")
    folder = os.fsencode(raw / "POSITIVE")
    os.rename(folder + b"/party_0.mp4", folder + b"/f\xeate.MP4")
    shutil.copy(raw / "POSITIVE" / "party_1.mp4", raw / "POSITIVE" / "party_1.avi")
    (raw / "POSITIVE" / "._party_1.mp4").write_bytes(b"x")
    (raw / "POSITIVE" / "notes.txt").write_bytes(b"x")
    (raw / "prepared").mkdir()
    groups = {r.group for r in GroupSceneBuilder(raw, work_folder=tmp_path / "work").records() if r.label == 1}
    assert groups == {f"Positive/{name}" for name in ("f\\xeate", "party_1.mp4", "party_1.avi", "party_2", "party_3")}
    assert "2 files of other kinds, or links out of the folder, left out: ._party_1.mp4, notes.txt" in caplog.text


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A raw folder of ready frames, two of each of two videos per class and split."""
    for split in ("train", "val", "test"):
        for class_name in ("Negative", "Positive"):
            folder = tmp_path / "frames" / split / class_name
            folder.mkdir(parents=True)
            for name in (f"{split}A_frame_1", f"{split}A_frame_20", f"{split}B_1", f"{split}B_2"):
                Image.new("RGB", (64, 48)).save(folder / f"{name}.jpg")
    return tmp_path / "frames"


def test_ready_frames_keep_their_splits(frames: Path) -> None:
    (frames / "test").rename(frames / "TEST")
    builder = GroupSceneBuilder(frames)
    records = builder.records()
    assert Counter(record.split for record in records) == {"train": 8, "validation": 8, "test": 8}
    assert records[0].image_id == "test/Negative/testA_frame_1"
    assert records[0].group == "Negative/testA"
    assert records[0].label == 0
    assert len(splits_by_group(records)) == 12
    assert builder.remarks() == ["24 ready frames in 12 groups, by their file names."]


def test_ready_frames_of_one_video_in_two_splits_are_remarked_on(
    frames: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.move(frames / "train" / "Negative" / "trainA_frame_20.jpg", frames / "val" / "Negative")
    builder = GroupSceneBuilder(frames)
    builder.records()
    assert "frames of 1 videos are in more than one split" in builder.remarks()[-1]
    assert "Negative/trainA" in caplog.text


def test_ready_frames_of_one_stem_keep_apart(frames: Path) -> None:
    folder = frames / "train" / "Negative"
    shutil.copy(folder / "trainB_1.jpg", folder / "trainB_1.png")
    records = {record.image_id: record for record in GroupSceneBuilder(frames).records()}
    assert len(records) == 25
    for suffix in (".jpg", ".png"):
        assert records[f"train/Negative/trainB_1{suffix}"].group == "Negative/trainB"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("party_frame_12", "party"),
        ("party_12", "party"),
        ("party-keyframe-12", "party"),
        ("party_2_frame12", "party_2"),
        ("our party frame 3", "our party"),
        ("IMG_2019_12", "IMG_2019"),
        ("frame_12", ""),
        ("keyframe_12", ""),
        ("key_frame_12", ""),
        ("Neg_12", ""),
        ("frame12", ""),
        ("12", ""),
        ("party", ""),
    ],
)
def test_what_a_file_name_tells_of_its_video(stem: str, name: str) -> None:
    assert builder_module._video_of(stem) == name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: shutil.rmtree(raw), ["no folder", "Negative and Positive with videos"]),
        (lambda raw: [shutil.rmtree(p) for p in raw.iterdir()], ["no videos or frames in", "found nothing"]),
        (lambda raw: [p.unlink() for p in raw.glob("*/*")], ["no videos in Negative, Positive", ".mpg, .mts"]),
        (lambda raw: [p.write_bytes(b"x") for p in raw.glob("*/*")], ["none of the 14 videos", "party_0.mp4 (no vid"]),
        (lambda raw: (raw / "Negative").rename(raw / "Sad"), ["unknown class folder", "Sad", "Negative and Positive"]),
        (lambda raw: (raw / "val").mkdir(), ["both Negative, Positive and val", "apart"]),
        (
            lambda raw: shutil.copytree(raw / "Negative", raw / "negative"),
            ["two folders for one class", "Negative, negative", "keep one"],
        ),
    ],
    ids=["missing", "empty", "no-videos", "all-broken", "unknown-class", "both-forms", "two-of-a-class"],
)
def test_refusals_of_videos(raw: Path, tmp_path: Path, change: object, words: list[str]) -> None:
    change(raw)
    with refused(words):
        GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: (raw / "validation").mkdir(), ["two folders for the split validation"]),
        (lambda raw: [p.unlink() for p in (raw / "val").rglob("*.jpg")], ["no frames in", "found Negative, Positive"]),
        (lambda raw: (raw / "val" / "Negative").rename(raw / "val" / "Neutral"), ["unknown class folder", "Neutral"]),
    ],
    ids=["two-of-a-split", "empty-split", "unknown-class"],
)
def test_refusals_of_frames(frames: Path, change: object, words: list[str]) -> None:
    change(frames)
    with refused(words):
        GroupSceneBuilder(frames).records()


def test_options_are_checked(raw: Path, frames: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown key_frames 'best'.*local_maxima, threshold, top"):
        GroupSceneBuilder.Options(key_frames="best")
    with pytest.raises(UserError, match=r"unknown split_by 'class'.*video, frame"):
        GroupSceneBuilder.Options(split_by="class")
    with pytest.raises(UserError, match="give a work_folder"):
        GroupSceneBuilder(raw).records()
    with pytest.raises(UserError, match="split already: leave out key_frames, split_by and split_seed"):
        GroupSceneBuilder(frames, GroupSceneBuilder.Options(split_by="frame")).records()


def test_a_work_folder_that_cannot_be_written(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "work").write_bytes(b"x")
    with pytest.raises(UserError, match="cannot write"):
        GroupSceneBuilder(raw, work_folder=tmp_path / "work").records()


def test_prepared_videos_are_a_dataset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for class_name, seed in (("Negative", 0), ("Positive", 100)):
        for i in range(3):
            path = tmp_path / "raw" / class_name / f"v{i}.mp4"
            write_cuts(path, [30], 60, seed=seed + 10 * i)
    (tmp_path / "raw" / "Positive" / "torn.mp4").write_bytes(b"x")
    output = tmp_path / "group_scene"
    with caplog.at_level(logging.WARNING):
        figures = prepare(
            "group_scene", tmp_path / "raw", output, num_proc=1, options={"key_frames": "top", "split_seed": 3}
        )
    assert BUILDERS["group_scene"] is GroupSceneBuilder
    dataset = load_dataset(str(output))
    assert set(dataset) == {"train", "validation", "test"}
    assert sum(len(split) for split in dataset.values()) == figures["rows"] == figures["photos"]
    for split in dataset.values():
        assert split.features["label"] == ClassLabel(names=["Negative", "Positive"])
        assert {group.split("/")[0] for group in split["group"]} == {"Negative", "Positive"}
        for row in split.select_columns(["image_id", "image", "label", "group"]):
            assert row["image"].size == (64, 48)
            assert ["Negative", "Positive"][row["label"]] == row["group"].split("/")[0]
    assert len({group for split in dataset.values() for group in set(split["group"])}) == 6
    assert (output / "frames" / "top" / "Negative" / "v0").is_dir()
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "torn.mp4" in card
    assert "by the rule top; split by video with seed 3" in card
    assert str(tmp_path) not in card


def test_datasets_of_earlier_versions_get_their_seconds(tmp_path: Path) -> None:
    for class_name in ("Negative", "Positive"):
        for i in range(3):
            write_cuts(tmp_path / "raw" / class_name / f"v{i}.mp4", [30], 60, seed=i)
    prepare("group_scene", tmp_path / "raw", tmp_path / "out", num_proc=1)
    expected = load_dataset(str(tmp_path / "out"), split="train")["seconds"][:]
    for path in (tmp_path / "out" / "data").iterdir():
        pq.write_table(pq.read_table(path).drop_columns(["seconds", "region_boxes", "region_features"]), path)
        entry_path = tmp_path / "out" / "manifest" / f"{path.name}.json"
        entry = {**json.loads(entry_path.read_text()), "bytes": path.stat().st_size}
        del entry["regions"]
        entry_path.write_text(json.dumps(entry))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    del manifest["settings"]["regions"]
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    prepare("group_scene", tmp_path / "raw", tmp_path / "out", num_proc=1)
    train = load_dataset(str(tmp_path / "out"), split="train")
    assert train["seconds"][:] == expected
    assert set(train["region_boxes"]) == {None}
