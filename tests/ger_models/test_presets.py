"""Every preset, at a tiny size: shapes, learning, saving, faceless photos, padding and order."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from ger_datasets.faces import Faces
from ger_datasets.faces.columns import photo_columns
from ger_datasets.support.errors import UserError
from ger_models import GerFaceForImageClassification, GerFusionForImageClassification, GerProcessor
from ger_models.backbones import LargeMarginLinear, SphereFace20
from ger_models.inference.members import Members
from ger_models.modeling_fusion import POOLINGS
from ger_models.presets import ALIASES, PRESETS, build, preset, preset_names
from ger_models.processing_ensemble import GerEnsembleProcessor
from ger_models.processing_ger import sure_faces

CLASSES = ["Negative", "Neutral", "Positive"]
TINY_CROSSING = "hidden_size=32,depth=1,face_layers=1,scene_layers=1,cross_rounds=1,heads=2,head_dim=8,mlp_dim=32"
COUNTS = [2, 0, 4, 1, 3, 0]


def overrides_of(name: str) -> str:
    """Configuration fields that make the preset tiny."""
    overrides = []
    if PRESETS[name].config_class.model_type in ("ger_scene", "ger_fusion") and "image" in str(PRESETS[name]):
        overrides.append("backbone=test_resnet")
    if PRESETS[name].config_class.model_type == "ger_face":
        overrides.append("channels=8")
    elif PRESETS[name].config.get("faces") == "images":
        overrides.append("face_channels=8")
    if PRESETS[name].config.get("pooling") == "cross_attention":
        overrides.append(TINY_CROSSING)
    return ",".join(overrides)


def tiny(name: str) -> tuple[torch.nn.Module, GerProcessor]:
    torch.manual_seed(1)
    model, processor = build(name, CLASSES, overrides=overrides_of(name))
    processor.crop_size, processor.resize_shorter = 64, 72
    return model, processor


def rows(counts: list[int]) -> list[dict]:
    """Rows as a prepared dataset has them, with so many faces; every pixel and feature of its own."""
    rng = np.random.default_rng(5)
    made = []
    for count in counts:
        image = Image.fromarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))
        corner = rng.uniform(0, 40, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(30, 60, (count, 2))], 1)
        points = boxes[:, None, :2] + rng.uniform(5, 30, (count, 5, 2))
        features = rng.normal(size=(count, 256))
        faces = Faces(*(a.astype(np.float32) for a in (boxes, np.ones(count), points, features)))
        skeleton = Image.fromarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)) if count != 1 else None
        made.append({**photo_columns(image, faces), "skeleton": skeleton})
    return made


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_saving_and_batches(name: str, tmp_path: Path) -> None:
    model, processor = tiny(name)
    model.eval()
    photos = rows(COUNTS)
    with torch.no_grad():
        logits = model(**processor(photos)).logits
        assert logits.shape == (6, 3)
        assert logits.isfinite().all()
        for i, photo in enumerate(photos):
            torch.testing.assert_close(model(**processor([photo])).logits[0], logits[i], atol=1e-5, rtol=0)
        backwards = model(**processor(photos[::-1])).logits.flip(0)
        torch.testing.assert_close(backwards, logits, atol=1e-5, rtol=0)

        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        again = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
        assert type(again) is type(model)
        inputs = AutoImageProcessor.from_pretrained(tmp_path)(photos)
        torch.testing.assert_close(again(**inputs).logits, logits, atol=1e-6, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_it_learns_and_gradients_reach_every_trainable_part(name: str) -> None:
    model, processor = tiny(name)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = processor(rows([*COUNTS, 2, 2]))
    labels = torch.tensor([0, 1, 2, 0, 1, 1, 2, 0])
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.AdamW(trainable.values(), lr=3e-4)
    reached: set[str] = set()
    losses = []
    for _ in range(5):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        reached |= {n for n, p in trainable.items() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
        losses.append(loss.item())
    # keys of a softmax over one token alone, as the class token without a scene's is, have no gradient by nature
    missing = {n for n in trainable.keys() - reached if "face_to_scene" not in n and "scene_branches" not in n}
    assert missing == set()
    assert losses[-1] < losses[0], losses
    for n, p in model.named_parameters():
        if n in frozen:
            assert torch.equal(p, frozen[n]), n


@pytest.mark.parametrize("name", PRESETS)
def test_photos_without_faces_alone_in_their_batch(name: str) -> None:
    model, processor = tiny(name)
    batch = processor(rows([0, 0]))
    loss = model.train()(**batch, labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert loss.isfinite()
    assert model.eval()(**batch).logits.isfinite().all()


@pytest.mark.parametrize("name", PRESETS)
def test_bfloat16_autocast(name: str) -> None:
    model, processor = tiny(name)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert model.eval()(**processor(rows([2, 0]))).logits.isfinite().all()


@pytest.mark.parametrize("name", [n for n, p in PRESETS.items() if "aligned_faces" in p.columns])
def test_the_order_of_faces_changes_nothing_and_each_face_counts(name: str) -> None:
    model, processor = tiny(name)
    model.eval()
    (photo,) = rows([4])
    with torch.no_grad():
        logits = model(**processor([photo])).logits
        turned = dict(photo, aligned_faces=photo["aligned_faces"][::-1])
        torch.testing.assert_close(model(**processor([turned])).logits, logits, atol=1e-5, rtol=0)
        fewer = dict(photo, aligned_faces=photo["aligned_faces"][:3])
        assert not torch.equal(model(**processor([fewer])).logits, logits)


@pytest.mark.parametrize("name", [n for n, p in PRESETS.items() if p.config_class.model_type == "ger_fusion"])
def test_face_attention(name: str) -> None:
    model, processor = tiny(name)
    with torch.no_grad():
        attention = model.eval()(**processor(rows([3, 0, 5])), output_faces=True).face_attention
    if name == "patches_crossvit":  # it sees no faces
        assert attention is None
        return
    assert attention.shape == (3, 5)
    assert (attention >= 0).all()
    assert not attention[0, 3:].any()
    assert not attention[1].any()
    assert attention[2].sum() > 0


def test_face_logits_average_to_the_photos() -> None:
    model, processor = tiny("face_aligned")
    with torch.no_grad():
        output = model.eval()(**processor(rows([3, 0, 1])), output_faces=True)
    assert output.face_logits.shape == (3, 3, 3)
    torch.testing.assert_close(output.face_logits[0].mean(0), output.logits[0])
    torch.testing.assert_close(output.face_logits[2, 0], output.logits[2])
    torch.testing.assert_close(output.logits[1], model.no_face_logits)
    torch.testing.assert_close(output.face_attention[0], torch.tensor([1 / 3, 1 / 3, 1 / 3]))


def test_a_frozen_pooling_stays_as_it_is() -> None:
    torch.manual_seed(1)
    overrides = f"{overrides_of('fusion_crossvit')},freeze_pooling=true"
    model, processor = build("fusion_crossvit", CLASSES, overrides=overrides)
    processor.crop_size, processor.resize_shorter = 64, 72
    model.train()
    assert not any(module.training for module in model.pooling.modules()), "no dropout in it"
    assert not any(parameter.requires_grad for parameter in model.pooling.parameters())
    assert model.head.weight.requires_grad
    model(**processor(rows([2, 0])), labels=torch.tensor([0, 1])).loss.backward()
    assert model.face_projection.weight.grad.abs().sum() > 0, "gradients pass through it"
    assert not build("fusion_crossvit", CLASSES, overrides=overrides_of("fusion_crossvit"))[0].config.freeze_pooling


def test_patches_without_faces() -> None:
    """The original's model 6B: four patches of 224 x 224 through the scene's backbone, which is trained."""
    model, processor = tiny("patches_crossvit")
    assert preset("patches_crossvit").columns == ("sampled_patches", "image")
    assert not hasattr(model, "face_net")
    assert all(parameter.requires_grad for parameter in model.scene_backbone.parameters())
    batch = processor(rows([0, 2, 0]))
    assert batch["patch_pixels"].shape == (8, 3, 224, 224)
    with torch.no_grad():
        logits = model.eval()(**batch).logits
        darker = dict(batch, patch_pixels=batch["patch_pixels"] * 0.5)
        changed = (model(**darker).logits - logits).abs().amax(1)
    assert changed[0] > 0
    assert changed[1] == 0, "a photo with faces has no patches"
    with pytest.raises(ValueError, match="needs patch_pixels and patch_counts"):
        model(pixel_values=batch["pixel_values"])
    for wrong in ("scene=none", "project=false", "freeze_faces=true"):
        with pytest.raises(UserError, match="GerFusionConfig"):
            build("patches_crossvit", CLASSES, overrides=wrong)


def test_sampled_patches_take_the_faces_place() -> None:
    model, processor = tiny("fusion_crossvit")
    model.eval()
    (photo,) = rows([0])
    assert len(photo["sampled_patches"]) == 4
    with torch.no_grad():
        logits = model(**processor([photo])).logits
        without = model(**processor([dict(photo, sampled_patches=[])])).logits
    assert (logits - without).abs().max() > 1e-6


def test_only_the_most_confident_faces_are_kept() -> None:
    _, processor = tiny("face_aligned")
    (photo,) = rows([60])
    batch = processor([photo])
    assert batch["face_counts"].tolist() == [15]
    first = dict(photo, aligned_faces=photo["aligned_faces"][:15])
    assert torch.equal(processor([first])["face_pixels"], batch["face_pixels"])


def test_faces_are_scaled_as_sphereface_takes_them() -> None:
    processor = GerProcessor(columns=["aligned_faces"])
    white, black = Image.new("RGB", (96, 112), "white"), Image.new("RGB", (112, 96))
    batch = processor([{"aligned_faces": [white]}, {"aligned_faces": [black]}])
    assert batch["face_pixels"].shape == (2, 3, 112, 96)
    assert batch["face_pixels"][0].unique().tolist() == pytest.approx([127.5 / 128])
    assert batch["face_pixels"][1].unique().tolist() == pytest.approx([-127.5 / 128])


def test_a_frozen_backbone_keeps_its_statistics_too() -> None:
    model, processor = tiny("fusion_crossvit")
    before = {n: b.clone() for n, b in model.scene_backbone.named_buffers()}
    model.train()(**processor(rows([1, 2])), labels=torch.tensor([0, 1])).loss.backward()
    for n, buffer in model.scene_backbone.named_buffers():
        assert torch.equal(buffer, before[n]), n
    assert all(p.grad is None for p in model.scene_backbone.parameters())
    assert not model.scene_backbone.training
    assert model.face_net.training


def test_sphereface_has_twenty_convolutions() -> None:
    net = SphereFace20()
    assert len([module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]) == 20
    assert {name.split(".")[0] for name in net.state_dict()} >= {"conv1_1", "relu2_5", "conv3_9", "conv4_3", "fc5"}
    assert net(torch.randn(2, 3, 112, 96)).shape == (2, 512)


# The published totals (torchvision's tables; 28,681,000, 11,689,512 and 43,040,704 with ImageNet's 1,000 classes) less
# their classifiers, with one for three classes; SphereFace-20 counted by hand from the paper's table 2.
FULL_SIZE = {
    "face_aligned": 22_670_656 + 512 * 3 + 3 + 3,
    "densenet_emotic": 28_681_000 - 2208 * 1000 - 1000 + 2208 * 3 + 3,
    "resnet_places": 11_689_512 - 512 * 1000 - 1000 + 512 * 3 + 3,
    "densenet_skeleton": 28_681_000 - 2208 * 1000 - 1000 + 2208 * 3 + 3,
    "efficientnet_skeleton": 43_040_704 - 2304 * 1000 - 1000 + 2304 * 3 + 3,
}


@pytest.mark.parametrize("name", ALIASES.values())
def test_the_six_at_full_size_answer_for_a_photo(name: str) -> None:
    model, processor = build(name, CLASSES)
    weights = sum(parameter.numel() for parameter in model.parameters())
    if name in FULL_SIZE:
        assert weights == FULL_SIZE[name]
    else:
        parts = {
            part: sum(p.numel() for p in getattr(model, part).parameters()) for part in ("scene_backbone", "face_net")
        }
        assert parts == {"scene_backbone": 28_681_000 - 2208 * 1000 - 1000, "face_net": 22_670_656}
        assert 85_000_000 < weights < 95_000_000
    with torch.no_grad():
        logits = model.eval()(**processor(rows([2]))).logits
    assert logits.shape == (1, 3)
    assert logits.isfinite().all()


def test_the_large_margin_lowers_the_true_logit_alone() -> None:
    torch.manual_seed(0)
    head = LargeMarginLinear(8, 3, margin=4)
    x, labels = torch.randn(50, 8), torch.randint(0, 3, (50,))
    labels[0] = -1
    plain = torch.nn.functional.linear(x, head.weight)
    assert torch.equal(head.eval()(x, labels), plain)
    hard = head.train()(x, labels)
    true = torch.nn.functional.one_hot(labels.clamp(min=0), 3).bool()
    assert (hard[true][1:] <= plain[true][1:] + 1e-5).all()
    assert (hard[true][1:] < plain[true][1:] - 1e-3).float().mean() > 0.9
    torch.testing.assert_close(hard[~true], plain[~true])
    torch.testing.assert_close(hard[0], plain[0])


def test_logits_without_the_margin_are_there_in_training() -> None:
    model, processor = tiny("face_aligned_lsoftmax")
    batch, labels = processor(rows([2, 0, 4])), torch.tensor([0, 1, 2])
    expected = model.eval()(**batch, labels=labels)
    assert expected.plain_logits is None
    output = model.train()(**batch, labels=labels)
    torch.testing.assert_close(output.plain_logits, expected.logits)
    assert not output.plain_logits.requires_grad
    assert (output.logits[2, 2] < expected.logits[2, 2]).all()
    assert tiny("face_aligned")[0].train()(**batch, labels=labels).plain_logits is None


def test_psi_is_continuous_and_falls_with_the_angle() -> None:
    head = LargeMarginLinear(2, 1, margin=4, plain_share=0.0).train()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0]]))
    angle = torch.linspace(0.01, 3.13, 2000)
    psi = head(torch.stack([angle.cos(), angle.sin()], 1), torch.zeros(2000, dtype=torch.long))[:, 0]
    steps = psi.diff()
    assert (steps < 1e-4).all()
    assert steps.min() > -0.02
    assert psi[0].item() == pytest.approx(1, abs=0.01)
    assert psi[-1].item() == pytest.approx(-7, abs=0.01)


def test_aliases_and_poolings() -> None:
    for alias, name in ALIASES.items():
        assert preset(alias) is PRESETS[name]
    for chosen in PRESETS.values():
        assert chosen.config.get("pooling", "cross_attention") in POOLINGS
    with pytest.raises(ValueError, match="pooling must be one of"):
        GerFusionForImageClassification(GerFusionForImageClassification.config_class(pooling="none"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"faces": "eyes"}, "faces must be one of features, images, expressions"),
        ({"scene": "feature"}, "scene_dim .* from 1"),
        ({"join": "both"}, "join must be pooled where scene is none"),
        ({"project": False}, "project must be true"),
    ],
)
def test_fusion_configs_are_checked(fields: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GerFusionForImageClassification.config_class(**fields)


def test_margins_are_checked() -> None:
    with pytest.raises(ValueError, match=r"GerFaceConfig.margin .* from 1 to 8, not 9"):
        GerFaceForImageClassification.config_class(margin=9)


@pytest.mark.parametrize("name", ["face_aligned", "densenet_emotic", "fusion_crossvit", "features_crossvit"])
def test_a_checkpoint_of_another_class_count(name: str, tmp_path: Path) -> None:
    model, processor = tiny(name)
    model.save_pretrained(tmp_path)
    with pytest.raises((ValueError, RuntimeError), match="size"):
        AutoModelForImageClassification.from_pretrained(tmp_path, num_labels=5)
    again = AutoModelForImageClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    logits = again.eval()(**processor(rows([2, 0]))).logits
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    kept = [n for n in model.state_dict() if not n.startswith(("head", "no_face_logits"))]
    for n in kept:
        assert torch.equal(again.state_dict()[n], model.state_dict()[n]), n


def test_features_that_are_no_numbers_are_refused_by_name() -> None:
    processor = GerProcessor(columns=["face_features", "scene_feature"], scene_dim=2)
    row = {"image_id": "a/b", "face_features": [[float("nan")] * 256], "scene_feature": None}
    with pytest.raises(ValueError, match="face_features of a/b hold NaN"):
        processor([row])
    for wrong in ([1.0], [1.0, float("inf")]):
        with pytest.raises(ValueError, match="scene_feature of a/b must be 2 finite numbers"):
            processor([dict(row, face_features=[], scene_feature=wrong)])


def test_what_a_model_misses_is_named() -> None:
    model, _ = tiny("fusion_crossvit")
    with pytest.raises(ValueError, match="needs face_pixels and face_counts"):
        model(pixel_values=torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="needs pixel_values"):
        model(face_pixels=torch.zeros(1, 3, 112, 96), face_counts=torch.tensor([1]))
    model, _ = tiny("features_crossvit")
    with pytest.raises(ValueError, match="needs face_features and face_mask"):
        model()


@pytest.mark.parametrize(
    ("name", "overrides", "columns"),
    [
        ("fusion_crossvit_tiny", "faces=features", ("face_features", "image", "face_scores")),
        ("fusion_crossvit_tiny", "scene=none,join=pooled", ("aligned_faces", "face_scores")),
        ("features_crossvit", "scene=image,backbone=test_resnet", ("face_features", "image", "face_scores")),
        ("features_crossvit", "faces=images,face_channels=4", ("aligned_faces", "face_scores")),
        ("expressions_crossvit", "scene=image,backbone=test_resnet", ("face_boxes", "image", "face_scores")),
        ("fusion_average", "faces=images,scene=none,join=pooled", ("aligned_faces",)),
    ],
)
def test_the_columns_follow_from_the_configuration(name: str, overrides: str, columns: tuple[str, ...]) -> None:
    chosen = preset(name)
    assert chosen.dataset_columns(overrides) == columns
    assert ("scene_feature" in chosen.optional_columns(overrides)) == (
        "features" in name and "scene=" not in overrides
    )
    model, processor = build(name, CLASSES, overrides=overrides)
    processor.crop_size, processor.resize_shorter = 64, 72
    read = [{column: row[column] for column in columns} for row in rows([2, 0])]
    assert model.eval()(**processor(read)).logits.isfinite().all()
    model.train()(**processor(read), labels=torch.tensor([0, 2])).loss.backward()


@pytest.mark.parametrize("overrides", ["depth=1.5", "depth=true", "faces=eyes", "scene=[1]", "pooling=[1]"])
def test_overrides_that_the_configuration_refuses(overrides: str) -> None:
    with pytest.raises(UserError, match=rf"GerFusionConfig.{overrides.partition('=')[0]} must be"):
        build("features_crossvit", CLASSES, overrides=overrides)


@pytest.mark.parametrize(
    "overrides",
    ["expressions=3", 'expressions="happy"', "groups=x", "groups=[1]", "priors=0.5", 'priors={"a":"b"}', "priors=[]"],
)
def test_overrides_that_the_expression_configuration_refuses(overrides: str) -> None:
    with pytest.raises(UserError, match=rf"GerExpressionConfig.{overrides.partition('=')[0]} must be"):
        build("face_expressions", CLASSES, overrides=overrides)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_expression_network_stays_as_it_is(frozen: bool) -> None:
    overrides = f"face_widths=[8,16],face_blocks=[0,1],freeze_faces={str(frozen).lower()}"
    model, processor = build("expressions_crossvit", CLASSES, overrides=overrides)
    before = {n: t.clone() for n, t in model.face_net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.5)
    model.train()(**processor(rows([3, 2, 0])), labels=torch.tensor([0, 1, 2])).loss.backward()
    optimizer.step()
    changed = {n for n, t in model.face_net.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == set() if frozen else {"stem.0.weight", "stem.1.running_mean"} <= changed


def test_presets_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    information = tmp_path / "others-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    lines = (
        "[group_emotion.presets]",
        "theirs = their_presets:THEIRS",
        "wrong = their_presets:WRONG",
        "gone = no_such:X",
    )
    (information / "entry_points.txt").write_text("\n".join(lines))
    (tmp_path / "their_presets.py").write_text(
        "from dataclasses import replace\n"
        "from ger_models.presets import PRESETS\n"
        "THEIRS = replace(PRESETS['face_aligned'], config={'channels': 4}, source='theirs')\n"
        "WRONG = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"theirs", "face_aligned"} <= set(preset_names())
    assert "their_presets" not in sys.modules
    model, processor = build("theirs", CLASSES)
    assert model.config.channels == 4
    assert processor.columns == ["aligned_faces"]
    with pytest.raises(UserError, match="must be a Preset, not a int"):
        preset("wrong")
    with pytest.raises(UserError, match="cannot be loaded from no_such:X"):
        preset("gone")
    with pytest.raises(UserError, match=r"unknown model .other.: there are .*theirs"):
        preset("other")


def test_predictions_hold_each_faces_share_in_the_face_models_answer(tmp_path: Path) -> None:
    model, processor = tiny("face_aligned")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    (answers,) = Members([str(tmp_path)]).ask(rows([2, 0, 4]))
    assert [len(shares) for shares in answers.face_attention] == [2, 0, 4]
    assert answers.face_attention[2] == [0.25] * 4


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])


@pytest.mark.parametrize(
    ("name", "overrides", "size", "values", "interpolation"),
    [
        ("densenet_emotic", "", (256, 224), IMAGENET, "bilinear"),
        ("densenet_emotic", "backbone=densenet161", (256, 224), IMAGENET, "bilinear"),
        ("efficientnet_skeleton", "", (256, 224), IMAGENET, "bilinear"),
        ("densenet", "", (256, 224), IMAGENET, "bicubic"),
        ("densenet_emotic", "backbone=vit_base_patch16_clip_224.openai", (248, 224), CLIP, "bicubic"),
        ("densenet_emotic", "backbone=test_vit", (168, 160), ([0.5] * 3, [0.5] * 3), "bicubic"),
        ("densenet_emotic", "backbone=test_resnet", (168, 160), ([0.5] * 3, [0.5] * 3), "bilinear"),
        ("fusion_crossvit_tiny", "backbone=test_efficientnet", (168, 160), IMAGENET, "bicubic"),
        ("features_crossvit", "scene=image,backbone=test_vit", (168, 160), ([0.5] * 3, [0.5] * 3), "bicubic"),
    ],
)
def test_photos_are_made_as_the_backbone_takes_them(
    name: str, overrides: str, size: tuple, values: tuple, interpolation: str, tmp_path: Path
) -> None:
    model, processor = build(name, CLASSES, overrides=overrides)
    processor.save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert (again.resize_shorter, again.crop_size) == size
    assert (list(again.image_mean), list(again.image_std)) == values
    assert again.interpolation == interpolation
    assert again.keep_aspect is (name != "fusion_crossvit_tiny"), "the preset's own setting is kept"
    if "test_vit" in overrides:  # takes photos of no other size
        assert model.eval()(**again(rows([2, 0]))).logits.isfinite().all()


def with_scores(row: dict, *scores: float) -> dict:
    return {**row, "face_scores": list(scores)}


@pytest.mark.parametrize("name", [name for name, chosen in PRESETS.items() if not chosen.published])
def test_our_models_leave_false_faces_out(name: str, tmp_path: Path) -> None:
    model, processor = tiny(name)
    processor.save_pretrained(tmp_path)
    assert AutoImageProcessor.from_pretrained(tmp_path).min_face_score == 0.9
    (photo,) = rows([3])
    certain = {column: photo[column][:2] for column in ("face_boxes", "face_features", "aligned_faces")}
    with torch.no_grad():
        all_boxes = model.eval()(**processor([with_scores(photo, 0.99, 0.9, 0.8)])).logits
        torch.testing.assert_close(
            model(**processor([with_scores({**photo, **certain}, 0.99, 0.9)])).logits, all_boxes, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("name", [name for name, chosen in PRESETS.items() if chosen.published])
def test_published_models_see_all_faces(name: str) -> None:
    assert build(name, CLASSES, overrides=overrides_of(name))[1].min_face_score == 0
    assert "face_scores" not in PRESETS[name].columns


def test_each_model_counts_the_faces_that_it_may_see(tmp_path: Path) -> None:
    for name in ("face_aligned", "face_aligned_tiny"):
        for part in tiny(name):
            part.save_pretrained(tmp_path / name)
    members = Members([str(tmp_path / name) for name in ("face_aligned", "face_aligned_tiny")])
    photos = [
        with_scores(photo, *scores) for photo, scores in zip(rows([3, 1]), ((0.99, 0.95, 0.71), (0.8,)), strict=True)
    ]
    published, ours = members.ask(photos)
    assert [len(shares) for shares in published.face_attention] == [3, 1]
    assert [len(shares) for shares in ours.face_attention] == [2, 0]
    assert ours.face_attention[0] == [0.5, 0.5]
    assert [[sure_faces(photo, each.min_face_score) for photo in photos] for each in members.processors] == [
        [3, 1],
        [2, 0],
    ]
    together, _ = GerEnsembleProcessor.from_members(members.processors)
    assert together.min_face_score == 0
    assert GerEnsembleProcessor.from_members(members.processors[1:])[0].min_face_score == 0.9
    with pytest.raises(ValueError, match="min_face_score must be from 0 to 1, not 90"):
        GerProcessor(min_face_score=90)
