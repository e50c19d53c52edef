"""Ensembles: the weighted sum of their members, one checkpoint, nothing computed twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import HubServer
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, PreTrainedModel

from ger_datasets.sample.drawing import draw_photo
from ger_models import (
    GerEnsembleConfig,
    GerEnsembleForImageClassification,
    GerEnsembleProcessor,
    GerFusionConfig,
    GerFusionForImageClassification,
    GerProcessor,
    GerSceneConfig,
    GerSceneForImageClassification,
)
from ger_models.evaluation.ensemble.ensemble import Ensemble
from ger_models.inference.checkpoints import load_checkpoint
from ger_models.inference.members import Members

TINY = {"hidden_size": 16, "depth": 1, "face_layers": 1, "scene_layers": 1, "heads": 2, "head_dim": 8, "mlp_dim": 24}
LABELS = {0: "Negative", 1: "Neutral", 2: "Positive"}
SMALL = {"resize_shorter": 72, "crop_size": 64}
TOKEN = "hf_testtokentesttoken"


def scene(seed: int = 0, labels: dict[int, str] = LABELS) -> tuple[PreTrainedModel, GerProcessor]:
    torch.manual_seed(seed)
    model = GerSceneForImageClassification(GerSceneConfig(backbone="test_resnet", id2label=labels))
    return shaken(model), GerProcessor(**SMALL)


def fusion(seed: int = 1, **fields: object) -> tuple[PreTrainedModel, GerProcessor]:
    torch.manual_seed(seed)
    model = GerFusionForImageClassification(GerFusionConfig(**TINY, id2label=LABELS, **fields))
    columns = ["image", "face_features"] if fields else ["face_features"]
    return shaken(model), GerProcessor(columns=columns, **SMALL)


def shaken(model: PreTrainedModel) -> PreTrainedModel:
    """Weights far from their small beginnings, so that members and photos differ."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


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
    """Four photos with 3, 0, 5 and 1 made-up faces."""
    rng = np.random.default_rng(5)
    moods = ("Negative", "Neutral", "Positive", "Neutral")
    return [
        {
            "image": draw_photo(rng, mood, 3, size=(320, 240))[0],
            "face_features": rng.normal(size=(count, 256)).tolist(),
        }
        for mood, count in zip(moods, (3, 0, 5, 1), strict=True)
    ]


def logits_of(model: PreTrainedModel, processor: GerProcessor, rows: list[dict]) -> torch.Tensor:
    with torch.inference_mode():
        return model(**processor(rows)).logits


