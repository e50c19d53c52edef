"""The expression network: crops, augmentation, the group's answer, and photos without faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import AutoModelForImageClassification

from ger_models import GerExpressionConfig, GerExpressionForImageClassification, GerProcessor
from ger_models.configuration_ger import EXPRESSIONS
from ger_models.processing_faces import LOW_RESOLUTION_SHARE, LOW_RESOLUTIONS, RANDOM_NUMBERS, augmented, square_of

GROUPS = {0: "Negative", 1: "Neutral", 2: "Positive"}
SMALL = {"widths": [8, 8, 16], "blocks": [0, 1, 1]}


def group_model(**fields: object) -> GerExpressionForImageClassification:
    torch.manual_seed(0)
    model = GerExpressionForImageClassification(GerExpressionConfig(id2label=GROUPS, **SMALL, **fields))
    torch.nn.init.normal_(model.expression_head.weight)
    return model.eval()


def row(counts: int, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-10, 60, (counts, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(15, 60, (counts, 2))], 1)
    image = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    return {"image": image, "face_boxes": boxes.tolist()}


def test_a_tight_crop_is_taken_as_it_is() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (48, 48), dtype=np.uint8)
    photo = {"image": Image.fromarray(grey).convert("RGB"), "face_boxes": [[0, 0, 48, 48]]}
    batch = GerProcessor(columns=["face_boxes"])([photo])
    np.testing.assert_allclose(batch["expression_pixels"][0, 0], grey / 127.5 - 1, atol=1e-6)


def test_a_square_beyond_the_edge_repeats_the_edge() -> None:
    white_left = np.zeros((60, 60, 3), np.uint8)
    white_left[:, :30] = 255
    processor = GerProcessor(columns=["face_boxes"], face_side=20)
    pixels = processor([{"image": Image.fromarray(white_left), "face_boxes": [[-20, 20, 0, 40]]}])
    assert pixels["expression_pixels"].min() == pytest.approx(1.0)
    assert square_of((0, 0, 10, 20), 1.5) == (-10, -5, 20, 25)


def test_the_answer_is_the_mean_of_the_faces_corrected_probabilities() -> None:
    priors = {"Negative": 0.5, "Neutral": 0.2, "Positive": 0.3}
    model = group_model(priors=priors, answer_temperature=2.0)
    batch = GerProcessor(columns=["face_boxes"])([row(3), row(0), row(1)])
    with torch.no_grad():
        output = model(**batch, output_faces=True)
    shares = output.face_expressions.double()  # (photos, slots, 7)
    index = {name: i for i, name in enumerate(EXPRESSIONS)}
    negative = shares[..., [index[name] for name in ("angry", "disgust", "fear", "sad")]].sum(-1)
    groups = torch.stack([negative, shares[..., index["neutral"]], shares[..., index["happy"]]], -1)
    groups = groups / torch.tensor(list(priors.values()))
    groups = groups / groups.sum(-1, keepdim=True)
    torch.testing.assert_close(output.logits[0].double(), groups[0, :3].mean(0).log() / 2, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.logits[2].double(), groups[2, 0].log() / 2, atol=1e-5, rtol=0)
    assert output.logits[1].tolist() == [0, 0, 0]
    torch.testing.assert_close(output.face_attention, torch.tensor([[1 / 3] * 3, [0] * 3, [1, 0, 0]]))
    assert shares[0, 2].sum() == pytest.approx(1)
    assert not shares[2, 1:].any()


def test_logarithms_are_averaged_too() -> None:
    model = group_model(combination="logarithms")
    one, two = (GerProcessor(columns=["face_boxes"])([row(1, seed)]) for seed in (0, 1))
    both = {name: torch.cat([one[name], two[name]]) for name in one}
    both["face_counts"] = torch.tensor([2])
    with torch.no_grad():
        mean = (model(**one).logits + model(**two).logits) / 2
        torch.testing.assert_close(model(**both).logits, mean, atol=1e-5, rtol=0)


def test_labels_may_be_the_expressions(tmp_path: Path) -> None:
    config = GerExpressionConfig(id2label=dict(enumerate(EXPRESSIONS)), **SMALL)
    model = GerExpressionForImageClassification(config).eval()
    batch = GerProcessor(columns=["face_boxes"])([row(1), row(2)])
    output = model(**batch, output_faces=True)
    torch.testing.assert_close(output.logits[0].softmax(0), output.face_expressions[0, 0])
    model.save_pretrained(tmp_path)
    again = AutoModelForImageClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(again(**batch).logits, output.logits)


def test_other_labels_are_refused() -> None:
    model = GerExpressionForImageClassification(GerExpressionConfig(id2label={0: "calm", 1: "tense"}, **SMALL))
    with pytest.raises(ValueError, match=r"calm, tense .*neither the expressions .* nor the groups"):
        model(**GerProcessor(columns=["face_boxes"])([row(1)]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("combination", "median"), ("answer_temperature", 0), ("answer_temperature", True), ("dropout", 1),
        ("two_views", 1),
        ("widths", [4.5, 8, 8]), ("blocks", [1, 0, 1]), ("blocks", [1, 1]),
        ("priors", {"Negative": 0}), ("expressions", []),
    ],
)  # fmt: skip
def test_the_configuration_names_a_wrong_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"GerExpressionConfig\.{field} must be"):
        GerExpressionConfig(**{**SMALL, field: value})


def test_augmentation_depends_on_the_row_alone() -> None:
    processor = GerProcessor(columns=["face_boxes"])

    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    def faces(rows: list[dict], *seeds: int) -> torch.Tensor:
        return processor.finish(processor.raw(rows, generators(*seeds)))["expression_pixels"]

    together, alone = faces([row(2, 0), row(3, 1)], 5, 6), faces([row(3, 1)], 6)
    assert torch.equal(together[2:], alone)
    other = faces([row(3, 1)], 7)
    assert (other != alone).float().mean() > 0.5


def test_pixels_are_the_same_under_autocast() -> None:
    processor = GerProcessor(columns=["face_boxes"])

    def made() -> list[torch.Tensor]:
        training = processor.finish(processor.raw([row(3)], [torch.Generator().manual_seed(1)]))
        return [processor([row(3)])["expression_pixels"], training["expression_pixels"]]

    expected = made()
    with torch.autocast("cpu", torch.bfloat16):
        assert all(map(torch.equal, made(), expected))


def test_faces_are_reduced_as_if_they_were_resized() -> None:
    face = torch.rand(len(LOW_RESOLUTIONS), 1, 72, 72, generator=torch.Generator().manual_seed(0)) * 200 + 20
    numbers = torch.full((len(face), RANDOM_NUMBERS), 0.5)
    numbers[:, 9] = 0.9  # no hole
    numbers[:, 6] = (torch.arange(len(face)) + 0.5) / len(face) * LOW_RESOLUTION_SHARE
    for low, one, made in zip(LOW_RESOLUTIONS, face, augmented(face, numbers, 48), strict=True):
        small = F.interpolate(one[None, :, 12:60, 12:60], (low, low), mode="bilinear", antialias=True)
        torch.testing.assert_close(made, F.interpolate(small, (48, 48), mode="bilinear")[0], atol=1e-3, rtol=0)


def test_half_way_numbers_leave_a_face_where_it_is() -> None:
    face = torch.rand(1, 1, 72, 72, generator=torch.Generator().manual_seed(0)) * 200 + 20
    numbers = torch.full((1, RANDOM_NUMBERS), 0.5)
    numbers[:, 9] = 0.9  # no hole
    torch.testing.assert_close(augmented(face, numbers, 48), face[:, :, 12:60, 12:60], atol=1e-3, rtol=0)


def test_two_views_are_averaged_in_evaluation_alone() -> None:
    model = group_model()
    face = torch.rand(3, 1, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        once = model.embed(face)
        tight = F.interpolate(face[:, :, 4:44, 4:44], (48, 48), mode="bilinear")
        expected = (model.embed(tight) + model.embed(face.flip(-1))) / 2
        model.config.two_views = True
        torch.testing.assert_close(model.embed(face), expected)
        assert not torch.allclose(expected, once)
        model.train()
        model.net.eval()
        torch.testing.assert_close(model.embed(face), once)


def test_a_photo_with_two_hundred_faces_and_faces_of_eight_pixels() -> None:
    boxes = [[8.0 * i, 8.0 * j, 8.0 * i + 8, 8.0 * j + 8] for i in range(20) for j in range(10)]
    rng = np.random.default_rng(0)
    photo = {"image": Image.fromarray(rng.integers(0, 256, (80, 160, 3), dtype=np.uint8)), "face_boxes": boxes}
    batch = GerProcessor(columns=["face_boxes"], max_faces=200)([photo])
    assert batch["face_counts"].tolist() == [200]
    with torch.no_grad():
        assert group_model()(**batch).logits.isfinite().all()


@pytest.mark.parametrize("column", ["face_boxes", "aligned_faces", "face_features"])
def test_faces_that_the_detector_is_not_sure_of_are_left_out(column: str) -> None:
    rng = np.random.default_rng(0)
    faces = [Image.fromarray(rng.integers(0, 256, (112, 96, 3), dtype=np.uint8)) for _ in range(3)]
    photo = {**row(3), "aligned_faces": faces, "face_features": rng.normal(size=(3, 256))}
    photo["face_scores"] = [0.99, 0.9, 0.89]
    processor = GerProcessor(columns=[column], min_face_score=0.9)
    assert "face_scores" in processor.row_columns
    batch = processor([photo])
    found = batch["face_mask"].sum() if column == "face_features" else batch["face_counts"][0]
    assert found == 2
    photo["face_scores"] = [0.5, 0.4, 0.3]
    batch = processor([photo])
    assert not (batch["face_mask"].any() if column == "face_features" else batch["face_counts"][0])
