"""Hostile YAML and JSON that users hand over: recipes, graphs of runs, ensemble.json, manifests, run folders."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import corpus
import corpus_arrays as arrays
import corpus_tables as tables
import pytest
import torch
from accelerate import Accelerator
from checks import Meeting
from corpus_texts import JSONS, YAMLS
from torch import nn

from ger_datasets.preparation.run import prepare
from ger_datasets.support.errors import UserError
from ger_models.evaluation.ensemble.ensemble import Ensemble
from ger_models.presets import preset
from ger_models.training.experiment_file import read_graph
from ger_models.training.optimization import make_optimizer
from ger_models.training.recipe import Recipe, effective
from ger_models.training.run_folder import RunFolder
from ger_models.training.weight_averaging import MovingAverage


def test_recipes(here: Path, ended: Callable) -> None:
    meeting, recipes = Meeting("train --recipe", UserError), preset("densenet_emotic").recipes
    path = here / "recipe.yaml"
    odd = [
        "1e400",
        "-1",
        "nan",
        ".inf",
        "-.inf",
        "true",
        "[1]",
        "{a: 1}",
        "null",
        "'x'",
        "0x" + "f" * 600,
        "2024-01-01",
    ]
    fields = {
        f"{name} {n}": f"{name}: {value}" for name in vars(Recipe("sgd", 1, 1, 1)) for n, value in enumerate(odd)
    }
    laughs = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n"
        for a, b in zip("abcdefghijklmnopqrstuvwxy", "bcdefghijklmnopqrstuvwxyz", strict=True)
    )
    fields |= {f"laughs {name}": f"{name}: &z [*z]\n" for name in ("epochs", "optimizer")}
    fields["laughs value"] = laughs + "epochs: *z"
    for case, content in {**YAMLS, **{name: text.encode() for name, text in fields.items()}}.items():
        path.write_bytes(content)
        meeting.meet(case, lambda: effective(recipes, str(path)), path.name)
    ended(meeting)


def test_graphs(run_script: Callable, here: Path, ended: Callable) -> None:
    meeting, path = Meeting("train_all", UserError), here / "graph.yaml"
    good = "output_dir: runs\nruns:\n  a: {model: densenet_emotic, dataset: d}\n"
    odd = ["5", "[1]", "{b: 1}", "null", "true", "nan", "'../../x'", "/etc", "'a\\nb'", "''", ".", "[[]]", "&z [*z]"]
    texts = {}
    for number, value in enumerate(odd):
        for name in ("output_dir", "defaults", "launch", "runs"):
            texts[f"{name} {number}"] = (
                "\n".join(line for line in good.splitlines() if not line.startswith(name)) + f"\n{name}: {value}\n"
            )
        for name in ("model", "dataset", "init_from", "seed", "recipe", "output_dir", "epochs", "config_overrides"):
            texts[f"run {name} {number}"] = f"runs:\n  a: {{model: densenet_emotic, dataset: d, {name}: {value}}}\n"
        texts[f"name {number}"] = f"runs:\n  {value}: {{model: densenet_emotic, dataset: d}}\n"
    texts["circle"] = "runs:\n  a: {model: densenet_emotic, dataset: d, init_from: a}\n"
    texts["laughs"] = (
        good
        + "  b: &b [x, x]\n  c: &c [*b, *b]\n"
        + "".join(
            f"  {b}: &{b} [*{a}, *{a}]\n"
            for a, b in zip("cdefghijklmnopqrstuvwxy", "defghijklmnopqrstuvwxyz", strict=True)
        )
    )
    for case, content in {**YAMLS, **{name: text.encode() for name, text in texts.items()}}.items():
        path.write_bytes(content)

        def read(anywhere: bool = case.startswith("output_dir")) -> None:
            for each in read_graph(path):
                assert anywhere or Path(each.settings["output_dir"]).is_relative_to("runs")
                assert each.options
                each.is_done()

        meeting.meet(case, read, path.name)
    path.write_text(good)
    for case, content in JSONS.items():
        (here / "runs" / "a").mkdir(parents=True, exist_ok=True)
        (here / "runs" / "a" / "metrics.json").write_bytes(content)
        meeting.meet(f"metrics.json {case}", lambda: [each.is_done() for each in read_graph(path)], "metrics.json")
    code, _, log = run_script("train_all", "--config", here, "--dry_run", "True")
    meeting.told("a folder", log.splitlines()[-1], here.name)
    assert code == 2
    ended(meeting)


def test_ensemble_json(here: Path, ended: Callable) -> None:
    meeting, path = Meeting("evaluate_predictions --ensemble", UserError), here / "ensemble.json"
    good = {"members": ["a", "b"], "weights": [0.5, 0.5], "on": "logits"}
    odd = [None, "x", 5, -1, 1e308, float("nan"), float("inf"), 10**400, True, [], [[]], {}, [None, None], [1e308] * 2]
    texts = {
        f"{name} {n}": json.dumps({**good, name: value})
        for name in (*good, "landscape")
        for n, value in enumerate(odd)
    }
    for n, value in enumerate(odd):
        texts[f"weight {n}"] = json.dumps({**good, "weights": [value, 1]})
        for name in ("weights", "accuracy"):
            grid = {"weights": [[0.5, 0.5]], "accuracy": [0.5], name: value}
            texts[f"landscape {name} {n}"] = json.dumps({**good, "landscape": grid})
    for case, content in {**JSONS, **{name: text.encode() for name, text in texts.items()}}.items():
        path.write_bytes(content)
        meeting.meet(case, lambda: Ensemble.read(path), path.name)
    for case in meeting.accepted:
        path.write_bytes({**JSONS, **{name: text.encode() for name, text in texts.items()}}[case])
        weights = Ensemble.read(path).weights
        assert all(abs(weight) < float("inf") for weight in weights), case
    ended(meeting)


def test_manifests(raw_folder: Path, here: Path, ended: Callable) -> None:
    """prepare refuses what is no output of its own."""
    prepare("gaf3", raw_folder, here / "out", num_proc=1)
    meeting = Meeting("prepare, manifests", UserError)
    for path in (here / "out" / "manifest.json", next((here / "out" / "manifest").iterdir())):
        whole = path.read_bytes()
        entry = json.loads(whole)
        odd = {
            f"{name} {kind}": json.dumps({**entry, name: value}).encode()
            for name in entry
            for kind, value in (("null", None), ("text", "x"), ("list", [[]]), ("number", -5), ("dict", {"x": {}}))
        }
        for case, content in {**JSONS, **odd, **dict(enumerate(corpus.mutated(whole, 20)))}.items():
            path.write_bytes(content)
            meeting.meet(
                f"{path.name} {case}",
                lambda: prepare("gaf3", raw_folder, here / "out", num_proc=1),
                "out",
                path.name if path.name != "manifest.json" else "out",
            )
        path.write_bytes(whole)
    ended(meeting)


def sealed(folder: Path) -> None:
    """Sums that fit the files, as anyone can write them."""
    files = [path for path in folder.iterdir() if path.name != "whole.json"]
    sums = {path.name: [path.stat().st_size, zlib.crc32(path.read_bytes())] for path in files}
    (folder / "whole.json").write_text(json.dumps(sums))


@pytest.fixture
def run(here: Path) -> tuple[RunFolder, nn.Module, torch.optim.Optimizer, MovingAverage]:
    """A run of a model of one layer with one checkpoint."""
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = make_optimizer(model, **vars(Recipe("adamw", 0.1, 1, 1)))
    average = MovingAverage(model, 0.9)
    model(torch.ones(3, 4)).sum().backward()
    optimizer.step()
    folder = RunFolder(here / "run", Accelerator())
    folder.begin({"model": "x"}, "", False)
    from ger_models.training.run_folder import Position

    folder.save(Position(), model, optimizer, average)
    return folder, model, optimizer, average


def test_runs_that_are_resumed(run: tuple, here: Path, ended: Callable) -> None:
    folder, *state = run
    meeting = Meeting("train --resume", UserError)
    good = here / "good"
    shutil.copytree(folder.path, good)
    (checkpoint,) = (folder.path / "checkpoints").iterdir()
    position = json.loads((checkpoint / "position.json").read_text())
    odd = {
        f"{name} {kind}": json.dumps({**position, name: value}).encode()
        for name in position
        for kind, value in (
            ("null", None),
            ("text", "x"),
            ("list", [1]),
            ("huge", 10**30),
            ("negative", -5),
            ("nan", float("nan")),
        )
    }
    pickles = {f"pickle {name}": content for name, content in arrays.pickles().items()}
    zips = {
        f"zip {name}": arrays.archive({"archive/data.pkl": content, "archive/version": b"3"})
        for name, content in list(arrays.pickles().items())[::2]
    }
    cases = {
        "position.json": {**JSONS, **odd, "more": json.dumps({**position, "evil": 1}).encode()},
        "model.safetensors": tables.tensors(),
        "average.safetensors": tables.tensors(),
        "optimizer.pt": {**pickles, **zips},
        "whole.json": JSONS,
        "run.json": JSONS,
    }
    for file, seeds in cases.items():
        for case, content in seeds.items():
            shutil.rmtree(folder.path)
            shutil.copytree(good, folder.path)
            path = folder.path / file if file == "run.json" else checkpoint / file
            path.write_bytes(content)
            if file not in ("run.json", "whole.json"):
                sealed(checkpoint)

            def resumed() -> None:
                folder.begin({"model": "x"}, "", True)
                folder.load(*state)

            meeting.meet(f"{file} {case}", resumed, "run" if file == "run.json" else checkpoint.name)
    for name in ("../../../etc/passwd", "/etc/passwd", "a\nb", "\x1b[31m"):
        (checkpoint / "whole.json").write_text(json.dumps({name: [1, 1]}))
        meeting.meet(f"sums of {name!r}", lambda: folder.load(*state))
    ended(meeting)


def test_there_were_enough(enough: Callable) -> None:
    enough(5)
