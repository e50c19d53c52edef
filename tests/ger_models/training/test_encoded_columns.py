"""Training on columns of vectors: a probe from its column equals the probe from photos; simple models over vectors."""

from __future__ import annotations

import contextlib
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
from ger_datasets.support.command_line import run
from ger_datasets.support.errors import UserError
from ger_models.encoders.sources import EncodedColumn
from ger_models.evaluation.predictions import read_predictions
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


@pytest.fixture(scope="module")
def over_vectors(world: Path, load_script: Callable) -> Path:
    """A model over the columns `mood` and `tiny`, in a folder beside the encoder `tower`."""
    module = load_script("train")
    folder = world / "over_vectors"
    with contextlib.suppress(SystemExit):
        options = ("--model", "scene_and_faces", "--dataset", world / "dataset", "--output_dir", folder, "--epochs", 2)
        overrides = ("--config_overrides", "face_column=mood,scene_column=tiny", "--batch_size", 4)
        run(module.main, module.Arguments, [str(word) for word in (*options, *overrides)])
    return folder


@pytest.mark.slow
def test_photos_are_answered_as_the_datasets_rows(
    world: Path, over_vectors: Path, run_script: Callable, tmp_path: Path
) -> None:
    """The encoders are opened, `starter` by its name and `tower` beside the model, and fill the columns."""
    answer = transformers.pipeline("group-emotion", model=str(over_vectors))
    rows = list(load_dataset(str(world / "dataset"), split="test"))
    assert any(row["mood"] for row in rows), "there are faces"
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, row in enumerate(rows):
        row["image"].save(photos / f"{i}.png")
    from_rows, from_photos = answer(rows), answer([row["image"] for row in rows], batch_size=2)
    without = [{name: row[name] for name in row if name != "mood"} for row in rows]
    for known, *others in zip(from_rows, from_photos, answer(without), strict=True):
        for found in others:
            assert found["scores"] == pytest.approx(known["scores"], abs=1e-4)
    assert np.ptp([found["score"] for found in from_rows]) > 1e-3, "all photos have the same answer"

    table = tmp_path / "photos.parquet"
    code, _, log = run_script("predict", "--model", over_vectors, "--photos", photos, "--output", table)
    assert code == 0, log
    predicted = read_predictions(table)
    shares = torch.tensor(predicted.logits).softmax(1).numpy()
    order = [int(image_id.removesuffix(".png")) for image_id in predicted.image_ids]
    expected = np.array([list(from_rows[i]["scores"].values()) for i in order])
    np.testing.assert_allclose(shares, expected, atol=1e-4)


@pytest.mark.parametrize("weights", ["none", "other"])
def test_an_encoder_that_cannot_be_opened(weights: str, world: Path, over_vectors: Path, tmp_path: Path) -> None:
    shutil.copytree(over_vectors, tmp_path / "model")
    if weights == "other":
        siglip(tmp_path / "tower", seed=1)
    answer = transformers.pipeline("group-emotion", model=str(tmp_path / "model"))
    row = load_dataset(str(world / "dataset"), split="test")[0]
    assert answer(row)["label"] in ("Negative", "Neutral", "Positive")
    reason = {"none": "hf:tower: no folder tower", "other": "has other weights than in the training data"}[weights]
    with pytest.raises(UserError, match=rf"reads tiny.*{reason}.*prepare.py --features tiny=hf:tower"):
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
