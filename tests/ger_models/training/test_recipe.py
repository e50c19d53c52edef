"""Recipes: the original's values, what overrides what, schedules, optimizers and averaged weights."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from ger_datasets.support.errors import UserError
from ger_models.backbones import checkpoint_gradients, create_backbone
from ger_models.presets import PRESETS, build
from ger_models.training.losses import LOSSES
from ger_models.training.optimization import make_optimizer, rate_at, set_rate
from ger_models.training.recipe import TABLES, Recipe, RecipeOptions, changed, effective, to_yaml
from ger_models.training.weight_averaging import MovingAverage

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("name", "learning_rate", "epochs", "step_epochs", "batch_size"),
    [
        ("face_aligned", 0.01, 25, 7, 16),
        ("densenet_emotic", 0.001, 16, 7, 32),
        ("resnet_places", 0.001, 25, 7, 16),
        ("densenet_skeleton", 0.001, 25, 7, 16),
        ("efficientnet_skeleton", 0.001, 25, 7, 16),
        ("fusion_crossvit", 0.001, 27, 9, 16),
        ("fusion_attention_score", 0.01, 27, 9, 16),
    ],
)
def test_the_recipes_of_the_original(
    name: str, learning_rate: float, epochs: int, step_epochs: int, batch_size: int
) -> None:
    expected = Recipe("sgd", learning_rate, epochs, batch_size, step_epochs=step_epochs)
    assert PRESETS[name].recipe == expected
    assert (expected.momentum, expected.schedule, expected.weight_decay) == (0.9, "step", 0)


def test_other_recipes() -> None:
    fine_tune = PRESETS["face_aligned"].recipes["fine_tune"]
    assert (fine_tune.learning_rate, fine_tune.epochs, fine_tune.step_epochs) == (0.001, 8, 4)
    features = PRESETS["features_crossvit"]
    assert (features.recipe.learning_rate, features.recipe.epochs) == (0.001, 24)
    assert features.recipes["original"].optimizer == "sgd"
    for chosen in PRESETS.values():
        modern = chosen.recipes["modern"]
        assert (modern.optimizer, modern.schedule, modern.sampling) == ("adamw", "cosine", "balanced")
        assert min(modern.warmup, modern.label_smoothing, modern.ema) > 0
        assert (modern.epochs, modern.batch_size) == (chosen.recipe.epochs, chosen.recipe.batch_size)


def test_what_overrides_what(tmp_path: Path) -> None:
    """Preset, then file, then command line."""
    recipes = PRESETS["features_crossvit"].recipes
    file = tmp_path / "mine.yaml"
    file.write_text("learning_rate: 1e-4\nepochs: 5\nsampling: balanced\n")
    options = RecipeOptions(epochs=7)
    recipe = effective(recipes, str(file), options)
    assert recipe == replace(recipes["default"], learning_rate=1e-4, epochs=7, sampling="balanced")
    assert effective(recipes, "modern", options) == replace(recipes["modern"], epochs=7)
    assert effective(recipes, None) == recipes["default"]

    file.write_text(to_yaml(recipe))
    assert effective(recipes, str(file)) == recipe, "a recipe that was written is a recipe file again"
    assert set(yaml.safe_load(to_yaml(recipe))) == set(asdict(recipe)) == set(RecipeOptions.__dataclass_fields__)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "learning_rat: 1\nmomentun: 2",
            "has learning_rat, momentun, which are no fields of a recipe: optimizer, learning",
        ),
        ("epochs: 2.5", "epochs in FILE must be a whole number, not 2.5"),
        ("epochs: many", "epochs in FILE must be a whole number, not 'many'"),
        ("ema: true", "ema in FILE must be a number, not True"),
        ("learning_rate: .nan", "learning_rate"),
        ("optimizer: lion", "optimizer must be one of sgd, adamw, not 'lion'"),
        ("label_smoothing: 1.5", "label_smoothing must be from 0 to 0.95, not 1.5"),
        ("- epochs", "must hold NAME: VALUE lines, found list"),
        ("a: [", "is not valid YAML"),
        (None, "cannot be read: No such file"),
    ],
)
def test_recipe_files_that_are_refused(content: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError) as caught:
        effective(PRESETS["face_aligned"].recipes, str(file))
    assert words.replace("FILE", str(file)) in str(caught.value)


def test_options_that_are_refused() -> None:
    recipes = PRESETS["resnet_places"].recipes
    with pytest.raises(UserError, match="unknown recipe 'fine_tune': this model has default, modern, or name a file"):
        effective(recipes, "fine_tune")
    for field, value in (("epochs", 0), ("learning_rate", 0.0), ("batch_size", -1)):
        with pytest.raises(UserError, match=f"{field} must be more than 0, not {value}"):
            effective(recipes, None, SimpleNamespace(**{field: value}))


@pytest.mark.parametrize("name", TABLES)
def test_a_row_of_a_table_is_a_choice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = PRESETS["features_crossvit"].recipe
    with pytest.raises(UserError, match=f"{name} must be one of .*, not 'mine'"):
        replace(recipe, **{name: "mine"})
    monkeypatch.setitem(TABLES[name], "mine", lambda **_: None)
    assert getattr(replace(recipe, **{name: "mine"}), name) == "mine"


def test_a_loss_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets the outputs, the labels and any field of the recipe by name."""

    def scaled(outputs: dict, labels: torch.Tensor, learning_rate: float, **_: object) -> torch.Tensor:
        return outputs["loss"] * learning_rate

    monkeypatch.setitem(LOSSES, "scaled", scaled)
    recipe = Recipe("sgd", 0.5, 1, 1, loss="scaled")
    outputs = {"loss": torch.tensor(3.0)}
    assert LOSSES[recipe.loss](outputs, torch.zeros(1), teacher_logits=None, **vars(recipe)) == 1.5


