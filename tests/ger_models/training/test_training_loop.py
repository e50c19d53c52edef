"""The loop: what stops it, what it shows, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file

from ger_datasets.loading.splits import load_splits
from ger_datasets.support.errors import UserError
from ger_models.evaluation.metrics import METRICS
from ger_models.presets import build, preset
from ger_models.training import loop, optimization, run_report
from ger_models.training.loading.batching import face_counts
from ger_models.training.meter import Stop, Watch
from ger_models.training.options import RunOptions
from ger_models.training.recipe import Recipe
from ger_models.training.run_folder import Position


@pytest.fixture
def train(run_script: Callable, drawn_dataset: Path, tmp_path: Path) -> Callable:
    def call(*more: object, dataset: Path = drawn_dataset, name: str = "run") -> tuple[int, dict | None, str]:
        common = ("--model", "features_crossvit", "--output_dir", tmp_path / name, "--batch_size", 6)
        return run_script("train", *common, "--dataset", dataset, *more)

    return call


def metrics(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "run" / "metrics.json").read_text())


@pytest.mark.slow
def test_what_a_run_leaves(
    train: Callable, tmp_path: Path, drawn_dataset: Path, drawn_curves: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # where tqdm cuts the line that holds the figures
    code, figures, log = train("--epochs", 2, "--recipe", "modern", "--trackers", "tensorboard", "--profile")
    assert code == 0, log
    told = metrics(tmp_path)
    assert {"recall", "support"} <= set(told["validation"]["per_class"]["Neutral"])
    assert told["finished"] is True
    assert told["recipe"]["optimizer"] == "adamw"
    assert told["recipe"] == yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert figures["validation"]["macro_f1"] == told["validation"]["macro_f1"]
    card = (tmp_path / "run" / "README.md").read_text()
    for words in (drawn_dataset.name, told["revision"], "label_smoothing 0.1", "seed 0", "torch 2", told["hardware"]):
        assert words in card
    with Image.open(tmp_path / "run" / "curves.png") as image:
        assert image.width > 800
    (events,) = (tmp_path / "run" / "runs").rglob("events.out.tfevents.*.0")
    for name in (b"train/loss", b"train/learning_rate", b"train/gradient_norm", b"validation/accuracy"):
        assert name in events.read_bytes()
    profile = tmp_path / "run" / "profile"
    assert "aten::" in (profile / "table_0.txt").read_text()
    assert json.loads((profile / "trace_0.json").read_text())["traceEvents"]
    for words in ("loss=", "accuracy=", "images/s=", "lr=", "grad=", "<"):
        assert words in log

    again = train("--epochs", 2, "--recipe", tmp_path / "run" / "recipe.yaml", name="again")
    assert again[0] == 0
    assert again[1]["recipe"] == figures["recipe"]
    weights = {(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "again")}
    assert len(weights) == 1


def test_quick_looks(train: Callable, tmp_path: Path) -> None:
    code, figures, log = train("--max_steps", 4, "--limit_train", 9)
    assert code == 0, log
    assert (figures["steps"], figures["train_photos"], figures["epochs"]) == (4, 9, 2)
    assert [entry["batches"] for entry in metrics(tmp_path)["history"]] == [2, 2]


def test_patience_and_the_best(train: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best epoch by log-loss stays, and so many epochs without a better one end the run."""
    losses = iter([0.9, 0.5, 0.7, 0.6, 0.1])

    scores = dict.fromkeys(METRICS, 0.5)

    def figures(labels: np.ndarray, logits: np.ndarray, names: list[str], bootstrap_samples: int = 2000) -> dict:
        if not bootstrap_samples:  # asked for in every epoch; with intervals again in the best
            scores["log_loss"] = next(losses)
        return {**scores, "accuracy_interval": [0, 1], "per_class": {}}

    monkeypatch.setattr(loop, "compute_metrics", figures)
    code, told, log = train("--best_by", "log_loss", "--patience", 2)
    assert code == 0, log
    assert (told["best_epoch"], told["epochs"]) == (2, 4)
    assert "stopping early" in log
    code, _, log = train("--best_by", "luck", name="other")
    assert code == 2
    assert "--best_by must be one of accuracy, balanced_accuracy, macro_f1, log_loss, ece, auc, not 'luck'" in log


