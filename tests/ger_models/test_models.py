"""The models: saved and loaded as they are, padded and batched without a trace, and they learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification

from ger_models import (
    GerEnsembleConfig,
    GerEnsembleForImageClassification,
    GerExpressionConfig,
    GerExpressionForImageClassification,
    GerFaceConfig,
    GerFaceForImageClassification,
    GerFusionConfig,
    GerFusionForImageClassification,
    GerProcessor,
    GerSceneConfig,
    GerSceneForImageClassification,
)

TINY = {"hidden_size": 32, "depth": 2, "face_layers": 1, "scene_layers": 1, "heads": 2, "head_dim": 8, "mlp_dim": 48}
LABELS = {"id2label": {0: "Negative", 1: "Neutral", 2: "Positive"}}


def scene_model(**fields: object) -> GerSceneForImageClassification:
    torch.manual_seed(0)
    return GerSceneForImageClassification(GerSceneConfig(backbone="test_resnet", **LABELS, **fields)).eval()


def fusion_model(scene_dim: int = 0, **fields: object) -> GerFusionForImageClassification:
    torch.manual_seed(0)
    scene = "feature" if scene_dim else "none"
    config = GerFusionConfig(scene=scene, scene_dim=scene_dim, **TINY, **LABELS, **fields)
    model = GerFusionForImageClassification(config)
    with torch.no_grad():  # weights far from their small beginnings, so that a leak through a mask would show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
    return model.eval()


def photos(counts: list[int], slots: int) -> dict[str, torch.Tensor]:
    """Face features of photos with so many faces, padded with NaN-free rubbish to `slots`."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(len(counts), slots, 256, generator=generator)
    mask = torch.arange(slots)[None] < torch.tensor(counts)[:, None]
    return {"face_features": features, "face_mask": mask}


@pytest.mark.parametrize("make", [scene_model, fusion_model, lambda: fusion_model(scene_dim=24)])
def test_saved_and_loaded_by_the_auto_classes(make: object, tmp_path: Path) -> None:
    model = make()
    model.save_pretrained(tmp_path)
    GerProcessor(columns=["image"], crop_size=96, resize_shorter=110).save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(again) is type(model)
    assert again.config.id2label == LABELS["id2label"]
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert torch.equal(weight, after[name]), name
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert isinstance(processor, GerProcessor)
    assert (processor.crop_size, processor.resize_shorter) == (96, 110)
    assert type(AutoConfig.from_pretrained(tmp_path)) is type(model.config)


def test_a_backbone_keeps_its_own_initialisation() -> None:
    torch.manual_seed(7)
    plain = timm.create_model("test_resnet", num_classes=0)
    torch.manual_seed(7)
    ours = GerSceneForImageClassification(GerSceneConfig(backbone="test_resnet", num_labels=3))
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, ours.backbone.state_dict()[name]), name
    assert ours.head.weight.std().item() == pytest.approx(0.02, rel=0.3)


def test_a_scene_batch_gives_what_single_photos_give() -> None:
    model = scene_model()
    pixels = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    together = model(pixel_values=pixels).logits
    assert together.shape == (5, 3)
    for i in range(5):
        torch.testing.assert_close(model(pixel_values=pixels[i : i + 1]).logits[0], together[i], atol=1e-5, rtol=0)


@pytest.mark.parametrize("scene_dim", [0, 24])
def test_padding_batch_mates_and_order_never_change_a_photo(scene_dim: int) -> None:
    model = fusion_model(scene_dim)
    counts = [3, 0, 7, 1]
    batch = photos(counts, 7)
    if scene_dim:
        batch["scene_feature"] = torch.randn(4, scene_dim, generator=torch.Generator().manual_seed(4))
    logits = model(**batch).logits
    assert logits.isfinite().all()
    assert logits.std(0).min() > 0.01, "photos differ, so equal logits below mean something"

    rubbish = dict(batch, face_features=torch.where(batch["face_mask"][..., None], batch["face_features"], 1e4))
    torch.testing.assert_close(model(**rubbish).logits, logits, atol=1e-5, rtol=0)

    longer = dict(batch)
    longer["face_features"] = torch.cat([batch["face_features"], torch.full((4, 9, 256), -50.0)], 1)
    longer["face_mask"] = torch.cat([batch["face_mask"], torch.zeros(4, 9, dtype=torch.bool)], 1)
    torch.testing.assert_close(model(**longer).logits, logits, atol=1e-5, rtol=0)

    for i, count in enumerate(counts):
        alone = {name: tensor[i : i + 1] for name, tensor in batch.items()}
        alone["face_features"] = alone["face_features"][:, : max(count, 1)]
        alone["face_mask"] = alone["face_mask"][:, : max(count, 1)]
        torch.testing.assert_close(model(**alone).logits[0], logits[i], atol=1e-5, rtol=0)

    order = torch.tensor([2, 1, 0, 5, 4, 6, 3])  # of the faces of the third photo
    shuffled = {name: tensor[2:3] for name, tensor in batch.items()}
    shuffled["face_features"] = shuffled["face_features"][:, order]
    torch.testing.assert_close(model(**shuffled).logits[0], logits[2], atol=1e-5, rtol=0)


def test_the_faces_matter() -> None:
    model = fusion_model()
    batch = photos([3, 3], 3)
    logits = model(**batch).logits
    batch["face_features"] = batch["face_features"].flip(0)
    torch.testing.assert_close(model(**batch).logits, logits.flip(0), atol=1e-5, rtol=0)
    assert (logits[0] - logits[1]).abs().max() > 0.01


