"""Rows and photos -> tensors, one by one and the same in any batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ger_models import GerProcessor
from ger_models.training.loading.batching import Collator


@pytest.fixture
def images(rng: np.random.Generator) -> list[Image.Image]:
    sizes = [(300, 200), (200, 300), (500, 40), (64, 64)]
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def face_rows(counts: list[int]) -> list[dict]:
    rng = np.random.default_rng(1)
    return [{"face_features": rng.normal(size=(n, 256)).tolist(), "scene_feature": None} for n in counts]


def test_a_batch_equals_single_photos_bit_for_bit(images: list[Image.Image]) -> None:
    processor = GerProcessor()
    together = processor(images)["pixel_values"]
    assert together.shape == (4, 3, 224, 224)
    for image, tensor in zip(images, together, strict=True):
        assert torch.equal(processor(image)["pixel_values"][0], tensor)
        assert torch.equal(processor({"image": image, "label": 1})["pixel_values"][0], tensor)


def test_the_centre_is_cut_out_and_normalised() -> None:
    image = Image.new("RGB", (512, 256), "black")
    image.paste((255, 0, 0), (144, 16, 368, 240))  # exactly the middle 224 x 224
    pixels = GerProcessor()(image)["pixel_values"][0]
    red = (1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225
    torch.testing.assert_close(pixels.amin((1, 2)), torch.tensor(red), atol=1e-5, rtol=0)
    torch.testing.assert_close(pixels.amax((1, 2)), torch.tensor(red), atol=1e-5, rtol=0)


def test_rotated_photos_are_turned_upright() -> None:
    image = Image.new("RGB", (256, 256), "white")
    image.paste("black", (0, 0, 256, 128))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    assert torch.equal(GerProcessor()(turned)["pixel_values"], GerProcessor()(image)["pixel_values"])


def test_faces_are_padded_masked_and_limited() -> None:
    rows = face_rows([2, 0, 60])
    batch = GerProcessor(columns=["face_features"], max_faces=15)(rows)
    assert batch["face_features"].shape == (3, 15, 256)
    assert batch["face_mask"].sum(1).tolist() == [2, 0, 15]
    expected = torch.tensor(rows[2]["face_features"][:15])
    torch.testing.assert_close(batch["face_features"][2], expected)
    assert not batch["face_features"][0, 2:].any()


def test_photos_without_faces_keep_one_empty_slot() -> None:
    batch = GerProcessor(columns=["face_features"])(face_rows([0, 0]))
    assert batch["face_features"].shape == (2, 1, 256)
    assert not batch["face_mask"].any()


def test_scene_features_may_be_missing() -> None:
    rows = face_rows([1, 1])
    rows[1]["scene_feature"] = [1.0, 2.0]
    batch = GerProcessor(columns=["scene_feature"], scene_dim=2)(rows)
    assert batch["scene_feature"].tolist() == [[0, 0], [1, 2]]
    assert batch["scene_mask"].tolist() == [False, True]


def test_augmentation_depends_on_the_row_the_seed_and_the_epoch_alone(images: list[Image.Image]) -> None:
    rows = [{"image_id": f"a/{i}", "image": image, "label": 0} for i, image in enumerate(images)]
    first, again = Collator(GerProcessor(), train_seed=1), Collator(GerProcessor(), train_seed=1)
    pixels = first(rows)["pixel_values"]
    assert torch.equal(again(rows[::-1])["pixel_values"].flip(0), pixels), "whatever the batch's order"
    assert torch.equal(again(rows[2:3])["pixel_values"][0], pixels[2]), "whatever its mates"
    again.epoch = 1
    assert not torch.equal(again(rows)["pixel_values"], pixels)
    assert not torch.equal(Collator(GerProcessor(), train_seed=2)(rows)["pixel_values"], pixels)
    plain = Collator(GerProcessor())(rows)
    assert torch.equal(plain["pixel_values"], GerProcessor()(images)["pixel_values"])
    assert plain["labels"].tolist() == [0] * 4


def test_augmented_photos_are_flipped_half_the_time() -> None:
    image = Image.new("RGB", (256, 256), "white")
    image.paste("black", (0, 0, 128, 256))
    rows = [{"image_id": str(i), "image": image, "label": 0} for i in range(200)]
    pixels = Collator(GerProcessor(crop_size=32, resize_shorter=36), train_seed=0)(rows)["pixel_values"]
    left_is_dark = (pixels[..., 0] < pixels[..., -1]).all(2).all(1)
    right_is_dark = (pixels[..., 0] > pixels[..., -1]).all(2).all(1)
    assert 0.3 < left_is_dark.sum() / (left_is_dark.sum() + right_is_dark.sum()) < 0.7


def test_refusals(images: list[Image.Image]) -> None:
    with pytest.raises(ValueError, match=r"no face_features.*they have image, label.*prepare\.py"):
        GerProcessor(columns=["face_features"])([{"image": images[0], "label": 0}])
    with pytest.raises(ValueError, match="empty"):
        GerProcessor()([])
    with pytest.raises(ValueError, match="return_tensors"):
        GerProcessor()(images, return_tensors="np")
