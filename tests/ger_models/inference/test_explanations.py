"""Heat maps: hiding the hottest fifth of a photo costs more probability than hiding any fifth (a deletion test)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from datasets import load_dataset
from PIL import Image
from torch.nn import functional as F

from ger_datasets.support.errors import UserError
from ger_models import (
    GerExpressionConfig,
    GerExpressionForImageClassification,
    GerFusionConfig,
    GerProcessor,
    GerSceneConfig,
    GerSceneForImageClassification,
)
from ger_models.backbones import VisionTower
from ger_models.inference.explanations import DIMMED, Explainer, heat_maps, overlay, seen_box
from ger_models.modeling_fusion import GerFusionForImageClassification
from ger_models.processing_pixels import Preprocessing

LABELS = {"id2label": dict(enumerate("abc")), "label2id": {name: i for i, name in enumerate("abc")}}
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def drawn(count: int, side: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise with a square somewhere, whose colour is the class: photos, labels, and where the squares are."""
    generator = torch.Generator().manual_seed(seed)
    photos = torch.randn(count, 3, side, side, generator=generator) * 0.3
    labels, place, size = torch.arange(count) % 3, torch.zeros(count, side, side, dtype=torch.bool), side // 5
    for i in range(count):
        top, left = torch.randint(0, side - size, (2,), generator=generator).tolist()
        place[i, top : top + size, left : left + size] = True
        photos[i, labels[i]] += 2.0 * place[i]
    return photos, labels, place


def cnn() -> GerSceneForImageClassification:
    return GerSceneForImageClassification(GerSceneConfig(backbone="test_resnet", **LABELS))


def vit() -> GerSceneForImageClassification:
    tower = VisionTower(transformers.ViTModel(transformers.ViTConfig(**VIT, image_size=48, patch_size=8)))
    return GerSceneForImageClassification(GerSceneConfig(backbone="hf:tiny", backbone_config=tower.fields, **LABELS))


def fusion() -> GerFusionForImageClassification:
    sizes = {"hidden_size": 16, "depth": 1, "mlp_dim": 16, "dropout": 0.0, "pooling": "average", "join": "both"}
    config = GerFusionConfig(scene="image", backbone="test_resnet", freeze_scene=False, **sizes, **LABELS)
    return GerFusionForImageClassification(config)


def faces_beside(model: torch.nn.Module, count: int) -> dict[str, torch.Tensor]:
    """The inputs beside the photos: faces of noise, for a fusion model."""
    if not isinstance(model, GerFusionForImageClassification):
        return {}
    noise = torch.randn(count, 2, 256, generator=torch.Generator().manual_seed(count))
    return {"face_features": noise, "face_mask": torch.ones(count, 2, dtype=torch.bool)}


def trained(build: Callable, side: int, steps: int, rate: float) -> GerSceneForImageClassification:
    torch.manual_seed(0)
    model = build().train()
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    for step in range(steps):
        photos, labels, _ = drawn(12, side, step)
        optimizer.zero_grad()
        model(pixel_values=photos, labels=labels, **faces_beside(model, 12)).loss.backward()
        optimizer.step()
    return model.eval()


def hiding(model: GerSceneForImageClassification, photos: torch.Tensor, cells: torch.Tensor) -> Callable:
    """A function of chosen cells that returns what is lost where they get the mean colour.

    That is the probability of the class that was predicted, as a mean over the photos.
    """

    def ask(shown: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model(pixel_values=shown, **faces_beside(model, len(shown))).logits.softmax(1)

    before = ask(photos)
    predicted = before.argmax(1, keepdim=True)

    def lost(chosen: torch.Tensor) -> torch.Tensor:
        kept = torch.ones_like(cells).flatten(1).scatter(1, chosen, 0.0).view_as(cells)[:, None]
        after = ask(photos * F.interpolate(kept, photos.shape[2:], mode="nearest"))
        return (before - after).gather(1, predicted).mean()

    return lost


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "side", "cell", "steps", "rate"),
    [(cnn, 128, 16, 25, 4e-3), (fusion, 128, 16, 35, 4e-3), (vit, 48, 8, 150, 2e-3)],
    ids=["cnn", "fusion", "vit"],
)
def test_deletion(build: Callable, side: int, cell: int, steps: int, rate: float) -> None:
    model = trained(build, side, steps, rate)
    photos, labels, place = drawn(24, side, 999)
    others = faces_beside(model, 24)
    assert (model(pixel_values=photos, **others).logits.argmax(1) == labels).float().mean() > 0.9, "it has learnt it"
    heat = torch.as_tensor(heat_maps(model, photos, others=others))
    assert heat.shape == (24, side, side)
    assert heat.min() >= 0
    assert heat.amax((1, 2)).tolist() == pytest.approx([1.0] * 24)
    cells = F.avg_pool2d(heat[:, None], cell)[:, 0]
    count = round(cells[0].numel() / 5)
    lost = hiding(model, photos, cells)
    hottest = lost(cells.flatten(1).topk(count, 1).indices)
    generator = torch.Generator().manual_seed(0)
    draws = [torch.rand(24, cells[0].numel(), generator=generator).argsort(1)[:, :count] for _ in range(10)]
    anywhere = torch.stack([lost(chosen) for chosen in draws])
    print(f"hottest {hottest:.3f}, any {anywhere.mean():.3f}, at most {anywhere.max():.3f}")
    assert hottest > anywhere.max() + 0.2
    inside = (heat * place).sum((1, 2)) / place.sum((1, 2))
    outside = (heat * ~place).sum((1, 2)) / (~place).sum((1, 2))
    assert (inside > 2 * outside).float().mean() > 0.9, "the heat is where the square is"


