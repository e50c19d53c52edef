"""Exported files compute what the model computes, for any number of photos and faces."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageClassification, PreTrainedModel

from ger_models import GerProcessor, GerSceneConfig, GerSceneForImageClassification
from ger_models.configuration_ger import GerFaceConfig, GerFusionConfig
from ger_models.conversion import export as exporting
from ger_models.modeling_face import GerFaceForImageClassification
from ger_models.modeling_fusion import GerFusionForImageClassification

HAS_ONNX = all(importlib.util.find_spec(package) for package in exporting.ONNX_PACKAGES)
FORMATS = [
    ".pt2",
    pytest.param(
        ".onnx", marks=pytest.mark.skipif(not HAS_ONNX, reason="onnx, onnxscript or onnxruntime is not here")
    ),
]
LABELS = {"id2label": {0: "Negative", 1: "Neutral", 2: "Positive"}}


def scene_model() -> tuple[PreTrainedModel, GerProcessor]:
    model = GerSceneForImageClassification(GerSceneConfig(backbone="test_resnet", **LABELS))
    return model, GerProcessor(columns=["image"], crop_size=64, resize_shorter=72)


def face_model(margin: int = 1) -> tuple[PreTrainedModel, GerProcessor]:
    model = GerFaceForImageClassification(GerFaceConfig(margin=margin, **LABELS))
    torch.nn.init.normal_(model.no_face_logits)
    torch.nn.init.normal_(model.head.weight)
    return model, GerProcessor(columns=["aligned_faces"])


def saved(pair: tuple[PreTrainedModel, GerProcessor], folder: Path) -> Path:
    for part in pair:
        part.save_pretrained(folder)
    return folder


def opened(file: Path) -> Callable[..., torch.Tensor]:
    """The file as a user would run it, without this package."""
    if file.suffix == ".pt2":
        module = torch.export.load(file).module()
        return lambda **inputs: module(*inputs.values())
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda **inputs: torch.from_numpy(session.run(["logits"], {n: t.numpy() for n, t in inputs.items()})[0])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_scene_model(suffix: str, run_script: Callable, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder, file = saved(scene_model(), tmp_path / "scenes"), tmp_path / "out" / f"scenes{suffix}"
    code, figures, log = run_script("export", "--model", folder, "--output", file)
    assert code == 0, log
    assert figures["inputs"] == {"pixel_values": ["photos", 3, 64, 64]}
    assert figures["max_difference"] < 1e-5
    assert figures["class_names"] == ["Negative", "Neutral", "Positive"]
    assert (figures["model"], figures["bytes"]) == ("scenes", file.stat().st_size)
    assert list(file.parent.iterdir()) == [file]
    model, run = AutoModelForImageClassification.from_pretrained(folder).eval(), opened(file)
    for photos in (1, 2, 7):
        pixels = torch.randn(photos, 3, 64, 64)
        with torch.inference_mode():
            torch.testing.assert_close(run(pixel_values=pixels), model(pixel_values=pixels).logits, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "margin"), [(FORMATS[0], 1), (FORMATS[0], 4), pytest.param(".onnx", 1, marks=FORMATS[1].marks)]
)
def test_a_face_model(suffix: str, margin: int, run_script: Callable, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder, file = saved(face_model(margin), tmp_path / "faces"), tmp_path / f"faces{suffix}"
    code, figures, log = run_script("export", "--model", folder, "--output", file)
    assert code == 0, log
    assert figures["inputs"] == {"face_pixels": ["total_faces", 3, 112, 96], "face_counts": ["photos"]}
    model, run = AutoModelForImageClassification.from_pretrained(folder).eval(), opened(file)
    for counts in ([1], [0], [0, 2], [3, 1, 0, 0, 2]):
        inputs = {"face_pixels": torch.randn(sum(counts), 3, 112, 96), "face_counts": torch.tensor(counts)}
        with torch.inference_mode():
            wanted = model(**inputs).logits
            torch.testing.assert_close(run(**inputs), wanted, atol=1e-4, rtol=0)
        assert wanted.std() > 0.01


def test_what_is_not_exported(run_script: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(scene_model(), tmp_path / "scenes")

    def refused(words: str, model: Path = folder, output: str = "x.pt2") -> None:
        code, _, log = run_script("export", "--model", model, "--output", tmp_path / "out" / output)
        assert code == 2, log
        assert words in log.splitlines()[-1]
        assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())

    refused("--output must end in .pt2 or .onnx, not 'x.h5'", output="x.h5")
    refused("no model can be loaded", model=tmp_path / "nowhere")
    small = {"hidden_size": 32, "depth": 1, "heads": 2, "head_dim": 8, "mlp_dim": 48}
    fusion = saved(
        (GerFusionForImageClassification(GerFusionConfig(**small, **LABELS)), GerProcessor(columns=["face_features"])),
        tmp_path / "fusion",
    )
    refused("a GerFusionForImageClassification cannot be exported", model=fusion)
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "ONNX_PACKAGES", ("onnx_of_nobody",))
        refused("ONNX needs onnx_of_nobody: pip install group-emotion[export]", output="x.onnx")
    monkeypatch.setattr(exporting, "_write_pt2", lambda model, *_: lambda batch: model(*batch) + 0.01)
    refused("the exported model's logits differ by 0.01, more than 0.0001")
    monkeypatch.setattr(exporting, "_write_pt2", lambda model, *_: lambda batch: model(*batch) * float("nan"))
    refused("differ by nan")
