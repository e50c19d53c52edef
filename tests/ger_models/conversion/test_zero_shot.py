"""Zero-shot heads: the logits of the vision-language model itself, averaged over each class's texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from datasets import load_dataset
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import pipeline

from ger_datasets.emotic.annotations import CATEGORIES
from ger_datasets.schema import CLASS_NAMES
from ger_datasets.support.errors import UserError
from ger_models.conversion.zero_shot import SHIPPED, read_prompts, write_zero_shot
from ger_models.inference.checkpoints import load_checkpoint

ROOT = Path(__file__).resolve().parents[3]
WORDS = ["<pad>", "<start>", "<end>", "<unknown>", "happy", "sad", "people", "a", "photo", "of", "waiting"]
LAYERS: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT: dict[str, Any] = {
    **LAYERS,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION: dict[str, Any] = {**LAYERS, "image_size": 32, "patch_size": 8}
PROMPTS = {
    "Negative": ["sad people"],
    "Neutral": ["people waiting", "a photo of people"],
    "Positive": ["happy people"],
}


def vision_language_model(family: str, folder: Path, tokenizer: bool = True) -> Path:
    torch.manual_seed(0)
    if family == "clip":
        model: Any = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)
        )
        processor: Any = transformers.CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=VISION))
        processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if tokenizer:
        words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unknown>"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        transformers.PreTrainedTokenizerFast(
            tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="<unknown>"
        ).save_pretrained(folder)
    return folder


def photos() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((40, 60), (33, 32))]


def prompts_file(folder: Path, prompts: Any = PROMPTS) -> Path:
    path = folder / "prompts.yaml"
    path.write_text(str(prompts))  # YAML reads Python's dicts of strings
    return path


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_logits_are_the_models_own(family: str, tmp_path: Path) -> None:
    repository = vision_language_model(family, tmp_path / "model")
    figures = write_zero_shot(str(repository), str(prompts_file(tmp_path)), tmp_path / "out")
    assert figures["prompts"] == 4
    model, processor = load_checkpoint(str(tmp_path / "out"))
    with torch.no_grad():
        found = model(**processor(photos())).logits

    whole = transformers.AutoModel.from_pretrained(repository).eval()
    pixels = transformers.AutoImageProcessor.from_pretrained(repository)(photos(), return_tensors="pt")
    tokenizer = transformers.AutoTokenizer.from_pretrained(repository)
    padding = "max_length" if family == "siglip" else True
    expected = []
    for texts in PROMPTS.values():
        tokens = tokenizer(texts, padding=padding, max_length=12, truncation=True, return_tensors="pt")
        with torch.no_grad():
            expected.append(whole(**tokens, **pixels).logits_per_image.mean(1))
    torch.testing.assert_close(found, torch.stack(expected, 1), atol=1e-4, rtol=1e-4)
    assert found.std() > 1e-4
    card = (tmp_path / "out/README.md").read_text()
    assert "people waiting" in card
    assert str(tmp_path) not in card + str(model.config)


def test_a_missing_tokenizer_of_clip(tmp_path: Path) -> None:
    """transformers makes one without its files, for which all texts are the same."""
    repository = vision_language_model("clip", tmp_path / "model", tokenizer=False)
    with pytest.raises(UserError, match=r"knows no word.*tokenizer\.json"):
        write_zero_shot(str(repository), str(prompts_file(tmp_path)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_bad_input(tmp_path: Path) -> None:
    repository = vision_language_model("siglip", tmp_path / "model", tokenizer=False)
    prompts = prompts_file(tmp_path)
    with pytest.raises(UserError, match="no tokenizer"):
        write_zero_shot(str(repository), str(prompts), tmp_path / "out")
    with pytest.raises(UserError, match="no folder"):
        write_zero_shot("./nowhere", str(prompts), tmp_path / "out")
    with pytest.raises(UserError, match="must hold NAME: VALUE"):
        read_prompts(str(prompts_file(tmp_path, [])))
    for wrong in ({}, {"a": ["x"]}, {"a": ["x"], "b": []}, {"a": ["x"], "b": "y"}):
        with pytest.raises(UserError, match="two or more class names"):
            read_prompts(str(prompts_file(tmp_path, wrong)))
    with pytest.raises(UserError, match="group or emotic"):
        read_prompts("no_such_file.yaml")
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("kept")
    with pytest.raises(UserError, match="not empty"):
        write_zero_shot(str(repository), str(prompts), tmp_path / "full")


def test_a_model_without_texts(tmp_path: Path) -> None:
    transformers.ViTModel(transformers.ViTConfig(**VISION)).save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    with pytest.raises(UserError, match="vit without texts"):
        write_zero_shot(str(tmp_path / "vit"), "group", tmp_path / "out")


def test_the_shipped_texts_name_the_datasets_classes() -> None:
    assert tuple(read_prompts("group")) == CLASS_NAMES
    assert sorted(read_prompts("emotic")) == sorted(CATEGORIES)
    assert set(SHIPPED) == {"group", "emotic"}


def test_no_training(run_script: Callable, drawn_dataset: Path, starter: Path, tmp_path: Path) -> None:
    """docs/no_training.yaml: zero-shot and starter as one ensemble, with equal weights, then with fitted ones."""
    backbone, zero_shot = vision_language_model("clip", tmp_path / "model"), tmp_path / "zero_shot"
    made = run_script(
        "zero_shot", "--backbone", backbone, "--output_dir", zero_shot, "--prompts", prompts_file(tmp_path)
    )
    assert made[0] == 0, made[2]
    written = (ROOT / "docs/no_training.yaml").read_text().replace("runs/", f"{tmp_path}/")
    config = tmp_path / "no_training.yaml"
    config.write_text(written)
    code, last, log = run_script("ensemble", "--config", config)
    assert code == 0, log
    assert (last["weights"], last["on"]) == ([0.5, 0.5], "probabilities")

    photo = load_dataset(str(drawn_dataset), split="test")[0]["image"]
    each = [pipeline("group-emotion", model=str(model))(photo)["scores"] for model in (zero_shot, starter)]
    both = pipeline("group-emotion", model=last["checkpoint"])(photo)
    for name, score in both["scores"].items():
        assert score == pytest.approx((each[0][name] + each[1][name]) / 2, abs=1e-5)
    assert abs(each[0]["Positive"] - each[1]["Positive"]) > 1e-3
    card = (Path(last["checkpoint"]) / "README.md").read_text()
    assert "`starter`: 0.5" in card
    assert str(tmp_path) not in card

    tables = tmp_path / "no_training_tables"
    options = ("--dataset", drawn_dataset, "--split", "validation", "test", "--output_dir", tables)
    code, _, log = run_script("predict", "--model", zero_shot, "starter", *options)
    assert code == 0, log
    fitted = ("--output_dir", tmp_path / "fitted", "--method", "simplex", "--nested_folds", 0)
    members = (tables / "zero_shot.parquet", tables / "starter.parquet")
    code, last, log = run_script("ensemble", "--config", config, *fitted, "--predictions", *members)
    assert code == 0, log
    assert sum(last["weights"]) == pytest.approx(1)
    assert last["on"] == "probabilities"
    assert load_checkpoint(last["checkpoint"])[0].config.weights == pytest.approx(last["weights"])


def test_prompts_for_other_classes(run_script: Callable, drawn_dataset: Path, starter: Path, tmp_path: Path) -> None:
    prompts = prompts_file(tmp_path, {"Sad": ["sad people"], "Waiting": ["people waiting"]})
    write_zero_shot(str(vision_language_model("clip", tmp_path / "model")), str(prompts), tmp_path / "zero_shot")
    options = ("--dataset", drawn_dataset, "--output", tmp_path / "table.parquet")
    code, _, log = run_script("predict", "--model", tmp_path / "zero_shot", *options)
    assert code == 2
    assert "has the classes Negative, Neutral, Positive, but the model knows Sad, Waiting" in log
    members = ("--members", tmp_path / "zero_shot", "starter", "--method", "average", "--output_dir", tmp_path / "e")
    code, _, log = run_script("ensemble", *members)
    assert code == 2
    assert "must agree on the classes" in log
    assert not (tmp_path / "e/checkpoint").exists()
    fine_tuning = ("--epochs", 1, "--init_from", tmp_path / "zero_shot", "--output_dir", tmp_path / "run")
    overrides = ("--config_overrides", f"backbone=hf:{tmp_path / 'model'}")
    code, _, log = run_script("train", "--model", "clip_probe", *options[:2], *fine_tuning, *overrides)
    assert code == 0, log
    assert "left out head.bias, head.weight: its classes are Sad, Waiting, the dataset's Negative" in log


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("output_dir: e\nmembers: [a, b]\nmethod: simplex\n", "give their tables with --predictions"),
        ("output_dir: e\nmembers: [./a, ./b]\nmethod: average\n", "no checkpoint at ./a, ./b"),
        ("output_dir: e\nmembers: [a, b]\nmethods: average\n", "unknown option --methods: did you mean --method"),
        ("output_dir: e\nmembers: {a: b}\n", "members in .* must be text, a number"),
        ("output_dir: e\nmembers: [a, b]\nweights: [1]\n", "weights must be"),
        ("[a, b]", "must hold NAME: VALUE"),
    ],
)
def test_bad_ensemble_files(content: str, message: str, run_script: Callable, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(content)
    code, _, log = run_script("ensemble", "--config", tmp_path / "file.yaml")
    assert code == 2
    assert re.search(message, log), log
