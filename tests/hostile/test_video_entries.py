"""Hostile videos, and folders of them, meet the Group & Scene builder, prepare and predict."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import corpus
import numpy as np
import pytest
from checks import Meeting
from drawn_videos import scene, write_coloured, write_combed, write_cuts
from PIL import Image

from ger_datasets.group_scene.builder import GroupSceneBuilder
from ger_datasets.support.errors import UserError, printable
from ger_datasets.videos.frames import BadVideo, IncompleteVideo, video_frames


def videos(here: Path) -> Iterator[tuple[str, bytes]]:
    """Videos without key frames, with a broken index, cut, flipped, and what only looks like one."""
    for suffix, options in ((".mp4", {}), (".avi", {}), (".mkv", {}), (".mov", {"movflags": "faststart"})):
        whole = write_cuts(here / f"whole{suffix}", [4], 8, options=options).read_bytes()
        yield f"whole{suffix}", whole
        for box in (b"moov", b"mdat", b"stss", b"stco", b"stsz", b"stts", b"idx1", b"movi"):
            if box in whole:
                yield f"no_{box.decode()}{suffix}", whole.replace(box, b"free")
                place = whole.index(box) + 8
                yield f"lying_{box.decode()}{suffix}", whole[:place] + b"\xff" * 12 + whole[place + 12 :]
        for number, content in enumerate(corpus.mutated(whole, 12)):
            yield f"damaged_{number}{suffix}", content
    for name, whole in other_kinds(here):
        stem, _, suffix = name.partition(".")
        yield name, whole
        yield f"{stem}_half.{suffix}", whole[: len(whole) // 2]
        for number, content in enumerate(corpus.mutated(whole, 8)):
            yield f"{stem}_damaged_{number}.{suffix}", content
    yield "playlist.mp4", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    yield "concat.mkv", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "sdp.avi", b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"
    yield "nothing.mp4", b""
    yield "photo.mp4", corpus.saved(corpus.picture(), "JPEG")
    good = (here / "whole.mp4").read_bytes()
    for stem in corpus.names():
        yield os.fsdecode(stem + b".mp4"), good


def other_kinds(here: Path) -> Iterator[tuple[str, bytes]]:
    """High dynamic range, interlaced material, a program stream, and animations."""
    levels = np.linspace(0, 65535, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint16)
    for name, transfer in (("pq", 16), ("hlg", 18)):
        yield f"{name}.mp4", write_coloured(here / f"{name}.mp4", levels, "yuv420p10le", 9, transfer, 9).read_bytes()
    yield "combed.mp4", write_combed(here / "combed.mp4", **{"x264-params": "tff=1"}).read_bytes()
    yield "program.mpg", write_cuts(here / "program.mpg", [4], 8, codec="mpeg2video").read_bytes()
    first, *others = (Image.fromarray(scene(seed)) for seed in range(6))
    for suffix in ("gif", "webp"):
        first.save(here / f"animation.{suffix}", save_all=True, append_images=others, duration=100)
        yield f"animation.{suffix}", (here / f"animation.{suffix}").read_bytes()


@pytest.fixture
def raw(here: Path) -> Path:
    """A raw folder in whose class Negative they lie; three good ones are Positive."""
    folder = here / "raw" / "Negative"
    folder.mkdir(parents=True)
    for name, content in videos(here):
        try:
            (folder / name).write_bytes(content)
        except OSError:  # a name that this file system does not allow
            continue
    (here / "raw" / "Positive").mkdir()
    for number in range(3):
        shutil.copy(here / "whole.mp4", here / "raw" / "Positive" / f"party_{number}.mp4")
    (folder / "out.mp4").symlink_to("/etc/passwd")
    (folder / "circle.mp4").symlink_to("circle.mp4")
    (folder / "folder.mp4").mkdir()
    return here / "raw"


def names(raw: Path) -> list[str]:
    return sorted(path.name for path in (raw / "Negative").iterdir() if path.is_file())


def told_of(log: str) -> dict[str, str]:
    """What the log says of videos in Negative that cannot be used, by name."""
    found = re.findall(r"Negative/(.+?) cannot be used: (.*)", log)
    return {name: f"{name}: {reason}" for name, reason in found}


def test_group_scene_and_prepare(run_script: Callable, raw: Path, here: Path, ended: Callable) -> None:
    meeting = Meeting("prepare --dataset group_scene")
    words = ("--dataset", "group_scene", "--source", raw, "--output", here / "out", "--num_proc", 1)
    code, figures, log = run_script("prepare", *words)
    assert code == 0, log
    assert "Traceback" not in log
    assert "\x1b[31m" not in log, "no name moves the terminal's cursor"
    refused = told_of(log)
    for name in names(raw):
        shown = printable(name)
        if (raw / "Negative" / name).is_symlink():
            assert name in log.partition("left out: ")[2].splitlines()[0]
            continue
        meeting.told(name, refused.get(shown), name)
        assert (shown in refused) != usable(raw / "Negative" / name), name
    assert figures["rows"] >= len(meeting.accepted) + 3, "at least one key frame of each video"
    frames = here / "out" / "frames"
    assert all(os.path.realpath(path).startswith(str(frames.resolve())) for path in frames.rglob("*"))
    ended(meeting, raw)


def usable(path: Path) -> bool:
    try:
        return sum(1 for _ in video_frames(path)) > 0
    except IncompleteVideo:  # its intact part
        return True
    except BadVideo:
        return False


def test_predict_videos(run_script: Callable, model: Path, raw: Path, here: Path, ended: Callable) -> None:
    meeting = Meeting("predict --videos")
    kept = names(raw)[::2]  # a part of them is enough to see that each is named
    for name in set(names(raw)) - set(kept):
        (raw / "Negative" / name).unlink()
    words = ("--model", model, "--videos", raw / "Negative", "--output", here / "p.parquet", "--device", "cpu")
    code, figures, log = run_script("predict", *words)
    assert code == 0, log
    assert "\x1b[31m" not in log
    reasons = {line["file"]: line["reason"] for line in figures["failed"]}
    for name in kept:
        shown = printable(name)
        meeting.told(name, f"{shown}: {reasons[shown]}" if shown in reasons else None, name)
    ended(meeting)


def layouts(raw: Path) -> dict[str, tuple[Callable[[], object], str]]:
    """Changes of a raw folder of videos, and what must be named in the refusal."""
    outside = raw.parent / "outside"
    outside.mkdir()
    shutil.copy(raw / "Positive" / "party_0.mp4", outside / "secret.mp4")
    return {
        "unknown class": (lambda: shutil.copytree(outside, raw / "a\nb"), "a\nb"),
        "class with control characters": (lambda: shutil.copytree(outside, raw / "\x1b[31mred"), "\x1b[31mred"),
        "class without utf-8": (
            lambda: shutil.copytree(outside, raw / os.fsdecode(b"caf\xe9")),
            os.fsdecode(b"caf\xe9"),
        ),
        "class is a link out": (
            lambda: (shutil.rmtree(raw / "Negative"), (raw / "Negative").symlink_to(outside)),
            "Negative",
        ),
        "video leads out": (lambda: (raw / "Negative" / "l.mp4").symlink_to(outside / "secret.mp4"), "l.mp4"),
        "class in itself": (lambda: (raw / "Negative" / "Negative").symlink_to(raw / "Negative"), "Negative"),
        "videos and frames": (lambda: (raw / "train").mkdir(), "train"),
        "two of one class": (lambda: shutil.copytree(raw / "Positive", raw / "POSITIVE"), "Positive"),
        "file for a folder": (lambda: (shutil.rmtree(raw / "Negative"), (raw / "Negative").touch()), "Negative"),
    }


@pytest.mark.parametrize("number", range(9))
def test_layouts_of_videos(here: Path, number: int, ended: Callable, caplog: pytest.LogCaptureFixture) -> None:
    raw = here / "raw"
    for class_name in ("Negative", "Positive"):
        write_cuts(raw / class_name / "party_0.mp4", [4], 8)
    name, (change, named) = list(layouts(raw).items())[number]
    change()
    meeting, records = Meeting("group_scene, layouts", UserError), []
    meeting.meet(name, lambda: records.extend(GroupSceneBuilder(raw, work_folder=here / "work").records()), named)
    ended(meeting)
    assert not [record for record in records if "secret" in record.image_id or "/l/" in record.image_id]
    assert "\x1b" not in caplog.text


def test_frames_of_hostile_names(run_script: Callable, here: Path, ended: Callable) -> None:
    """Ready frames, whose names tell the video that they are of."""
    meeting = Meeting("prepare --dataset group_scene, frames")
    good, made = corpus.saved(corpus.picture(), "JPEG"), []
    for split in ("train", "val"):
        for class_name in ("Negative", "Positive"):
            folder = here / "raw" / split / class_name
            folder.mkdir(parents=True)
            (folder / "party_frame_1.jpg").write_bytes(good)
    folder = here / "raw" / "train" / "Negative"
    contents = {os.fsdecode(stem + b"_frame_7.jpg"): good for stem in corpus.names() if len(stem) < 240}
    contents |= dict(list(corpus.photos().items())[::2])
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        made.append(name)
    words = ("--dataset", "group_scene", "--source", here / "raw", "--output", here / "out", "--num_proc", 1)
    code, figures, log = run_script("prepare", *words)
    assert code == 0, log
    assert "\x1b[31m" not in log
    lines = (here / "out" / "quarantine.jsonl").read_text()
    for name in made:
        shown = printable(f"train/Negative/{name}")
        refused = next((line for line in lines.splitlines() if f"/{printable(name)}" in parsed(line)["file"]), None)
        meeting.told(name, refused and f"{parsed(refused)['file']}: {parsed(refused)['reason']}", shown)
    assert figures["rows"] + figures["quarantined"] == len(made) + 4
    ended(meeting, here / "raw")


def parsed(line: str) -> dict[str, str]:

    return json.loads(line)


def test_there_were_enough(enough: Callable) -> None:
    enough(4)