def test_a_loss_that_is_no_number(train: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The photos of the batch are named, and what was whole stays."""
    from ger_models import modeling_fusion

    forward, seen = modeling_fusion.GerFusionForImageClassification.forward, []

    def poisoned(self: torch.nn.Module, **batch: torch.Tensor) -> Mapping:
        outputs = forward(self, **batch)
        if self.training:
            seen.append(len(outputs.logits))
            if len(seen) == 5:
                outputs.loss = outputs.loss * float("nan")
        return outputs

    monkeypatch.setattr(modeling_fusion.GerFusionForImageClassification, "forward", poisoned)
    code, _, log = train("--epochs", 3)
    assert code == 2
    assert "the loss became nan in epoch 2, batch 2, whose photos are train/" in log
    assert log.split("whose photos are")[1].count("train/") == 6
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert (tmp_path / "run" / "checkpoints" / "checkpoint_000001" / "whole.json").exists()


def test_looking_late_names_the_right_batch() -> None:
    """On an accelerator losses are looked at every few batches."""
    accelerator, position = Accelerator(), Position()
    watch = Watch(accelerator, position, Stop(), batches=8, every=4)
    logits, labels = torch.eye(3), torch.arange(3)
    for at in range(4):
        watch.add(torch.tensor(float(at)), logits, labels, [f"photo_{at}"])
    assert (position.loss_sum, position.batches, position.right, position.rows) == (6.0, 4, 12, 12)
    watch.add(torch.tensor(1.0), logits, labels, ["photo_4"])
    watch.add(torch.tensor(float("inf")), logits, labels, ["photo_5"])
    assert position.batches == 4
    watch.add(torch.tensor(float("nan")), logits, labels, ["photo_6"])
    with pytest.raises(UserError, match=r"became inf in epoch 1, batch 6, whose photos are photo_5"):
        watch.look()


def test_no_step_waits_for_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks nothing is brought to the host."""
    watch = Watch(Accelerator(), Position(), Stop(), batches=8, every=100)
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, None)
    for _ in range(50):
        watch.add(torch.tensor(1.0), torch.eye(3), torch.arange(3), ["a"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--trackers", "abacus"), "unknown tracker 'abacus': there are"),
        (("--recipe", "fine_tune"), "unknown recipe 'fine_tune'"),
        (("--keep", "0"), "--keep must be 1 or more, not 0"),
        (("--sampling", "none"), "sampling must be one of shuffle, balanced, lengths"),
        (("--scene_from", "/nowhere/run"), "no folder /nowhere/run"),
    ],
)
def test_options_that_are_refused(options: tuple[str, ...], words: str, train: Callable, tmp_path: Path) -> None:
    code, _, log = train(*options)
    assert code == 2
    assert words in log
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, train: Callable) -> None:
    monkeypatch.setattr(loop, "get_available_trackers", lambda: [])
    code, _, log = train("--trackers", "tensorboard")
    assert code == 2
    assert "the tracker tensorboard is not installed: pip install tensorboard" in log


def changed(dataset: Path, target: Path, split: str, change: Callable) -> Path:
    shutil.copytree(dataset, target)
    for path in (target / "data").glob(f"{split}-*.parquet"):
        pq.write_table(change(pq.read_table(path)), path)
    return target


def with_labels(first: int) -> Callable:
    def change(table: object) -> object:
        labels = [first, *table["label"].to_pylist()[1:]]
        at = table.column_names.index("label")
        return table.set_column(at, table.schema.field(at), pa.array(labels, table.schema.field(at).type))

    return change


