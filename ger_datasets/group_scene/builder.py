"""The group-scene dataset, collected by oneself: videos, or frames that were taken from them -> records."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..layouts.clips import Clip, write_clips
from ..layouts.random_splits import split_names
from ..photos.reading import SUFFIXES as PHOTO_SUFFIXES
from ..records import Record
from ..schema import frame_features
from ..support.errors import UserError, listing, printable
from ..support.symlinks import inside, leads_inside
from ..videos.frames import KEY_FRAME_RULES, video_frames
from ..videos.frames import SUFFIXES as VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

CLASS_NAMES = ("Negative", "Positive")
SPLIT_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
SPLITS_BY = ("video", "frame")

# PARTY_frame_12, PARTY_12, PARTY-keyframe-12 -> PARTY
FRAME_NAME = re.compile(r"(?P<video>.+?)[ _-]+(?:key[ _-]?)?(?:frame)?[ _-]*\d+", re.IGNORECASE)
# Words before a number that are not the name of a video: frame_12, neg_12
NO_VIDEOS = frozenset(
    {"frame", "keyframe", "key", "image", "img", "photo", "pic", "neg", "negative", "pos", "positive"}
)


class GroupSceneBuilder:
    """Groups filmed or found on video, Negative or Positive as a whole.

    The raw folder holds either of two things, in folders of any case:

    - `Negative/PARTY.mp4`, `Positive/...`: videos (`videos.frames.SUFFIXES`). Their key frames are written once, as
      `work_folder/RULE/CLASS/VIDEO/frame_000123.jpg`; a video whose frames are there is not read again. The
      videos of each class are cut 70/20/10 into train, validation and test, as `split_names` says. A video that
      cannot be read is left out, with a remark.
    - `train|val|test/{Negative,Positive}/PARTY_frame_12.jpg`: frames that are cut already. Their group is the name
      without its number (PARTY_12 and PARTY-keyframe-12 too), so that frames of one video in two splits are noticed;
      without the name of a video (frame_12, neg_12) a frame is a group of its own.

    Why by video: consecutive key frames of one video show the same people in the same place. Where they stand in
    train and in test, a model that has learned the place is taken for one that reads emotions. The original drew
    frames, whatever their video; `split_by="frame"` does so too, for comparison with its figures only.

    Args:
        source: the raw folder.
        options: see `Options`.
        work_folder: where the key frames are written; needed for videos only.
    """

    @dataclass(frozen=True)
    class Options:
        """The dataset's own options.

        Attributes:
            key_frames: a name in `frames.KEY_FRAME_RULES`.
            split_by: `video` or `frame`.
            split_seed: seed of the random split.

        Raises:
            UserError: unknown `key_frames` or `split_by`.
        """

        key_frames: str = field(
            default="local_maxima", metadata={"help": f"rule for key frames of videos: {', '.join(KEY_FRAME_RULES)}."}
        )
        split_by: str = field(
            default="video",
            metadata={"help": "unit of the random split: video, or frame, which leaks videos between splits."},
        )
        split_seed: int = field(default=0, metadata={"help": "seed of the random split."})

        def __post_init__(self) -> None:
            for name, known in (("key_frames", KEY_FRAME_RULES), ("split_by", SPLITS_BY)):
                if getattr(self, name) not in known:
                    raise UserError(f"unknown {name} {getattr(self, name)!r}: choose from {', '.join(known)}")

    class_names = CLASS_NAMES
    notice = ""
    license = "other"  # the terms stand in card.md

    def __init__(self, source: Path, options: Options | None = None, work_folder: Path | None = None) -> None:
        self.source, self.work_folder = source, work_folder
        self.options = options or self.Options()
        self._remarks: list[str] = []
        self._root = source

    @property
    def extra_features(self) -> dict[str, Any]:
        """`seconds` of each frame; None of ready frames."""
        return frame_features()

    def records(self) -> list[Record]:
        """Every frame, sorted by image_id: `split/class/video/frame_000123`, or `split/class/stem` of ready frames.

        Raises:
            UserError: neither videos nor frames, both, an unknown class folder, a split without frames, no video
                that can be read, no `work_folder` for videos, options about videos where there are frames.
        """
        self._remarks = []
        if not self.source.is_dir():
            raise UserError(f"no folder {self.source}: give the folder that holds {_expected()}")
        self._root = Path(os.path.realpath(self.source))
        folders = [path for path in sorted(self.source.iterdir()) if path.is_dir()]
        splits = [path for path in folders if path.name.lower() in SPLIT_FOLDERS]
        classes = [path for path in folders if path.name.lower() in _by_lower(CLASS_NAMES)]
        if splits and classes:
            raise UserError(
                f"{self.source} holds both {_names(classes)} and {_names(splits)}: keep videos and ready frames "
                "apart, in a folder each"
            )
        if not splits and not classes:
            raise UserError(
                f"no videos or frames in {self.source}: expected {_expected()}, "
                f"found {_names(sorted(self.source.iterdir()))}"
            )
        records = self._from_frames(splits) if splits else self._from_videos(folders)
        return sorted(records, key=lambda record: record.image_id)

    def remarks(self) -> list[str]:
        """What is odd about this download, one sentence each; filled by `records`."""
        return self._remarks

    def _from_videos(self, folders: Sequence[Path]) -> list[Record]:
        videos = _named_videos(folders, self._root)
        if not videos:
            raise UserError(
                f"no videos in {_names(folders)} of {self.source}: "
                f"expected files with {', '.join(sorted(VIDEO_SUFFIXES))}"
            )
        if self.work_folder is None:
            raise UserError(f"{self.source} holds videos: give a work_folder for their key frames")
        clips, broken = self._key_frames(videos, self.work_folder)
        if broken:
            named = listing(f"{printable(videos[name].name)} ({reason})" for name, reason in broken.items())
            if not clips:
                raise UserError(f"none of the {len(videos)} videos in {self.source} can be used: {named}")
            self._warn(f"{len(broken)} of {len(videos)} videos cannot be used and were left out: {named}.")

        total = sum(len(clip.frames) for clip in clips.values())
        per_class = ", ".join(
            f"{sum(name.startswith(class_name + '/') for name in clips)} {class_name}" for class_name in CLASS_NAMES
        )
        self._remarks.append(
            f"{total} key frames of {len(clips)} videos ({per_class}) by the rule {self.options.key_frames}; "
            f"split by {self.options.split_by} with seed {self.options.split_seed}."
        )
        if self.options.split_by == "frame":
            self._warn(
                "The frames were split at random, whatever their video: frames of one video are in several splits, "
                "and scores on validation and test are too high."
            )
        members = {
            f"{name}/{path.stem}": (name, path, seconds)
            for name, clip in clips.items()
            for path, seconds in clip.frames
        }
        drawn = clips if self.options.split_by == "video" else members
        splits: dict[str, str] = {}
        for class_name in CLASS_NAMES:
            names = [name for name in drawn if name.startswith(class_name + "/")]
            if len(names) < 3:
                self._warn(
                    f"{class_name} has {len(names)} {self.options.split_by}s: too few for train, validation and test."
                )
            splits |= split_names(names, self.options.split_seed)
        records = []
        for name, (video, path, seconds) in members.items():
            split = splits[video if self.options.split_by == "video" else name]
            label, extras = CLASS_NAMES.index(name.split("/")[0]), {"seconds": seconds}
            records.append(Record(f"{split}/{name}", path, split, label, video, extras))
        return records

    def _key_frames(self, videos: Mapping[str, Path], work_folder: Path) -> tuple[dict[str, Clip], dict[str, str]]:
        """`CLASS/VIDEO` -> its key frames, and -> why there are none. Frames of earlier runs are taken as they are."""
        rule = self.options.key_frames
        clips, broken = write_clips(videos, Path(work_folder) / rule, lambda path: video_frames(path, rule=rule))
        incomplete = [f"{printable(videos[name].name)} ({clip.incomplete})" for name, clip in clips.items()
                      if clip.incomplete]  # fmt: skip
        if incomplete:
            self._warn(
                f"{len(incomplete)} of {len(videos)} videos are incomplete; the key frames of their intact parts "
                f"were taken: {listing(incomplete)}."
            )
        return clips, broken

    def _from_frames(self, folders: Sequence[Path]) -> list[Record]:
        if self.options != self.Options():
            raise UserError(
                f"{self.source} holds frames that are split already: leave out key_frames, split_by and split_seed, "
                "or give the videos"
            )
        photos: dict[str, list[tuple[str, Path]]] = {}
        for folder in folders:
            split = SPLIT_FOLDERS[folder.name.lower()]
            if split in photos:
                raise UserError(f"two folders for the split {split} in {self.source}: keep one of them")
            inner = [path for path in sorted(inside(folder, self._root).iterdir()) if path.is_dir()]
            photos[split] = _class_files(inner, PHOTO_SUFFIXES, self._root)
            if not photos[split]:
                found = _names(sorted(folder.iterdir()))
                raise UserError(f"no frames in {folder}: expected {' and '.join(CLASS_NAMES)}, found {found}")
        frames = [(split, name, path) for split, members in photos.items() for name, path in members]
        counts = Counter(f"{split}/{name}/{printable(path.stem)}" for split, name, path in frames)
        records = []
        for split, name, path in frames:
            image_id = f"{split}/{name}/{printable(path.stem)}"
            if counts[image_id] > 1:  # a.jpg and a.png
                image_id += path.suffix
            video = _video_of(printable(path.stem))
            group = f"{name}/{video}" if video else image_id
            records.append(Record(image_id, path, split, CLASS_NAMES.index(name), group, {"seconds": None}))

        splits_of: dict[str, set[str]] = {}
        for record in records:
            splits_of.setdefault(record.group, set()).add(record.split)
        astride = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
        self._remarks.append(f"{len(records)} ready frames in {len(splits_of)} groups, by their file names.")
        if astride:
            self._warn(
                f"By their file names, frames of {len(astride)} videos are in more than one split, so that scores "
                f"on validation and test may be too high: {listing(astride)}."
            )
        return records

    def _warn(self, remark: str) -> None:
        self._remarks.append(remark)
        logger.warning("%s", remark)


def _expected() -> str:
    classes = " and ".join(CLASS_NAMES)
    return f"{classes} with videos in them, or train, val and test with frames in {classes}"


def _by_lower(names: Iterable[str]) -> dict[str, str]:
    return {name.lower(): name for name in names}


def _names(paths: Iterable[Path]) -> str:
    return listing(printable(path.name) for path in paths)


def _class_files(folders: Sequence[Path], suffixes: frozenset[str], root: Path) -> list[tuple[str, Path]]:
    """(class name, path) of each file with one of `suffixes` in the class folders; UserError if others have any.

    Links out of `root` are left out, and no class folder may be one.
    """
    known, files, stray = _by_lower(CLASS_NAMES), [], []
    twice = [name for name, count in Counter(folder.name.lower() for folder in folders).items() if count > 1]
    if twice:
        same = _names(folder for folder in folders if folder.name.lower() == twice[0])
        raise UserError(f"two folders for one class in {printable(folders[0].parent)}, {same}: keep one of them")
    for folder in folders:
        there = sorted(folder.iterdir())
        wanted = [path for path in there if path.suffix.lower() in suffixes and path.name[0] != "."]
        name = known.get(folder.name.lower())
        if name is None and wanted and folder.name[0] != "." and folder.name != "__MACOSX":
            raise UserError(f"unknown class folder {printable(folder)}: the classes are {' and '.join(CLASS_NAMES)}")
        if name is not None:
            inside(folder, root)
            taken = {path for path in wanted if leads_inside(path, root) and path.is_file()}
            files += [(name, path) for path in wanted if path in taken]
            stray += [path.name for path in there if path not in taken]
    if stray:
        names = listing(map(printable, stray))
        logger.warning("%d files of other kinds, or links out of the folder, left out: %s", len(stray), names)
    return files


def _named_videos(folders: Sequence[Path], root: Path) -> dict[str, Path]:
    """`CLASS/STEM` -> video; `CLASS/STEM.suffix` where two videos of a class share a stem."""
    videos = _class_files(folders, VIDEO_SUFFIXES, root)
    counts = Counter((name, path.stem) for name, path in videos)
    return {
        f"{name}/{printable(path.stem if counts[name, path.stem] == 1 else path.name)}": path for name, path in videos
    }


def _video_of(stem: str) -> str:
    """The video in a frame's file name; empty if there is none."""
    match = FRAME_NAME.fullmatch(stem)
    return match["video"] if match and match["video"].lower() not in NO_VIDEOS else ""
