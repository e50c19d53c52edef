"""The model table: means and intervals over seeds and photos, paired tests, Holm's correction."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ger_datasets.support.errors import UserError
from ger_models.evaluation.model_table import Entry, holm, model_table, sign_flip
from ger_models.evaluation.predictions import Predictions
from ger_models.evaluation.report.model_table_files import latex, write_model_table

PHOTOS = 200


def predictions(name: str, right: float, seed: int = 0, **more: Any) -> Predictions:
    """Photos of three classes, of which a share `right` is answered correctly."""
    rng = np.random.default_rng(seed)
    labels = np.arange(PHOTOS) % 3
    answers = np.where(rng.random(PHOTOS) < right, labels, (labels + 1) % 3)
    order = rng.permutation(PHOTOS)
    ids = np.array([f"test/p{i}" for i in range(PHOTOS)])
    return Predictions(
        ids[order].tolist(),
        ["test"] * PHOTOS,
        labels[order],
        np.eye(3, dtype=np.float32)[answers[order]],
        name,
        ("Negative", "Neutral", "Positive"),
        faces=np.arange(PHOTOS, dtype=np.int32)[order] % 12,
        **more,
    )


def test_means_over_seeds_and_who_is_better() -> None:
    good = Entry("good", [predictions("good", 0.9, seed) for seed in range(3)], {"parameters": 1234567})
    poor = Entry("poor", [predictions("poor", 0.6, seed) for seed in range(10, 13)])
    table = model_table([poor, good], "test")
    first, second = table["rows"]
    assert (first["model"], second["model"]) == ("good", "poor")
    assert first["accuracy"] == pytest.approx(np.mean(first["seeds"]))
    assert first["std"] == pytest.approx(np.std(first["seeds"], ddof=1))
    low, high = first["photos_interval"]
    assert low < first["accuracy"] < high
    low, high = first["seeds_interval"]
    # Student's t with 2 degrees of freedom
    assert high - low == pytest.approx(2 * 4.302653 * first["std"] / 3**0.5, rel=1e-4)
    assert sum(each["photos"] for each in first["by_faces"].values()) == PHOTOS
    (pair,) = table["pairs"]
    assert pair["models"] == ["good", "poor"]
    assert pair["difference"] == pytest.approx(first["accuracy"] - second["accuracy"])
    assert pair["p"] < 0.001
    assert pair["significant"]


def test_equal_models_are_not_told_apart() -> None:
    one = Entry("one", [predictions("one", 0.7, 0)])
    other = Entry("other", [predictions("other", 0.7, 1)])
    same = Entry("same", [predictions("same", 0.7, 0)])
    table = model_table([one, other, same], "test")
    assert all(row["std"] is None and row["seeds_interval"] is None for row in table["rows"])
    by_models = {frozenset(pair["models"]): pair for pair in table["pairs"]}
    assert by_models[frozenset(("one", "same"))]["p"] == 1.0
    assert not by_models[frozenset(("one", "other"))]["significant"]


def test_photos_of_other_datasets_are_rows_without_a_test() -> None:
    there = predictions("there", 0.8)
    elsewhere = Predictions(
        [f"other/{name}" for name in there.image_ids], there.splits, there.labels, there.logits, "m", there.class_names
    )
    table = model_table([Entry("a", [there]), Entry("b", [elsewhere])], "test")
    assert [row["compared"] for row in table["rows"]] == [1, 2]
    assert table["pairs"] == []


def test_sign_flip_is_the_exact_test_where_that_is_feasible() -> None:
    # 10 gains of 1 and 2 of -1: |sum| >= 8 in 2 * (C(12,0) + C(12,1) + C(12,2)) of 2**12 sign patterns
    assert sign_flip(np.array([1.0] * 10 + [-1.0] * 2)) == pytest.approx(2 * 79 / 4096, abs=0.004)


def test_sign_flip_rejects_as_often_as_it_should() -> None:
    rng = np.random.default_rng(1)
    p_values = [sign_flip(rng.choice([-1.0, 0.0, 1.0], 60), seed=i) for i in range(200)]
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.1


def test_holm() -> None:
    # Holm 1979's procedure by hand: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, made monotone
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_frames_of_one_video_are_one_unit() -> None:
    alone = predictions("a", 0.9), predictions("b", 0.7, 5)
    groups = [f"video {int(name.removeprefix('test/p')) // 50}" for name in alone[0].image_ids]
    grouped = [Entry("a", [predictions("a", 0.9, groups=groups)])]
    groups = [f"video {int(name.removeprefix('test/p')) // 50}" for name in alone[1].image_ids]
    grouped.append(Entry("b", [predictions("b", 0.7, 5, groups=groups)]))
    (pair,) = model_table(grouped, "test")["pairs"]
    assert pair["p"] >= 2 / 2**4 * 0.8  # four videos have sixteen sign patterns


def test_files(tmp_path: Path) -> None:
    entries = [Entry("a_b & <c>", [predictions("x", 0.9)]), Entry("=1+1", [predictions("y", 0.6, 3)])]
    write_model_table(tmp_path, model_table(entries, "test"), note="drawn photos")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] != ".") == sorted(
        f"compare.{suffix}" for suffix in ("csv", "html", "json", "md", "tex")
    )
    page = (tmp_path / "compare.html").read_text()
    assert "a_b &amp; &lt;c&gt;" in page
    assert "drawn photos" in page
    rows = list(csv.DictReader((tmp_path / "compare.csv").read_text().splitlines()))
    assert [row["model"] for row in rows] == ["a_b & <c>", "'=1+1"]
    assert r"a\_b \& <c>" in (tmp_path / "compare.tex").read_text()
    content = json.loads((tmp_path / "compare.json").read_text())
    assert float(rows[0]["accuracy"]) == content["rows"][0]["accuracy"]
    assert latex(content).count(r"\\") == 3
    write_model_table(tmp_path, model_table(entries, "test"))  # an earlier table of ours is replaced
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/compare.md").write_text("my notes")
    with pytest.raises(UserError, match="not written by this comparison"):
        write_model_table(tmp_path / "mine", model_table(entries, "test"))
    assert (tmp_path / "mine/compare.md").read_text() == "my notes"


def test_what_cannot_be_compared() -> None:
    entry = Entry("a", [predictions("a", 0.9)])
    with pytest.raises(UserError, match="two models are called a"):
        model_table([entry, entry], "test")
    with pytest.raises(UserError, match="validation"):
        model_table([entry], "validation")
    fewer = predictions("a", 0.9, 1).take(range(100))
    with pytest.raises(UserError, match="a: "):
        model_table([Entry("a", [predictions("a", 0.9), fewer])], "test")