@pytest.mark.parametrize("combination", ["logits", "probabilities"])
def test_an_ensemble_is_the_weighted_sum_and_one_checkpoint(
    combination: str, saved: Callable, rows: list[dict], tmp_path: Path
) -> None:
    members = [scene(), fusion(), scene(7)]
    names = [saved(f"member{i}", *member) for i, member in enumerate(members)]
    model, processor = GerEnsembleForImageClassification.from_members(names, [2, 1, 1], combination)
    assert isinstance(processor, GerEnsembleProcessor)
    shares = torch.tensor([2.0, 1.0, 1.0])[:, None, None]
    assert model.config.weights == ([2, 1, 1] if combination == "logits" else [0.5, 0.25, 0.25])
    assert model.config.groups == [0, 1, 0], "the scene models read the same tensors"
    assert processor.row_columns == ["image", "face_features"]
    assert set(processor(rows)) == {"group_0.pixel_values", "group_1.face_features", "group_1.face_mask"}

    apart = torch.stack([logits_of(*member, rows) for member in members])
    assert apart.std(0).min() > 0.01, "members differ"
    together = logits_of(model, processor, rows)
    if combination == "logits":
        torch.testing.assert_close(together, (apart * shares).sum(0), atol=1e-5, rtol=0)
    else:
        torch.testing.assert_close(together.softmax(-1), (apart.softmax(-1) * shares).sum(0) / 4, atol=1e-5, rtol=0)

    labels = torch.tensor([0, -1, 2, 1])
    output = model(**processor(rows), labels=labels, output_member_logits=True)
    torch.testing.assert_close(output.member_logits, apart, atol=1e-5, rtol=0)
    known = labels >= 0
    expected = -together.log_softmax(-1)[known, labels[known]].mean()
    torch.testing.assert_close(output.loss, expected, atol=1e-5, rtol=0)

    for i, row in enumerate(rows):
        torch.testing.assert_close(logits_of(model, processor, [row])[0], together[i], atol=1e-5, rtol=0)

    folder = saved("ensemble", model, processor)
    assert sorted(path.name for path in Path(folder).iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    assert str(tmp_path) not in (Path(folder) / "config.json").read_text()
    again, its_processor = load_checkpoint(folder)
    assert type(again) is GerEnsembleForImageClassification
    assert its_processor.to_dict() == processor.to_dict()
    assert again.config.id2label == LABELS
    assert again.config.weights == model.config.weights
    assert torch.equal(logits_of(again, its_processor, rows), together)
    (answers,) = Members([folder]).ask(rows)
    np.testing.assert_allclose(answers.logits, together, atol=1e-5)


@pytest.mark.parametrize("combination", ["logits", "probabilities"])
def test_negative_weights(combination: str, saved: Callable, rows: list[dict]) -> None:
    """The checkpoint answers what the scoring of tables says."""
    names = [saved("a", *scene()), saved("b", *fusion()), saved("c", *scene(7))]
    model, processor = GerEnsembleForImageClassification.from_members(names, [-1, 5, 2.5], combination)
    again, _ = load_checkpoint(saved("ensemble", model, processor))
    output = again(**processor(rows), output_member_logits=True)
    expected = Ensemble("given", combination, [-1, 5, 2.5]).combine(output.member_logits.detach().numpy())
    np.testing.assert_allclose(output.logits.detach(), expected, atol=1e-4)
    if combination == "logits":
        assert again.config.weights == [-1, 5, 2.5]
        bare = (output.member_logits * torch.tensor([-1, 5, 2.5])[:, None, None]).sum(0)
        torch.testing.assert_close(output.logits, bare, atol=1e-5, rtol=0)


def test_an_ensemble_can_be_a_member(saved: Callable, rows: list[dict]) -> None:
    inner = GerEnsembleForImageClassification.from_members([saved("a", *scene()), saved("b", *fusion())], [1, 3])
    outer, processor = GerEnsembleForImageClassification.from_members([saved("inner", *inner), saved("c", *scene(3))])
    expected = (logits_of(*inner, rows) + logits_of(*scene(3), rows)) / 2
    torch.testing.assert_close(logits_of(outer, processor, rows), expected, atol=1e-5, rtol=0)


def counted(model: torch.nn.Module) -> list[int]:
    calls = [0]
    model.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    return calls


def test_equal_members_are_computed_once(saved: Callable, rows: list[dict]) -> None:
    model, processor = GerEnsembleForImageClassification.from_members(
        [saved("a", *scene()), saved("b", *scene()), saved("c", *scene(4))]
    )
    calls = [counted(member.backbone.conv1) for member in model.members]
    expected = (2 * logits_of(*scene(), rows) + logits_of(*scene(4), rows)) / 3
    torch.testing.assert_close(logits_of(model, processor, rows), expected, atol=1e-5, rtol=0)
    assert calls == [[1], [0], [1]]
    with torch.no_grad():
        model.members[1].head.bias.add_(3)
    torch.testing.assert_close(logits_of(model, processor, rows), expected + 1, atol=1e-5, rtol=0)
    assert [sum(call) for call in calls[:2]] == [2, 0], "the backbones are still equal"
    with torch.no_grad():
        model.members[1].backbone.conv1[0].weight.mul_(1.5)
    logits_of(model, processor, rows)
    assert calls == [[3], [1], [3]]


def test_equal_backbones_are_computed_once_whatever_stands_on_them(saved: Callable, rows: list[dict]) -> None:
    """A fusion model whose frozen scene backbone is that of a scene model, though their processors differ."""
    alone, both = scene(), fusion(scene="image", backbone="test_resnet")
    both[0].scene_backbone.load_state_dict(alone[0].backbone.state_dict())
    names = [saved("scene", *alone), saved("fusion", *both)]
    model, processor = GerEnsembleForImageClassification.from_members(names)
    assert model.config.groups == [0, 1]
    inputs = processor(rows)
    assert inputs["group_0.pixel_values"] is inputs["group_1.pixel_values"], "the photos were resized once"
    backbones = [model.members[0].backbone, model.members[1].scene_backbone]
    calls = [counted(backbone.conv1) for backbone in backbones]
    expected = (logits_of(*alone, rows) + logits_of(*both, rows)) / 2
    torch.testing.assert_close(logits_of(model, processor, rows), expected, atol=1e-5, rtol=0)
    assert calls == [[1], [0]]
    assert all("forward" not in vars(backbone) for backbone in backbones), "left as they were"
    copies = {name: tensor.clone() for name, tensor in inputs.items()}
    torch.testing.assert_close(model(**copies).logits, expected, atol=1e-5, rtol=0)
    assert calls == [[2], [0]], "equal inputs, though not the same tensor"
    model.train()(**inputs)
    assert calls == [[3], [1]], "in training each has its own BatchNorm"


def test_members_of_weight_zero_are_skipped(saved: Callable, rows: list[dict]) -> None:
    names = [saved("a", *scene()), saved("b", *fusion())]
    for combination in ("logits", "probabilities"):
        model, processor = GerEnsembleForImageClassification.from_members(names, [1, 0], combination)
        calls = counted(model.members[1])
        inputs = processor(rows)
        logits = logits_of(model, processor, rows)
        torch.testing.assert_close(logits.softmax(-1), logits_of(*scene(), rows).softmax(-1), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            model(**{"group_0.pixel_values": inputs["group_0.pixel_values"]}).logits, logits, atol=1e-5, rtol=0
        )
        assert calls == [0]
        both = model(**inputs, output_member_logits=True)
        assert both.member_logits.shape == (2, 4, 3)
        assert calls == [1]
        torch.testing.assert_close(both.logits, logits, atol=1e-5, rtol=0)


def test_training_reaches_every_member(saved: Callable, rows: list[dict]) -> None:
    model, processor = GerEnsembleForImageClassification.from_members([saved("a", *scene()), saved("b", *scene())])
    generators = [torch.Generator().manual_seed(i) for i in range(4)]
    loss = model.train()(**processor(rows, generators=generators), labels=torch.tensor([0, 1, 2, 1])).loss
    loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_augmentation_is_the_same_for_all_members(rows: list[dict]) -> None:
    first, second = GerProcessor(**SMALL), GerProcessor(resize_shorter=72, crop_size=64, max_faces=3)
    processor, groups = GerEnsembleProcessor.from_members([first, second, first])
    assert groups == [0, 1, 0]
    made = processor(rows, generators=[torch.Generator().manual_seed(i) for i in range(4)])
    alone = first(rows, generators=[torch.Generator().manual_seed(i) for i in range(4)])
    for i in range(2):
        assert torch.equal(made[f"group_{i}.pixel_values"], alone["pixel_values"])


def test_members_must_agree_on_the_classes(saved: Callable) -> None:
    turned = saved("turned", *scene(labels={0: "Positive", 1: "Neutral", 2: "Negative"}))
    straight = saved("straight", *scene())
    with pytest.raises(ValueError, match=r"straight has Negative, Neutral, Positive, .*turned has Positive, Neutral"):
        GerEnsembleForImageClassification.from_members([straight, turned])
    with pytest.raises(ValueError, match="member 0 has Negative, Neutral, Positive, member 1 has A, B"):
        GerEnsembleConfig([scene()[0].config, GerSceneConfig(id2label={0: "A", 1: "B"})])


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1], "one for each of the 2 members"),
        ([0, 0], "not all be 0"),
        ([1, float("nan")], r"finite numbers, not \[1, nan\]"),
        ([float("inf"), 1], "finite numbers"),
        (["1", 1], "finite numbers"),
    ],
)
def test_wrong_weights(weights: list, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GerEnsembleConfig([scene()[0].config, fusion()[0].config], weights)


def test_wrong_fields_and_inputs(saved: Callable, rows: list[dict]) -> None:
    config = scene()[0].config
    with pytest.raises(ValueError, match="combination must be one of logits, probabilities, not 'votes'"):
        GerEnsembleConfig([config], combination="votes")
    with pytest.raises(ValueError, match="groups must be an integer from 0 for each of the 1 members"):
        GerEnsembleConfig([config], groups=[0, 1])
    with pytest.raises(ValueError, match=r"members\[0\] has no model_type"):
        GerEnsembleConfig([{"backbone": "test_resnet"}])
    with pytest.raises(ValueError, match="id2label must be the members' classes"):
        GerEnsembleConfig([config], id2label={0: "A", 1: "B", 2: "C"})
    with pytest.raises(ValueError, match="must name one member or more"):
        GerEnsembleForImageClassification(GerEnsembleConfig())
    with pytest.raises(ValueError, match="needs a list of checkpoints"):
        GerEnsembleForImageClassification.from_members("folder")
    with pytest.raises(
        ValueError, match=r"processors\[0\] must be a GerProcessor or GerEnsembleProcessor, not a Other"
    ):
        GerEnsembleProcessor([{"image_processor_type": "Other"}])
    model, _ = GerEnsembleForImageClassification.from_members([saved("a", *scene())])
    with pytest.raises(TypeError, match="unexpected keyword argument 'pixel_values'"):
        model(pixel_values=torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="member 0 of the ensemble reads group_0"):
        model(**{"group_1.pixel_values": torch.zeros(1, 3, 64, 64)})


def test_made_anew_from_its_configuration(rows: list[dict]) -> None:
    config = GerEnsembleConfig([scene()[0].config, fusion()[0].config])
    model = AutoModelForImageClassification.from_config(config).eval()
    assert type(model) is GerEnsembleForImageClassification
    deviation = model.members[0].backbone.conv1[0].weight.std()
    assert deviation > 0.05, "the backbone keeps timm's initialisation"
    json.dumps(config.to_dict())
    processor, _ = GerEnsembleProcessor.from_members([scene()[1], fusion()[1]])
    assert logits_of(model, processor, rows).isfinite().all()


HUB_STEPS = """
import sys
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification
from ger_models import GerEnsembleForImageClassification

model, processor = GerEnsembleForImageClassification.from_members(sys.argv[1:], [3, 1])
model.push_to_hub("me/ensemble", private=True)
processor.push_to_hub("me/ensemble")
again = AutoModelForImageClassification.from_pretrained("me/ensemble")
its_processor = AutoImageProcessor.from_pretrained("me/ensemble")
assert its_processor.to_dict() == processor.to_dict()
before, after = model.state_dict(), again.state_dict()
assert before.keys() == after.keys()
assert all(torch.equal(before[name], after[name]) for name in before)
assert again.config.weights == [3, 1]
of_hub, _ = GerEnsembleForImageClassification.from_members(["me/ensemble", sys.argv[1]])
print(type(again).__name__, len(of_hub.members))
"""


@pytest.mark.slow
def test_pushed_and_loaded(saved: Callable, tmp_path: Path) -> None:
    names = [saved("a", *scene()), saved("b", *fusion())]
    with HubServer(tmp_path / "hub", token=TOKEN) as hub:
        environment = hub.environment(tmp_path / "home")
        done = subprocess.run(
            [sys.executable, "-c", HUB_STEPS, *names], env=environment, capture_output=True, text=True, timeout=120
        )
        tree = (
            hub.store.tree("models/me/ensemble", hub.store.resolve("models/me/ensemble", "main"))
            if not done.returncode
            else {}
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "GerEnsembleForImageClassification 2"
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= set(tree)


def test_the_auto_classes_know_the_configuration_and_the_processor(saved: Callable) -> None:
    folder = saved("ensemble", *GerEnsembleForImageClassification.from_members([saved("a", *scene())]))
    assert type(AutoConfig.from_pretrained(folder)) is GerEnsembleConfig
    assert type(AutoImageProcessor.from_pretrained(folder)) is GerEnsembleProcessor
