"""scripts/ensemble.py: from tables and archives to weights, figures, tables and an ensemble checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import PreTrainedModel

from ger_models import GerProcessor, GerSceneConfig, GerSceneForImageClassification
from ger_models.evaluation.predictions import Predictions, read_predictions, write_predictions
from ger_models.inference.checkpoints import load_checkpoint
from ger_models.inference.revisions import model_revision

NAMES = ("Negative", "Neutral", "Positive")
ROWS = 30  # of each split
SPLITS = ["validation"] * ROWS + ["test"] * ROWS


@pytest.fixture(scope="module")
def photos() -> list[dict]:
    generator = np.random.default_rng(0)
    return [{"image": Image.fromarray(generator.integers(0, 255, (64, 64, 3), np.uint8))} for _ in range(2 * ROWS)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, photos: list[dict]) -> tuple[Path, list[str], list[str]]:
    """Three checkpoints and their predictions of sixty photos: the folder, the tables and the checkpoints."""
    folder = tmp_path_factory.mktemp("members")
    labels = np.random.default_rng(1).integers(0, 3, 2 * ROWS)
    for number in range(3):
        torch.manual_seed(number)
        config = GerSceneConfig(backbone="test_resnet", id2label=dict(enumerate(NAMES)))
        model, processor = GerSceneForImageClassification(config).eval(), GerProcessor(resize_shorter=64, crop_size=64)
        with torch.no_grad():
            model.head.weight.add_(torch.randn_like(model.head.weight))
        model.save_pretrained(folder / f"m{number}")
        processor.save_pretrained(folder / f"m{number}")
        ids = [f"photo_{i}" for i in range(2 * ROWS)]
        predictions = Predictions(ids, SPLITS, labels, answers(model, processor, photos), f"m{number}", NAMES)
        write_predictions(
            folder / f"m{number}.parquet", predictions.take(np.random.default_rng(number).permutation(60))
        )
    return folder, [str(folder / f"m{i}.parquet") for i in range(3)], [str(folder / f"m{i}") for i in range(3)]


def answers(model: PreTrainedModel, processor: GerProcessor, photos: list[dict]) -> np.ndarray:
    with torch.inference_mode():
        return model(**processor(photos)).logits.numpy()


@pytest.mark.parametrize(
    ("method", "on"),
    [("simplex", "logits"), ("greedy", "probabilities"), ("logistic", "logits"), ("svm", "probabilities")],
)
def test_the_checkpoint_says_what_the_table_says(made, photos, run_script, tmp_path, method, on):
    _, tables, checkpoints = made
    options = ("--method", method, "--on", on, "--output_dir", tmp_path, "--members", *checkpoints)
    code, last, told = run_script("ensemble", "--predictions", *tables, *options, "--nested_folds", 0)
    assert code == 0, told
    assert list(last)[:3] == ["weights", "validation", "test"]
    model, processor = load_checkpoint(last["checkpoint"])
    table = read_predictions(last["predictions"])
    rows = [int(image_id.removeprefix("photo_")) for image_id in table.image_ids]
    found = answers(model, processor, [photos[row] for row in rows])
    if on == "probabilities" and method == "greedy":
        found, expected = (np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (found, table.logits))
    else:
        expected = table.logits
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert last["test"]["accuracy"] == (table.logits.argmax(1) == table.labels).mean()
    card = (Path(last["checkpoint"]) / "README.md").read_text()
    assert card.startswith("---\n")
    assert "model-index" in card
    assert f"combined by `{method}` on their {on}, chosen on the split `validation`" in card
    assert str(tmp_path) not in card + (tmp_path / "ensemble.json").read_text()


@pytest.mark.parametrize("method", ["logistic", "svm", "simplex", "greedy", "average"])
def test_evaluating_gives_the_figures_that_were_reported(made, run_script, tmp_path, method):
    _, tables, _ = made
    asked = ("--predictions", *tables, "--method", method, "--nested_folds", 0, "--output_dir", tmp_path / "e")
    code, _, told = run_script("ensemble", *asked)
    assert code == 0, told
    account = json.loads((tmp_path / "e" / "ensemble.json").read_text())
    asked = ("--predictions", *reversed(tables), "--ensemble", tmp_path / "e" / "ensemble.json")
    code, last, told = run_script("evaluate_predictions", *asked, "--split", "test", "--output_dir", tmp_path / "r")
    assert code == 0, told
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    figures = account["figures"]["test"]
    assert last["accuracy"] == figures["accuracy"]
    assert {**report["metrics"], "by_faces": report["by_faces"]} == figures
    assert f"Found by {method}" in (tmp_path / "r" / "report.html").read_text()
    assert ("a matrix for each" in (tmp_path / "r" / "report.html").read_text()) == (method in ("logistic", "svm"))
    assert report["ensemble"]["coefficients"] == account["coefficients"]


def test_a_stacked_ensemble_of_other_classes_is_refused(made, run_script, tmp_path):
    _, tables, _ = made
    stacking = {"coefficients": [[[1.0, 0.0], [0.0, 1.0]]] * 3, "intercept": [0.0, 0.0], "weights": None}
    account = {"members": ["m0", "m1", "m2"], "method": "svm", "class_names": ["Calm", "Angry"], **stacking}
    (tmp_path / "ensemble.json").write_text(json.dumps(account))
    asked = ("--predictions", *tables, "--ensemble", tmp_path / "ensemble.json", "--split", "test")
    code, _, told = run_script("evaluate_predictions", *asked, "--output_dir", tmp_path / "r")
    assert code == 2
    assert "found for 2 classes (Calm, Angry), the predictions know Negative, Neutral, Positive" in told


def test_selection_on_the_report_is_marked_everywhere(made, run_script, tmp_path):
    _, tables, checkpoints = made
    asked = ("--predictions", *tables, "--select", "test", "--report", "test", "--output_dir", tmp_path / "e")
    code, _, told = run_script("ensemble", *asked)
    assert code == 2
    assert "--allow_selection_on_report" in told
    assert not (tmp_path / "e").exists()
    asked += ("--allow_selection_on_report", "--nested_folds", 0, "--members", *checkpoints)
    code, last, told = run_script("ensemble", *asked)
    assert code == 0, told
    assert "note: The weights were chosen on test" in told
    account = json.loads((tmp_path / "e" / "ensemble.json").read_text())
    assert last["selection_on_report"] is account["selection_on_report"] is True
    for text in (last["note"], account["note"], (tmp_path / "e" / "checkpoint" / "README.md").read_text()):
        assert "chosen on test, the split that these figures are of" in text
    assert "chosen on test" in load_checkpoint(last["checkpoint"])[0].config.notice
    evaluated = ("--predictions", tmp_path / "e" / "test.parquet", "--output_dir", tmp_path / "report")
    code, report, _ = run_script("evaluate_predictions", *evaluated)
    assert code == 0
    assert "chosen on test" in report["note"]
    for name in ("report.html", "card.md", "report.json"):
        assert "chosen on test" in (tmp_path / "report" / name).read_text()


def test_fourteen_models_of_one_archive_with_file_names(run_script, tmp_path, made):
    """The same command on another archive of this kind, beside a table whose photos have these names."""
    _, tables, _ = made
    one = read_predictions(tables[0])
    generator = np.random.default_rng(5)
    arrays = {}
    for split, ours in (("valid", "validation"), ("test", "test")):
        part = one.select(ours)
        order = generator.permutation(ROWS)
        arrays[f"label_{split}"] = part.labels[order]
        arrays[f"filename_{split}"] = np.array([f"{part.image_ids[row]}.jpg" for row in order], dtype=object)
        for number in range(14):
            noise = generator.normal(size=(ROWS, 3))
            arrays[f"output_{split}_model{number}"] = (np.eye(3)[part.labels] + noise)[order].astype(np.float32)
    np.savez(tmp_path / "fourteen.npz", **arrays)
    asked = ("--method", "greedy", "--nested_folds", 2, "--output_dir", tmp_path / "e")
    code, last, told = run_script("ensemble", "--predictions", tmp_path / "fourteen.npz", *asked)
    assert code == 0, told
    assert last["members"] == [f"model{number}" for number in range(14)]
    assert len(last["weights"]) == 14
    assert last["validation"]["accuracy"] > 0.7
    code, last, told = run_script("ensemble", "--predictions", tables[0], tmp_path / "fourteen.npz", *asked)
    assert code == 0, told
    assert last["members"] == ["m0"] + [f"model{number}" for number in range(14)]
    asked = ("--predictions", tmp_path / "fourteen.npz", "--step", 0.5, "--output_dir", tmp_path / "f")
    assert run_script("ensemble", *asked)[1]["method"] == "simplex"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--weights", 1, 1), "--weights must be one for each of the 3 members"),
        (("--weights", 1, 1, 1, "--method", "svm"), "nothing for --method svm to find"),
        (("--method", "given"), "--method given needs --weights"),
        (("--method", "average", "--members", "a"), "one checkpoint for each of the 3 members, found 1"),
        (("--method", "average", "--members", "./a", "./b", "./c"), "no checkpoint at ./a, ./b, ./c"),
        (("--method", "average", "--report", "train"), "no predictions for the split 'train'"),
        (("--step", 0.3), "the step must divide 1"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(made, run_script, tmp_path, options, message):
    code, last, told = run_script("ensemble", "--predictions", *made[1], "--output_dir", tmp_path / "e", *options)
    assert (code, last) == (2, None)
    assert message in told.splitlines()[-1]


def test_recorded_folders_must_hold_what_they_held(made, run_script, tmp_path, monkeypatch):
    folder, tables, checkpoints = made
    told_of = []
    for table, checkpoint in zip(tables, checkpoints, strict=True):
        revision = model_revision(checkpoint, *load_checkpoint(checkpoint))
        told_of.append(tmp_path / Path(table).name)
        write_predictions(told_of[-1], replace(read_predictions(table), model_revision=revision))
    monkeypatch.chdir(folder)  # where the names in the tables are folders
    asked = ("--method", "average", "--members", "recorded", "--output_dir", tmp_path / "e")
    code, last, told = run_script("ensemble", "--predictions", *told_of, *asked)
    assert code == 0, told
    assert Path(last["checkpoint"]).is_dir()
    write_predictions(told_of[1], replace(read_predictions(told_of[1]), model_revision="0123456789abcdef"))
    code, last, told = run_script("ensemble", "--predictions", *told_of, *asked)
    assert (code, last) == (2, None)
    assert "the checkpoint in m1 is " in told
    assert ", not 0123456789abcdef as when it was predicted with" in told


def test_nothing_of_others_is_replaced(made, run_script, tmp_path):
    asked = ("--predictions", *made[1], "--method", "average", "--output_dir", tmp_path)
    (tmp_path / "test.parquet").write_text("mine")
    code, _, told = run_script("ensemble", *asked)
    assert code == 2
    assert "holds test.parquet, not written by this ensemble" in told
    (tmp_path / "test.parquet").unlink()
    assert run_script("ensemble", *asked)[0] == 0
    assert run_script("ensemble", *asked)[0] == 0, "an earlier ensemble is replaced"
