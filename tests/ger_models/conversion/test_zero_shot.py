"""Zero-shot heads: the logits of the vision-language model itself, averaged over each class's texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from ger_datasets.emotic.annotations import CATEGORIES
from ger_datasets.schema import CLASS_NAMES
from ger_datasets.support.errors import UserError
from ger_models.conversion.zero_shot import SHIPPED, read_prompts, write_zero_shot
from ger_models.inference.checkpoints import load_checkpoint

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


def test_bad_input(tmp_path: Path) -> None:
    repository = vision_language_model("siglip", tmp_path / "model", tokenizer=False)
    prompts = prompts_file(tmp_path)
    with pytest.raises(UserError, match="no tokenizer"):
        write_zero_shot(str(repository), str(prompts), tmp_path / "out")
    with pytest.raises(UserError, match="no folder"):
        write_zero_shot("./nowhere", str(prompts), tmp_path / "out")
    for wrong in ([], {"a": ["x"]}, {"a": ["x"], "b": []}, {"a": ["x"], "b": "y"}):
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