def test_channels_last_and_a_frozen_backbone_and_other_classes() -> None:
    torch.manual_seed(0)
    config = GerSceneConfig(backbone="test_mambaout", freeze_backbone=True, **LABELS)
    model = GerSceneForImageClassification(config).eval()
    torch.nn.init.normal_(model.head.weight)
    photos = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        first = heat_maps(model, photos, [0, 0])
    assert first.shape == (2, 96, 96)
    assert not np.allclose(first, heat_maps(model, photos, [1, 1]))
    np.testing.assert_allclose(first[:1], heat_maps(model, photos[:1], [0]), atol=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("settings", "size", "box"),
    [
        ({"resize_shorter": 256, "crop_size": 224}, (320, 256), (48, 16, 272, 240)),
        ({"keep_aspect": False}, (320, 256), (0, 0, 320, 256)),
        ({"preprocessing": Preprocessing(32, 32).to_dict()}, (50, 90), (0, 0, 50, 90)),
        ({"preprocessing": Preprocessing(32, 32, shorter=64).to_dict()}, (50, 90), (12.5, 32.5, 37.5, 57.5)),
    ],
)
def test_the_part_that_a_model_sees(settings: dict, size: tuple[int, int], box: tuple[float, ...]) -> None:
    processor = GerProcessor(**settings)
    assert seen_box(processor, *size) == pytest.approx(box)
    photo = np.zeros((size[1], size[0], 3), np.uint8)
    outside = [int(box[1]) - 3, int(box[3]) + 4]  # interpolation reaches two pixels further
    photo[[row for row in outside if 0 <= row < size[1]]] = 255
    assert processor.raw([Image.fromarray(photo)])["pixel_values"].max() == 0, "it sees nothing outside"


def test_overlay() -> None:
    photo = Image.new("RGB", (20, 10), (100, 100, 100))
    heat = np.zeros((4, 4), np.float32)
    heat[:2, :2] = 1
    shown = np.asarray(overlay(photo, heat, (10, 0, 20, 10)))
    assert (shown[:, :10] == round(100 * DIMMED)).all()
    assert (shown[9, 19] == 100).all()
    assert shown[0, 10, 0] > 180
    for size in ((10, 1), (1, 1), (1, 30)):
        tiny = Image.new("RGB", size)
        assert overlay(tiny, heat, seen_box(GerProcessor(), *size)).size == size


def test_other_models_are_refused() -> None:
    faces_alone = GerFusionForImageClassification(GerFusionConfig(hidden_size=16, depth=1, mlp_dim=16, **LABELS))
    with pytest.raises(UserError, match="look at the photo, and runs/a reads face_features"):
        Explainer("runs/a", faces_alone, GerProcessor(columns=["face_features"]))
    expressions = GerExpressionForImageClassification(GerExpressionConfig())
    with pytest.raises(UserError, match="scene models and fusion models, and runs/c is a ger_expression"):
        Explainer("runs/c", expressions, GerProcessor(columns=["face_boxes"]))
    with pytest.raises(UserError, match="look at the photo, and runs/b reads skeleton"):
        Explainer("runs/b", cnn(), GerProcessor(columns=["skeleton"]))


@pytest.mark.parametrize("kind", ["scene", "fusion"])
def test_the_scripts(kind: str, run_script: Callable, drawn_dataset: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, columns = (cnn(), ["image"]) if kind == "scene" else (fusion(), ["face_features", "image"])
    model.config.id2label = dict(enumerate(("Negative", "Neutral", "Positive")))
    model.config.label2id = {name: i for i, name in model.config.id2label.items()}
    torch.nn.init.normal_(model.head.weight)
    model.save_pretrained(tmp_path / "model")
    GerProcessor(columns=columns, resize_shorter=72, crop_size=64).save_pretrained(tmp_path / "model")
    row = load_dataset(str(drawn_dataset), split="test")[0]
    row["image"].save(tmp_path / "a.png")
    common = ("--model", tmp_path / "model", "--device", "cpu")
    asked = (*common, "--photos", tmp_path / "a.png", "--output_dir")
    assert run_script("predict", *asked, tmp_path / "plain")[0] == 0
    code, _, log = run_script("predict", *asked, tmp_path / "heat", "--explain")
    assert code == 0, log
    plain, heat = (np.asarray(Image.open(tmp_path / name / "a.png.png")) for name in ("plain", "heat"))
    assert plain.shape[1] == heat.shape[1]
    assert (plain[:200] != heat[:200]).any(-1).mean() > 0.2
    code, _, log = run_script("predict", *common, "--dataset", drawn_dataset, "--explain", "--output_dir", tmp_path)
    assert code == 2
    assert "--explain needs --photos and --output_dir" in log

    table = tmp_path / "test.parquet"
    assert run_script("predict", *common, "--dataset", drawn_dataset, "--output", table)[0] == 0
    asked = ("--predictions", table, "--explain", tmp_path / "model", "--output_dir", tmp_path / "report")
    code, _, log = run_script("evaluate_predictions", *asked, "--dataset", drawn_dataset)
    assert code == 0, log
    assert "raised the probability of the class that model predicts" in (tmp_path / "report/report.html").read_text()
    code, _, log = run_script("evaluate_predictions", *asked)
    assert code == 2
    assert "--explain needs --dataset" in log