def test_the_tables_need_no_torch() -> None:
    code = (
        "import sys, types; m = types.ModuleType('ger_models'); m.__path__ = ['ger_models']; "
        "sys.modules['ger_models'] = m; from ger_models.presets import preset_names; "
        "assert len(preset_names()) > 10; assert not {'torch', 'transformers', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_schedules() -> None:
    step = Recipe("sgd", 0.001, epochs=16, batch_size=1, step_epochs=7)
    rates = [rate_at(at, 16 * 5, **vars(step)) for at in range(16 * 5)]
    np.testing.assert_allclose(rates, [0.001] * 35 + [0.0001] * 35 + [0.00001] * 10)
    cosine = Recipe("adamw", 1.0, epochs=1, batch_size=1, schedule="cosine", warmup=0.1)
    rates = [rate_at(at, 100, **vars(cosine)) for at in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[-1] < 0.001
    assert np.argmax(rates) == 9
    assert rate_at(0, 100, **vars(replace(cosine, warmup=0.0))) == 1.0


def test_only_weights_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    model[0].weight.requires_grad_(True)
    optimizer = make_optimizer(model, **vars(Recipe("adamw", 0.1, 1, 1, weight_decay=0.5)))
    decays = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays[model[0].weight] == 0.5
    assert {decays[p] for p in (model[0].bias, model[1].weight, model[1].bias)} == {0.0}
    momentum = make_optimizer(model, **vars(Recipe("sgd", 0.1, 1, 1, momentum=0.7))).param_groups[0]["momentum"]
    assert momentum == 0.7


def test_losses() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, -1, 1])
    own, teacher = torch.tensor(5.0), torch.randn(4, 3)
    outputs = {"loss": own, "logits": logits}
    recipe = Recipe("sgd", 0.1, 1, 1, loss="distillation", label_smoothing=0.1, teacher_weight=0.4)
    assert LOSSES["model"](outputs, labels, teacher_logits=None, **vars(recipe)) is own
    known = labels >= 0
    targets = torch.nn.functional.one_hot(labels[known], 3) * 0.9 + 0.1 / 3
    hard = -(targets * logits[known].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(LOSSES["cross_entropy"](outputs, labels, teacher_logits=None, **vars(recipe)), hard)
    there, here = (teacher / 2).softmax(1), (logits / 2).softmax(1)
    soft = (there * (there.log() - here.log())).sum(1).mean()
    expected = 0.6 * hard + 0.4 * 4 * soft
    torch.testing.assert_close(
        LOSSES["distillation"](outputs, labels, teacher_logits=teacher, **vars(recipe)), expected
    )
    with pytest.raises(UserError, match="needs --teacher"):
        LOSSES["distillation"](outputs, labels, teacher_logits=None, **vars(recipe))


def test_smoothing_does_not_replace_the_models_own_loss() -> None:
    with pytest.raises(UserError, match="label_smoothing is a parameter of the loss cross_entropy"):
        Recipe("sgd", 0.1, 1, 1, label_smoothing=0.1)


def test_the_moving_average() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1, affine=False))
    model[0].weight.data.fill_(1.0)
    average = MovingAverage(model, 0.9)
    expected = 1.0
    for step in range(1, 40):
        model[0].weight.data.fill_(float(step))
        model[1].num_batches_tracked.fill_(step)
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with average.in_place():
        assert model[0].weight.item() == pytest.approx(expected, rel=1e-5)
        assert model[1].num_batches_tracked == 39
    assert model[0].weight.item() == 39

    again = MovingAverage(model, 0.9)
    again.load(average.average)
    with again.in_place():
        assert model[0].weight.item() == pytest.approx(expected, rel=1e-5)
    off = MovingAverage(model, 0.0)
    off.update(1)
    with off.in_place():
        assert model[0].weight.item() == 39


def test_layer_decay_lowers_the_rate_towards_the_stem() -> None:
    model, _ = build("densenet_emotic", ["a", "b"], overrides="backbone=test_vit")
    recipe = Recipe("adamw", 0.1, 1, 1, weight_decay=0.5, layer_decay=0.5)
    optimizer = make_optimizer(model, **vars(recipe))
    set_rate(optimizer, 0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    depth = len(model.backbone.blocks)
    assert rates[id(model.head.weight)] == rates[id(model.backbone.norm.weight)] == pytest.approx(0.1)
    assert rates[id(model.backbone.blocks[-1].attn.qkv.weight)] == pytest.approx(0.05)
    assert rates[id(model.backbone.patch_embed.proj.weight)] == pytest.approx(0.1 * 0.5 ** (depth + 1))
    assert all(group["weight_decay"] in (0.0, 0.5) for group in optimizer.param_groups)


def test_a_yes_or_no_field() -> None:
    recipe = Recipe("adamw", 0.1, 1, 1)
    assert changed(recipe, {"gradient_checkpointing": True}, "a.yaml").gradient_checkpointing
    with pytest.raises(UserError, match="true or false"):
        changed(recipe, {"gradient_checkpointing": 1}, "a.yaml")


@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet"])
def test_gradient_checkpointing_gives_the_same_gradients(backbone: str) -> None:
    gradients = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        network = create_backbone(backbone).train()
        if checkpointed:
            checkpoint_gradients(network)
        torch.manual_seed(1)
        network(torch.rand(2, 3, 160, 160)).square().sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])
