"""Checkpoints of other code -> this package's: each weight is renamed, or listed as dropped with a reason."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCardData
from transformers import PreTrainedModel

from ger_datasets.support.atomic_files import write_text
from ger_datasets.support.errors import UserError, listing

from ..configuration_ger import GerFaceConfig, GerFusionConfig, GerSceneConfig
from ..inference.saving import UNFINISHED, disk_errors, put_files
from ..presets import ALIASES, PRESETS, Preset, build
from ..presets import preset as find_preset
from ..processing_ger import GerProcessor
from ..sharing.model_card import USE, how_to_use
from .old_checkpoints import OldCheckpoint, read_checkpoint
from .old_names import TRANSFORMER, UNUSED, face_name, fusion_name, scene_name, unwrapped

REPORT = "conversion.json"

_UNTRAINED_NOTE = "the classifier is new and untrained: fine-tune it before use"
_FACE_NOTE = (
    "the original fed its face models faces 112 wide x 96 high, pixels from 0 to 1; here they are 96 wide x 112 high, "
    "(x - 127.5) / 128, as SphereFace was trained: fine-tune it before use"
)
_EFFICIENT_NOTE = (
    "efficientnet_pytorch pads for a fixed photo size (528 pixels for B6), timm for the actual size: at other sizes "
    "the two differ slightly"
)
_PUBLISHED_NOTE = (
    "it computes as the original's code does, errors included (as_published in config.json): faces are 112 wide x 96 "
    "high, pixels from 0 to 1, and empty face slots take part"
)


@dataclass
class Conversion:
    """What became of each weight.

    Attributes:
        mapped: name in the file -> name in the model.
        dropped: name in the file -> why the model does not have it.
        new: names in the model without a weight in the file: a new classifier, or counters at 0.
        others: names of what the file holds besides weights.
        notes: what to know before use.
    """

    mapped: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def convert(
    checkpoint: Path, preset: str, output_dir: Path, class_names: Sequence[str], transformer: Path | None = None
) -> dict[str, Any]:
    """Write a checkpoint of the model `preset` with the weights in the file `checkpoint`.

    Args:
        checkpoint: weights of torchvision, timm, Places365, SphereFace-20 or the original system, in a format that
            `old_checkpoints.read_checkpoint` reads.
        preset: a preset of a scene, face or fusion model. A fusion model computes as published.
        output_dir: a new or empty folder, for the model, its processor, its card and `conversion.json`.
        class_names: the classes, in the order of the file's classifier.
        transformer: the file of the transformer, which the original's model 5 kept outside of its checkpoint.

    Returns:
        the content of `conversion.json`.

    Raises:
        UserError: a file cannot be read; one of its weights has no place in the model or another shape; the model
            needs a weight that is missing; `output_dir` is not empty or cannot be written.
    """
    name = ALIASES.get(preset, preset)
    _check_arguments(name, output_dir, class_names)
    old = read_checkpoint(checkpoint)
    sources = {"source": _source(checkpoint, old.form)}
    if transformer is not None:
        if find_preset(name).config.get("pooling") != "cross_attention":
            raise UserError(f"{preset} has no transformer: leave --transformer out")
        second = read_checkpoint(transformer)
        sources["transformer"] = _source(transformer, second.form)
        old = _with_transformer(old, second)
    model, processor = _new_model(name, class_names)
    conversion = fill(model, old, checkpoint.name)
    report = {
        **sources,
        "preset": name,
        "class_names": list(class_names),
        **asdict(conversion),
        "versions": {package: importlib.metadata.version(package) for package in ("group-emotion", "torch", "timm")},
    }

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
        write_text(folder / "README.md", _card(name, report, how_to_use(model.config, processor)))

    with disk_errors(output_dir):
        put_files(output_dir, write)
    return report


def _check_arguments(name: str, output_dir: Path, class_names: Sequence[str]) -> None:
    is_folder = output_dir.is_dir()
    if output_dir.exists() and (not is_folder or any(path.name != UNFINISHED for path in output_dir.iterdir())):
        raise UserError(f"{output_dir} is not empty: choose another --output_dir, or move what is there away")
    if len(class_names) < 2 or len(set(class_names)) < len(class_names) or not all(class_names):
        raise UserError(f"the class names must be two or more, all different, not {listing(class_names)}")
    if not _is_convertible(find_preset(name)):
        known = [key for key, row in PRESETS.items() if _is_convertible(row)]
        raise UserError(f"there is no conversion to {name}: choose --preset from {', '.join(known)}")


def _is_convertible(preset: Preset) -> bool:
    if preset.config_class is GerFusionConfig:
        return preset.config.get("join") == "both"
    return preset.config_class in (GerSceneConfig, GerFaceConfig)


def _new_model(name: str, class_names: Sequence[str]) -> tuple[PreTrainedModel, GerProcessor]:
    """A model of the preset, and its processor; a fusion model as published."""
    if find_preset(name).config_class is not GerFusionConfig:
        return build(name, class_names)
    model, processor = build(name, class_names, overrides="as_published=true")
    processor.columns = [column for column in processor.columns if column != "sampled_patches"]
    processor.published_faces = "aligned_faces" in processor.columns
    return model, processor


def _with_transformer(old: OldCheckpoint, transformer: OldCheckpoint) -> OldCheckpoint:
    tensors = {bare: old.tensors[name] for name, bare in unwrapped(old.tensors).items()}
    for name, bare in unwrapped(transformer.tensors).items():
        tensors[TRANSFORMER + bare] = transformer.tensors[name]
    return OldCheckpoint(old.form, tensors, [*old.others, *transformer.others])


def fill(model: PreTrainedModel, old: OldCheckpoint, file: str) -> Conversion:
    """Give `model` the weights of `old`; `file` is its name in error messages.

    Raises:
        UserError: a weight has no place in the model or another shape, is missing, or is not finite.
    """
    conversion = Conversion(others=old.others)
    bare_names = unwrapped(old.tensors)
    weights = _renamed(model, old, bare_names, file, conversion)
    conversion.new = [name for name in model.state_dict() if name not in weights]
    missing = [name for name in conversion.new if not _may_be_new(name)]
    if missing:
        hint = "it is incomplete or of another architecture"
        if missing[0].startswith("pooling.") and model.config.pooling == "cross_attention":
            hint = "give the file of the transformer with --transformer"
        raise UserError(f"{file} lacks {len(missing)} weights of {_kind(model)}: {listing(missing)}; {hint}")
    broken = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise UserError(
            f"{file} holds NaN or infinity in {listing(broken)}: training diverged; convert an earlier checkpoint"
        )
    model.load_state_dict(weights, strict=False)
    if "head.weight" in conversion.new:
        conversion.notes.append(_UNTRAINED_NOTE)
    elif "head.bias" in conversion.new:
        with torch.no_grad():
            model.head.bias.zero_()
    if isinstance(model.config, GerFusionConfig):
        conversion.notes.append(_PUBLISHED_NOTE)
    elif isinstance(model.config, GerFaceConfig) and "head.weight" in weights:
        conversion.notes.append(_FACE_NOTE)
    elif any(name.startswith("_") for name in bare_names.values()):
        conversion.notes.append(_EFFICIENT_NOTE)
    return conversion


def _renamed(
    model: PreTrainedModel, old: OldCheckpoint, bare_names: dict[str, str], file: str, conversion: Conversion
) -> dict[str, torch.Tensor]:
    """Name in the model -> weight; what is mapped and dropped is added to `conversion`."""
    wanted = model.state_dict()
    weights: dict[str, torch.Tensor] = {}
    unknown, misshapen = [], []
    for name, tensor in old.tensors.items():
        target = _new_name(bare_names[name], model)
        reason = UNUSED.get(bare_names[name].rpartition(".")[0], "")
        if target in ("head.weight", "head.bias"):
            tensor, reason = _head(target, tensor, wanted["head.weight"].shape)
        if reason:
            conversion.dropped[name] = reason
        elif target is None or target not in wanted or target in weights:
            unknown.append(name)
        elif wanted[target].shape != tensor.shape or wanted[target].is_floating_point() != tensor.is_floating_point():
            misshapen.append(f"{name} {_shape(tensor)} where the model has {_shape(wanted[target])}")
        else:
            conversion.mapped[name], weights[target] = target, tensor
    hint = "choose the --preset of its architecture"
    if unknown:
        raise UserError(
            f"{file} holds {len(unknown)} weights, of {len(old.tensors)}, that {_kind(model)} does not have: "
            f"{listing(unknown)}; {hint}"
        )
    if misshapen:
        raise UserError(f"{file} does not fit {_kind(model)}: {listing(misshapen, 3)}; {hint}")
    return weights


def _new_name(bare_name: str, model: PreTrainedModel) -> str | None:
    if isinstance(model.config, GerFusionConfig):
        return fusion_name(bare_name)
    return face_name(bare_name) if isinstance(model.config, GerFaceConfig) else scene_name(bare_name, model.backbone)


def _kind(model: PreTrainedModel) -> str:
    if isinstance(model.config, GerFusionConfig):
        return f"the fusion model with the pooling {model.config.pooling}"
    return "SphereFace-20" if isinstance(model.config, GerFaceConfig) else f"a {model.config.backbone}"


def _head(target: str, tensor: torch.Tensor, wanted: torch.Size) -> tuple[torch.Tensor, str]:
    """A classifier's weight (classes, width) or bias (classes,), and why it is dropped, or ""."""
    classes, width = wanted
    if target == "head.weight" and tensor.ndim == 2 and tensor.shape[0] == width != tensor.shape[1]:
        tensor = tensor.T.contiguous()  # SphereFace's and the original's margin layers hold (width, classes)
    if tensor.ndim and len(tensor) != classes:
        return tensor, f"a classifier of {len(tensor)} classes; the model has {classes}"
    return tensor, ""


