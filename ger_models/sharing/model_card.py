"""The model card: YAML for the Hub, then the model, its training and its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
from huggingface_hub import EvalResult, ModelCardData
from transformers import PreTrainedConfig
from transformers.image_processing_utils import BaseImageProcessor

from ger_datasets.preparation.column_sources import ADDED_BY
from ger_datasets.support.repository_names import public_name

from ..combining import route_title
from ..evaluation.metrics import METRICS
from ..evaluation.report.card import MARKED, TASK
from ..presets import Preset

USE = """\
## Intended use and limitations

It predicts which emotion a *group* in a photo is **perceived** to show, as annotators would label it. It does not know
what anybody feels. It is meant for research on group photos and for sorting one's own pictures. It is not meant for
judging individuals, nor for decisions about them; in the European Union, emotion recognition in workplaces and
schools has been prohibited since February 2025 (Regulation 2024/1689, Article 5).

Photos differ from the training data in culture, age, dress and camera, and so will the errors.
"""

HOW = """\
## How to use it

```bash
pip install group-emotion
```

```python
import ger_models  # registers the models with transformers
{imports}from transformers import pipeline

answer = pipeline("group-emotion", model=".")
{use}
```
"""


def how_to_use(config: PreTrainedConfig, processor: BaseImageProcessor, dataset: str = "gaf3") -> str:
    """The card's example, to be run in the checkpoint's folder; `loading_from` makes it load a repository.

    Args:
        config: the model's.
        processor: the model's: its columns decide whether the model answers a photo alone.
        dataset: name or Hub repository of a prepared dataset, for those that do not.
    """
    filled = getattr(config, "encoders", None) or {}  # by the encoders that the model names
    read = [column for column in processor.row_columns if column not in filled]
    lacking = {column: option for column, option in ADDED_BY.items() if column in read}
    if not lacking:
        return HOW.format(imports="", use='print(answer("party.jpg"))').strip()
    place = dataset if "/" in dataset else f"ger_datasets/{dataset}"
    use = f'for found in answer(load_dataset("{place}", split="validation")):\n    print(found)'
    text = HOW.format(imports="from datasets import load_dataset\n", use=use)
    return (
        f"{text.strip()}\n\nThis model reads {', '.join(lacking)}, which does not follow from a photo alone: it "
        f"answers rows of datasets made by `prepare.py {' '.join(lacking.values())}`."
    )


def model_card(name: str, preset: Preset, run: Mapping[str, Any], example: str) -> str:
    """The text of README.md for a trained model.

    Args:
        name: the preset's name.
        preset: the preset.
        run: what `metrics.json` holds.
        example: see `how_to_use`.
    """
    data = ModelCardData(
        license=run["license"],
        library_name="transformers",
        pipeline_tag=TASK,
        tags=["group-level emotion recognition", name],
        datasets=[run["dataset"]] if "/" in run["dataset"] else None,  # a folder on a machine is not on the Hub
        base_model=_bases(preset, run) or None,
        model_name=name,
        eval_results=_on_validation(run),
        **{key: run[key] for key in ("license_name", "license_link", "notice") if run.get(key)},
    )
    validation = run["validation"]
    interval = "–".join(f"{edge:.3f}" for edge in validation["accuracy_interval"])
    recipe = ", ".join(f"{field} {value}" for field, value in run["recipe"].items())
    versions = ", ".join(f"{package} {version}" for package, version in run["versions"].items())
    recalls = "\n".join(
        ["| class | recall | photos |", "|---|---|---|"]
        + [f"| {each} | {row['recall']:.3f} | {row['support']} |" for each, row in validation["per_class"].items()]
    )
    parts = [
        f"---\n{data}\n---",
        f"# {name}",
        f"> **{run['notice']}**" if run["notice"] else "",
        f"A group-level emotion recognition model with the classes {', '.join(run['class_names'])}.",
        f"- Source: {preset.source}.\n"
        f"- Licence: {_licence(run)}, that of its training data.\n"
        f"- Trained on: {run['dataset']}, revision {run['revision']}, {run['train_photos']} photos{_only(run)}; "
        f"initial weights: {_beginning(run)}.\n"
        f"- Recipe: {recipe}; seed {run['seed']}.\n"
        f"- Best epoch: {run['best_epoch']} of {run['epochs']}, chosen by {run['best_by']} on the validation split.\n"
        f"- Hardware: {run['hardware']}, precision {run['mixed_precision']}, {run['seconds']} s.\n"
        f"- Versions: {versions}.",
        "## Results\n\n"
        f"On the validation split{_only(run)}, which also chose the epoch: accuracy {validation['accuracy']:.3f} "
        f"(95 % interval {interval}). For an unbiased estimate use another split.\n\n"
        f"{recalls}\n\n![Loss and accuracy by epoch](curves.png)",
        USE.strip(),
        example,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _licence(run: Mapping[str, Any]) -> str:
    name = run.get("license_name") or run["license"]
    return f"[{name}]({run['license_link']})" if run.get("license_link") else name


def _bases(preset: Preset, run: Mapping[str, Any]) -> list[str]:
    """The repositories whose weights the model started from."""
    sources = [summary["from"] for summary in run["stages"].values()]
    if run["initial_weights"] == "imagenet":
        backbone = preset.fields(run["config_overrides"]).get("backbone") or preset.config_class().backbone
        sources.append(_repository_of(backbone))
    return [source for source in sources if "/" in source]


def _repository_of(backbone: str) -> str:
    """The Hub repository of a backbone's published weights; empty if there is none."""
    if backbone.startswith("hf:"):
        return public_name(backbone.removeprefix("hf:").partition("@")[0])
    return getattr(timm.get_pretrained_cfg(backbone, allow_unregistered=True), "hf_hub_id", None) or ""


def _on_validation(run: Mapping[str, Any]) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=TASK,
            task_name="Group-level emotion recognition",
            dataset_type=run["dataset"],
            dataset_name=run["dataset"],
            dataset_split="validation",
            dataset_revision=run["revision"],
            metric_type="accuracy",
            metric_name=f"{METRICS['accuracy'].label}{MARKED}{_only(run)}",
            metric_value=run["validation"]["accuracy"],
        )
    ]


def _only(run: Mapping[str, Any]) -> str:
    return f", only {route_title(run['only'])}" if run.get("only") else ""


def _beginning(run: Mapping[str, Any]) -> str:
    """The initial weights: imagenet or random, and weights from other runs."""
    taken = [f"{took['from']} ({option}, {took['loaded']} weights)" for option, took in run["stages"].items()]
    return ", then from ".join([run["initial_weights"], *taken])
