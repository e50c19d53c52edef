"""The report's folder, its page and its figures; the script that writes it."""

from __future__ import annotations

import html.parser
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ger_datasets.support.errors import UserError
from ger_models.evaluation.predictions import Predictions, write_predictions
from ger_models.evaluation.report.plots import plot_confusion_matrix, plot_recall
from ger_models.evaluation.report.writing import FILES, make_report, write_report

ROOT = Path(__file__).resolve().parents[4]
SCRIPT = ROOT / "scripts" / "evaluate_predictions.py"
NAMES = ("Negative", "Neutral", "Positive")


def predictions(rows=60, split="test", **changes):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, rows)
    logits = generator.normal(size=(rows, 3)).astype(np.float32)
    logits[np.arange(rows), labels] += 1
    labels[:5] = -1
    parts = {
        "image_ids": [f"{split}/{row}" for row in range(rows)],
        "splits": [split] * rows,
        "labels": labels,
        "logits": logits,
        "model": "densenet_emotic",
        "class_names": NAMES,
    }
    return Predictions(**{**parts, **changes})


class Page(html.parser.HTMLParser):
    """What a page holds: every tag's name, its attributes and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


def test_the_folder(tmp_path):
    report = write_report(tmp_path / "a" / "report", predictions(), "test")
    folder = tmp_path / "a" / "report"
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    assert json.loads((folder / "report.json").read_text()) == report
    assert report["metrics"]["rows"] == 55
    assert report["metrics"]["unlabelled"] == 5
    assert report["baselines"]["chance"] == pytest.approx(1 / 3)
    for name in ("confusion_matrix.png", "recall.png"):
        assert Image.open(folder / name).format == "PNG"
    text = Page((folder / "report.html").read_text()).text
    assert f"{report['metrics']['accuracy']:.1%}" in text
    assert "55 photos scored · 5 without a label left out" in text
    assert "densenet_emotic" in text


def test_majority_baseline():
    labels = np.array([2, 2, 2, 0])
    report = make_report(
        predictions(4, labels=labels, logits=np.eye(3)[[0, 2, 2, 0]], faces=np.array([0, -1, 3, 11])), "test"
    )
    assert report["baselines"] == {"chance": 1 / 3, "majority": 0.75, "majority_class": "Positive"}
    bins = [(each["from"], each["to"], each["rows"], each["accuracy"]) for each in report["by_faces"]]
    assert bins == [(0, 0, 1, 0.0), (2, 4, 1, 1.0), (10, None, 1, 1.0)]
    assert all(len(each["accuracy_interval"]) == 2 for each in report["by_faces"])
    (mistake,) = report["mistakes"]
    weights = np.exp([1, 0, 0]) / np.exp([1, 0, 0]).sum()
    assert mistake == {
        "image_id": "test/0",
        "label": "Positive",
        "prediction": "Negative",
        "probability": pytest.approx(weights[0]),
        "probability_of_label": pytest.approx(weights[2]),
        "faces": 0,
    }


def test_mistakes_are_most_confident_first_and_as_many_as_asked():
    report = make_report(predictions(300), "test", most_mistakes=7)
    probabilities = [mistake["probability"] for mistake in report["mistakes"]]
    assert len(probabilities) == 7
    assert probabilities == sorted(probabilities, reverse=True)
    with pytest.raises(UserError, match="at least 0, found -1"):
        make_report(predictions(), "test", most_mistakes=-1)


def test_the_order_of_rows_changes_nothing():
    given = predictions(faces=np.arange(60) % 7)
    order = np.random.default_rng(2).permutation(60)
    shuffled = Predictions(
        [given.image_ids[row] for row in order],
        given.splits,
        given.labels[order],
        given.logits[order],
        given.model,
        NAMES,
        given.faces[order],
    )
    assert make_report(shuffled, "test") == make_report(given, "test")


def test_note_is_a_banner(tmp_path):
    note = "drawn test pattern: figures say nothing about <real> photos"
    report = write_report(tmp_path, predictions(note=note), "test")
    assert report["note"] == note
    page = (tmp_path / "report.html").read_text()
    assert note in Page(page).text
    assert page.index("&lt;real&gt;") < page.index("<h1>")
    assert write_report(tmp_path, predictions(note=note), "test", note="another")["note"] == "another"
    write_report(tmp_path, predictions(), "test")
    assert 'role="note"' not in (tmp_path / "report.html").read_text()


def test_names_from_the_data_are_text(tmp_path):
    evil = '<script>alert("1")</script>'
    names = (f"{evil}a", "b & 'c' \" onload=x", "$x^{2$")
    ids = [f"{evil}<img src=x onerror=y>{row}" for row in range(60)]
    given = predictions(split=evil, image_ids=ids, model=evil, class_names=names, note=evil)
    write_report(tmp_path, given, evil)
    page = Page((tmp_path / "report.html").read_text())
    assert not {"script", "img", "iframe", "link", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(evil) > 20


def test_the_page_fetches_nothing(tmp_path):
    write_report(tmp_path, predictions(), "test")
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?:|//|url\(|@import|src=", page)
    assert "default-src 'none'" in page


def test_only_our_report_is_replaced(tmp_path):
    write_report(tmp_path, predictions(), "test")
    (tmp_path / "notes.txt").write_text("mine")
    write_report(tmp_path, predictions(split="validation"), "validation")
    assert json.loads((tmp_path / "report.json").read_text())["split"] == "validation"
    assert (tmp_path / "notes.txt").read_text() == "mine"

    for content in ('{"format": "another"}', "[]", "not JSON"):
        (tmp_path / "report.json").write_text(content)
        with pytest.raises(UserError, match="not written by this report"):
            write_report(tmp_path, predictions(), "test")
        assert (tmp_path / "report.json").read_text() == content

    other = tmp_path / "other"
    other.mkdir()
    (other / "report.html").write_text("somebody's")
    with pytest.raises(UserError, match=r"holds report\.html, not written"):
        write_report(other, predictions(), "test")
    with pytest.raises(UserError, match="is a file"):
        write_report(tmp_path / "notes.txt", predictions(), "test")


def test_nothing_to_score(tmp_path):
    with pytest.raises(UserError, match="none of the 60 rows has a label"):
        write_report(tmp_path / "r", predictions(labels=np.full(60, -1)), "test")
    with pytest.raises(UserError, match="the table has test"):
        write_report(tmp_path / "r", predictions(), "train")
    assert not (tmp_path / "r").exists()


def test_an_absent_class_has_no_recall(tmp_path):
    write_report(tmp_path, predictions(3, labels=np.array([0, 1, 1]), logits=np.eye(3)[[0, 1, 1]]), "test")
    text = Page((tmp_path / "report.html").read_text()).text
    assert "nan" not in text.lower()
    assert "Every photo is right" in text


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_plots_take_any_number_of_classes(classes):
    names = [f"class $x_{{{index}$ with a long name" for index in range(classes)]
    confusion = np.arange(classes**2).reshape(classes, classes)
    row = {"recall": 0.4, "support": 12, "recall_interval": [0.2, 0.6]}
    per_class = {**dict.fromkeys(names, row), names[0]: {"recall": 0.0, "support": 0, "recall_interval": None}}
    for png in (plot_confusion_matrix(confusion, names, "a title " * 20), plot_recall(per_class)):
        image = Image.open(io.BytesIO(png))
        assert image.format == "PNG"
        assert image.convert("L").getextrema()[0] < 100  # there is ink


def test_a_note_makes_room_for_itself_below_the_figure():
    plain, noted = (plot_confusion_matrix([[9, 1], [0, 10]], ["a", "b"], note=note) for note in ("", "drawn $x"))
    assert plain != noted


def test_a_darker_cell_is_a_larger_share():
    image = Image.open(io.BytesIO(plot_confusion_matrix([[9, 1], [0, 10]], ["a", "b"]))).convert("RGB")
    colors = {color for _, color in image.getcolors(1 << 24)}
    assert (0, 114, 178) in colors  # the whole row in one cell
    assert (247, 250, 252) in colors  # none of the row


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("evaluate_predictions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_script_scores_the_only_split(script, tmp_path, caplog):
    write_predictions(tmp_path / "test.parquet", predictions(note="drawn"))
    figures = script.main(script.Arguments([tmp_path / "test.parquet"], tmp_path / "report"))
    assert next(iter(figures)) == "accuracy"
    assert (figures["split"], figures["rows"], figures["unlabelled"], figures["note"]) == ("test", 55, 5, "drawn")
    assert Path(figures["report"]).is_file()
    assert "note: drawn" in caplog.text
    json.dumps(figures, allow_nan=False)


def test_script_wants_a_split_where_there_are_several(script, tmp_path):
    splits = ["test"] * 30 + ["validation"] * 30
    write_predictions(tmp_path / "all.parquet", predictions(splits=splits))
    with pytest.raises(UserError, match="splits test, validation; choose one with --split"):
        script.main(script.Arguments([tmp_path / "all.parquet"], tmp_path / "report"))
    figures = script.main(script.Arguments([tmp_path / "all.parquet"], tmp_path / "report", split=["validation"]))
    assert (figures["split"], figures["rows"]) == ("validation", 30)


@pytest.mark.slow
def test_script_from_the_command_line(tmp_path):
    write_predictions(tmp_path / "test.parquet", predictions())

    def call(*arguments):
        environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(SCRIPT), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)

    done = call("--predictions", tmp_path / "test.parquet", "--output_dir", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert figures["accuracy"] == report["metrics"]["accuracy"]
    assert not (tmp_path / "home" / "metrics").exists()


def test_script_says_in_one_line_what_is_wrong(run_script, tmp_path):
    code, figures, log = run_script(
        "evaluate_predictions", "--predictions", tmp_path / "none.parquet", "--output_dir", tmp_path / "report"
    )
    assert (code, figures) == (2, None)
    assert re.fullmatch(r"error: no predictions table at .*\n", log)
