"""A dataset and a face detector of another package, found by their entry points and used through prepare.py."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from ger_datasets.builders import BUILDERS
from ger_datasets.detectors import DETECTORS
from ger_datasets.faces import FaceDetector
from ger_datasets.support.errors import UserError
from ger_models.pipeline_ger import FaceColumns

BUILDER = """
from dataclasses import dataclass, field
from ger_datasets.records import Record

class ToyBuilder:
    class_names = ("Calm", "Loud")
    extra_features = {}
    notice = ""
    license = "mit"

    @dataclass(frozen=True)
    class Options:
        loud_first: bool = field(default=False, metadata={"help": "Loud photos come first."})
        most_photos: int = field(default=9, metadata={"help": "Maximum number of photos."})

    def __init__(self, source, options):
        self.source, self.options = source, options

    def records(self):
        paths = sorted(self.source.glob("*.png"))[: self.options.most_photos]
        return [Record(f"train/{path.stem}", path, "train", i % 2) for i, path in enumerate(paths)]

    def remarks(self):
        return []
"""
DETECTOR = '''
import numpy as np
from ger_datasets.faces import Faces

class CornerDetector:
    """Finds one face in the upper left corner."""

    settings = {"name": "corner"}

    def __init__(self, device="cpu"):
        self.device = device

    def extract(self, images):
        box, landmarks = [[0, 0, 16, 16]], [[[4, 5], [12, 5], [8, 9], [5, 12], [11, 12]]]
        arrays = box, [0.75], landmarks, np.zeros((1, 256))
        return [Faces(*(np.array(array, np.float32) for array in arrays)) for _ in images]
'''
ENTRY_POINTS = """
[group_emotion.datasets]
toy = toy_emotions.builder:ToyBuilder
torn = toy_emotions.nowhere:TornBuilder
gaf3 = toy_emotions.builder:ToyBuilder

[group_emotion.detectors]
corner = toy_emotions.detector:CornerDetector
"""


def forget_entry_points() -> None:
    importlib.invalidate_caches()
    for registry in (BUILDERS, DETECTORS):
        vars(registry).pop("_added", None)


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with a dataset that works, one that cannot be imported, and a detector, as pip would install it."""
    folder, metadata = tmp_path / "site" / "toy_emotions", tmp_path / "site" / "toy_emotions-1.0.dist-info"
    folder.mkdir(parents=True)
    metadata.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "builder.py").write_text(BUILDER)
    (folder / "detector.py").write_text(DETECTOR)
    (folder / "card.md").write_text("# Toy emotions\n")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-emotions\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    forget_entry_points()
    yield
    for name in [name for name in sys.modules if name.startswith("toy_emotions")]:
        del sys.modules[name]
    monkeypatch.undo()
    forget_entry_points()


@pytest.fixture
def toy_raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    for i in range(4):
        Image.new("RGB", (48, 40), (i * 40, 90, 120)).save(tmp_path / "raw" / f"photo_{i}.png")
    return tmp_path / "raw"


def test_they_are_used_by_the_scripts(
    other_package: None, toy_raw: Path, run_script: Callable, tmp_path: Path
) -> None:
    common = ("prepare", "--source", toy_raw, "--output", tmp_path / "out", "--num_proc", 1, "--expressions", "none")
    toy = (*common, "--dataset", "toy", "--detector", "corner")
    code, figures, log = run_script(*toy, "--most_photos", 3, "--loud_first")
    assert code == 0, log
    assert (figures["rows"], figures["faces"]) == (3, 3)
    rows = load_dataset(str(tmp_path / "out"), split="train")
    assert rows["face_boxes"][:] == [[[0, 0, 16, 16]]] * 3
    assert rows.features["label"].names == ["Calm", "Loud"]
    settings = json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]
    assert settings["detector"] == {"name": "corner"}
    assert settings["options"] == {"loud_first": True, "most_photos": 3}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# Toy emotions" in card
    assert "Faces: name corner." in card

    code, _, log = run_script(*toy, "--min_face_pixels", 40)
    assert code == 2
    assert "the detector corner has no min_face_pixels" in log

    code, _, log = run_script(*toy, "--split_by", "video")
    assert code == 2
    assert "toy has no option split_by: it has loud_first, most_photos" in log
    code, _, log = run_script(*common, "--dataset", "toy", "--most_photos", 3, "--loud_first")
    assert code == 2
    assert "detector was" in log


def test_one_that_cannot_be_loaded_is_named(
    other_package: None, toy_raw: Path, run_script: Callable, tmp_path: Path
) -> None:
    assert {"gaf3", "toy", "torn"} <= set(BUILDERS)
    assert BUILDERS["gaf3"].__module__ == "ger_datasets.gaf3.builder", "the package's own parts stay"
    code, _, log = run_script("prepare", "--dataset", "torn", "--source", toy_raw, "--output", tmp_path / "out")
    assert code == 2
    assert "error: the dataset 'torn' of toy-emotions cannot be loaded" in log
    assert "toy_emotions.nowhere" in log


def test_a_detector_finds_the_faces_of_new_photos(other_package: None) -> None:
    detector = DETECTORS["corner"](device="cpu")
    assert isinstance(detector, FaceDetector)
    photo = Image.new("RGB", (60, 50))
    faces = FaceColumns(detector="corner")
    (row,) = faces([photo])
    assert row["face_boxes"] == [[0, 0, 16, 16]]
    (row,) = faces([photo], whole_face=True)  # the detector cannot do it: O-Net looks at the whole picture
    assert row["face_boxes"] == [[0, 0, 60, 50]]
    assert np.any(row["face_features"])
    with pytest.raises(UserError, match=r"unknown face detector 'eyes'.*mtcnn, corner"):
        FaceColumns(detector="eyes")([photo])
