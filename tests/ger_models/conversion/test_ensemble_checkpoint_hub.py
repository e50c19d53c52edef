"""Members on a Hub on loopback: tables tell their commits, and the ensemble is made of these, not of later ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer

from ger_models.evaluation.predictions import read_predictions

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "hf_testtokentesttoken"
STEPS = """
import json, sys
from pathlib import Path
import ensemble, predict, torch
from ger_datasets.support.command_line import run
from ger_datasets.preparation.push import push_dataset; from ger_datasets.support.hub_push import push_files
from ger_models import GerProcessor, GerSceneConfig, GerSceneForImageClassification
from transformers import AutoImageProcessor, AutoModelForImageClassification

def script(module, *words):
    try:
        run(module.main, module.Arguments, list(words))
    except SystemExit as stop:
        return stop.code

def push(name, seed, crop):
    torch.manual_seed(seed)
    labels = {0: "Negative", 1: "Neutral", 2: "Positive"}
    model = GerSceneForImageClassification(GerSceneConfig(backbone="test_resnet", id2label=labels))
    torch.nn.init.normal_(model.head.weight)
    model.push_to_hub(name, private=True)
    GerProcessor(resize_shorter=64, crop_size=crop).push_to_hub(name)
    return model.head.weight

first = push("me/a", 0, 64), push("me/b", 1, 64)
push_dataset(Path(sys.argv[1]), "me/sample")
splits = ("--dataset", "me/sample", "--split", "validation", "test")
told = {"predict": script(predict, "--model", "me/a", "me/b", *splits, "--output_dir", "tables")}
push("me/a", 2, 48)  # the main branch moves on
tables = ("--predictions", "tables/me--a.parquet", "tables/me--b.parquet")
told["ensemble"] = script(
    ensemble, *tables, "--method", "average", "--members", "recorded", "--output_dir", "ensemble"
)
files = {path.name: path for path in Path("ensemble/checkpoint").iterdir()}
push_files(files, "me/ensemble", "model", private=True)
again = AutoModelForImageClassification.from_pretrained("me/ensemble")
told["heads"] = [torch.equal(member.head.weight, weight) for member, weight in zip(again.members, first)]
told["crops"] = [part["crop_size"] for part in AutoImageProcessor.from_pretrained("me/ensemble").processors]
told["again"] = script(predict, "--model", "me/ensemble", *splits, "--output_dir", "tables")
print(json.dumps(told))
"""


def test_an_ensemble_of_what_was_predicted_with(drawn_dataset: Path, tmp_path: Path) -> None:
    with HubServer(tmp_path / "hub", token=TOKEN) as hub:
        environment = hub.environment(tmp_path / "home", PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'scripts'}")
        command = [sys.executable, "-c", STEPS, str(drawn_dataset)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=170)
        assert done.returncode == 0, done.stderr[-3000:]
        repos = hub.store.repos
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"predict": 0, "ensemble": 0, "heads": [True, True], "crops": [64], "again": 0}, done.stderr
    tables = [read_predictions(tmp_path / "tables" / f"me--{name}.parquet") for name in ("a", "b", "ensemble")]
    assert [table.model for table in tables] == ["me/a", "me/b", "me/ensemble"]
    for table in tables:
        repo = repos[f"models/{table.model}"]
        assert table.model_revision in repo["commits"]
        assert (table.model_revision == repo["refs"]["main"]) == (table.model != "me/a")
        assert table.dataset_revision == repos["datasets/me/sample"]["refs"]["main"]
    account = json.loads((tmp_path / "ensemble" / "ensemble.json").read_text())
    assert account["model_revisions"] == [table.model_revision for table in tables[:2]]
    card = (tmp_path / "ensemble" / "checkpoint" / "README.md").read_text()
    assert f"me/a (revision {tables[0].model_revision}), me/b (revision {tables[1].model_revision})" in card
    assert tables[2].image_ids == tables[0].image_ids
    np.testing.assert_allclose(tables[2].logits, (tables[0].logits + tables[1].logits) / 2, atol=1e-5)
    assert TOKEN not in done.stdout + done.stderr + card
