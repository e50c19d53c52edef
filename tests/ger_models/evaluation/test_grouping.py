"""Predictions of frames -> predictions of videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ger_datasets.support.errors import UserError
from ger_models.evaluation.grouping import GROUP_RULES, by_group
from ger_models.evaluation.predictions import Predictions, read_predictions, write_predictions

SHARES = np.array([[0.9, 0.1], [0.4, 0.6], [0.45, 0.55], [0.2, 0.8]])


def frames() -> Predictions:
    """Three frames of video a, labelled, and one of video b, without a label."""
    return Predictions(
        ["a/0", "a/1", "a/2", "b/0"],
        ["test"] * 4,
        np.array([0, 0, -1, 1]),
        np.log(SHARES).astype(np.float32),
        "m",
        ["no", "yes"],
        groups=["a", "a", "a", "b"],
        seconds=[0.0, 0.5, 1.0, None],
    )


@pytest.mark.parametrize(
    ("rule", "expected"), [("mean", [0.583, 0.417]), ("median", [0.45, 0.55]), ("majority", [1 / 3, 2 / 3])]
)
def test_rules(rule: str, expected: list[float]) -> None:
    found = by_group(frames(), rule)
    assert (found.image_ids, found.labels.tolist(), found.splits) == (["a", "b"], [0, 1], ["test", "test"])
    np.testing.assert_allclose(np.exp(found.logits[0]), expected, atol=0.001)
    assert found.note == f"each group is scored by the {rule} of its frames"
    assert found.groups is None, "a bootstrap draws whole groups"


def test_a_tied_majority_goes_by_the_mean() -> None:
    assert GROUP_RULES["majority"](np.array([[0.9, 0.1], [0.4, 0.6]])).argmax() == 0
    assert GROUP_RULES["majority"](np.array([[0.6, 0.4], [0.1, 0.9]])).argmax() == 1


def test_wrong_groups() -> None:
    with pytest.raises(UserError, match=r"have different labels \(no, yes\)"):
        by_group(replace(frames(), labels=np.array([0, 1, 0, 1])))
    with pytest.raises(UserError, match="has no column group"):
        by_group(replace(frames(), groups=None))
    with pytest.raises(UserError, match="there are mean, median, majority"):
        by_group(frames(), "best")


def test_clips_of_one_video() -> None:
    """Two clips with labels of their own: the video cannot be scored, its clips can, and stay one video's."""
    table = replace(frames(), labels=np.array([0, 1, 1, 1]), clips=["a_1", "a_2", "a_2", "b_1"])
    with pytest.raises(UserError, match=r"group 'a' have different labels .* score its clips with --by clip"):
        by_group(table)
    found = by_group(table, column="clip")
    assert (found.image_ids, found.labels.tolist()) == (["a_1", "a_2", "b_1"], [0, 1, 1])
    assert found.groups == ["a", "a", "b"]
    assert found.note == "each clip is scored by the mean of its frames"
    with pytest.raises(UserError, match="has no column clip"):
        by_group(frames(), column="clip")
    with pytest.raises(UserError, match="by group or clip, not by 'video'"):
        by_group(table, column="video")


def test_clips_in_files(tmp_path: Path, run_script: Callable) -> None:
    table = replace(frames(), clips=["a_1", "a_2", "a_2", "b_1"], labels=np.array([0, 1, 1, 1]))
    write_predictions(tmp_path / "a.parquet", table)
    assert read_predictions(tmp_path / "a.parquet").clips == table.clips
    words = ("--predictions", tmp_path / "a.parquet", "--by", "clip", "--output_dir", tmp_path / "report")
    code, figures, error = run_script("evaluate_predictions", *words)
    assert code == 0, error
    assert figures["accuracy"] == 1
    code, _, error = run_script("evaluate_predictions", *words[:3], "video", *words[4:])
    assert (code, "--by must be group or clip, not 'video'" in error) == (2, True)


def test_groups_of_one_name_in_two_splits() -> None:
    found = by_group(replace(frames(), splits=["test", "test", "val", "val"], labels=np.array([0, 0, 1, 1])))
    assert found.image_ids == ["test/a", "val/a", "val/b"]


def test_the_command_line(tmp_path: Path, run_script: Callable) -> None:
    write_predictions(tmp_path / "a.parquet", frames())
    assert read_predictions(tmp_path / "a.parquet").seconds == [0.0, 0.5, 1.0, None]
    code, figures, error = run_script(
        "evaluate_predictions",
        "--predictions",
        tmp_path / "a.parquet",
        "--by",
        "group",
        "--output_dir",
        tmp_path / "r",
    )
    assert code == 0, error
    assert figures["rows"] == 2
    assert figures["accuracy"] == 1
    assert "group is scored by the mean" in figures["note"]
