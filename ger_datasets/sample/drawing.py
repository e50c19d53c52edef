"""The sample dataset: group photos drawn by code, laid out as GAF 3.0 is distributed. No download, no network.

It is a test pattern, not data about people: it lets the whole chain (face detection, skeletons, training, evaluation)
run end to end, and every figure made with it says nothing about real photos.

Each photo's class is the mood that most of its people share, shown by mouth, eyes and brows and, less surely, by
posture. Background, clothes, skin, hair and age are drawn regardless of mood. Some photos hold backs only (their
posture tells), some a single face, some twelve.

    folder/train/{Negative,Neutral,Positive}/neg_1.jpg ...
    folder/val/{Negative,Neutral,Positive}/neg_1.jpg ...         validation and test photos together
    folder/val_list, folder/test_list                            pickled lists of file names in val
    folder/poses/{train,val}/{class}/neg_1_keypoints.json        OpenPose's JSON, COCO-18 joints
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..schema import CLASS_NAMES, SPLITS
from ..support.cpu_cores import usable_cores
from ..support.errors import UserError, listing
from .pen import FINE, Pen
from .people import Person, draw_person, mark_visible, random_person
from .scenery import scenery

PHOTOS: Mapping[str, int] = MappingProxyType({"train": 240, "validation": 90, "test": 90})
PREFIXES = MappingProxyType({"Negative": "neg", "Neutral": "neu", "Positive": "pos"})
FOLDERS = MappingProxyType({"train": "train", "validation": "val", "test": "val"})
LISTS = MappingProxyType({"validation": "val_list", "test": "test_list"})
AGREEMENT = 0.85  # chance that a person shows their photo's class; a strict majority always does
MOST_PEOPLE = 12
WORTH_A_PROCESS = 60  # photos: starting a process takes as long as drawing some twenty
# every 16th photo holds backs only, one face, or twelve; 16 shares no factor with the three classes
SPECIAL = MappingProxyType({3: "backs", 8: "one", 12: "twelve"})


@dataclass(frozen=True)
class Plan:
    """What a photo is going to show."""

    mood: str
    people: int
    faces_visible: bool


def plan_photo(seed: int, split: str, index: int) -> tuple[Plan, np.random.Generator]:
    """The plan of a split's photo number `index`, and the generator to draw it with.

    It depends on these three alone, so asking for more photos leaves the earlier ones as they are.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    kind = SPECIAL.get(index % 16, "group")
    people = {"one": 1, "twelve": 12, "backs": int(rng.integers(2, 7))}.get(kind, int(rng.integers(2, 11)))
    return Plan(CLASS_NAMES[index % len(CLASS_NAMES)], people, kind != "backs"), rng


