"""Stages: a run begins with the weights of others, and what was loaded is told."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification

from ger_datasets.preparation.run import prepare
from ger_datasets.support.errors import UserError
from ger_models import STARTER, GerProcessor
from ger_models.conversion.convert import convert
from ger_models.presets import build
from ger_models.training.initial_weights import continue_from, graft, warn_of_other_pixels

CLASSES = ["Negative", "Neutral", "Positive"]
SCENE = "backbone=test_resnet"
SMALL = "hidden_size=16,depth=1,face_layers=1,scene_layers=1,cross_rounds=1,heads=2,head_dim=8,mlp_dim=16"
FUSION = f"{SCENE},face_channels=4,{SMALL}"


def model(name: str, overrides: str, classes: list[str] = CLASSES, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build(name, classes, overrides=overrides)[0]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    def save(name: str, overrides: str, classes: list[str] = CLASSES) -> str:
        folder = tmp_path / f"{name}_{len(classes)}_{overrides}"[:60]
        model(name, overrides, classes, seed=1).save_pretrained(folder)
        return str(folder)

    return save


def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_going_on_with_the_same_classes(saved: Callable[..., str]) -> None:
    fresh, before = model("densenet_emotic", SCENE), model("densenet_emotic", SCENE, seed=1)
    told = continue_from(fresh, saved("densenet_emotic", SCENE))
    assert equal(fresh, before)
    assert told["loaded"] == len(before.state_dict())
    assert told["left_out"] == {}


@pytest.mark.parametrize("classes", [["a", "b", "c", "d"], ["Positive", "Neutral", "Negative"]])
def test_another_head_stays_new_and_is_reported(
    classes: list[str], saved: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    """Other classes, also as many in another order."""
    for name, overrides in (("densenet_emotic", SCENE), ("face_aligned", "channels=4")):
        fresh = model(name, overrides)
        head = fresh.head.weight.detach().clone()
        told = continue_from(fresh, saved(name, overrides, classes))
        assert torch.equal(fresh.head.weight, head)
        assert {"head.weight", "head.bias"} <= set(told["left_out"])
        assert all(n.startswith(("head.", "no_face_logits")) for n in told["left_out"])
        body = next(p for n, p in fresh.named_parameters() if n.endswith("conv1.weight") or n == "net.conv1_1.weight")
        source = model(name, overrides, classes, seed=1)
        name_of_body = next(n for n, p in fresh.named_parameters() if p is body)
        assert torch.equal(body, dict(source.named_parameters())[name_of_body])
    assert "left out head.bias, head.weight: its classes" in caplog.text


def test_from_a_converted_checkpoint(tmp_path: Path) -> None:
    """What convert_checkpoint.py writes; its classifier of 365 scenes is not taken."""
    torch.manual_seed(3)
    import timm

    torch.save({"state_dict": timm.create_model("resnet18", num_classes=365).state_dict()}, tmp_path / "places.pth")
    convert(tmp_path / "places.pth", "resnet_places", tmp_path / "places", CLASSES)
    fresh = model("resnet_places", "")
    told = continue_from(fresh, str(tmp_path / "places"))
    torch.manual_seed(3)
    places = timm.create_model("resnet18", num_classes=365)
    assert torch.equal(fresh.backbone.layer4[1].conv2.weight, places.layer4[1].conv2.weight)
    assert told["loaded"] > 100


def test_a_fusion_model_of_three_runs(saved: Callable[..., str]) -> None:
    fresh = model("fusion_crossvit", FUSION)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    told = {
        "scene_from": graft(fresh, "scene_from", saved("densenet_emotic", SCENE)),
        "faces_from": graft(fresh, "faces_from", saved("face_aligned", "channels=4")),
        "pooling_from": graft(fresh, "pooling_from", saved("features_crossvit", SMALL)),
    }
    after = fresh.state_dict()
    scene, faces = model("densenet_emotic", SCENE, seed=1), model("face_aligned", "channels=4", seed=1)
    assert torch.equal(after["scene_backbone.conv1.0.weight"], scene.backbone.conv1[0].weight)
    assert torch.equal(after["face_net.conv4_3.weight"], faces.net.conv4_3.weight)
    pooling = model("features_crossvit", SMALL, seed=1).state_dict()
    assert all(torch.equal(after[name], pooling[name]) for name in pooling if name.startswith("pooling."))
    for name in ("head.weight", "face_projection.weight"):
        assert torch.equal(after[name], before[name])
    assert told["pooling_from"]["left_out"]["face_projection.weight"] == "its shape differs"
    assert told["scene_from"]["left_out"] == dict.fromkeys(("head.weight", "head.bias"), "not part of the model")


def test_faces_from_the_expression_network() -> None:
    fresh = model("expressions_crossvit", f"freeze_faces=true,{SMALL}")
    summary = graft(fresh, "faces_from", "starter")
    starter = AutoModelForImageClassification.from_pretrained(STARTER, dtype=torch.float32)
    assert equal(fresh.face_net, starter.net)
    assert summary["loaded"] == len(starter.net.state_dict())
    with pytest.raises(UserError, match="--faces_from takes a ger_face here, and starter is a ger_expression"):
        graft(model("fusion_crossvit", FUSION), "faces_from", "starter")
    with pytest.raises(UserError, match=r"face_net.* where the model has"):
        graft(model("expressions_crossvit", f"face_widths=[8,16],face_blocks=[0,1],{SMALL}"), "faces_from", "starter")


def test_face_expressions_starts_from_the_starters_answer() -> None:
    fresh = model("face_expressions", "", CLASSES)
    continue_from(fresh, "starter")
    starter = AutoModelForImageClassification.from_pretrained(STARTER, dtype=torch.float32)
    batch = {"expression_pixels": torch.randn(5, 1, 48, 48), "face_counts": torch.tensor([3, 0, 2])}
    with torch.no_grad():
        torch.testing.assert_close(fresh.eval()(**batch).logits, starter.eval()(**batch).logits)


@pytest.mark.parametrize(
    ("option", "name", "overrides", "words"),
    [
        ("init_from", "face_aligned", "channels=4", "is a ger_face and the model to train a ger_fusion"),
        ("scene_from", "face_aligned", "channels=4", "--scene_from takes a ger_scene .*and .* is a ger_face"),
        ("scene_from", "resnet_places", "", "weights are unknown .*layer1.*; .* do not fit"),
        (
            "faces_from",
            "face_aligned",
            "channels=8",
            r"not fit \(face_net.conv1_1.bias \(8,\) where .* has \(4,\)",
        ),
        ("pooling_from", "features_crossvit", "", "do not fit .* where the model has"),
        ("pooling_from", "fusion_attention_score", f"{SCENE},face_channels=4", "are unknown .*are missing"),
    ],
)
def test_what_does_not_fit_is_refused(
    option: str, name: str, overrides: str, words: str, saved: Callable[..., str]
) -> None:
    fresh = model("fusion_crossvit", FUSION)
    other = saved(name, overrides)
    with pytest.raises(UserError, match=words):
        continue_from(fresh, other) if option == "init_from" else graft(fresh, option, other)


def test_stages_that_would_do_nothing_are_refused(saved: Callable[..., str], tmp_path: Path) -> None:
    scene, faces = saved("densenet_emotic", SCENE), saved("face_aligned", "channels=4")
    with pytest.raises(UserError, match="--scene_from is for the fusion models"):
        graft(model("densenet_emotic", SCENE), "scene_from", scene)
    with pytest.raises(UserError, match=r"has no weights face_net\."):
        graft(model("fusion_average", SCENE), "faces_from", faces)
    with pytest.raises(UserError, match=r"has no weights pooling\., face_projection"):
        graft(model("fusion_average", SCENE), "pooling_from", saved("features_crossvit", SMALL))
    with pytest.raises(UserError, match="no folder"):
        continue_from(model("densenet_emotic", SCENE), str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no model can be loaded"):
        continue_from(model("densenet_emotic", SCENE), str(tmp_path / "empty"))
    Path(scene, "model.safetensors").write_bytes(b"12345678{")
    with pytest.raises(UserError, match="no model can be loaded"):
        continue_from(model("densenet_emotic", SCENE), scene)


@pytest.fixture(scope="module")
def emotic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An EMOTIC of one person a photo, prepared; the photo's brightness tells the valence, and one has none."""
    raw, rng = tmp_path_factory.mktemp("emotic"), np.random.default_rng(0)
    folder = raw / "emotic" / "mscoco" / "images"
    folder.mkdir(parents=True)
    (raw / "emotic_pre").mkdir()
    header = ["Index", "Folder", "Filename", "Image Size", "BBox", "Categorical_Labels", "Continuous_Labels"]
    for split, count in (("train", 12), ("val", 6), ("test", 3)):
        with (raw / "emotic_pre" / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*header, "Gender", "Age"])
            for i in range(count):
                name, valence = f"{split}_{i}.jpg", (2.0, 6.0, 9.0)[i % 3]
                pixels = rng.integers(0, 60, (48, 64, 3)) + 90 * (i % 3)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
                told = [[4, 5, 40, 44], ["Peace"], [valence, 5.0, 5.0], "Male", "Adult"]
                writer.writerow([i, "mscoco/images", name, [48, 64], *told])
    prepare("emotic", raw, raw / "prepared", num_proc=1)
    return raw / "prepared"