@pytest.mark.parametrize(
    ("split", "change", "words"),
    [
        ("train", with_labels(-1), "1 of 18 photos in the split 'train'"),
        ("validation", with_labels(7), "none of the 3 classes"),
        ("train", lambda table: table.drop_columns(["face_features"]), "has no face_features in its split 'train'"),
        ("train", lambda table: table.slice(0, 0), "the split 'train' of"),
    ],
)
def test_datasets_that_are_refused(
    split: str, change: Callable, words: str, train: Callable, drawn_dataset: Path, tmp_path: Path
) -> None:
    dataset = changed(drawn_dataset, tmp_path / "data" / "bad", split, change)
    code, _, log = train(dataset=dataset)
    assert code == 2, log
    errors = [line for line in log.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert not (tmp_path / "run").exists()


def test_photos_without_a_label_are_left_out_on_request(train: Callable, drawn_dataset: Path, tmp_path: Path) -> None:
    dataset = changed(drawn_dataset, tmp_path / "data" / "some", "train", with_labels(-1))
    code, figures, log = train("--drop_unlabelled", "--max_steps", 1, dataset=dataset)
    assert code == 0, log
    assert figures["train_photos"] == 17
    assert "1 photos in the split 'train' have no label and are left out" in log


@pytest.mark.slow
def test_the_batch_size_that_fits(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The largest divisor that fits; as many gradients are added up, and the model has not learned from the trial."""
    model, processor = build("densenet_emotic", ["a", "b"], overrides="backbone=test_resnet")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    forward = type(model).forward

    def limited(self: torch.nn.Module, pixel_values: torch.Tensor, **more: object) -> Mapping:
        if len(pixel_values) > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return forward(self, pixel_values, **more)

    monkeypatch.setattr(type(model), "forward", limited)
    rows = [{"image_id": str(i), "label": i % 2, "image": Image.new("RGB", (40, 30))} for i in range(3)]
    accelerator = Accelerator()
    recipe = loop.fitting(Recipe("sgd", 0.1, 1, 20), model, rows, processor, accelerator)
    assert (recipe.batch_size, recipe.gradient_accumulation) == (4, 5)
    assert accelerator.gradient_accumulation_steps == 5
    for whole in (3, 7, 25, 26):  # each step learns from as many photos as the recipe says
        recipe = loop.fitting(
            Recipe("sgd", 0.1, 1, whole, gradient_accumulation=2), model, rows, processor, accelerator
        )
        assert recipe.batch_size * recipe.gradient_accumulation == 2 * whole
        assert recipe.batch_size == max(size for size in (1, 2, 3, 4) if whole % size == 0)
        assert accelerator.gradient_accumulation_steps == recipe.gradient_accumulation
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    monkeypatch.setattr(type(model), "forward", lambda *_, **__: limited(model, torch.zeros(9)))
    with pytest.raises(UserError, match="not even one photo"):
        loop.fitting(Recipe("sgd", 0.1, 1, 20), model, rows, processor, accelerator)


@pytest.mark.parametrize(("name", "ends"), [("face_aligned_tiny", 1), ("fusion_crossvit_tiny", 2)])
def test_the_batch_size_fits_the_photos_with_most_faces(
    name: str, ends: int, drawn_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = build(name, ["a", "b", "c"])
    split = load_splits(str(drawn_dataset), preset(name).columns, ["train"])["train"]
    counts = sorted(face_counts(split, processor).tolist())
    seen: list[list[int]] = []
    forward = type(model).forward

    def recording(self: torch.nn.Module, **batch: torch.Tensor) -> Mapping:
        seen.append(sorted(batch["face_counts"].tolist()))
        return forward(self, **batch)

    monkeypatch.setattr(type(model), "forward", recording)
    loop.fitting(Recipe("sgd", 0.001, 1, 4), model, split, processor, Accelerator())
    assert counts[:4] != counts[-4:]
    assert seen == [counts[-4:], counts[-4:], counts[:4], counts[:4]][: 2 * ends]


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_the_schedule_covers_the_steps_that_are_made(
    schedule: str, train: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cosine ends where --max_steps ends the run; the rate falls by steps after as many epochs as ever."""
    rates: list[float] = []
    monkeypatch.setattr(optimization, "set_rate", lambda _, rate: rates.append(rate))
    code, _, log = train(
        "--max_steps", 4, "--epochs", 50, "--schedule", schedule, "--step_epochs", 1, "--warmup", 0,
        "--learning_rate", 0.1,
    )  # fmt: skip
    assert code == 0, log
    expected = [0.1, 0.1, 0.1, 0.01] if schedule == "step" else [0.1, 0.0853553, 0.05, 0.0146447]
    assert rates == pytest.approx(expected, rel=1e-5)
    assert "/4 " in log, "the bar shows the batches that are left"


def test_training_accuracy_is_without_the_margin(train: Callable, tmp_path: Path) -> None:
    code, _, log = train(
        "--model", "face_aligned_lsoftmax", "--config_overrides", "channels=4", "--learning_rate", 1e-9, "--epochs", 1
    )
    assert code == 0, log
    (entry,) = metrics(tmp_path)["history"]
    assert entry["accuracy"] == pytest.approx(1 / 3, abs=0.2), "as untrained weights guess; lowered, never right"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ("face_dim=100", "face_dim must be 256, the length of the features in"),
        ("depth=1.5", "GerFusionConfig.depth must be a whole number"),
        ("depth=true", "GerFusionConfig.depth must be a whole number"),
    ],
)
def test_configurations_that_cannot_train_are_refused_in_one_line(
    overrides: str, words: str, train: Callable, tmp_path: Path
) -> None:
    code, _, log = train("--config_overrides", overrides)
    assert (code, words in log) == (2, True), log
    assert "Traceback" not in log
    assert not (tmp_path / "run").exists()


