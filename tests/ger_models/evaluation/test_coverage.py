"""Coverage and sizes of prediction sets in the report, and what tables and ensembles keep of a calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax

from ger_datasets.support.errors import UserError
from ger_models.evaluation.calibration import calibrate
from ger_models.evaluation.coverage import coverage_figures
from ger_models.evaluation.ensemble.applying import apply
from ger_models.evaluation.ensemble.ensemble import Ensemble
from ger_models.evaluation.predictions import CALIBRATION_KEY, Predictions, read_predictions, write_predictions
from ger_models.evaluation.report.writing import make_report

NAMES = ["a", "b", "c"]
CALIBRATION = {"temperature": 2.0, "coverage": 0.9, "photos": 40, "lac": 0.5, "aps": 0.9, "class_names": NAMES}
CALIBRATION |= {"dataset": "d", "dataset_revision": "r1", "split": "validation"}


def table(probabilities: np.ndarray, labels: np.ndarray, **fields: object) -> Predictions:
    """Predictions with these probabilities after calibration."""
    rows = len(labels)
    ids, splits = [f"{i}" for i in range(rows)], ["test"] * rows
    logits = CALIBRATION["temperature"] * np.log(probabilities)
    return Predictions(ids, splits, labels, logits, "m", NAMES, **{"calibration": CALIBRATION, **fields})


def test_by_hand() -> None:
    shares = np.array([[0.8, 0.1, 0.1], [0.45, 0.45, 0.1], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05]])
    figures = coverage_figures(table(shares, np.array([0, 1, 0, -1])))
    lac = figures["sets"]["lac"]  # {a}, {a, b}, {c}; the last photo has no label
    assert (lac["rows"], lac["coverage"], lac["mean_size"]) == (3, pytest.approx(2 / 3), pytest.approx(4 / 3))
    assert lac["sizes"] == [2, 1, 0]
    assert [lac["per_class"][name]["coverage"] for name in NAMES] == [0.5, 1.0, None]
    aps = figures["sets"]["aps"]  # {a, b}, {a, b}, {c, a}: classes down to a sum of 0.9, ties in their order
    assert aps["coverage"] == 1.0
    assert not figures["fitted_here"]
    assert figures["before"]["log_loss"] != figures["after"]["log_loss"]
    assert coverage_figures(table(shares, np.array([0, 1, 0, -1]), calibration=None)) is None


def test_intervals_hold_what_was_promised_and_groups_widen_them() -> None:
    def simulated(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 1.5, (rows, 3))
        draws = rng.random(rows)[:, None] > softmax(logits, axis=1).cumsum(1)
        return 2 * logits, np.minimum(draws.sum(1), 2)

    logits, labels = simulated(2000, 0)
    fitted = {**CALIBRATION, **calibrate(logits, labels, 0.9)}
    logits, labels = simulated(600, 1)
    ids, splits = [f"{i}" for i in range(600)], ["test"] * 600
    alone = Predictions(ids, splits, labels, logits, "m", NAMES, calibration=fitted)
    figures = coverage_figures(alone)
    assert figures["after"]["ece"] < figures["before"]["ece"] / 2
    for score in ("lac", "aps"):
        whole = figures["sets"][score]
        low, high = whole["coverage_interval"]
        assert low <= 0.9 <= high or (score == "aps" and low > 0.9)
        assert 0.03 < high - low < 0.08
        low, high = whole["mean_size_interval"]
        assert low < whole["mean_size"] < high
        assert sum(whole["sizes"]) == 600
    ten_times = np.repeat(np.arange(60), 10)  # each photo ten times, as frames of a video that all look the same
    grouped = replace(
        alone, logits=logits[ten_times], labels=labels[ten_times], groups=[f"video {i}" for i in ten_times]
    )
    wide = coverage_figures(grouped)["sets"]["lac"]
    narrow = coverage_figures(replace(grouped, groups=None))["sets"]["lac"]
    for name in ("coverage_interval", "mean_size_interval"):
        assert np.ptp(wide[name]) > 2 * np.ptp(narrow[name])


@pytest.mark.parametrize(
    ("split", "revision", "here"),
    [("validation", "r1", True), ("validation", "", True), ("validation", "r2", False), ("test", "r1", False)],
)
def test_the_split_it_was_fitted_on_is_marked(split: str, revision: str, here: bool) -> None:
    shares, labels = np.array([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2]]), np.array([0, 1])
    chosen = replace(table(shares, labels, dataset_revision=revision), splits=[split] * 2)
    assert make_report(chosen, split)["calibration"]["fitted_here"] == here


def test_tables_keep_it_and_ensembles_drop_it(tmp_path: Path) -> None:
    shares, labels = np.array([[0.8, 0.1, 0.1], [0.45, 0.15, 0.4]]), np.array([0, 1])
    path = tmp_path / "a.parquet"
    write_predictions(path, table(shares, labels))
    written = pq.read_table(path).to_pydict()
    np.testing.assert_allclose(written["probabilities"], shares, atol=1e-6)
    assert written["prediction_set"] == [["a"], ["a"]]
    read = read_predictions(path)
    assert read.calibration == CALIBRATION
    whole = apply(
        Ensemble("given", weights=[0.5, 0.5], members=["m", "n"]), [read, replace(read, model="n")], ["test"]
    )
    assert whole.calibration is None
    for text, message in (
        (b"{", "is not JSON"),
        (b'{"temperature": 0}', r"calibration\.temperature must be a number"),
    ):
        content = pq.read_table(path)
        marks = {**content.schema.metadata, CALIBRATION_KEY: text}
        pq.write_table(content.replace_schema_metadata(marks), tmp_path / "b.parquet")
        with pytest.raises(UserError, match=message):
            read_predictions(tmp_path / "b.parquet")