@pytest.mark.slow
def test_emotic_then_gaf(run_script: Callable, emotic: Path, raw_folder: Path, tmp_path: Path) -> None:
    """densenet_emotic's two stages, each through its own dataset's builder, to a checkpoint that predicts."""
    gaf = tmp_path / "gaf3"
    prepare("gaf3", raw_folder, gaf, num_proc=1)
    stages = []
    for name, dataset, more in (("emotic", emotic, ()), ("gaf", gaf, ("--init_from", tmp_path / "emotic"))):
        code, figures, log = run_script(
            "train", "--model", "densenet_emotic", "--dataset", dataset, "--output_dir", tmp_path / name,
            "--config_overrides", SCENE, "--initial_weights", "random", "--epochs", 2, "--learning_rate", 0.01,
            "--batch_size", 4, *more,
        )  # fmt: skip
        assert code == 0, log
        stages.append((figures, log))
    (first, _), (second, log) = stages
    assert first["train_photos"] == 12
    assert second["stages"]["init_from"]["from"] == "emotic"
    assert second["stages"]["init_from"]["loaded"] > 20
    assert "weights loaded, 0 left out" in log
    assert "from emotic" in (tmp_path / "gaf" / "README.md").read_text()
    assert json.loads((tmp_path / "gaf" / "run.json").read_text())["init_from"] == "emotic"
    code, figures, log = run_script(
        "predict", "--model", tmp_path / "gaf", "--dataset", gaf, "--split", "validation", "--output",
        tmp_path / "out.parquet",
    )  # fmt: skip
    assert code == 0, log


def test_weights_of_other_pixels_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = GerProcessor(), GerProcessor(image_mean=[0.5] * 3, interpolation="bicubic")
    warn_of_other_pixels("runs/a", theirs, ours)
    assert "runs/a was trained on photos made with image_mean [0.5, 0.5, 0.5] instead of [0.485" in caplog.text
    assert "interpolation bicubic instead of bilinear" in caplog.text
    caplog.clear()
    for other in (GerProcessor(), None, GerProcessor(columns=["face_features"], image_mean=[0.5] * 3)):
        warn_of_other_pixels("runs/a", other, ours)
    assert not caplog.text
