"""A graph of runs from one YAML: the order, what is done, and what fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ger_datasets.support.errors import UserError
from ger_models.training.experiment_file import read_graph

SMALL = "hidden_size=16,depth=1,face_layers=1,scene_layers=1,cross_rounds=1,heads=2,head_dim=8,mlp_dim=16"
ROOT = Path(__file__).resolve().parents[3]


def write(tmp_path: Path, dataset: Path, **changes: object) -> Path:
    tiny = {"initial_weights": "random", "max_steps": 1, "batch_size": 4, "learning_rate": 0.001}
    scene = {"model": "densenet_emotic", "config_overrides": "backbone=test_resnet", **tiny}
    runs = {
        "fusion": {
            "model": "fusion_crossvit", "config_overrides": f"backbone=test_resnet,face_channels=4,{SMALL}", **tiny,
            "scene_from": "second", "faces_from": "faces", "pooling_from": "crossvit",
        },
        "second": {**scene, "init_from": "first", "seed": 1},
        "first": scene,
        "faces": {"model": "face_aligned", "config_overrides": "channels=4", **tiny},
        "crossvit": {"model": "features_crossvit", "config_overrides": SMALL, "recipe": "original", **tiny},
    }  # fmt: skip
    content = {"output_dir": str(tmp_path / "runs"), "defaults": {"dataset": str(dataset)}, "runs": runs, **changes}
    (tmp_path / "graph.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return tmp_path / "graph.yaml"


def test_the_whole_graph(run_script: Callable, trained: list[list[str]], drawn_dataset: Path, tmp_path: Path) -> None:
    config = write(tmp_path, drawn_dataset)
    code, figures, log = run_script("train_all", "--config", config, "--dry_run", True)
    assert (code, figures["complete"], trained) == (0, False, [])
    assert "fusion: to do after second, faces, crossvit" in log
    code, figures, log = run_script("train_all", "--config", config)
    assert code == 0, log
    assert set(figures["runs"].values()) == {"done"}
    assert figures["complete"]
    order = list(figures["runs"])
    assert order.index("first") < order.index("second") < order.index("fusion") == 4
    stages = json.loads((tmp_path / "runs" / "fusion" / "metrics.json").read_text())["stages"]
    assert {name: stage["from"] for name, stage in stages.items()} == {
        "scene_from": "second", "faces_from": "faces", "pooling_from": "crossvit",
    }  # fmt: skip

    count = len(trained)
    shutil.rmtree(tmp_path / "runs" / "second")
    code, figures, _ = run_script("train_all", "--config", config)
    assert code == 0
    assert [name for name, state in figures["runs"].items() if state == "done"] == ["second"]
    assert len(trained) == count + 1

    changed = yaml.safe_load(config.read_text())
    changed["runs"]["faces"]["learning_rate"] = 0.5
    config.write_text(yaml.safe_dump(changed))
    code, _, log = run_script("train_all", "--config", config)
    assert code == 2
    assert "the run faces has another recipe.learning_rate: move" in log


def test_a_run_that_fails_stops_what_depends_on_it(
    run_script: Callable, trained: list[list[str]], drawn_dataset: Path, tmp_path: Path
) -> None:
    content = yaml.safe_load(write(tmp_path, drawn_dataset).read_text())
    content["runs"]["first"]["config_overrides"] = "backbone=no_such_net"
    content["runs"] = {name: content["runs"][name] for name in ("first", "second", "crossvit")}
    (tmp_path / "graph.yaml").write_text(yaml.safe_dump(content))
    code, figures, log = run_script("train_all", "--config", tmp_path / "graph.yaml")
    assert code == 1
    assert figures["runs"] == {"first": "failed", "second": "not tried", "crossvit": "done"}
    assert "not all runs were trained: first, second; run the same command again" in log


def test_the_six_models() -> None:
    """The graph that docs/ shows is one."""
    runs = {run.name: run for run in read_graph(ROOT / "docs" / "six_models.yaml")}
    assert set(runs["fusion_crossvit"].needs) == {"densenet_emotic", "face_aligned", "crossvit"}
    assert runs["densenet_emotic"].needs == ("emotic",)
    assert runs["face_aligned"].settings["recipe"] == "fine_tune"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"runs": {}}, "must have runs"),
        ({"runs": {"a": {"model": "densenet"}}}, "the run a in .* has no dataset"),
        ({"runs": {"a": {"model": "dense", "dataset": "d"}}}, "unknown model 'dense'"),
        ({"runs": {"a": None}}, "the run a .* must have options"),
        ({"run": {}}, "has run: there are output_dir, defaults, launch, runs"),
        (
            {"runs": {n: {"model": "densenet", "dataset": "d", "init_from": m} for n, m in (("a", "b"), ("b", "a"))}},
            "depend on each other in a circle",
        ),
    ],
)
def test_graphs_that_are_refused(content: dict, words: str, tmp_path: Path) -> None:
    (tmp_path / "graph.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=words):
        read_graph(tmp_path / "graph.yaml")
