"""Original checkpoints -> this package's: weights by their new names, every one accounted for."""

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

from ..configuration_ger import GerFaceConfig, GerSceneConfig
from ..inference.saving import UNFINISHED, disk_errors, put_files
from ..presets import ALIASES, PRESETS, build
from ..sharing.model_card import HOW, USE
from .old_checkpoints import OldCheckpoint, read_checkpoint
from .old_names import face_name, scene_name, unwrapped

REPORT = "conversion.json"

# What a fitting conversion cannot carry over.
_FACE_NOTE = (
    "the original fed its face models faces 112 wide x 96 high, pixels from 0 to 1; here they are 96 wide x 112 high, "
    "(x - 127.5) / 128, as SphereFace was trained: fine-tune it before use"
)
_EFFICIENT_NOTE = (
    "efficientnet_pytorch pads for a fixed photo size (528 pixels for B6), timm for the one it gets: at other sizes "
    "the two differ slightly"
)


@dataclass
class Conversion:
    """What became of each weight.

    Attributes:
        mapped: name in the file -> name in the model.
        dropped: name in the file -> why it is not in the model.
        new: names in the model that the file has nothing for: a classifier drawn anew, counters at 0.
        others: what lies beside the weights in the file.
        notes: what to know before use.
    """

    mapped: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def convert(checkpoint: Path, preset: str, output_dir: Path, class_names: Sequence[str]) -> dict[str, Any]:
    """Write a checkpoint of the model `preset` with the weights in the file `checkpoint`.

    Args:
        checkpoint: weights of torchvision, timm, Places365, SphereFace-20 or the original system, as
            `old_checkpoints.read_checkpoint` reads them.
        output_dir: a new or empty folder: the model, its processor, its card and `conversion.json`.
        class_names: the classes, in the order of the file's classifier.

    Returns:
        the content of `conversion.json`.

    Raises:
        UserError: the file is refused; a weight of it has no place in the model or another shape; the model needs a
            weight that it lacks; `output_dir` holds something or cannot be written.
    """
    name = ALIASES.get(preset, preset)
    if output_dir.exists() and (
        not output_dir.is_dir() or any(path.name != UNFINISHED for path in output_dir.iterdir())
    ):
        raise UserError(f"{output_dir} is not empty: choose another --output_dir, or move what is there away")
    if len(class_names) < 2 or len(set(class_names)) < len(class_names) or not all(class_names):
        raise UserError(f"the class names must be two or more, all different, not {listing(class_names)}")
    if name in PRESETS and PRESETS[name].config_class not in (GerSceneConfig, GerFaceConfig):
        ours = [key for key, row in PRESETS.items() if row.config_class in (GerSceneConfig, GerFaceConfig)]
        raise UserError(f"{preset} cannot be converted to: there are {', '.join(ours)}")
    old = read_checkpoint(checkpoint)
    model, processor = build(name, class_names)
    conversion = fill(model, old, checkpoint.name)
    report = {
        "source": {
            "file": checkpoint.name,
            "sha256": _sha256(checkpoint),
            "bytes": checkpoint.stat().st_size,
            "form": old.form,
        },
        "preset": name,
        "class_names": list(class_names),
        **asdict(conversion),
        "versions": {package: importlib.metadata.version(package) for package in ("group-emotion", "torch", "timm")},
    }

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        write_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
        write_text(folder / "README.md", _card(name, report))

    with disk_errors(output_dir):
        put_files(output_dir, write)
    return report


