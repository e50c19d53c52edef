"""Columns of vectors that encoders fill: at once or later, by name, of photos and of faces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from datasets import load_dataset
from huggingface_hub import DatasetCard
from timm.models import save_for_hf

from ger_datasets.prepared import read_prepared
from ger_models.encoders import make_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder")
    save_for_hf(timm.create_model("test_vit", num_classes=0), folder, safe_serialization=True)
    return f"timm:local-dir:{folder}"


def prepare(run_script: Callable, raw: Path, output: Path, *more: object) -> tuple[int, dict, str]:
    common = ("--dataset", "sample", "--source", raw, "--output", output, "--limit", 3, "--num_proc", 1)
    return run_script("prepare", *common, "--expressions", "none", *more)


@pytest.mark.slow
def test_at_once_later_and_again(run_script: Callable, drawn_raw: Path, encoder: str, tmp_path: Path) -> None:
    columns = ("--features", f"tiny={encoder}", "--face_features", "mood=starter", f"tiny_faces={encoder}")
    code, _, log = prepare(run_script, drawn_raw, tmp_path / "once", *columns)
    assert code == 0, log
    once = load_dataset(str(tmp_path / "once"), split="train")
    tiny, starter = make_encoder(encoder), make_encoder("starter")
    for row in once:
        np.testing.assert_allclose(row["tiny"], tiny.encode([row["image"]])[0], atol=1e-4)
        expected = starter.encode_faces([row["image"]], [row["face_boxes"]])[0]
        np.testing.assert_allclose(np.reshape(row["mood"], expected.shape), expected, atol=1e-4)
        assert len(row["tiny_faces"]) == len(row["face_boxes"])
    assert any(row["mood"] for row in once)
    card = DatasetCard.load(tmp_path / "once/README.md")
    assert set(card.data.to_dict()["encoders"]) == {"tiny", "mood", "tiny_faces"}
    assert card.data.to_dict()["encoders"]["mood"]["name"] == "starter"
    assert str(tmp_path.parent) not in card.text
    read_prepared(tmp_path / "once")

    later = tmp_path / "later"
    assert prepare(run_script, drawn_raw, later)[0] == 0
    assert prepare(run_script, drawn_raw, later, *columns[:2])[0] == 0
    assert prepare(run_script, drawn_raw, later, *columns)[0] == 0
    assert load_dataset(str(later), split="train")[:] == once[:]
    files = {path.name: path.read_bytes() for path in (later / "data").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "once/data").iterdir()}

    code, _, log = prepare(run_script, drawn_raw, later, "--features", "tiny=./other")
    assert (code, "no such folder" in log) == (2, True), log
    wider = [option.replace("mood=starter", f"mood={encoder}") for option in columns]
    code, _, log = prepare(run_script, drawn_raw, later, *wider)
    assert (code, "features.mood was" in log, "'width': 224" in log) == (2, True, True), log
    code, _, log = prepare(run_script, drawn_raw, later)  # without the columns it has
    assert (code, "features.tiny was" in log) == (2, True), log
    assert files == {path.name: path.read_bytes() for path in (later / "data").iterdir()}


def test_a_scene_model_may_be_any_encoder(run_script: Callable, drawn_raw: Path, encoder: str, tmp_path: Path) -> None:
    code, _, log = prepare(run_script, drawn_raw, tmp_path / "out", "--scene_model", encoder)
    assert code == 0, log
    row = load_dataset(str(tmp_path / "out"), split="train")[0]
    np.testing.assert_allclose(row["scene_feature"], make_encoder(encoder).encode([row["image"]])[0], atol=1e-4)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["settings"]["scene_model"]["width"] == len(row["scene_feature"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--features", "mood=starter"), "encodes faces"),
        (("--features", "image=timm:test_vit"), "column of every prepared dataset"),
        (("--features", "Name=timm:test_vit"), "COLUMN=ENCODER"),
        (("--face_features", "starter"), "COLUMN=ENCODER"),
        (("--face_features", "mood=starter", "mood=starter"), "given twice"),
        (("--features", "a=timm:no_such_model"), "timm has no model"),
    ],
)
def test_refused_before_any_work(
    options: tuple[str, ...], message: str, run_script: Callable, drawn_raw: Path, tmp_path: Path
) -> None:
    code, _, log = prepare(run_script, drawn_raw, tmp_path / "out", *options)
    assert (code, message in log) == (2, True), log
    assert not (tmp_path / "out").exists()
