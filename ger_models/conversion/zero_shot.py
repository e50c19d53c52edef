"""A vision-language model (CLIP, SigLIP) and texts for each class -> a checkpoint that classifies without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCardData
from transformers import AutoConfig, AutoModel, AutoTokenizer

from ger_datasets.support.errors import UserError, listing, one_line
from ger_datasets.support.hub_connection import read_from_hub
from ger_datasets.support.repository_names import is_missing_folder, public_name
from ger_datasets.support.yaml_files import read_yaml

from ..backbones import WHOLE_MODELS, load_tower
from ..configuration_ger import GerSceneConfig
from ..inference.saving import disk_errors, put_files
from ..modeling_scene import GerSceneForImageClassification
from ..processing_ger import GerProcessor
from ..sharing.model_card import USE, how_to_use

SHIPPED = {"group": "prompts.yaml", "emotic": "prompts_emotic.yaml"}  # files beside this package's models
NO_TOKENIZER = "the files of its text half (tokenizer.json, ...) are missing or damaged"
Prompts = Mapping[str, Sequence[str]]


def read_prompts(name: str) -> dict[str, list[str]]:
    """Class -> texts, from a YAML file, or one of the shipped sets `group` and `emotic`.

    Raises:
        UserError: no such file, or one that does not map two or more classes to texts.
    """
    path = Path(name)
    if not path.is_file() and name in SHIPPED:
        path = Path(__file__).parents[1] / SHIPPED[name]
    if not path.is_file():
        raise UserError(f"there are no prompts {name}: give a YAML file, or {' or '.join(SHIPPED)}")
    prompts = read_yaml(path)
    wrong = [
        label
        for label, texts in prompts.items()
        if not isinstance(texts, list) or not texts or not all(map(_is_text, texts))
    ]
    if len(prompts) < 2 or wrong:
        found = f"no texts for {listing(wrong, 3)}" if wrong else f"{len(prompts)} classes"
        raise UserError(f"{path.name} must map two or more class names to lists of texts: found {found}")
    return {label: [text.strip() for text in texts] for label, texts in prompts.items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


@dataclass(frozen=True)
class TextHead:
    """The head of a zero-shot model.

    Attributes:
        weight: (classes, width): for each class the mean of its texts' normalised embeddings, times the logit scale.
        bias: of all classes; 0 for CLIP.
    """

    weight: torch.Tensor
    bias: float


def text_head(repository: str, prompts: Prompts, commit: str = "") -> TextHead:
    """The head that the texts of `prompts` make.

    A class's logit for a photo is the mean of the logits that the vision-language model gives its texts.

    Args:
        repository: CLIP or SigLIP, with its tokenizer.
        prompts: class -> texts.
        commit: of the repository; empty: the newest, or a folder.

    Raises:
        UserError: the model has no texts, or its tokenizer is missing.
    """
    options: dict[str, Any] = {"revision": commit or "main", "trust_remote_code": False}
    config = AutoConfig.from_pretrained(repository, **options)
    if config.model_type not in WHOLE_MODELS:
        raise UserError(
            f"{repository} is a {config.model_type} without texts: zero-shot heads need {' or '.join(WHOLE_MODELS)}"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(repository, **options)
    except Exception as error:  # tokenizers raise what they like
        raise UserError(f"{repository} has no tokenizer that can be read: {NO_TOKENIZER}") from error
    model = AutoModel.from_pretrained(repository, use_safetensors=True, **options).float().eval()
    longest = config.text_config.max_position_embeddings
    padding = "max_length" if config.model_type == "siglip" else True  # as each of them was trained
    rows = []
    for texts in prompts.values():
        tokens = tokenizer(list(texts), padding=padding, max_length=longest, truncation=True, return_tensors="pt")
        # transformers makes some tokenizers without their files; they know no word and all texts look alike
        if not all(set(ids) - set(tokenizer.all_special_ids) for ids in tokens["input_ids"].tolist()):
            raise UserError(f"{repository}: its tokenizer knows no word of some texts: {NO_TOKENIZER}")
        with torch.inference_mode():
            embeddings = model.get_text_features(**tokens).pooler_output  # (texts, width)
        rows.append((embeddings / embeddings.norm(dim=1, keepdim=True)).mean(0))
    bias = float(model.logit_bias.detach()) if hasattr(model, "logit_bias") else 0.0
    return TextHead((torch.stack(rows) * model.logit_scale.detach().exp()).clone(), bias)


def zero_shot(repository: str, prompts: Prompts) -> tuple[GerSceneForImageClassification, GerProcessor, str]:
    """A model that compares photos with the texts of each class, its processor, and the repository's commit.

    Raises:
        UserError: a repository that is missing or holds no vision-language model.
    """
    if is_missing_folder(repository):
        raise UserError(f"no folder {repository}: give a repository on the Hub or a folder with its files")

    def load() -> Any:
        tower, preprocessing, commit = load_tower(repository)
        return tower, preprocessing, commit, text_head(repository, prompts, commit)

    try:
        tower, preprocessing, commit, head = read_from_hub(repository, load)
    except UserError:
        raise
    except Exception as error:  # of another's files transformers makes a dozen kinds
        raise UserError(f"no vision-language model can be loaded from {repository}: {one_line(error)}") from error
    labels = dict(enumerate(prompts))
    config = GerSceneConfig(
        backbone=f"hf:{public_name(repository)}",
        backbone_config=tower.fields,
        unit_length=True,
        prompts={label: list(texts) for label, texts in prompts.items()},
        id2label=labels,
        label2id={label: i for i, label in labels.items()},
    )
    model = GerSceneForImageClassification(config)
    model.backbone.load_state_dict(tower.state_dict())
    with torch.no_grad():
        model.head.weight.copy_(head.weight)
        model.head.bias.fill_(head.bias)
    return model.eval(), GerProcessor(preprocessing=preprocessing.to_dict()), commit


def write_zero_shot(repository: str, prompts_name: str, output_dir: Path) -> dict[str, Any]:
    """Write the checkpoint of `zero_shot` with its card into a new folder; returns the run's figures.

    Raises:
        UserError: as `read_prompts` and `zero_shot`; a folder that is not empty or cannot be written.
    """
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise UserError(f"{output_dir} is not empty: choose another --output_dir")
    prompts = read_prompts(prompts_name)
    model, processor, commit = zero_shot(repository, prompts)

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        (folder / "README.md").write_text(
            _card(public_name(repository), commit, prompts, how_to_use(model.config, processor)), encoding="utf-8"
        )

    with disk_errors(output_dir):
        put_files(output_dir, write)
    return {
        "backbone": public_name(repository),
        "revision": commit or None,
        "classes": list(prompts),
        "prompts": sum(map(len, prompts.values())),
        "output_dir": str(output_dir),
    }


def _card(repository: str, commit: str, prompts: Prompts, example: str) -> str:
    """The text of README.md."""
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["group-level emotion recognition", "zero-shot"],
        base_model=repository if "/" in repository else None,
    )
    texts = "\n".join(f"- **{label}**: {'; '.join(texts)}" for label, texts in prompts.items())
    parts = [
        f"---\n{data}\n---",
        f"# {repository}, zero-shot",
        f"A photo's embedding is compared with those of texts about each class: {', '.join(prompts)}. Nothing was "
        "trained or measured here: measure it on a split with labels before you trust it.",
        f"- Vision-language model: {repository}{f', revision `{commit}`' if commit else ''}. Its licence holds for "
        "this copy too.\n- A class's weights are the mean of its texts' normalised embeddings, times the logit scale.",
        f"## Texts\n\n{texts}",
        USE.strip(),
        example,
    ]
    return "\n\n".join(parts) + "\n"