def test_only_the_main_process_computes_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def figures(labels: np.ndarray, logits: np.ndarray, names: list[str], bootstrap_samples: int = 2000) -> dict:
        asked.append(bootstrap_samples)
        return dict.fromkeys(METRICS, 0.5)

    monkeypatch.setattr(loop, "compute_metrics", figures)
    options = RunOptions(model="densenet", dataset="")
    position = Position()
    for main_process in (False, True):
        for epoch in (1, 2):
            position.epoch, position.best = epoch, position.best if epoch == 2 else None
            better = loop.finish_epoch(position, np.eye(3), np.arange(3), ["a", "b", "c"], options, 9, main_process)
            assert better == (epoch == 1)
    assert asked == [0, 0, 0, 2000, 0]


def test_accumulated_gradients_are_those_of_a_large_batch(train: Callable, tmp_path: Path) -> None:
    """18 photos in three batches of 6 make the step that one batch of 18 makes; a model without BatchNorm."""
    options = {"accumulated": ("--batch_size", 6, "--gradient_accumulation", 3), "large": ("--batch_size", 18)}
    options["small"] = ("--batch_size", 6)
    weights = {}
    for name, batches in options.items():
        code, figures, log = train(
            "--model", "face_aligned", "--config_overrides", "channels=4", "--recipe", "default", "--epochs", 1,
            "--learning_rate", 0.1, *batches, name=name,
        )  # fmt: skip
        assert code == 0, log
        assert figures["steps"] == (3 if name == "small" else 1)
        weights[name] = load_file(tmp_path / name / "model.safetensors")

    def difference(name: str) -> float:
        return max(float((tensor - weights[name][key]).abs().max()) for key, tensor in weights["large"].items())

    assert difference("accumulated") < 1e-6
    assert difference("small") > 1e-4


def test_what_it_ran_on_is_told_without_a_name() -> None:
    import platform

    told = run_report._hardware(Accelerator())
    assert told.startswith("1 x cpu of ")
    assert platform.node() not in told or len(platform.node()) < 4


def test_the_seed_of_a_step_is_pytorchs_own() -> None:
    position = Position(processes=1)
    loop.seed_step(3, position, 0)
    drawn, seed = torch.rand(5), torch.initial_seed()
    torch.manual_seed(seed)
    assert torch.equal(torch.rand(5), drawn)
    position.batch += 1
    loop.seed_step(3, position, 0)
    assert torch.initial_seed() != seed
