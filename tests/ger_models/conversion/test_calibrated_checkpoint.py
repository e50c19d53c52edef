"""calibrate.py: the configuration changes and nothing else, and tables, answers and reports know of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_dataset
from scipy.special import softmax
from transformers import pipeline

from ger_datasets.support.errors import UserError
from ger_models import GerProcessor, GerSceneConfig, GerSceneForImageClassification
from ger_models.evaluation.calibration import calibration_of, checked_calibration
from ger_models.evaluation.predictions import read_predictions
from ger_models.inference.checkpoints import read_config

NAMES = ["Negative", "Neutral", "Positive"]


def save_scene(folder: Path, names: list[str] = NAMES, seed: int = 0) -> Path:
    """A tiny scene model that has learnt nothing, and is sure of it."""
    torch.manual_seed(seed)
    labels = dict(enumerate(names))
    config = GerSceneConfig(backbone="test_resnet", id2label=labels, label2id={name: i for i, name in labels.items()})
    model = GerSceneForImageClassification(config)
    torch.nn.init.normal_(model.head.weight, std=2.0)
    model.save_pretrained(folder)
    GerProcessor(resize_shorter=36, crop_size=32).save_pretrained(folder)
    (folder / "README.md").write_text("# A model\n")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_scene(tmp_path / "model")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_from_the_checkpoint_to_the_report(
    run_script: Callable, model: Path, drawn_dataset: Path, tmp_path: Path
) -> None:
    before = files(model)
    where = ("--dataset", drawn_dataset, "--device", "cpu")
    plain = tmp_path / "plain.parquet"
    assert run_script("predict", "--model", model, *where, "--output", plain)[0] == 0
    code, found, log = run_script("calibrate", "--model", model, *where, "--split", "train", "--coverage", 0.8)
    assert code == 0, log
    assert (found["photos"], found["split"], found["coverage"]) == (18, "train", 0.8)
    after = files(model)
    assert {name for name in after if after[name] != before.get(name)} == {"config.json", "README.md"}
    fields = json.loads(after["config.json"])
    stored = fields.pop("calibration")
    assert fields == json.loads(before["config.json"])
    assert stored == {name: found[name] for name in stored}
    assert after["README.md"].startswith(b"# A model\n\nCalibration: temperature ")

    table = tmp_path / "test.parquet"
    assert run_script("predict", "--model", model, *where, "--split", "train", "test", "--output", table)[0] == 0
    written = pq.read_table(table).to_pydict()
    logits = np.array(written["logits"])
    np.testing.assert_allclose(written["probabilities"], softmax(logits / stored["temperature"], axis=1), atol=1e-6)
    for of_photo, held in zip(written["probabilities"], written["prediction_set"], strict=True):
        likely = [NAMES[i] for i in np.argsort(-np.array(of_photo)) if 1 - of_photo[i] <= stored["lac"] + 1e-6]
        assert held == (likely or [NAMES[int(np.argmax(of_photo))]])
    predictions, uncalibrated = read_predictions(table), read_predictions(plain)
    assert predictions.calibration == stored
    assert uncalibrated.calibration is None
    assert predictions.model_revision == uncalibrated.model_revision, "no logit depends on the calibration"

    row = load_dataset(str(drawn_dataset), split="test")[0]
    answer = pipeline("group-emotion", model=str(model), device="cpu")(row)
    at = written["image_id"].index(row["image_id"])
    assert list(answer["scores"].values()) == pytest.approx(written["probabilities"][at], abs=1e-5)
    assert answer["prediction_set"] == written["prediction_set"][at]

    report = tmp_path / "report"
    splits = ("--split", "train", "test")
    assert run_script("evaluate_predictions", "--predictions", table, *splits, "--output_dir", report)[0] == 0
    page = (report / "report.html").read_text()
    assert page.count("<h2>Prediction sets</h2>") == 2
    assert page.count("This is the split it was fitted on") == 1
    assert "Prediction sets that should hold the truth of 80.0%" in (report / "card.md").read_text()


def test_again_in_place_and_a_copy(run_script: Callable, model: Path, drawn_dataset: Path, tmp_path: Path) -> None:
    common = ("--dataset", drawn_dataset, "--split", "train", "--device", "cpu", "--model", model, "--coverage")
    assert run_script("calibrate", *common, 0.8)[0] == 0
    first = files(model)
    code, found, log = run_script("calibrate", *common, 0.7, "--output_dir", tmp_path / "copy")
    assert code == 0, log
    assert files(model) == first
    assert calibration_of(read_config(str(tmp_path / "copy")))["coverage"] == found["coverage"] == 0.7
    card = (tmp_path / "copy" / "README.md").read_text()
    assert card.count("Calibration: ") == 1
    assert "70%" in card
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == first["model.safetensors"]
    code, _, log = run_script("calibrate", *common, 0.7, "--output_dir", tmp_path / "copy")
    assert code == 2
    assert "is not empty" in log


def test_an_ensemble(run_script: Callable, model: Path, drawn_dataset: Path, tmp_path: Path) -> None:
    from ger_models.modeling_ensemble import GerEnsembleForImageClassification

    members = [str(model), str(save_scene(tmp_path / "other", seed=1))]
    made, processor = GerEnsembleForImageClassification.from_members(members)
    made.save_pretrained(tmp_path / "ensemble")
    processor.save_pretrained(tmp_path / "ensemble")
    where = ("--dataset", drawn_dataset, "--split", "train", "--device", "cpu", "--coverage", 0.8)
    code, found, log = run_script("calibrate", "--model", tmp_path / "ensemble", *where)
    assert code == 0, log
    answer = pipeline("group-emotion", model=str(tmp_path / "ensemble"), device="cpu")
    row = load_dataset(str(drawn_dataset), split="test")[0]
    assert set(answer(row)["prediction_set"]) <= set(NAMES)
    assert found["class_names"] == NAMES


def test_refusals(run_script: Callable, model: Path, drawn_dataset: Path, tmp_path: Path) -> None:
    def refused(*arguments: object, split: str = "train", dataset: Path = drawn_dataset) -> str:
        common = ("--dataset", dataset, "--split", split, "--device", "cpu")
        code, _, log = run_script("calibrate", *common, *arguments)
        assert code == 2, log
        return log.splitlines()[-1]

    before = files(model)
    assert "6 labelled photos are too few for a coverage of 0.9" in refused("--model", model, split="test")
    assert "--coverage must be above 0 and below 1" in refused("--model", model, "--coverage", 1)
    assert "give --output_dir" in refused("--model", "starter")
    assert "give --output_dir" in refused("--model", "somebody/model")
    other = save_scene(tmp_path / "other", ["Negative", "Neutral", "Positive", "Mixed"])
    assert "but the model knows Negative, Neutral, Positive, Mixed" in refused("--model", other)
    hidden = tmp_path / "hidden"
    shutil.copytree(drawn_dataset, hidden)
    for path in (hidden / "data").glob("*.parquet"):
        table = pq.read_table(path)
        column = pa.array([-1] * len(table), table["label"].type)
        pq.write_table(table.set_column(table.column_names.index("label"), table.field("label"), column), path)
    assert "has no labels" in refused("--model", model, dataset=hidden)
    assert files(model) == before


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", 0, "calibration.temperature must be a number from 0.001 to 1000, not 0"),
        ("temperature", "1", "calibration.temperature must be a number"),
        ("coverage", float("nan"), "calibration.coverage must be a number from 0.0 to 1.0"),
        ("lac", None, "calibration.lac must be a number"),
        ("photos", True, "calibration.photos must be a number"),
        ("split", 3, "calibration.split must be a text, not 3"),
        ("class_names", ["a", "c"], "calibration.class_names must be the model's classes, a, b"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object, message: str) -> None:
    fine = {"temperature": 1.5, "coverage": 0.9, "photos": 40, "lac": 0.4, "aps": 1.0, "class_names": ["a", "b"]}
    assert checked_calibration(fine, ["a", "b"]) == fine
    assert checked_calibration(None, ["a", "b"]) is None
    with pytest.raises(ValueError, match=message):
        checked_calibration({**fine, field: value}, ["a", "b"])
    with pytest.raises(ValueError, match="must be a mapping"):
        checked_calibration([1], ["a", "b"])


def test_a_wrong_configuration_is_refused_where_it_is_read(model: Path) -> None:
    fields = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**fields, "calibration": {"temperature": -1}}))
    with pytest.raises(UserError, match=r"calibration\.temperature must be a number.*run scripts/calibrate.py again"):
        pipeline("group-emotion", model=str(model), device="cpu")
