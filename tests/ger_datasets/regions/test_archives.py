"""Feature archives of other pipelines become two columns, at once or later; what does not fit goes to quarantine."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from ger_datasets.records import Record
from ger_datasets.regions.archives import RegionArchives
from ger_datasets.support.errors import BadPhoto, UserError

SIZE = (64, 48)


def archive(path: Path, boxes: object, features: object, **others: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, boxes=boxes, features=features, **others)
    return path


@pytest.fixture
def archives(raw_folder: Path, tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two regions of neg_1, none of pos_1, in pixels; one of neu_1 in shares; the others have no file."""
    folder = tmp_path / "archives"
    archive(folder / "train/negative/neg_1.npz", [[1, 2, 30, 40], [-5, 3, 900, 20]], rng.normal(size=(2, 5)), info="x")
    archive(folder / "train/Positive/pos_1.npz", np.zeros((0, 4)), np.zeros((0, 5)))
    archive(folder / "train/Neutral/neu_1.npz", np.array([[0.25, 0, 0.5, 1]], np.float16), np.ones((1, 5), np.float16))
    return folder


def columns(source: RegionArchives, raw: Path, name: str) -> dict:
    return dict(source.columns(Record(name, raw / f"{name}.jpg", "train"), Image.new("RGB", SIZE)))


def test_columns(archives: Path, raw_folder: Path) -> None:
    source = RegionArchives(archives, raw_folder)
    source.check()
    source = pickle.loads(pickle.dumps(source))  # noqa: S301 - as a worker gets it
    two = columns(source, raw_folder, "train/Negative/neg_1")
    assert two["region_boxes"] == [[1, 2, 30, 40], [0, 3, 64, 20]]
    with np.load(archives / "train/negative/neg_1.npz") as file:
        np.testing.assert_array_equal(np.float32(two["region_features"]), file["features"].astype(np.float32))
    assert columns(source, raw_folder, "train/Positive/pos_1") == {"region_boxes": [], "region_features": []}
    assert columns(source, raw_folder, "train/Neutral/neu_1")["region_boxes"] == [[16, 0, 32, 48]]
    assert columns(source, raw_folder, "val/Neutral/neu_1") == {"region_boxes": None, "region_features": None}
    assert (source.settings["files"], source.settings["numbers"]) == (3, 5)


class Executed:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("executed",)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.write_bytes(b"no archive"), "damaged, or no .npz file"),
        (lambda path: np.savez(path, boxes=np.zeros((1, 4))), "no array features in it"),
        (lambda path: archive(path, np.zeros((2, 4)), np.ones((3, 5))), "do not fit together"),
        (lambda path: archive(path, np.zeros((2, 5)), np.ones((2, 5))), "do not fit together"),
        (lambda path: archive(path, np.zeros((2, 4)), np.ones(5)), "do not fit together"),
        (
            lambda path: archive(path, np.zeros((2, 4)), np.ones((2, 7))),
            "features of 7 numbers, where other files have 5",
        ),
        (lambda path: archive(path, np.full((1, 4), np.nan), np.ones((1, 5))), "not finite"),
        (lambda path: archive(path, np.zeros((1, 4)), np.full((1, 5), 1e300)), "not finite"),
        (lambda path: archive(path, [[9, 9, 1, 1]], np.ones((1, 5))), "x2 y2 lie before x1 y1"),
        (lambda path: archive(path, ["a"], np.ones((1, 5))), "boxes holds"),
        (lambda path: archive(path, np.zeros((20_000, 4)), np.ones((20_000, 5))), "20,000 regions"),
        (lambda path: archive(path, np.zeros((1, 4)), np.array([[Executed()]], object)), ""),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(
    archives: Path, raw_folder: Path, write: Callable[[Path], object], reason: str
) -> None:
    write(archives / "train/negative/neg_2.npz")
    source = RegionArchives(archives, raw_folder)
    with pytest.raises(BadPhoto, match=f"^regions: .*neg_2.npz: .*{reason}"):
        columns(source, raw_folder, "train/Negative/neg_2")


def test_refusals_of_folders(archives: Path, raw_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        RegionArchives(tmp_path / "gone", raw_folder).check()
    with pytest.raises(UserError, match=r"no feature archives in .* found train"):
        RegionArchives(raw_folder, raw_folder).check()
    archive(tmp_path / "strangers" / "mona_lisa.npz", np.zeros((0, 4)), np.zeros((0, 5)))
    with pytest.raises(UserError, match=r"none of the 1 feature archives .* archives mona_lisa; photos neg_1"):
        RegionArchives(tmp_path / "strangers", raw_folder).check()


def test_prepared_at_once_or_later_it_is_the_same(
    run_script: Callable, archives: Path, raw_folder: Path, tmp_path: Path
) -> None:
    call = (
        "prepare",
        "--dataset",
        "gaf3",
        "--source",
        raw_folder,
        "--num_proc",
        1,
        "--expressions",
        "none",
        "--output",
    )
    assert run_script(*call, tmp_path / "later")[0] == 0
    for output in ("later", "once"):
        code, _, log = run_script(*call, tmp_path / output, "--regions", archives)
        assert code == 0, log
    once, later = (load_dataset(str(tmp_path / name), split="train", streaming=True) for name in ("once", "later"))
    rows = {row["image_id"]: row for row in once}
    for row in later:
        assert row["region_boxes"] == rows[row["image_id"]]["region_boxes"]
        assert row["region_features"] == rows[row["image_id"]]["region_features"]
    assert rows["train/Negative/neg_1"]["region_boxes"] == [[1, 2, 30, 40], [0, 3, 64, 20]]
    assert rows["train/Positive/pos_1"]["region_features"] == []
    assert rows["train/Positive/pos_2"]["region_features"] is None
    card = (tmp_path / "once" / "README.md").read_text(encoding="utf-8")
    assert "Regions from feature archives: files 3, files_sha256" in card