def _is_counter(name: str) -> bool:
    return name.endswith(".num_batches_tracked")  # of BatchNorm since torch 0.4.1; inference does not use it


def _may_be_new(name: str) -> bool:
    return _is_counter(name) or name in ("head.weight", "head.bias", "no_face_logits")


def _shape(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {' x '.join(map(str, tensor.shape)) or 'number'}"


def _source(path: Path, form: str) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"file": path.name, "sha256": digest.hexdigest(), "bytes": path.stat().st_size, "form": form}


def _card(name: str, report: dict[str, Any], example: str) -> str:
    """The text of README.md for a converted model."""
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["group-level emotion recognition", name],
    )
    counters = sum(map(_is_counter, report["new"]))
    new = [weight for weight in report["new"] if not _is_counter(weight)]
    sources = [report[key] for key in ("source", "transformer") if key in report]
    parts = [
        f"---\n{data}\n---",
        f"# {name}, converted",
        *(f"> **Note: {note}.**" for note in report["notes"]),
        f"Converted weights of another checkpoint, as a {name} with the classes {', '.join(report['class_names'])}. "
        "Nothing was trained or measured here.",
        "\n".join(
            f"- Converted from: `{source['file']}` ({source['form']}), {source['bytes']:,} bytes, SHA-256 "
            f"`{source['sha256']}`. Its licence and terms apply to this copy too."
            for source in sources
        )
        + f"\n- Weights converted: {len(report['mapped'])}; dropped: {listing(report['dropped'])}; new: {listing(new)}"
        f"{f', and {counters} counters' if counters else ''}.\n"
        f"- Every name is in `{REPORT}`.",
        USE.strip(),
        example,
    ]
    return "\n\n".join(parts) + "\n"