def choose_moods(rng: np.random.Generator, mood: str, people: int) -> list[str]:
    """A mood for each person: about AGREEMENT of them `mood`, always a strict majority."""
    keep = max(people // 2 + 1, int(rng.binomial(people, AGREEMENT)))
    others = [name for name in CLASS_NAMES if name != mood]
    moods = [mood] * keep + [others[rng.integers(len(others))] for _ in range(people - keep)]
    return [moods[i] for i in rng.permutation(people)]


def draw_photo(
    rng: np.random.Generator,
    mood: str,
    people: int = 6,
    faces_visible: bool = True,
    size: tuple[int, int] | None = None,
) -> tuple[Image.Image, list[Person]]:
    """One group photo.

    Args:
        mood: the class, which a strict majority of the people show.
        people: how many, 1 to 12.
        faces_visible: False turns every back to the viewer; True turns about one back in twenty-five,
            in groups of three to eleven.
        size: width and height in pixels; at random, 640 to 1000 wide, when left out.

    Returns:
        The photo and its people, hindmost first.

    Raises:
        UserError: no such mood, or too many people or too few.
    """
    if mood not in CLASS_NAMES:
        raise UserError(f"mood: {mood!r} is not a class; choose one of {', '.join(CLASS_NAMES)}")
    if not 1 <= people <= MOST_PEOPLE:
        raise UserError(f"people: a drawn photo holds 1 to {MOST_PEOPLE}, not {people}")
    if size is None:
        width = int(rng.integers(640 if people < 8 else 820, 1001))
        size = (width, int(width * rng.uniform(0.66, 0.8)))
    group = _arrange(rng, choose_moods(rng, mood, people), faces_visible, size)
    pen = Pen(scenery(rng, (size[0] * FINE, size[1] * FINE)))
    for number, person in enumerate(group, start=1):
        draw_person(pen, person, number)
    photo, owners = pen.finish()
    for number, person in enumerate(group, start=1):
        mark_visible(person, owners, number)
    return _develop(photo, rng), group


def _arrange(rng: np.random.Generator, moods: list[str], faces_visible: bool, size: tuple[int, int]) -> list[Person]:
    """Everyone in rows, hindmost row first: places, sizes, looks."""
    width, height = size
    people = len(moods)
    rows = 1 + (people > 3) + (people > 8)
    places = np.array_split(np.arange(people), rows)
    spread = rng.uniform(2.0, 2.6)  # head widths from person to person
    step = rng.uniform(1.55, 2.1)  # and from row to row
    above = 1.5 if rows > 1 else rng.uniform(1.3, 1.9)
    unit = min(
        width / (spread * (max(map(len, places)) + 0.5)), height / (above + (rows - 1) * step + rng.uniform(2.2, 4))
    )
    unit *= rng.uniform(0.85, 1.0)
    top = max(above * unit, (height - (above + (rows - 1) * step + 6) * unit) * rng.uniform(0.5, 1.0))
    group: list[Person] = []
    for row, members in enumerate(places):
        scale = unit * 0.95 ** (rows - 1 - row)
        shift = (0.25 if row % 2 else -0.25) * spread * unit if rows > 1 else 0.0
        for slot in rng.permutation(len(members)):
            x = width / 2 + (slot - (len(members) - 1) / 2) * spread * unit + shift + rng.normal(0, 0.1) * unit
            child = bool(row == rows - 1 and people > 1 and rng.random() < 0.2)
            y = top + row * step * unit + rng.normal(0, 0.12) * unit + (rng.uniform(0.3, 0.8) * unit if child else 0)
            head = scale * rng.uniform(0.92, 1.08) * (0.88 if child else 1.0)
            facing = faces_visible and (people not in range(3, MOST_PEOPLE) or rng.random() > 0.04)
            # arms before somebody's face are rare in group photos: a few tries to keep them out
            for _ in range(7):
                mood = moods[members[slot]]
                person = random_person(rng, mood, (x, y), head, facing, child, telling=not faces_visible)
                if not _covers(person, group):
                    break
            group.append(person)
    return group


def _covers(person: Person, group: list[Person]) -> bool:
    """Whether this person's arms would come before the head of somebody drawn earlier."""
    arms = person.body.arm_points()
    distances = [np.hypot(*((arms - other.frame.centre) / other.frame.unit).T) for other in group]
    return any(distance.min() < 0.95 for distance in distances)


def _develop(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The camera's part: white balance, exposure, a little grain."""
    gain = rng.uniform(0.9, 1.08) * rng.uniform(0.97, 1.03, 3)
    grain = rng.integers(-3, 4, (photo.height, photo.width, 1), np.int8)
    return Image.fromarray(np.clip(np.asarray(photo) * gain.astype(np.float32) + grain, 0, 255).astype(np.uint8))


# --- folders ----------------------------------------------------------------------------------------------------


def draw_sample(folder: Path, photos: Mapping[str, int] = PHOTOS, seed: int = 0, num_proc: int | None = None) -> None:
    """Draw the sample dataset into `folder`, which must be missing or empty.

    The same seed and numbers give the same bytes (of the same Pillow). `folder` appears when all is drawn.

    Args:
        photos: how many photos each split gets; the classes take turns.
        seed: 0 or more.
        num_proc: processes that draw; None: as many as there are cores, and one for a few photos.

    Raises:
        UserError: `folder` holds something already, or a number makes no sense.
    """
    folder = Path(folder)
    strange = sorted(set(photos) - set(SPLITS))
    if strange:
        raise UserError(f"photos: no split is called {listing(strange)}; the splits are {', '.join(SPLITS)}")
    if seed < 0 or min(photos.values(), default=0) < 0:
        raise UserError(f"seed and numbers of photos must be 0 or more, not seed {seed} and {dict(photos)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        found = listing(sorted(p.name for p in folder.iterdir())) if folder.is_dir() else "a file"
        raise UserError(
            f"{folder}: the sample needs a new or an empty folder, found {found}; name another or clear it"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        unfinished = beside / folder.name
        unfinished.mkdir()
        _fill(unfinished, photos, seed, num_proc)
        if folder.exists():
            folder.rmdir()
        unfinished.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _fill(folder: Path, photos: Mapping[str, int], seed: int, num_proc: int | None) -> None:
    numbers: dict[str, Iterator[int]] = {}  # of the next photo of a folder's class
    jobs: list[tuple[str, int, str]] = []  # split, index, and where the photo goes, without suffix
    for split in SPLITS:
        for index in range(photos.get(split, 0)):
            mood = plan_photo(seed, split, index)[0].mood
            place = f"{FOLDERS[split]}/{mood}"
            number = next(numbers.setdefault(place, count(1)))
            jobs.append((split, index, f"{place}/{PREFIXES[mood]}_{number}"))
    for place in (f"{name}/{mood}" for name in set(FOLDERS.values()) for mood in CLASS_NAMES):
        (folder / place).mkdir(parents=True)
        (folder / "poses" / place).mkdir(parents=True)
    for split, name in LISTS.items():
        if photos.get(split):
            names = [f"{Path(place).name}.jpg" for of, _, place in jobs if of == split]
            (folder / name).write_bytes(pickle.dumps(names, protocol=2))
    draw = partial(_draw_job, folder, seed)
    processes = min(num_proc or usable_cores(), -(-len(jobs) // WORTH_A_PROCESS))
    with contextlib.ExitStack() as stack:
        drawing: Callable[..., Iterable[None]] = map
        if processes > 1:
            context = multiprocessing.get_context("spawn")
            drawing = stack.enter_context(ProcessPoolExecutor(processes, context)).map
        for _ in tqdm(drawing(draw, jobs), total=len(jobs), desc="drawing the sample", unit="photo"):
            pass


def _draw_job(folder: Path, seed: int, job: tuple[str, int, str]) -> None:
    """Draw one photo and write it and its poses."""
    split, index, place = job
    plan, rng = plan_photo(seed, split, index)
    photo, people = draw_photo(rng, plan.mood, plan.people, plan.faces_visible)
    photo.save(folder / f"{place}.jpg", quality=90)
    (folder / "poses" / f"{place}_keypoints.json").write_text(json.dumps(pose_json(people)), encoding="utf-8")


def pose_json(people: list[Person]) -> dict:
    """The joints as OpenPose writes them: x, y, confidence of 18 joints in one flat list for each person."""
    rows = [[round(float(value), 2) for value in person.joints.ravel()] for person in people]
    return {"version": 1.3, "people": [{"pose_keypoints_2d": row} for row in rows]}
