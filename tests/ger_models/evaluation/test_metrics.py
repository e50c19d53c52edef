"""The figures against scikit-learn and against numbers worked out by hand."""

from __future__ import annotations

import functools
import json
import sys
import tempfile
from pathlib import Path

import evaluate
import numpy as np
import pytest
from sklearn import metrics as reference

import ger_models.evaluation.metrics as package
from ger_datasets.support.errors import UserError
from ger_models.evaluation.metrics import METRICS, Metric, compute_metrics
from ger_models.evaluation.metrics.group_emotion.group_emotion import GroupEmotion
from ger_models.evaluation.predictions import Predictions
from ger_models.evaluation.report.card import render_card
from ger_models.evaluation.report.writing import make_report

NAMES = ("Negative", "Neutral", "Positive")
FOLDER = Path(package.__file__).parent / "group_emotion"


def drawn(rows=300, seed=0, classes=3):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)).astype(np.float32)
    logits[np.arange(rows), labels] += 1
    return labels, logits


def one_hot(predicted, classes=3):
    return np.eye(classes, dtype=np.float32)[predicted]


def test_against_scikit_learn():
    labels, logits = drawn()
    predicted = logits.argmax(axis=1)
    figures = compute_metrics(labels, logits, NAMES)
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert figures["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    assert figures["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert figures["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert figures["log_loss"] == pytest.approx(reference.log_loss(labels, probabilities))
    assert figures["confusion_matrix"] == reference.confusion_matrix(labels, predicted).tolist()
    recalls = reference.recall_score(labels, predicted, average=None)
    assert [row["recall"] for row in figures["per_class"].values()] == pytest.approx(recalls.tolist())
    areas = [reference.roc_auc_score(labels == index, probabilities[:, index]) for index in range(3)]
    assert [row["auc"] for row in figures["per_class"].values()] == pytest.approx(areas)
    assert figures["auc"] == pytest.approx(reference.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert list(figures["per_class"]) == list(NAMES)
    assert json.loads(json.dumps(figures)) == figures


def test_by_hand():
    labels = [0, 0, 0, 1, 1, 2, -1]
    figures = compute_metrics(labels, one_hot([0, 0, 1, 1, 0, 2, 2]), NAMES)
    assert figures["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    right, wrong = np.log(np.e + 2) - 1, np.log(np.e + 2)
    assert figures["log_loss"] == pytest.approx((4 * right + 2 * wrong) / 6)
    assert (figures["rows"], figures["unlabelled"]) == (6, 1)
    neutral = figures["per_class"]["Neutral"]
    assert {name: neutral[name] for name in ("precision", "recall", "f1", "support", "predicted")} == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "support": 2,
        "predicted": 2,
    }
    # Wilson's interval for 1 of 2, from its formula: (1 + z²/2 ± z·sqrt(1/2 + z²/4)) / (2 + z²)
    assert neutral["recall_interval"] == pytest.approx([0.09453, 0.90547], abs=1e-4)
    assert figures["per_class"]["Positive"]["recall_interval"] == pytest.approx([0.20655, 1.0], abs=1e-4)


def test_absent_class():
    labels, predicted = [0, 0, 1, 1], [0, 1, 1, 1]
    figures = compute_metrics(labels, one_hot(predicted), NAMES)  # nobody Positive, nothing predicted Positive
    assert figures["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert figures["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    absent = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "auc": None, "support": 0, "predicted": 0}
    assert figures["per_class"]["Positive"] == absent | {
        f"{name}_interval": None for name in ("precision", "recall", "f1", "auc")
    }
    assert figures["auc"] == pytest.approx(0.75), "of the two classes there are"
    predicted = [0, 2, 1, 1]  # now it is predicted: its F1 counts, its recall cannot
    figures = compute_metrics(labels, one_hot(predicted), NAMES)
    assert figures["balanced_accuracy"] == pytest.approx(0.75)
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    json.dumps(figures, allow_nan=False)


def test_one_row():
    figures = compute_metrics([2], one_hot([2]), NAMES)
    assert figures["accuracy"] == 1
    assert figures["accuracy_interval"] == [1, 1]
    assert figures["auc"] is figures["auc_interval"] is None
    json.dumps(figures, allow_nan=False)


def test_equal_logits_go_to_the_first_class():
    assert compute_metrics([0, 1], np.zeros((2, 3)), NAMES)["confusion_matrix"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_intervals_hold_the_figure_and_shrink():
    widths = []
    for rows in (100, 1600):
        figures = compute_metrics(*drawn(rows), NAMES)
        for name in ("accuracy", "balanced_accuracy", "macro_f1"):
            low, high = figures[f"{name}_interval"]
            assert 0 <= low < figures[name] < high <= 1
        low, high = figures["accuracy_interval"]
        normal = 2 * 1.96 * (figures["accuracy"] * (1 - figures["accuracy"]) / rows) ** 0.5
        assert high - low == pytest.approx(normal, rel=0.12)
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_intervals_are_those_of_resampled_rows():
    labels, logits = drawn(60)
    figures = compute_metrics(labels, logits, NAMES, bootstrap_samples=4000)
    generator = np.random.default_rng(1)
    drawn_rows = generator.integers(0, 60, (4000, 60))
    predicted = logits.argmax(axis=1)
    slow = [reference.f1_score(labels[rows], predicted[rows], average="macro") for rows in drawn_rows[:800]]
    assert figures["macro_f1_interval"] == pytest.approx(np.percentile(slow, [2.5, 97.5]), abs=0.02)


def test_calibration_by_hand():
    logits = np.log(np.array([[0.9, 0.05, 0.05], [0.9, 0.06, 0.04], [0.3, 0.5, 0.2], [0.1, 0.1, 0.8]]))
    figures = compute_metrics([0, 1, 1, 2], logits, NAMES)
    # bins of a fifteenth: 0.5 is in the eighth, 0.8 (as float32, just above) in the thirteenth, 0.9 in the fourteenth
    bins = [(row["rows"], row["confidence"], row["accuracy"]) for row in figures["reliability"]]
    assert bins == [(1, pytest.approx(0.5), 1), (1, pytest.approx(0.8), 1), (2, pytest.approx(0.9), 0.5)]
    assert figures["reliability"][0]["from"] == pytest.approx(7 / 15)
    assert figures["ece"] == pytest.approx((0.5 + 0.2 + 2 * 0.4) / 4)


def test_every_interval_is_that_of_resampled_rows():
    labels, logits = drawn(80, seed=4)
    logits = np.round(logits, 1)  # some equal probabilities
    figures = compute_metrics(labels, logits, NAMES, bootstrap_samples=4000)
    slow = []
    for rows in np.random.default_rng(1).integers(0, 80, (300, 80)):
        slow.append(compute_metrics(labels[rows], logits[rows], NAMES, bootstrap_samples=0))
    for name in set(METRICS) - {"ece"}:
        edges = np.percentile([each[name] for each in slow], [2.5, 97.5])
        assert figures[f"{name}_interval"] == pytest.approx(edges, abs=0.25 * (edges[1] - edges[0])), name
    for name in ("precision", "f1", "auc"):
        edges = np.percentile([each["per_class"]["Neutral"][name] for each in slow], [2.5, 97.5])
        found = figures["per_class"]["Neutral"][f"{name}_interval"]
        assert found == pytest.approx(edges, abs=0.25 * (edges[1] - edges[0])), name


def intervals_and_figures(figures):
    """Every interval with its figure, and the name of the figure."""
    rows = [figures, *figures["per_class"].values(), *figures["by_faces"]]
    for row in rows:
        for name, edges in row.items():
            if name.endswith("_interval") and edges is not None:
                yield row[name.removesuffix("_interval")], edges, name


@pytest.mark.parametrize("grouped", [False, True])
def test_figures_lie_in_their_intervals_however_few_the_photos(grouped):
    generator = np.random.default_rng(6)
    for _ in range(40):
        rows, classes = int(generator.integers(1, 25)), int(generator.integers(2, 7))
        labels = generator.integers(0, classes, rows)
        logits = generator.normal(scale=generator.choice([0.5, 2, 30]), size=(rows, classes))
        logits[np.arange(rows), labels] += generator.choice([0, 1, 3])
        groups = generator.integers(0, rows // 3 + 1, rows).astype(str) if grouped else None
        faces, names = generator.integers(0, 12, rows), [str(index) for index in range(classes)]
        figures = compute_metrics(labels, logits, names, bootstrap_samples=200, groups=groups, faces=faces)
        for figure, (low, high), name in intervals_and_figures(figures):
            assert 0 <= low <= figure <= high, name
            assert name == "log_loss_interval" or high <= 1


@pytest.mark.parametrize(("temperature", "truth", "frames"), [(1.0, 0.0, 1), (1.0, 0.0, 4), (0.5, 0.116, 1)])
def test_the_interval_of_the_calibration_error_holds_the_true_one(temperature, truth, frames):
    """Probabilities that are right have no error, though every sample shows one; `truth` is that of many photos."""
    generator, found = np.random.default_rng(7), []
    for _ in range(40):
        scores = np.repeat(generator.normal(scale=2, size=(90, 3)), frames, axis=0)
        chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        draw = np.repeat(generator.random(90), frames)[:, None]  # frames of a video are right or wrong together
        labels = (draw > chances.cumsum(axis=1)).sum(axis=1)
        videos = np.repeat(np.arange(90).astype(str), frames)
        figures = compute_metrics(labels, scores / temperature, NAMES, bootstrap_samples=200, groups=videos)
        found.append((figures["ece"], *figures["ece_interval"]))
    figure, low, high = np.array(found).T
    assert figure.mean() > truth + 0.02, "the figure itself is too high"
    assert ((low <= truth) & (truth <= high)).mean() >= 0.95
    assert (high - low).mean() < 0.25


def test_a_calibration_error_beyond_noise_is_not_said_to_be_none():
    labels, logits = drawn(1000, seed=8)
    figures = compute_metrics(labels, 5 * logits, NAMES)
    low, high = figures["ece_interval"]
    assert 0.1 < low < figures["ece"] < high
    assert high - low < 0.1


def test_photos_of_one_group_are_drawn_together():
    labels, logits = drawn(100)
    five_times = np.repeat(labels, 5), np.repeat(logits, 5, axis=0)
    videos = np.repeat([f"video {index}" for index in range(100)], 5)
    alone, together = compute_metrics(labels, logits, NAMES), compute_metrics(*five_times, NAMES, groups=videos)
    blind = compute_metrics(*five_times, NAMES)
    assert (alone["groups"], together["groups"], blind["groups"]) == (None, 100, None)
    for name in METRICS:
        assert together[name] == pytest.approx(alone[name])
        widths = [np.diff(each[f"{name}_interval"])[0] for each in (alone, together, blind)]
        assert widths[1] == pytest.approx(widths[0], rel=0.15), "five frames of a video say as much as one"
        assert widths[2] < 0.7 * widths[0]
    recalls = [np.diff(each["per_class"]["Neutral"]["recall_interval"])[0] for each in (alone, together, blind)]
    assert recalls[1] == pytest.approx(recalls[0], rel=0.2)
    assert recalls[2] < 0.7 * recalls[0]
    order = np.random.default_rng(3).permutation(500)
    assert compute_metrics(five_times[0][order], five_times[1][order], NAMES, groups=videos[order]) == together
    assert compute_metrics(labels, logits, NAMES, groups=[str(row) for row in range(100)]) == alone


def test_by_number_of_faces():
    labels = np.array([0, 1, 2, 0, 1, 2, -1])
    faces = np.array([0, 0, 1, 12, 10, -1, 3])
    figures = compute_metrics(labels, one_hot([0, 2, 2, 0, 0, 2, 1]), NAMES, faces=faces)
    rows = [{name: row[name] for name in ("from", "to", "rows", "accuracy")} for row in figures["by_faces"]]
    assert rows == [
        {"from": 0, "to": 0, "rows": 2, "accuracy": 0.5},
        {"from": 1, "to": 1, "rows": 1, "accuracy": 1},
        {"from": 10, "to": None, "rows": 2, "accuracy": 0.5},
    ]
    assert [row["accuracy_interval"] for row in figures["by_faces"]] == [[0, 1], [1, 1], [0, 1]]
    assert compute_metrics(labels, one_hot([0, 2, 2, 0, 0, 2, 1]), NAMES)["by_faces"] == []


def test_determinism_and_order():
    labels, logits = drawn()
    order = np.random.default_rng(3).permutation(len(labels))
    first = compute_metrics(labels, logits, NAMES)
    assert compute_metrics(labels, logits, NAMES) == first
    assert compute_metrics(labels[order], logits[order], NAMES) == first
    assert compute_metrics(labels, logits, NAMES, seed=1)["accuracy_interval"] != first["accuracy_interval"]


def test_without_bootstrap():
    labels, logits = drawn()
    full, quick = compute_metrics(labels, logits, NAMES), compute_metrics(labels, logits, NAMES, bootstrap_samples=0)
    assert set(full) - set(quick) == {f"{name}_interval" for name in METRICS}
    assert all(full[name] == quick[name] for name in quick if name not in ("per_class", "by_faces"))
    gone = {"precision_interval", "f1_interval", "auc_interval"}
    for name, row in quick["per_class"].items():
        assert set(full["per_class"][name]) - set(row) == gone
        assert row["recall_interval"] == full["per_class"][name]["recall_interval"]


def test_refusals():
    with pytest.raises(UserError, match="none of the 2 rows has a label"):
        compute_metrics([-1, -1], np.zeros((2, 3)), NAMES)
    with pytest.raises(UserError, match="1 of 2 rows of logits hold NaN"):
        compute_metrics([0, 1], [[0, 0, 0], [0, np.nan, 0]], NAMES)
    with pytest.raises(ValueError, match="found \\(3,\\) and \\(2, 3\\)"):
        compute_metrics([0, 1, 2], np.zeros((2, 3)), NAMES)
    with pytest.raises(ValueError, match="references must lie between 0 and 2, found 0 to 3"):
        compute_metrics([0, 3], np.zeros((2, 3)), NAMES)
    with pytest.raises(ValueError, match="groups must be one for each of the 2 rows, found 1"):
        compute_metrics([0, 1], np.zeros((2, 3)), NAMES, groups=["a"])
    with pytest.raises(ValueError, match="3 distinct names"):
        compute_metrics([0, 1], np.zeros((2, 3)), ("a", "b"))


def test_nothing_is_left_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "metrics")
    (tmp_path / "temporary").mkdir()
    compute_metrics(*drawn(), NAMES)
    assert [file.name for file in tmp_path.rglob("*")] == ["temporary"]


def test_loads_from_its_folder_without_a_network(tmp_path, monkeypatch):
    elsewhere = functools.partial(evaluate.loading.init_dynamic_modules, hf_modules_cache=tmp_path / "modules")
    monkeypatch.setattr(evaluate.loading, "init_dynamic_modules", elsewhere)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    labels, logits = drawn()
    metric = evaluate.load(str(FOLDER), cache_dir=str(tmp_path / "cache"))
    metric.add_batch(logits=logits[:100], references=labels[:100])
    metric.add_batch(logits=logits[100:], references=labels[100:])
    figures = metric.compute()
    direct = GroupEmotion(keep_in_memory=True, cache_dir=str(tmp_path / "other"))
    assert direct.compute(logits=logits, references=labels) == figures
    assert list(figures["per_class"]) == ["0", "1", "2"]
    saved = evaluate.save(tmp_path / "figures.json", **figures)
    assert json.loads(Path(saved).read_text())["accuracy"] == figures["accuracy"]


def test_a_metric_is_a_row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that is added has a figure, an interval and a line in the card, without another change."""
    error = Metric(lambda sums: 1 - sums.hits.sum(axis=-1) / sums.rows, "Error rate", "Share of wrong rows.", -1)
    monkeypatch.setitem(METRICS, "error_rate", error)
    figures = compute_metrics([0, 1, 1, 0], np.eye(2)[[0, 1, 0, 0]], ["no", "yes"])
    assert figures["error_rate"] == 0.25
    assert figures["error_rate_interval"] == pytest.approx([1 - edge for edge in figures["accuracy_interval"][::-1]])
    predictions = Predictions(list("abcd"), ["test"] * 4, [0, 1, 1, 0], np.eye(2)[[0, 1, 0, 0]], "m", ["no", "yes"])
    assert "| Error rate | 25.0% |" in render_card(make_report(predictions, "test"))


def test_every_metric_has_a_direction_and_a_sentence() -> None:
    for name, metric in METRICS.items():
        assert metric.direction in (-1, 1), name
        assert metric.description.endswith("."), name
