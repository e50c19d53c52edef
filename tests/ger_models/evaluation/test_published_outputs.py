"""The published outputs of the original system's six models, and what was published of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ger_datasets.support.errors import UserError
from ger_models.evaluation.joining import join, read_members
from ger_models.evaluation.predictions import read_predictions

# accuracy on validation and test
PUBLISHED = {
    "model0": (0.7210, 0.719),
    "model1": (0.7285, 0.749),
    "model2": (0.6767, 0.679),
    "model3": (0.6504, 0.652),
    "model4": (0.6121, 0.640),
    "model5": (0.7617, 0.763),
}


@pytest.fixture(scope="module")
def files(shared):
    folder = shared / "data" / "published_outputs"
    if not folder.is_dir():
        pytest.skip("the published outputs are not here")
    return sorted(folder.glob("*.npz"))


def test_each_model_is_as_accurate_as_published(files):
    found = {}
    for member in read_members(files):
        found[member.model] = tuple(
            (each.logits.argmax(1) == each.labels).mean()
            for each in (member.select("validation"), member.select("test"))
        )
    assert list(found) == list(PUBLISHED)
    for model, (validation, test) in PUBLISHED.items():
        assert found[model] == (pytest.approx(validation, abs=5e-5), pytest.approx(test, abs=1e-12))


def test_model_0_is_not_joined_with_the_others(files, run_script, tmp_path):
    with pytest.raises(UserError, match=r"659 of 1,000 test labels differ between model0 and model1"):
        join(read_members(files), "test")
    code, _, told = run_script("ensemble", "--predictions", *files, "--output_dir", tmp_path / "e")
    assert code == 2
    assert "659 of 1,000 test labels differ" in told
    assert not (tmp_path / "e").exists()


def ensemble(run_script, files, folder, *options):
    code, last, told = run_script("ensemble", "--predictions", *files[1:], "--output_dir", folder, *options)
    assert code == 0, told
    return last, json.loads((folder / "ensemble.json").read_text())


def test_the_published_weights(files, run_script, tmp_path):
    last, _ = ensemble(run_script, files, tmp_path, "--weights", 0.3, 0, 0, 0.2, 0.5)
    assert last["weights"] == [0.3, 0, 0, 0.2, 0.5]
    assert last["validation"]["accuracy"] == pytest.approx(0.7791, abs=5e-5)
    assert last["test"]["accuracy"] == 0.796


def test_simplex_chosen_on_validation(files, run_script, tmp_path):
    last, account = ensemble(run_script, files, tmp_path, "--method", "simplex", "--step", 0.05)
    assert last["weights"] == [0.2, 0.25, 0.05, 0.1, 0.4]
    assert last["validation"]["accuracy"] == pytest.approx(0.7845, abs=5e-5)
    assert last["test"]["accuracy"] == 0.782
    assert (account["weightings"], account["ties"]) == (10_626, 1)
    low, high = account["nested_cross_validation"]["accuracy_interval"]
    assert low < last["test"]["accuracy"] < high, "what was to be expected came to pass"
    assert last["test"]["accuracy"] - 0.763 == pytest.approx(account["comparison"]["difference"])

    table = read_predictions(tmp_path / "test.parquet")
    assert (table.logits.argmax(1) == table.labels).mean() == 0.782


def test_the_published_figure_is_the_best_on_the_test_split(files, run_script, tmp_path):
    options = ("--select", "test", "--allow_selection_on_report", "--nested_folds", 0)
    last, account = ensemble(run_script, files, tmp_path, *options)
    assert last["weights"] == [0.3, 0, 0, 0.2, 0.5]
    assert last["test"]["accuracy"] == 0.796
    assert last["selection_on_report"] is account["selection_on_report"] is True
    assert "chosen on test" in read_predictions(tmp_path / "test.parquet").note


@pytest.mark.slow
@pytest.mark.parametrize("method", ["logistic", "svm"])
def test_stacking_chosen_on_validation_alone(files, run_script, tmp_path, method):
    last, account = ensemble(run_script, files, tmp_path, "--method", method, "--nested_folds", 0)
    assert last["test"]["accuracy"] >= 0.785
    assert account["select"] == "validation"
    assert np.shape(account["coefficients"]) == (5, 3, 3)
