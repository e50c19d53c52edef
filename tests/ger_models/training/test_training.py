"""Recipes, loaders and checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from huggingface_hub import ModelCard
from transformers import AutoModelForImageClassification

from ger_datasets.loading.splits import check_image_ids, load_splits
from ger_datasets.support.errors import UserError
from ger_datasets.support.repository_names import public_name
from ger_models.inference.inputs import check_classes
from ger_models.presets import PRESETS, build, parse_overrides, preset
from ger_models.training import loop
from ger_models.training.dataset_checks import check_trainable, scene_dim
from ger_models.training.options import RunOptions

ROOT = Path(__file__).resolve().parents[3]
TINY_SCENE = "backbone=test_resnet"


def test_only_the_columns_asked_for_are_read(drawn_dataset: Path) -> None:
    data = load_splits(str(drawn_dataset), ["face_features", "no_such"], ["train", "test"])
    assert {split: len(rows) for split, rows in data.items()} == {"train": 18, "test": 6}
    assert data["train"].column_names == ["image_id", "label", "face_features"]
    with pytest.raises(UserError, match=r"has no no_such, which this model reads.*prepare\.py"):
        check_trainable("sample", data, ["face_features", "no_such"])
    check_classes("sample", data["test"], ["Negative", "Neutral", "Positive"])
    with pytest.raises(UserError, match="Negative, Neutral, Positive, but the model knows sad, happy"):
        check_classes("sample", data["test"], ["sad", "happy"])


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("/nowhere/at/all", "no folder /nowhere/at/all"),
        ("ger_datasets/nothing", "no folder ger_datasets/nothing: prepare a dataset first"),
        ("EMPTY", "no prepared dataset"),
    ],
)
def test_datasets_that_are_not_there(dataset: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "EMPTY").mkdir()
    dataset = str(tmp_path / dataset) if dataset == "EMPTY" else dataset
    with pytest.raises(UserError, match=words):
        load_splits(dataset, [], ["train"])


def test_a_split_that_is_not_there(drawn_dataset: Path) -> None:
    with pytest.raises(UserError, match="no split 'challenge': there are train, validation, test"):
        load_splits(str(drawn_dataset), [], ["challenge"])


def test_rows_without_an_image_id_of_their_own_are_refused_with_the_datasets_name() -> None:
    first = Dataset.from_dict({"image_id": ["a", "b"], "label": [0, 1]})
    check_image_ids("mine", {"train": first})
    with pytest.raises(UserError, match="mine: 1 image_ids occur in more than one row of train, test, for example b;"):
        check_image_ids("mine", {"train": first, "test": Dataset.from_dict({"image_id": ["b"]})})
    with pytest.raises(UserError, match="mine: 2 rows have no image_id"):
        check_image_ids("mine", {"train": Dataset.from_dict({"image_id": ["a", None, None]})})


def test_a_damaged_dataset(drawn_dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn_dataset, tmp_path / "damaged")
    for path in (tmp_path / "damaged" / "data").glob("*.parquet"):
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match="cannot be read"):
        load_splits(str(tmp_path / "damaged"), [], ["train"])


def test_a_dataset_of_the_same_name_or_made_anew_is_another(drawn_dataset: Path, tmp_path: Path) -> None:
    """datasets keeps one cache for all folders of a name, whatever is in them."""
    for place in ("one", "two"):
        shutil.copytree(drawn_dataset, tmp_path / place / "gaf3")
    (file,) = (tmp_path / "two" / "gaf3" / "data").glob("train-*.parquet")

    def rows(place: str) -> int:
        return len(load_splits(str(tmp_path / place / "gaf3"), [], ["train"])["train"])

    assert rows("one") == 18
    for count in (9, 5):
        pq.write_table(pq.read_table(file).slice(0, count), file)
        assert rows("two") == count
    assert rows("one") == 18


def test_withheld_labels_are_refused(drawn_dataset: Path) -> None:
    data = load_splits(str(drawn_dataset), ["face_features"], ["train"])
    unlabelled = data["train"].map(lambda row, i: {"label": -1 if i < 4 else row["label"]}, with_indices=True)
    with pytest.raises(UserError, match="4 of 18 photos in the split 'train' of sample have no label"):
        check_trainable("sample", {"train": unlabelled}, ["face_features"])
    assert scene_dim(unlabelled) == 0


def test_names_that_travel_hold_no_path(tmp_path: Path) -> None:
    (tmp_path / "gaf3").mkdir()
    assert public_name(str(tmp_path / "gaf3")) == "gaf3"
    assert public_name("org/model") == "org/model"


def test_presets_and_overrides() -> None:
    with pytest.raises(UserError, match="unknown model 'nothing': there are face_aligned, densenet_emotic"):
        preset("nothing")
    overrides = parse_overrides("backbone=test_resnet, dropout=0.5", PRESETS["densenet_emotic"].config_class)
    assert overrides == {"backbone": "test_resnet", "dropout": 0.5}
    for text in ("backbones=x", "dropout", "num_labels=7"):
        with pytest.raises(UserError, match="of backbone, dropout"):
            parse_overrides(text, PRESETS["densenet_emotic"].config_class)
    with pytest.raises(UserError, match="dropout must be from 0"):
        build("densenet_emotic", ["a", "b"], overrides="backbone=test_resnet,dropout=7")
    with pytest.raises(UserError, match="near it are"):
        build("densenet_emotic", ["a", "b"], overrides="backbone=densenet16")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_build_for_any_classes(name: str) -> None:
    with torch.device("meta"):  # its weights do not matter
        model, processor = build(name, ["sad", "happy"], scene_dim=10)
    assert model.config.id2label == {0: "sad", 1: "happy"}
    assert model.config.label2id == {"sad": 0, "happy": 1}
    assert set(processor.columns) <= {*PRESETS[name].columns, *PRESETS[name].optional_columns()}


def test_imagenet_weights_out_of_reach(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """`auto` says loudly that it starts from random weights; `imagenet` refuses to."""
    train = SimpleNamespace(features={"label": SimpleNamespace(names=["a", "b"])}, column_names=["image"])
    arguments = RunOptions(model="densenet_emotic", dataset="", config_overrides=TINY_SCENE)
    _, _, started_from = loop.build(arguments, train, Accelerator())
    assert started_from == {"weights": "random"}
    assert "starting from RANDOM weights" in caplog.text
    arguments.initial_weights = "imagenet"
    with pytest.raises(UserError, match="use --initial_weights random"):
        loop.build(arguments, train, Accelerator())
    arguments.initial_weights = "noise"
    with pytest.raises(UserError, match="there are auto, imagenet, random"):
        loop.build(arguments, train, Accelerator())
    arguments = RunOptions(model="features_crossvit", dataset="", initial_weights="imagenet")
    with pytest.raises(UserError, match="no ImageNet weights"):
        loop.build(arguments, train, Accelerator())


def train_once(run_script: object, dataset: Path, output: Path, *more: object) -> tuple[int, dict | None, str]:
    common = ("--dataset", dataset, "--output_dir", output, "--epochs", 2, *more)
    return run_script("train", "--model", "features_crossvit", *common)


def test_training_writes_a_whole_run(run_script: object, drawn_dataset: Path, tmp_path: Path) -> None:
    code, figures, log = train_once(run_script, drawn_dataset, tmp_path / "run")
    assert code == 0, log
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json", "metrics.json", "README.md", "curves.png",
        "recipe.yaml", "run.json", "checkpoints",
    }  # fmt: skip
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["validation"]["accuracy"] == figures["validation"]["accuracy"]
    assert metrics["best_epoch"] == figures["best_epoch"] in (1, 2)
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2]
    assert max(e["validation_accuracy"] for e in metrics["history"]) == figures["validation"]["accuracy"]
    assert metrics["recipe"]["epochs"] == 2
    assert "drawn" in metrics["notice"]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "drawn test pattern" in card
    assert "features_crossvit" in card
    for name in ("metrics.json", "README.md", "config.json"):
        assert str(tmp_path) not in (tmp_path / "run" / name).read_text()

    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    code, _, log = train_once(run_script, drawn_dataset, tmp_path / "run")
    assert code == 2
    assert "is not empty" in log
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_a_models_card_repeats_its_datasets_terms(run_script: object, drawn_dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn_dataset, tmp_path / "own")
    readme, link = tmp_path / "own" / "README.md", "https://example.org/terms"
    terms = f"license: other\nlicense_name: own-terms\nlicense_link: {link}\n"
    readme.write_text(readme.read_text().replace("license: apache-2.0\n", terms))
    assert train_once(run_script, tmp_path / "own", tmp_path / "run")[0] == 0
    card = ModelCard.load(tmp_path / "run" / "README.md")
    assert (card.data.license, card.data.license_name, card.data.license_link) == ("other", "own-terms", link)
    assert f"- Licence: [own-terms]({link}), that of" in card.text


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(run_script: object, drawn_dataset: Path, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert train_once(run_script, drawn_dataset, tmp_path / name, "--seed", seed)[0] == 0
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.slow
def test_a_scene_model_trains_whatever_the_number_of_workers(
    run_script: object, drawn_dataset: Path, tmp_path: Path
) -> None:
    weights = []
    for workers in (0, 2):
        output = tmp_path / str(workers)
        code, figures, log = run_script(
            "train", "--model", "densenet_emotic", "--dataset", drawn_dataset, "--output_dir", output, "--epochs", 1,
            "--config_overrides", TINY_SCENE, "--initial_weights", "random", "--num_workers", workers,
        )  # fmt: skip
        assert code == 0, log
        assert figures["initial_weights"] == "random"
        weights.append((output / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    model = AutoModelForImageClassification.from_pretrained(output)
    assert model.config.backbone == "test_resnet"


def counts_of(dataset: Path, split: str, least: float = 0.0) -> list[int]:
    rows = load_splits(str(dataset), ["face_scores"], [split])[split]
    return [sum(score >= least for score in scores) for scores in rows["face_scores"]]


def test_training_on_photos_with_faces_alone(run_script: object, drawn_dataset: Path, tmp_path: Path) -> None:
    counts = {split: counts_of(drawn_dataset, split) for split in ("train", "validation")}
    assert 0 in counts["train"], "the drawn photos are of both kinds"
    code, _, log = train_once(run_script, drawn_dataset, tmp_path / "run", "--only", "faces")
    assert code == 0, log
    assert "only photos with faces: " in log
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["only"] == "faces"
    assert metrics["train_photos"] == sum(count > 0 for count in counts["train"])
    assert metrics["validation_photos"] == sum(count > 0 for count in counts["validation"])
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"{metrics['train_photos']} photos, only photos with faces; initial" in card
    assert "On the validation split, only photos with faces, which also chose the epoch" in card
    code, _, log = train_once(run_script, drawn_dataset, tmp_path / "run", "--resume")
    assert code == 2
    assert "only was 'faces' and is now None" in log

    surest = sorted(counts_of(drawn_dataset, "train", 0.99))
    data = loop.load_data(
        RunOptions(model="face_aligned", dataset=str(drawn_dataset), only="faces", min_face_score=0.99),
        Accelerator(),
    )
    assert len(data["train"]) == sum(count > 0 for count in surest)
    assert "face_scores" not in data["train"].column_names


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--only", "some"), "--only: a route must be faces, faceless, or a range of face counts"),
        (("--only", "90+"), "none of the 18 photos in the split 'train'"),
        (("--only", "faces", "--streaming", "True"), "--only needs random access"),
        (("--only", "faces", "--min_face_score", "2"), "--min_face_score must be from 0 to 1, not 2.0"),
        (("--min_face_score", "0.5"), "--min_face_score is for --only"),
        (("--config_overrides", "freeze_pooling=true"), "freeze_pooling would keep random weights"),
    ],
)
def test_choices_of_photos_that_are_refused(
    options: tuple, words: str, run_script: object, drawn_dataset: Path, tmp_path: Path
) -> None:
    code, _, log = train_once(run_script, drawn_dataset, tmp_path / "run", *options)
    assert code == 2
    assert words in log


def test_datasets_without_counts_of_faces(drawn_dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn_dataset, tmp_path / "old")
    for path in (tmp_path / "old" / "data").glob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns("face_scores").replace_schema_metadata(None), path)
    (tmp_path / "old" / "README.md").unlink()
    options = RunOptions(model="features_crossvit", dataset=str(tmp_path / "old"), only="faces")
    with pytest.raises(UserError, match="has no face_scores"):
        loop.load_data(options, Accelerator())


def test_a_column_is_empty_by_the_photos_that_are_left(drawn_dataset: Path) -> None:
    """As many empty rows as photos are left is no empty column."""
    train = load_splits(str(drawn_dataset), ["face_scores"], ["train"])["train"]
    values = [None if i % 2 else [float(i)] for i in range(len(train))]
    half = train.remove_columns("face_scores").add_column("scene_feature", values)
    check_trainable("d", {"train": half.select(range(0, 18, 2))}, ["scene_feature"])
    with pytest.raises(UserError, match="scene_feature of d is empty"):
        check_trainable("d", {"train": half.select(range(1, 18, 2))}, ["scene_feature"])
