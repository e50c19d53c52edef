"""Training on columns of vectors: a probe from its column equals the probe from photos; simple models over vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from datasets import load_dataset

from ger_datasets.preparation.run import prepare
from ger_datasets.support.errors import UserError
from ger_models.encoders.sources import EncodedColumn
from ger_models.inference.checkpoints import load_checkpoint

VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def siglip(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    vision = transformers.SiglipVisionConfig(**VIT, image_size=32, patch_size=8)
    transformers.SiglipVisionModel(vision).save_pretrained(folder)
    transformers.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, drawn_raw: Path) -> Path:
    """A folder with the encoder `tower` and a dataset whose columns `tiny` and `mood` are filled."""
    folder = tmp_path_factory.mktemp("encoded")
    tower = siglip(folder / "tower")
    columns = [EncodedColumn("tiny", f"hf:{tower}"), EncodedColumn("mood", "starter", of_faces=True)]
    prepare("sample", drawn_raw, folder / "dataset", num_proc=1, limit=6, sources=columns)
    return folder


def train(run_script: Callable, world: Path, output: Path, model: str, *more: object) -> tuple[int, dict, str]:
    options = ("--model", model, "--dataset", world / "dataset", "--output_dir", output, "--epochs", 2)
    return run_script("train", *options, "--batch_size", 4, *more)


def test_a_probe_from_its_column_answers_photos(world: Path, run_script: Callable, tmp_path: Path) -> None:
    overrides = ("--config_overrides", f"backbone=hf:{world / 'tower'}")
    code, figures, log = train(run_script, world, tmp_path / "run", "siglip_probe", *overrides)
    assert code == 0, log
    model, processor = load_checkpoint(str(tmp_path / "run"))
    rows = load_dataset(str(world / "dataset"), split="validation")
    with torch.no_grad():
        from_pixels = model(**processor([row["image"] for row in rows])).logits
        from_column = model(image_features=torch.tensor(rows["tiny"])).logits
    torch.testing.assert_close(from_pixels, from_column, atol=1e-4, rtol=1e-4)
    right = (from_pixels.argmax(1).numpy() == np.array(rows["label"])).mean()
    assert figures["validation"]["accuracy"] == pytest.approx(right)
    tower = transformers.SiglipVisionModel.from_pretrained(world / "tower").eval()
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(pixels), tower(pixels).pooler_output)
    config = (tmp_path / "run/config.json").read_text()
    assert json.loads(config)["backbone"] == "hf:tower"
    assert str(world) not in config


def test_a_column_of_other_weights_is_refused(world: Path, run_script: Callable, tmp_path: Path) -> None:
    other = siglip(tmp_path / "tower", seed=1)  # of the same name
    code, _, log = train(
        run_script, world, tmp_path / "run", "siglip_probe", "--config_overrides", f"backbone=hf:{other}"
    )
    assert code == 2
    assert "the column tiny" in log
    assert "other weights of hf:tower" in log


def test_a_frozen_backbone_never_keeps_random_weights(world: Path, run_script: Callable, tmp_path: Path) -> None:
    options = ("--config_overrides", "backbone=test_vit")
    code, _, log = train(run_script, world, tmp_path / "run", "dino_probe", *options)
    assert code == 2
    assert "frozen backbone with random weights" in log


@pytest.mark.parametrize("model", ["scene_and_faces", "features_crossvit"])
def test_models_over_named_columns(model: str, world: Path, run_script: Callable, tmp_path: Path) -> None:
    options = ("--config_overrides", "face_column=mood,scene_column=tiny")
    code, _, log = train(run_script, world, tmp_path / "run", model, *options)
    assert code == 0, log
    trained, processor = load_checkpoint(str(tmp_path / "run"))
    assert (trained.config.face_dim, trained.config.scene_dim) == (224, 32)
    assert set(trained.config.encoders) == {"mood", "tiny"}
    assert set(processor.row_columns) >= {"mood", "tiny"}
    table = tmp_path / "test.parquet"
    code, _, log = run_script(
        "predict", "--model", tmp_path / "run", "--dataset", world / "dataset", "--split", "test", "--output", table
    )
    assert code == 0, log
    code, _, log = train(run_script, world, tmp_path / "b", model, "--config_overrides", "face_column=nowhere")
    assert code == 2
    assert "nowhere" in log


def test_the_pipeline_says_which_column_it_cannot_make(world: Path, run_script: Callable, tmp_path: Path) -> None:
    from transformers import pipeline

    options = ("--config_overrides", "face_column=mood")
    assert train(run_script, world, tmp_path / "run", "scene_and_faces", *options)[0] == 0
    answer = pipeline("group-emotion", model=str(tmp_path / "run"))
    row = load_dataset(str(world / "dataset"), split="test")[0]
    assert answer(row)["label"] in ("Negative", "Neutral", "Positive")
    with pytest.raises(UserError, match=r"reads mood.*with mood=starter"):
        answer(row["image"])


def test_prediction_refuses_a_column_of_another_encoder(world: Path, run_script: Callable, tmp_path: Path) -> None:
    options = ("--config_overrides", "face_column=mood")
    assert train(run_script, world, tmp_path / "run", "scene_and_faces", *options)[0] == 0
    shutil.copytree(world / "dataset", tmp_path / "other")
    card = tmp_path / "other/README.md"
    digest = load_checkpoint(str(tmp_path / "run"))[0].config.encoders["mood"]["weights_sha256"]
    card.write_text(card.read_text().replace(digest, "0" * 64))
    code, _, log = run_script(
        "predict", "--model", tmp_path / "run", "--dataset", tmp_path / "other", "--output", tmp_path / "t.parquet"
    )
    assert code == 2
    assert "the column mood" in log


def test_simple_pooling_ignores_padding_and_order() -> None:
    from ger_models.pooling import MeanMaxPooling

    torch.manual_seed(0)
    faces, mask = torch.randn(2, 4, 3), torch.tensor([[True, True, False, False], [False] * 4])
    none = torch.zeros(2, 0, 3), torch.zeros(2, 0, dtype=torch.bool)
    pooled, shares = MeanMaxPooling(3)(faces, mask, *none)
    torch.testing.assert_close(pooled[0], torch.cat([faces[0, :2].mean(0), faces[0, :2].amax(0)]))
    assert not pooled[1].any()
    torch.testing.assert_close(shares, torch.tensor([[0.5, 0.5, 0, 0], [0.0] * 4]))
