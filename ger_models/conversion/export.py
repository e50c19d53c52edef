"""A scene or face model -> one file that runs without this package: torch.export's .pt2, or ONNX."""

from __future__ import annotations

import importlib.util
import os
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim
from transformers import PreTrainedModel

from ger_datasets.support.errors import UserError

from ..backbones import FACE_HEIGHT, FACE_WIDTH
from ..inference.saving import disk_errors
from ..modeling_face import GerFaceForImageClassification
from ..modeling_scene import GerSceneForImageClassification
from ..processing_ger import GerProcessor

MAX_DIFFERENCE = 1e-4  # of a logit, from what PyTorch computes
MAX_AXIS = 1 << 30  # upper limit of an input axis; torch 2.6 requires one
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

Inputs = tuple[torch.Tensor, ...]


class _SceneLogits(nn.Module):
    """pixel_values (photos, 3, height, width) -> logits (photos, classes)."""

    def __init__(self, model: GerSceneForImageClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=pixel_values).logits


class _FaceLogits(nn.Module):
    """face_pixels (total_faces, 3, 112, 96) and face_counts (photos,) int64 -> logits (photos, classes).

    The model pads to the largest number of faces, which a traced graph cannot read from its input. Here a matrix of
    photos and faces computes the means instead.
    """

    def __init__(self, model: GerFaceForImageClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, face_pixels: torch.Tensor, face_counts: torch.Tensor) -> torch.Tensor:
        per_face = self.model.head(self.model.net(face_pixels))  # (total_faces, classes)
        ends = face_counts.cumsum(0)[:, None]
        counts = face_counts[:, None]
        number = torch.arange(face_pixels.shape[0], device=face_pixels.device)[None]
        belongs = ((number < ends) & (number >= ends - counts)).to(per_face.dtype)  # (photos, total_faces)
        no_face = self.model.no_face_logits * (counts == 0)
        return belongs @ per_face / counts.clamp(min=1) + no_face


def _scene_inputs(processor: GerProcessor, photos: int, generator: torch.Generator) -> Inputs:
    return (torch.randn(photos, 3, processor.crop_size, processor.crop_size, generator=generator),)


def _face_inputs(processor: GerProcessor, photos: int, generator: torch.Generator) -> Inputs:
    counts = (torch.arange(photos) + 2) % 4  # 2, 3, 0, 1, ...
    return torch.randn(int(counts.sum()), 3, FACE_HEIGHT, FACE_WIDTH, generator=generator), counts


# model -> the module that is traced, the function that makes inputs for a number of photos, and the names of the
# inputs with the names of their first axes
_EXPORTED: dict[type, tuple[type[nn.Module], Callable[..., Inputs], dict[str, str]]] = {
    GerSceneForImageClassification: (_SceneLogits, _scene_inputs, {"pixel_values": "photos"}),
    GerFaceForImageClassification: (
        _FaceLogits,
        _face_inputs,
        {"face_pixels": "total_faces", "face_counts": "photos"},
    ),
}


def export(model: PreTrainedModel, processor: GerProcessor, output: Path) -> dict[str, Any]:
    """Write `model` to `output`, as its suffix says, and compare what the file computes with what the model does.

    The number of photos, and of faces, is free; the photos' size is the processor's. The inputs are named and scaled
    as the processor gives them.

    Args:
        model: in evaluation mode.
        output: a file `.pt2` (open it with `torch.export.load`) or `.onnx`.

    Returns:
        `inputs`, name -> shape; `max_difference`, the largest of any logit; `bytes`.

    Raises:
        UserError: another suffix or model, packages for ONNX that are missing, or a file that computes something else;
            nothing is written then.
    """
    writers = {".pt2": _write_pt2, ".onnx": _write_onnx}
    if output.suffix not in writers:
        raise UserError(f"--output must end in {' or '.join(writers)}, not {output.name!r}")
    if type(model) not in _EXPORTED:
        raise UserError(f"a {type(model).__name__} cannot be exported: only scene and face models can")
    missing = [package for package in ONNX_PACKAGES if importlib.util.find_spec(package) is None]
    if output.suffix == ".onnx" and missing:
        raise UserError(f"ONNX needs {', '.join(missing)}: pip install group-emotion[export]")
    traced, make, names = _EXPORTED[type(model)]
    generator = torch.Generator().manual_seed(0)
    batches = [make(processor, photos, generator) for photos in (4, 1, 3)]  # the first is traced
    wrapper = traced(model).eval()
    temporary = output.with_name(f".{uuid.uuid4().hex}{output.suffix}")
    try:
        with disk_errors(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            run = writers[output.suffix](wrapper, batches[0], names, temporary)
        with torch.inference_mode():
            differences = [run(batch) - model(**dict(zip(names, batch, strict=True))).logits for batch in batches]
            difference = float(torch.cat(differences).abs().max())
        if not difference <= MAX_DIFFERENCE:
            raise UserError(f"the exported model's logits differ by {difference:.2g}, more than {MAX_DIFFERENCE:g}")
        with disk_errors(output):
            os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)
    shapes = {name: [names[name], *tensor.shape[1:]] for name, tensor in zip(names, batches[0], strict=True)}
    return {"inputs": shapes, "max_difference": difference, "bytes": output.stat().st_size}


def _write_pt2(
    model: nn.Module, inputs: Inputs, names: dict[str, str], path: Path
) -> Callable[[Inputs], torch.Tensor]:
    axes = tuple({0: Dim(axis, max=MAX_AXIS)} for axis in names.values())
    torch.export.save(torch.export.export(model, inputs, dynamic_shapes=axes, strict=False), path)
    loaded = torch.export.load(path).module()
    return lambda batch: loaded(*batch)


def _write_onnx(
    model: nn.Module, inputs: Inputs, names: dict[str, str], path: Path
) -> Callable[[Inputs], torch.Tensor]:
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # raised inside the exporter's own packages
        torch.onnx.export(
            model,
            inputs,
            path,
            input_names=list(names),
            output_names=["logits"],
            dynamic_shapes=tuple({0: Dim(axis)} for axis in names.values()),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(
        session.run(None, {name: tensor.numpy() for name, tensor in zip(names, batch, strict=True)})[0]
    )
