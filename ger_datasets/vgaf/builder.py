"""VGAF (EmotiW 2020 and 2023): clips of five seconds and label files -> records of frames."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..layouts.clips import Clip, frames_at, write_clips
from ..layouts.label_files import label_of, labels_by_name, read_label_file
from ..layouts.remarks import Remarks
from ..layouts.split_folders import files_in, find_label_file, find_splits, inner_folder, no_splits
from ..records import Record
from ..schema import CLASS_NAMES, NO_LABEL, frame_features
from ..support.errors import UserError, listing, printable
from ..videos.frames import SUFFIXES

PUBLISHED = {"train": 2_661, "val": 766}  # clips (Sharma et al. 2019; EmotiW 2020)
# The label files' numbers: the reverse of our order
LABEL_NUMBERS = {
    "1": CLASS_NAMES.index("Positive"),
    "2": CLASS_NAMES.index("Neutral"),
    "3": CLASS_NAMES.index("Negative"),
}
SPLITS = {"train": "train", "val": "validation", "test": "test"}
CLIP_NAME = re.compile(r"(?P<video>.+)_\d+")  # 12_3.mp4 is clip 3 of video 12


@dataclass(frozen=True)
class LabelledClip:
    """One clip: its file, split, label and the video it was cut from."""

    path: Path
    split: str
    label: int
    video: str


class VgafBuilder(Remarks):
    """VGAF, the Video Group AFfect dataset (Sharma et al. 2019, ACII workshops).

    A record is one frame; the label is that of its clip. `group` is the video that the clip was cut from, which must
    not be split; `clip` is what a label belongs to. Frames are written once, as
    `work_folder/RATE/SPLIT/CLIP/frame_000123.jpg`.

    Args:
        source: the folder that holds `Train` and `Val` with the clips, and `Train_labels.txt` and `Val_labels.txt`.
        options: see `Options`.
        work_folder: where the frames are written.
    """

    @dataclass(frozen=True)
    class Options:
        """The dataset's own options.

        Attributes:
            frames_per_second: how many frames of a second are taken.

        Raises:
            UserError: `frames_per_second` is not above 0.
        """

        frames_per_second: float = field(default=1.0, metadata={"help": "frames taken per second of video."})

        def __post_init__(self) -> None:
            if not 0 < self.frames_per_second < float("inf"):
                raise UserError(f"frames_per_second must be more than 0, not {self.frames_per_second}")

    class_names = CLASS_NAMES
    notice = ""
    license = "other"  # the terms stand in card.md

    def __init__(self, source: Path, options: Options | None = None, work_folder: Path | None = None) -> None:
        super().__init__()
        self.source, self.work_folder = source, work_folder
        self.options = options or self.Options()

    @property
    def extra_features(self) -> dict[str, Any]:
        """`seconds` of the frame in its clip, and the `clip`."""
        from datasets import Value

        return {**frame_features(), "clip": Value("string")}

    def records(self) -> list[Record]:
        """Every frame, sorted by image_id: `split/class/clip/frame_000123`.

        Raises:
            UserError: no such folder, no clips, no label file of train or val, an unknown label, no clip that can be
                read, no `work_folder`.
        """
        self._remarks = []
        if self.work_folder is None:
            raise UserError(f"{self.source} holds videos: give a work_folder for their frames")
        clips = self._labelled_clips()
        self._compare_videos(clips)
        rate = self.options.frames_per_second
        place = Path(self.work_folder) / f"{rate:g}_per_second"
        paths = {name: clip.path for name, clip in clips.items()}
        written, broken = write_clips(paths, place, lambda path: frames_at(path, rate))
        if not written:
            raise UserError(f"none of the {len(clips)} clips in {self.source} can be used: {_reasons(broken)}")
        if broken:
            self.remark(f"{len(broken)} of {len(clips)} clips cannot be used and were left out: {_reasons(broken)}")
        cut_short = {name: clip.incomplete for name, clip in written.items() if clip.incomplete}
        if cut_short:
            self.remark(f"{len(cut_short)} clips are incomplete, their intact parts were taken: {_reasons(cut_short)}")
        frames = sum(len(clip.frames) for clip in written.values())
        self._remarks.append(f"{frames:,} frames of {len(written):,} clips, {rate:g} per second.")
        records = [record for name, clip in written.items() for record in _frames(name, clips[name], clip)]
        return sorted(records, key=lambda record: record.image_id)

    def _labelled_clips(self) -> dict[str, LabelledClip]:
        """`SPLIT/CLIP` -> clip."""
        paths, places = find_splits(self.source)
        if not paths:
            raise no_splits(places[-1], "clips")
        clips: dict[str, LabelledClip] = {}
        counts = {}
        for key, path in paths.items():
            folder = inner_folder(path, self.source, SUFFIXES)
            files = files_in([folder], self.source)
            videos = [file for file in files if file.suffix.lower() in SUFFIXES]
            if not videos:
                found = listing(printable(file.name) for file in files)
                raise UserError(f"no clips in {printable(folder)}: expected files such as 12_3.mp4, found {found}")
            counts[key] = len(videos)
            label_file = find_label_file(key, {folder, path}, places, self.source)
            clips |= self._of_split(key, videos, label_file)
        self.compare_counts("clips", counts, PUBLISHED)
        return clips

    def _of_split(self, key: str, videos: Sequence[Path], label_file: Path | None) -> dict[str, LabelledClip]:
        labels: dict[str, int] | None = None
        if label_file is not None:
            labels = labels_by_name(read_label_file(label_file), CLASS_NAMES, label_file.name, LABEL_NUMBERS)
        elif key != "test":
            raise UserError(f"no label file of {key}: expected {key.capitalize()}_labels.txt beside the folder {key}")
        split = SPLITS[key] if labels is not None else "challenge"
        found = {path: NO_LABEL if labels is None else label_of(path.name, labels) for path in videos}
        unlabelled = [path.name for path, label in found.items() if label is None]
        if label_file is not None and len(unlabelled) == len(found):
            raise UserError(
                f"{label_file.name} names none of the {len(found)} clips in {key}, such as {printable(videos[0].name)}"
            )
        if unlabelled:
            self.remark(f"{key}: {len(unlabelled)} clips without a label, left out", unlabelled)
        names = {name for path in videos for name in (path.name.lower(), path.stem.lower())}
        missing = sorted((labels or {}).keys() - names)
        if missing:
            self.remark(f"{key}: {len(missing)} labels without a clip", missing)
        stems = Counter(path.stem for path in videos)
        twice = sorted(stem for stem, count in stems.items() if count > 1)
        if twice:
            self.remark(f"{key}: {len(twice)} names stand for several clips, which keep their suffixes", twice)
        clips = {}
        for path, label in found.items():
            if label is not None:
                match = CLIP_NAME.fullmatch(path.stem)
                name = printable(path.stem if stems[path.stem] == 1 else path.name)
                video = printable(match["video"] if match else path.stem)
                clips[f"{split}/{name}"] = LabelledClip(path, split, label, video)
        return clips

    def _compare_videos(self, clips: dict[str, LabelledClip]) -> None:
        """Remark on videos whose clips are in several splits."""
        splits: dict[str, set[str]] = {}
        for clip in clips.values():
            splits.setdefault(clip.video, set()).add(clip.split)
        shared = sorted(video for video, its_splits in splits.items() if len(its_splits) > 1)
        if shared:
            self.remark(
                f"By their names, clips of {len(shared)} of {len(splits)} videos are in more than one split, so that "
                "scores may be too high",
                shared,
            )


def _frames(name: str, clip: LabelledClip, written: Clip) -> list[Record]:
    stem = name.partition("/")[2]
    place = f"{clip.split}/{CLASS_NAMES[clip.label]}/{stem}" if clip.label != NO_LABEL else name
    return [
        Record(f"{place}/{path.stem}", path, clip.split, clip.label, clip.video, {"seconds": seconds, "clip": stem})
        for path, seconds in written.frames
    ]


def _reasons(broken: dict[str, str]) -> str:
    return listing(f"{name} ({reason})" for name, reason in broken.items())