def fill(model: PreTrainedModel, old: OldCheckpoint, file: str) -> Conversion:
    """Give `model` the weights of `old`; `file` is what error messages call it.

    Raises:
        UserError: not every weight has a place, or the model is left without one that it needs.
    """
    wanted = model.state_dict()
    conversion = Conversion(others=old.others)
    weights: dict[str, torch.Tensor] = {}
    astray, misfits = [], []
    is_face = isinstance(model.config, GerFaceConfig)
    bare_names = unwrapped(old.tensors)
    for name, tensor in old.tensors.items():
        target = face_name(bare_names[name]) if is_face else scene_name(bare_names[name], model.backbone)
        if target in ("head.weight", "head.bias"):
            tensor, reason = _head(target, tensor, wanted["head.weight"].shape)
            if reason:
                conversion.dropped[name] = reason
                continue
        if target is None or target not in wanted or target in weights:
            astray.append(name)
        elif wanted[target].shape != tensor.shape or wanted[target].is_floating_point() != tensor.is_floating_point():
            misfits.append(f"{name} {_shape(tensor)} where the model has {_shape(wanted[target])}")
        else:
            conversion.mapped[name], weights[target] = target, tensor
    kind = f"a {model.config.backbone}" if not is_face else "SphereFace-20"
    if astray:
        raise UserError(
            f"{file} holds {len(astray)} weights, of {len(old.tensors)}, that {kind} has no place for: "
            f"{listing(astray)}; choose the --preset of its architecture"
        )
    if misfits:
        raise UserError(f"{file} does not fit {kind}: {listing(misfits, 3)}; choose the --preset of its architecture")
    conversion.new = [name for name in wanted if name not in weights]
    missing = [name for name in conversion.new if name.startswith(("backbone.", "net.")) and not _is_counter(name)]
    if missing:
        raise UserError(f"{file} lacks {len(missing)} of {kind}'s weights: {listing(missing)}; it is cut or another's")
    broken = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise UserError(f"{file} holds numbers that are not finite in {listing(broken)}: training went astray there")
    model.load_state_dict(weights, strict=False)
    _finish_head(model, conversion, is_face)
    if not is_face and any(name.startswith("_") for name in bare_names.values()):
        conversion.notes.append(_EFFICIENT_NOTE)
    return conversion


def _head(target: str, tensor: torch.Tensor, wanted: torch.Size) -> tuple[torch.Tensor, str]:
    """A classifier's weight (classes, width) or bias (classes,), or why it is dropped."""
    classes, width = wanted
    if target == "head.weight" and tensor.ndim == 2 and tensor.shape[0] == width != tensor.shape[1]:
        tensor = tensor.T.contiguous()  # SphereFace's and the original's margin layers hold (width, classes)
    if tensor.ndim and len(tensor) != classes:
        return tensor, f"a classifier of {len(tensor)} classes; the model has {classes}"
    return tensor, ""


def _finish_head(model: PreTrainedModel, conversion: Conversion, is_face: bool) -> None:
    """A classifier that was stored without a bias gets none, and what is new about it is noted."""
    if "head.weight" in conversion.new:
        conversion.notes.append("the classifier is new and untrained: fine-tune it before use")
        return
    if "head.bias" in conversion.new:
        with torch.no_grad():
            model.head.bias.zero_()
    if is_face:
        conversion.notes.append(_FACE_NOTE)


def _is_counter(name: str) -> bool:
    return name.endswith(".num_batches_tracked")  # of BatchNorm since torch 0.4.1; of no use in inference


def _shape(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {' x '.join(map(str, tensor.shape)) or 'number'}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _card(name: str, report: dict[str, Any]) -> str:
    """The text of README.md for a converted model."""
    source = report["source"]
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["group-level emotion recognition", name],
    )
    counters = sum(map(_is_counter, report["new"]))
    new = [weight for weight in report["new"] if not _is_counter(weight)]
    parts = [
        f"---\n{data}\n---",
        f"# {name}, converted",
        *(f"> **Note: {note}.**" for note in report["notes"]),
        f"Weights of another checkpoint in the form of a {name} with the classes {', '.join(report['class_names'])}. "
        "Nothing was trained or measured here.",
        f"- Converted from: `{source['file']}` ({source['form']}), {source['bytes']:,} bytes, SHA-256 "
        f"`{source['sha256']}`. Its licence and its terms hold for this copy too.\n"
        f"- Weights taken over: {len(report['mapped'])}; dropped: {listing(report['dropped'])}; new: {listing(new)}"
        f"{f', and {counters} counters' if counters else ''}.\n"
        f"- Every name is in `{REPORT}`.",
        USE.strip(),
        HOW.strip(),
    ]
    return "\n\n".join(parts) + "\n"
