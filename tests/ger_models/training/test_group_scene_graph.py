"""docs/group_scene.yaml: what it says, and all of it trained at a tiny size on frames of drawn videos."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from drawn_videos import write_video
from PIL import Image, ImageOps
from safetensors.torch import load_file

from ger_datasets.preparation.run import prepare
from ger_datasets.records import Record
from ger_datasets.sample.drawing import draw_photo
from ger_models.inference.checkpoints import load_checkpoint
from ger_models.presets import preset
from ger_models.training.experiment_file import read_graph
from ger_models.training.recipe import Recipe, effective

ROOT = Path(__file__).resolve().parents[3]
GRAPH = ROOT / "docs" / "group_scene.yaml"
# learning rate, epochs, epochs between its divisions, batch size
PUBLISHED = {
    "scene": (0.001, 16, 7, 16),
    "scene_faces": (0.001, 16, 7, 16),
    "scene_faceless": (0.001, 16, 7, 16),
    "resnet": (0.001, 25, 7, 32),
    "skeleton": (0.001, 26, 7, 16),
    "skeleton_efficientnet": (0.001, 27, 7, 8),
    "model5": (0.001, 21, 7, 8),
    "model6A": (0.001, 18, 9, 8),
    "model6B": (0.01, 30, 6, 32),
}
CROSSING = "hidden_size=16,depth=1,face_layers=1,scene_layers=1,cross_rounds=1,heads=2,head_dim=8,mlp_dim=16"
TINY = {
    "densenet": "backbone=test_resnet",
    "resnet_places": "backbone=test_resnet",
    "densenet_skeleton": "backbone=test_resnet",
    "efficientnet_skeleton": "backbone=test_resnet",
    "features_crossvit": CROSSING,
    "fusion_crossvit_group_scene": f"freeze_pooling=true,backbone=test_resnet,face_channels=4,{CROSSING}",
    "patches_crossvit": f"freeze_pooling=true,backbone=test_resnet,{CROSSING}",
}


class Inverted:
    """Fills `skeleton` with the photo's negative."""

    name = "skeletons"
    settings: Mapping[str, Any] = {"kind": "negative"}

    def columns(self, record: Record, image: Image.Image) -> Mapping[str, Any]:
        return {"skeleton": ImageOps.invert(image)}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of eight drawn videos, two classes, prepared; each shows a group, then the same group from behind."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    for mood in ("Negative", "Positive"):
        for i in range(4):
            shots = [draw_photo(rng, mood, 2, visible, size=(480, 320))[0] for visible in (True, False)]
            frames = [np.asarray(shot) for shot in shots for _ in range(15)]
            write_video(folder / "raw" / mood / f"v{i}.mp4", frames)
    prepare(
        "group_scene", folder / "raw", folder / "group_scene", num_proc=1, sources=[Inverted()],
        options={"key_frames": "top"},
    )  # fmt: skip
    return folder / "group_scene"


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    class Options:
        pass

    options = Options()
    vars(options).update(settings)
    return effective(preset(settings["model"]).recipes, settings.get("recipe"), options)


def test_the_recipes_are_the_published_ones() -> None:
    runs = {run.name: run for run in read_graph(GRAPH)}
    found = {}
    for name, run in runs.items():
        recipe = recipe_of(run.settings)
        assert (recipe.optimizer, recipe.momentum, recipe.schedule) == ("sgd", 0.9, "step")
        found[name] = (recipe.learning_rate, recipe.epochs, recipe.step_epochs, recipe.batch_size)
    assert {name: found[name] for name in PUBLISHED} == PUBLISHED
    assert set(runs) == {*PUBLISHED, "crossvit"}
    assert {name: run.settings["only"] for name, run in runs.items() if "only" in run.settings} == {
        "scene_faces": "faces", "scene_faceless": "faceless", "model6A": "faces", "model6B": "faceless",
    }  # fmt: skip
    assert {name: run.needs for name, run in runs.items() if run.needs} == {
        "model5": ("scene", "crossvit"), "model6A": ("scene_faces", "crossvit"),
        "model6B": ("scene_faceless", "crossvit"),
    }  # fmt: skip
    for name in ("model5", "model6A", "model6B"):
        assert "freeze_pooling=true" in runs[name].settings["config_overrides"]
    assert preset("fusion_crossvit_group_scene").recipes["default"].epochs == 21
    assert preset("fusion_crossvit_group_scene").recipes["faces"].step_epochs == 9


def test_the_original_six_freeze_the_pooling_too() -> None:
    runs = {run.name: run for run in read_graph(ROOT / "docs" / "six_models.yaml")}
    assert runs["fusion_crossvit"].settings["config_overrides"] == "freeze_pooling=true"


@pytest.mark.slow  # it trains ten models for a step each
def test_the_whole_graph_and_its_routes(
    run_script: Callable,
    trained: list[list[str]],
    scenes: Path,
    tmp_path: Path,
) -> None:
    content = yaml.safe_load(GRAPH.read_text(encoding="utf-8"))
    content["output_dir"] = str(tmp_path / "runs")
    content["defaults"] |= {
        "dataset": str(scenes), "num_workers": 0, "initial_weights": "random", "max_steps": 1,
    }  # fmt: skip
    for run in content["runs"].values():
        run["config_overrides"] = TINY[run["model"]]
        run["batch_size"] = 4
    (tmp_path / "graph.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    code, figures, log = run_script("train_all", "--config", tmp_path / "graph.yaml")
    assert code == 0, log
    assert set(figures["runs"].values()) == {"done"}
    code, again, log = run_script("train_all", "--config", tmp_path / "graph.yaml")
    assert set(again["runs"].values()) == {"done before"}, log

    metrics = {name: json.loads((tmp_path / "runs" / name / "metrics.json").read_text()) for name in figures["runs"]}
    counts = {name: metrics[name]["train_photos"] for name in metrics}
    assert counts["scene"] == counts["scene_faces"] + counts["scene_faceless"] > 0
    assert counts["model6A"] == counts["scene_faces"]
    card = (tmp_path / "runs" / "model6B" / "README.md").read_text()
    assert "only photos without faces" in card
    before = load_file(tmp_path / "runs" / "crossvit" / "model.safetensors")
    for name in ("model5", "model6A", "model6B"):
        after = load_file(tmp_path / "runs" / name / "model.safetensors")
        pooling = [key for key in before if key.startswith("pooling.")]
        assert pooling
        assert all(before[key].equal(after[key]) for key in pooling), "the transformer stays as it was"

    models = [tmp_path / "runs" / name for name in ("model6A", "model6B")]
    for model, only in zip(models, ("faces", "faceless"), strict=True):
        code, _, log = run_script(
            "predict", "--model", model, "--dataset", scenes, "--split", "validation", "test", "--only", only,
            "--output", tmp_path / f"{only}.parquet",
        )  # fmt: skip
        assert code == 0, log
    code, last, log = run_script(
        "ensemble", "--method", "routed", "--output_dir", tmp_path / "routed",
        "--routes", *(f"{only}={tmp_path / only}.parquet" for only in ("faces", "faceless")), "--members", *models,
    )  # fmt: skip
    assert code == 0, log
    assert {each["route"] for each in last["by_route"]["test"]} == {"faces", "faceless"}
    model, _ = load_checkpoint(last["checkpoint"])
    assert list(model.config.id2label.values()) == ["Negative", "Positive"]