def test_the_scene_matters_and_may_be_missing() -> None:
    model = fusion_model(scene_dim=24)
    batch = photos([0, 2], 2)
    scene = torch.randn(2, 24, generator=torch.Generator().manual_seed(5))
    with_scene = model(**batch, scene_feature=scene).logits
    without = model(**batch).logits
    assert (with_scene - without).abs().amax(1).min() > 0.01
    masked = model(**batch, scene_feature=scene, scene_mask=torch.tensor([False, True])).logits
    torch.testing.assert_close(masked[0], without[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(masked[1], with_scene[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("make", [scene_model, lambda: fusion_model(24, feature_dropout=0.1)])
def test_training_reaches_every_weight_and_lowers_the_loss(make: object) -> None:
    model = make().train()
    labels = torch.arange(8) % 3
    if isinstance(model, GerSceneForImageClassification):
        batch = {"pixel_values": torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(6))}
    else:
        batch = photos([3, 0, 5, 1, 2, 4, 0, 5], 5)
        batch["scene_feature"] = torch.randn(8, 24, generator=torch.Generator().manual_seed(6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_a_batch_of_faceless_photos_trains_and_predicts() -> None:
    model = fusion_model().train()
    batch = photos([0, 0], 1)
    loss = model(**batch, labels=torch.tensor([0, 2])).loss
    loss.backward()
    assert loss.isfinite()
    logits = model.eval()(**batch).logits
    torch.testing.assert_close(logits[0], logits[1])


def test_unlabelled_photos_add_nothing_to_the_loss() -> None:
    model = fusion_model()
    batch = photos([2, 3, 1], 3)
    some = model(**batch, labels=torch.tensor([1, -1, 0])).loss
    known = {name: tensor[[0, 2]] for name, tensor in batch.items()}
    torch.testing.assert_close(some, model(**known, labels=torch.tensor([1, 0])).loss)


def test_bfloat16_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert scene_model()(pixel_values=torch.randn(2, 3, 64, 64)).logits.isfinite().all()
        assert fusion_model()(**photos([2, 0], 2)).logits.isfinite().all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GerSceneConfig(dropout=1.5), r"GerSceneConfig.dropout must be from 0 to 0.95, not 1.5"),
        (lambda: GerSceneConfig(backbone=""), "backbone"),
        (lambda: GerFusionConfig(depth=0), r"GerFusionConfig.depth .* from 1 to 64, not 0"),
        (lambda: GerFusionConfig(heads="many"), r"heads .* from 1 to 65536, not 'many'"),
        (lambda: GerFusionConfig(depth=1.5), r"GerFusionConfig.depth .* whole number .* not 1.5"),
        (lambda: GerFusionConfig(depth=True), r"GerFusionConfig.depth .* whole number .* not True"),
        (lambda: GerFusionConfig(dropout=False), r"GerFusionConfig.dropout .* not False"),
        (lambda: GerFusionConfig(project="no"), r"GerFusionConfig.project .* true or false"),
        (lambda: GerFusionConfig(face_widths=8), r"GerFusionConfig.face_widths .* list"),
        (lambda: GerFusionConfig(freeze_faces=True), r"GerFusionConfig.freeze_faces must be false"),
        (lambda: GerSceneForImageClassification(GerSceneConfig(backbone="densenet16")), "near it are densenet169"),
        (lambda: GerProcessor(columns=["pixels"]), "columns must name some of image"),
        (lambda: GerProcessor(crop_size=300), "crop_size"),
        (lambda: GerProcessor(max_faces=0), "max_faces"),
    ],
)
def test_wrong_fields_are_refused_with_the_field_the_limit_and_the_value(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


FACES = {"face_pixels": torch.zeros(3, 3, 112, 96), "face_counts": torch.tensor([3, 0])}
GREY_FACES = {"expression_pixels": torch.zeros(3, 1, 48, 48), "face_counts": torch.tensor([3, 0])}
EVERY_MODEL = [
    (scene_model, {"pixel_values": torch.zeros(2, 3, 64, 64)}),
    (lambda: fusion_model(scene_dim=24), {**photos([2, 0], 2), "scene_feature": torch.zeros(2, 24)}),
    (lambda: GerFaceForImageClassification(GerFaceConfig(channels=4, **LABELS)).eval(), FACES),
    (lambda: GerExpressionForImageClassification(GerExpressionConfig(**LABELS)).eval(), GREY_FACES),
    (
        lambda: GerEnsembleForImageClassification(GerEnsembleConfig([scene_model().config] * 2)).eval(),
        {f"group_{i}.pixel_values": torch.zeros(2, 3, 64, 64) for i in range(2)},
    ),
]


@pytest.mark.parametrize(("make", "batch"), EVERY_MODEL)
@pytest.mark.parametrize("name", ["scene_features", "output_face_logits", "output_face_attention", "group_0.pixels"])
def test_unknown_inputs_are_refused(make: Callable, batch: dict, name: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        make()(**batch, **{name: torch.zeros(2, 24)})


@pytest.mark.parametrize(("make", "batch"), EVERY_MODEL)
def test_a_tuple_on_request(make: Callable, batch: dict) -> None:
    model = make()
    labels = torch.tensor([0, 1])
    output = model(**batch, labels=labels)
    loss, logits = model(**batch, labels=labels, return_dict=False)
    assert torch.equal(logits, output.logits)
    assert torch.equal(loss, output.loss)
    model.config.return_dict = False
    assert isinstance(model(**batch), tuple)


@pytest.mark.parametrize(("make", "batch"), EVERY_MODEL)
def test_one_name_asks_every_model_for_its_faces(make: Callable, batch: dict) -> None:
    model = make()
    if model.has_face_outputs:
        assert model(**batch, output_faces=True).face_attention.shape[0] == 2
        assert model(**batch).face_attention is None
    else:
        with pytest.raises(TypeError, match="output_faces"):
            model(**batch, output_faces=True)
