"""Encoders: the same vectors as timm's and transformers' own preprocessing and forward pass give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from timm.models import save_for_hf

from ger_datasets.support.errors import UserError
from ger_models import GerProcessor
from ger_models.encoders import make_encoder
from ger_models.encoders.checkpoint import ExpressionEncoder

LAYERS: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
VIT: dict[str, Any] = {**LAYERS, "intermediate_size": 64, "image_size": 32, "patch_size": 8}
TEXT: dict[str, Any] = {**LAYERS, "intermediate_size": 64, "vocab_size": 99, "max_position_embeddings": 16}
SQUARE = {"height": 32, "width": 32}


def clip() -> tuple[Any, Any]:
    config = transformers.CLIPConfig(
        text_config={**TEXT, "bos_token_id": 1, "eos_token_id": 2}, vision_config=VIT, projection_dim=16
    )
    return transformers.CLIPModel(config), transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size=SQUARE
    )


def siglip() -> tuple[Any, Any]:
    config = transformers.SiglipConfig(text_config={**TEXT, "bos_token_id": 1, "eos_token_id": 2}, vision_config=VIT)
    return transformers.SiglipModel(config), transformers.SiglipImageProcessor(size=SQUARE)


FAMILIES: dict[str, Any] = {
    "clip": clip,
    "siglip": siglip,
    "dinov2": lambda: (
        transformers.Dinov2Model(transformers.Dinov2Config(**LAYERS, image_size=32, patch_size=8)),
        transformers.BitImageProcessor(size={"shortest_edge": 40}, crop_size=SQUARE),
    ),
    "dinov3": lambda: (
        transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**VIT)),
        transformers.DINOv3ViTImageProcessor(size=SQUARE),
    ),
    "vit": lambda: (
        transformers.ViTModel(transformers.ViTConfig(**VIT)),
        transformers.ViTImageProcessor(size=SQUARE),
    ),
    "convnext": lambda: (
        transformers.ConvNextModel(transformers.ConvNextConfig(hidden_sizes=[8, 8, 16, 32], depths=[1, 1, 1, 1])),
        transformers.ConvNextImageProcessor(size={"shortest_edge": 32}),
    ),
    "swin": lambda: (
        transformers.SwinModel(
            transformers.SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 2])
        ),
        transformers.ViTImageProcessor(size=SQUARE),
    ),
}


def photos(*sizes: tuple[int, int]) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8) for height, width in sizes]
    return [
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        for pixels, (height, width) in zip(noise, sizes, strict=True)
    ]


def vectors_of(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """What the family's own code gives for a photo."""
    if hasattr(model, "get_image_features"):
        return model.get_image_features(pixels).pooler_output
    outputs = model(pixels)
    return outputs.last_hidden_state[:, 0] if isinstance(model, transformers.ViTModel) else outputs.pooler_output


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_transformers_own(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, processor = FAMILIES[family]()
    model.eval().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    images = photos((96, 60), (50, 131), (24, 24))
    encoder = make_encoder(f"hf:{tmp_path}")
    with torch.no_grad():
        expected = [vectors_of(model, processor(image, return_tensors="pt")["pixel_values"]) for image in images]
    found = encoder.encode(images)
    assert found.shape == (3, encoder.width)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, torch.cat(expected), atol=1e-4)
    assert np.ptp(found, axis=0).max() > 1e-3, "all photos give the same vector"
    assert str(tmp_path.parent) not in str(encoder.settings)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_equals_timms_own(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0).eval()
    save_for_hf(model, tmp_path, safe_serialization=True)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    images = photos((300, 200), (180, 400))
    encoder = make_encoder(f"timm:local-dir:{tmp_path}")
    with torch.no_grad():
        expected = model(torch.stack([transform(image) for image in images]))
    np.testing.assert_allclose(encoder.encode(images), expected, atol=1e-4)
    assert str(tmp_path.parent) not in str(encoder.settings)


def test_faces_are_squares_of_the_photo(tmp_path: Path) -> None:
    model, processor = FAMILIES["siglip"]()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    encoder = make_encoder(f"hf:{tmp_path}")
    first, second = photos((100, 100), (80, 120))
    found = encoder.encode_faces([first, second, second], [[[10, 20, 30, 60]], [], [[100, 0, 130, 30], [0, 0, 9, 9]]])
    assert [faces.shape for faces in found] == [(1, 32), (0, 32), (2, 32)]
    np.testing.assert_allclose(found[0], encoder.encode([first.crop((0, 20, 40, 60))]), atol=1e-5)
    np.testing.assert_allclose(found[2][0], encoder.encode([second.crop((100, 0, 120, 30))])[0], atol=1e-5)


def test_starter_encodes_faces_as_its_own_forward_does() -> None:
    encoder = make_encoder("starter")
    (photo,) = photos((120, 160))
    boxes = [[20.0, 20.0, 80.0, 90.0], [90.0, 30.0, 150.0, 100.0]]
    (vectors,) = encoder.encode_faces([photo], [boxes])
    assert vectors.shape == (2, encoder.width)
    assert encoder.settings["name"] == "starter"
    model = encoder.model
    logits = model.expression_head(torch.from_numpy(vectors)).softmax(1)
    row = {"image": photo, "face_boxes": boxes, "face_scores": [1.0, 1.0]}
    expected = model(**encoder.processor([row]), output_faces=True).face_expressions[0]
    np.testing.assert_allclose(logits.detach(), expected.detach(), atol=1e-5)
    with pytest.raises(UserError, match="encodes faces"):
        encoder.encode([photo])


def test_an_encoder_that_reads_two_views_is_another_encoder() -> None:
    model = make_encoder("starter").model
    digests = set()
    for two_views in (False, True):
        model.config.two_views = two_views
        digests.add(
            ExpressionEncoder(model, GerProcessor(columns=["face_boxes"]), "x", "cpu").settings["weights_sha256"]
        )
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:", "has no name"),
        ("hf:./nowhere", "no folder"),
        ("timm:no_such_model", "timm has no model"),
        ("./nowhere", "no such folder"),
    ],
)
def test_unknown_encoders(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_encoder(name)


def test_a_model_without_a_vision_tower(tmp_path: Path) -> None:
    config = transformers.BertConfig(**LAYERS, intermediate_size=64, vocab_size=99)
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="'bert' cannot be used as an encoder of photos"):
        make_encoder(f"hf:{tmp_path}")
