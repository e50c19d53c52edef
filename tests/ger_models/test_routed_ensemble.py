"""Routed ensembles as checkpoints: each photo is answered by the member of its route, and by no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_ensemble import LABELS, SMALL, TINY, counted, logits_of, scene, shaken
from transformers import AutoModelForImageClassification, PreTrainedModel, pipeline

from ger_datasets.sample.drawing import draw_photo
from ger_models import (
    GerEnsembleConfig,
    GerEnsembleForImageClassification,
    GerFusionConfig,
    GerFusionForImageClassification,
    GerProcessor,
)
from ger_models.evaluation.predictions import read_predictions
from ger_models.inference.checkpoints import load_checkpoint

COUNTS = (3, 0, 5, 1)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    """`saved("name", model, processor)`: the folder that both are saved in."""

    def save(name: str, model: PreTrainedModel, processor: GerProcessor) -> str:
        model.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    return save


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    """Four photos with 3, 0, 5 and 1 made-up faces, that without faces with patches instead."""
    rng = np.random.default_rng(5)
    photos = [draw_photo(rng, mood, 3, size=(320, 240))[0] for mood in ("Negative", "Neutral", "Positive", "Neutral")]
    return [
        {
            "image": photo,
            "aligned_faces": [photo.resize((96, 112)).rotate(90 * i) for i in range(count)],
            "sampled_patches": [] if count else [photo.resize((112, 96)).rotate(90 * i) for i in range(4)],
            "face_scores": [0.99] * count,
            "face_boxes": [[10.0, 10.0, 60.0, 70.0]] * count,
        }
        for photo, count in zip(photos, COUNTS, strict=True)
    ]


def faces(seed: int = 1, **settings: object) -> tuple[PreTrainedModel, GerProcessor]:
    torch.manual_seed(seed)
    config = GerFusionConfig(
        **TINY, faces="images", scene="image", join="both", backbone="test_resnet", face_channels=4, id2label=LABELS
    )
    columns = ["aligned_faces", "sampled_patches", "image"]
    return shaken(GerFusionForImageClassification(config)), GerProcessor(columns=columns, **SMALL, **settings)


def routed(saved: Callable, routes: list[str], *members: tuple) -> tuple[PreTrainedModel, GerProcessor]:
    names = [saved(f"{len(routes)}_{i}", *member) for i, member in enumerate(members)]
    return GerEnsembleForImageClassification.from_members(names, routes=routes)


def test_each_photo_is_answered_by_its_member(saved: Callable, rows: list[dict]) -> None:
    members = [faces(1), scene(2), faces(3)]
    model, processor = routed(saved, ["1-3", "faceless", "4+"], *members)
    assert processor(rows)["face_counts"].tolist() == list(COUNTS)
    assert "face_scores" in processor.row_columns
    apart = torch.stack([logits_of(*member, rows) for member in members])  # (members, photos, classes)
    expected = torch.stack([apart[0, 0], apart[1, 1], apart[2, 2], apart[0, 3]])
    together = logits_of(model, processor, rows)
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=0)
    for i, row in enumerate(rows):
        torch.testing.assert_close(logits_of(model, processor, [row])[0], expected[i], atol=1e-5, rtol=0)
    output = model(**processor(rows), labels=torch.tensor([0, 1, 2, -1]), output_member_logits=True)
    torch.testing.assert_close(output.member_logits, apart, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.logits, expected, atol=1e-5, rtol=0)
    assert output.loss.isfinite()

    folder = saved("ensemble", model, processor)
    again, its_processor = load_checkpoint(folder)
    assert again.config.routes == ["1-3", "faceless", "4+"]
    torch.testing.assert_close(logits_of(again, its_processor, rows), together, atol=1e-5, rtol=0)


def test_no_member_computes_photos_of_others(saved: Callable, rows: list[dict]) -> None:
    model, processor = routed(saved, ["faces", "faceless"], faces(), scene())
    seen = counted(model.members[1])
    logits_of(model, processor, [rows[0], rows[2]])
    assert sum(seen) == 0
    logits_of(model, processor, rows)
    assert sum(seen) == 1


def test_a_routed_ensemble_can_be_a_member(saved: Callable, rows: list[dict]) -> None:
    inner = routed(saved, ["faces", "faceless"], faces(), scene())
    names = [saved("inner", *inner), saved("c", *scene(3))]
    outer, processor = GerEnsembleForImageClassification.from_members(names)
    expected = (logits_of(*inner, rows) + logits_of(*scene(3), rows)) / 2
    torch.testing.assert_close(logits_of(outer, processor, rows), expected, atol=1e-5, rtol=0)
    names = [saved("x", *inner), saved("y", *scene(3))]
    nested, its_processor = GerEnsembleForImageClassification.from_members(names, routes=["0-3", "4+"])
    found = logits_of(nested, its_processor, rows)
    torch.testing.assert_close(found[:2], logits_of(*inner, rows)[:2], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[2], logits_of(*scene(3), rows)[2], atol=1e-5, rtol=0)


def test_unsure_faces_do_not_count(saved: Callable, rows: list[dict]) -> None:
    """The threshold is that of the members that read faces; a scene model has none to speak of."""
    model, processor = routed(saved, ["faces", "faceless"], faces(min_face_score=0.9), scene())
    assert processor.min_face_score == 0.9
    unsure = {**rows[0], "face_scores": [0.8] * 3}
    assert processor([unsure, rows[0]])["face_counts"].tolist() == [0, 3]
    torch.testing.assert_close(logits_of(model, processor, [unsure]), logits_of(*scene(), [unsure]))
    with pytest.raises(ValueError, match=r"must agree on which faces count: their min_face_score are 0.9, 0.5"):
        routed(saved, ["0-3", "4+"], faces(min_face_score=0.9), faces(min_face_score=0.5))


def test_the_pipeline_routes(saved: Callable, rows: list[dict]) -> None:
    ensemble = routed(saved, ["faces", "faceless"], faces(), scene())
    pipe = pipeline("group-emotion", model=saved("ensemble", *ensemble))
    logits = logits_of(*ensemble, rows)
    answers = pipe(rows)
    for answer, expected, count in zip(answers, logits.softmax(-1), COUNTS, strict=True):
        assert list(answer["scores"].values()) == pytest.approx(expected.tolist(), abs=1e-5)
        assert answer["face_count"] == count
    blank = pipe(rows[0]["image"].resize((64, 48)).point(lambda value: 128))
    assert blank["face_count"] == 0
    assert blank["label"] in LABELS.values()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"routes": ["faces"]}, "a range of face counts for each of the 2 members"),
        ({"routes": "ab"}, "a range of face counts for each of the 2 members"),
        ({"routes": ["faces", "4+"]}, "the routes faces and 4[+] overlap"),
        ({"routes": ["0", "2+"]}, "no route is for photos with 1 faces"),
        ({"routes": ["faceless", 3]}, "a route must be faces, faceless, or"),
        (
            {"routes": ["faces", "0"], "stacking": {"coefficients": [np.eye(3).tolist()] * 2, "intercept": [0.0] * 3}},
            "without stacking",
        ),
    ],
)
def test_configurations_that_are_refused(fields: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GerEnsembleConfig([scene()[0].config] * 2, **fields)


def test_inputs_that_are_refused(saved: Callable, rows: list[dict]) -> None:
    model, processor = routed(saved, ["faces", "faceless"], faces(), scene())
    inputs = dict(processor(rows))
    del inputs["face_counts"]
    with pytest.raises(ValueError, match="needs face_counts"):
        model(**inputs)
    with pytest.raises(ValueError, match="no face_scores"):
        processor([{name: value for name, value in rows[0].items() if name != "face_scores"}])
    weighted, its_processor = GerEnsembleForImageClassification.from_members([saved("a", *scene())])
    with pytest.raises(TypeError, match="no routes"):
        weighted(**its_processor(rows), face_counts=torch.tensor(COUNTS))


def test_runs_become_a_checkpoint_that_predicts(
    saved: Callable, run_script: Callable, drawn_dataset: Path, tmp_path: Path
) -> None:
    """From two runs to a checkpoint, and from it to a table whose rows know their routes."""
    routes = (f"faces={saved('with', *faces())}", f"faceless={saved('without', *scene())}")
    code, last, told = run_script(
        "ensemble", "--method", "routed", "--routes", *routes, "--output_dir", tmp_path / "e"
    )
    assert code == 0, told
    card = (Path(last["checkpoint"]) / "README.md").read_text()
    assert "- photos without faces: `without`" in card
    assert str(tmp_path) not in card + (tmp_path / "e" / "ensemble.json").read_text()
    assert AutoModelForImageClassification.from_pretrained(last["checkpoint"]).config.routes == ["faces", "faceless"]
    models = ("--model", last["checkpoint"], tmp_path / "with", tmp_path / "without")
    asked = ("--dataset", drawn_dataset, "--split", "train", "--output_dir", tmp_path / "tables")
    code, _, told = run_script("predict", *models, *asked)
    assert code == 0, told
    tables = [read_predictions(tmp_path / "tables" / f"{n}.parquet") for n in ("checkpoint", "with", "without")]
    whole = tables[0]
    assert set(whole.routes) == {"faces", "faceless"}, "the drawn photos are of both kinds"
    for row, (route, count) in enumerate(zip(whole.routes, whole.faces, strict=True)):
        assert route == ("faces" if count else "faceless")
        expected = tables[1 if count else 2].logits[row]
        np.testing.assert_allclose(whole.logits[row], expected, atol=1e-4)
