"""A graph of runs from one YAML: the order, what is done, and what fails."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pytest
import yaml

from ger_datasets.support import command_line
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


@pytest.mark.slow
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
        (
            {"runs": {"a": {"model": "densenet", "dataset": "d", "epoch": 3}}},
            "run a .* has epoch.*did you mean epochs",
        ),
        ({"defaults": {"gpus": 2}, "runs": {"a": {"model": "densenet", "dataset": "d"}}}, "has gpus, no option"),
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


def seeded(tmp_path: Path, dataset: Path, **more: object) -> Path:
    tiny = {"max_steps": 1, "batch_size": 4, "config_overrides": SMALL, "model": "features_crossvit", **more}
    runs = {"second": {**tiny, "init_from": "first"}, "first": tiny}
    content = {"output_dir": str(tmp_path / "runs"), "defaults": {"dataset": str(dataset)}, "runs": runs}
    (tmp_path / "graph.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "graph.yaml"


def test_seeds_start_from_runs_of_the_same_seed(drawn_dataset: Path, tmp_path: Path) -> None:
    runs = read_graph(seeded(tmp_path, drawn_dataset), seeds=2)
    assert [run.name for run in runs] == ["first/seed_0", "second/seed_0", "first/seed_1", "second/seed_1"]
    last = runs[-1]
    assert (last.settings["seed"], last.needs) == (1, ("first/seed_1",))
    assert Path(last.settings["init_from"]) == tmp_path / "runs/first/seed_1"
    assert Path(last.settings["output_dir"]) == tmp_path / "runs/second/seed_1"
    with pytest.raises(UserError, match="a seed"):
        read_graph(seeded(tmp_path, drawn_dataset, seed=3), seeds=2)


@pytest.mark.slow
def test_seeds_are_reported_and_the_test_split_is_scored_once(
    run_script: Callable,
    load_script: Callable,
    drawn_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Training is replaced by finished runs of the same seeds; predicting and comparing are real."""
    from ger_datasets.loading.splits import load_splits
    from ger_models.presets import build

    config = seeded(tmp_path, drawn_dataset)
    names = load_splits(str(drawn_dataset), ["label"], ["train"])["train"].features["label"].names
    predict, predicted = load_script("predict"), []

    def call(command: list[str], stdout: TextIO) -> SimpleNamespace:
        if command[1].endswith("predict.py"):  # in this process, as each that starts costs seconds
            predicted.append(command)
            with redirect_stdout(stdout), pytest.raises(SystemExit) as stop:
                command_line.run(predict.main, predict.Arguments, command[2:])
            return SimpleNamespace(returncode=stop.value.code)
        folder = Path(command[command.index("--output_dir") + 1])
        model, processor = build("features_crossvit", names, overrides=SMALL)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        seed = command[command.index("--seed") + 1]
        (folder / "metrics.json").write_text(json.dumps({"validation": {"accuracy": int(seed) / 2}}))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("subprocess.run", call)
    code, figures, log = run_script("train_all", "--config", config, "--seeds", 2, "--report", "test")
    assert code == 0, log
    assert len(predicted) == 4
    first = figures["scores"]["first"]
    assert first["validation"] == {"mean": 0.25, "std": pytest.approx(0.3536, abs=1e-4), "seeds": [0.0, 0.5]}
    assert len(first["test"]["seeds"]) == 2
    tables = [tmp_path / f"runs/{name}/seed_{seed}/test.parquet" for name in ("first", "second") for seed in (0, 1)]
    times = [table.stat().st_mtime_ns for table in tables]
    monkeypatch.setattr("ger_models.training.experiment_file.Run.is_done", lambda run: True)
    assert run_script("train_all", "--config", config, "--seeds", 2, "--report", "test")[0] == 0
    assert [table.stat().st_mtime_ns for table in tables] == times

    runs = [tmp_path / "runs/first", tmp_path / "runs/second"]
    code, figures, log = run_script("compare", *runs, "--output_dir", tmp_path / "comparison")
    assert code == 0, log
    assert {row["model"] for row in figures["models"]} == {"first", "second"}
    assert "parameters" in (tmp_path / "comparison/compare.md").read_text()
    assert figures["note"].endswith("with fewer than 30 photos the intervals are too narrow")
    code, _, log = run_script("compare", tmp_path / "nowhere", "--output_dir", tmp_path / "c")
    assert code == 2
    code, _, log = run_script("compare", *runs, "--split", "other", "--output_dir", tmp_path / "c")
    assert code == 2
    assert "predict.py --model RUN" in log
    assert {command[0] for command in predicted} == {sys.executable}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_no_report_on_the_split_that_chose_the_epoch(
    split: str, run_script: Callable, drawn_dataset: Path, tmp_path: Path
) -> None:
    code, _, log = run_script("train_all", "--config", seeded(tmp_path, drawn_dataset), "--report", split)
    assert code == 2
    assert "chosen with that split" in log


def test_accelerate_launches_what_the_file_has_options_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs.yaml").write_text(
        "launch: [--mixed_precision, bf16]\nruns:\n  a: {model: features_crossvit, dataset: d}\n", encoding="utf-8"
    )
    spec = importlib.util.spec_from_file_location("train_all", ROOT / "scripts" / "train_all.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)  # dataclasses look their module up
    spec.loader.exec_module(script)
    (run,) = read_graph(tmp_path / "runs.yaml")
    words = script.command(run)
    assert words[1:6] == ["-m", "accelerate.commands.launch", "--quiet", "--mixed_precision", "bf16"]
    assert words[6] == str(ROOT / "scripts" / "train.py")
