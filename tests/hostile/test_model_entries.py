"""Hostile checkpoints meet what opens them: convert, load_checkpoint, the pipeline, ensembles, export, train."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import corpus
import corpus_arrays as arrays
import corpus_tables as tables
import pytest
import torch
from checks import Meeting
from parsers import checkpoints
from transformers import pipeline

from ger_datasets.support.errors import UserError
from ger_models import GerEnsembleForImageClassification
from ger_models.conversion.convert import convert
from ger_models.inference.checkpoints import load_checkpoint
from ger_models.presets import build
from ger_models.training.initial_weights import continue_from, graft

CLASSES = ["Negative", "Neutral", "Positive"]
CONFIGS = {
    "nothing": b"",
    "text": b"x",
    "list": b"[]",
    "number": b"5",
    "null": b"null",
    "empty": b"{}",
    "cut": b'{"model_type": "ger',
    "deep": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "other": b'{"model_type": "bert"}',
    "unknown": b'{"model_type": "../x"}',
    "code": b'{"model_type": "x", "auto_map": {"AutoConfig": "evil.C", "AutoModelForImageClassification": "evil.M"}}',
    "code_known": b'{"model_type": "ger_scene", "auto_map": {"AutoConfig": "evil.C", "AutoImageProcessor": "evil.P"}}',
    "utf8": b"\xff\xfe",
    "zeros": bytes(100),
    "nan": b'{"model_type": "ger_scene", "dropout": NaN, "num_labels": Infinity}',
}
ODD = (("null", None), ("text", "x\n"), ("number", -1), ("list", [[]]), ("huge", 10**30), ("nan", float("nan")))


def changed(config: dict) -> Iterator[tuple[str, bytes]]:
    """The configuration with one field another."""
    for field in config:
        for kind, value in ODD:
            yield f"{field}_{kind}", json.dumps({**config, field: value}).encode()


def damaged(good: Path, bad: Path, file: str, content: bytes) -> None:
    """`bad`: a copy of the checkpoint `good` where `file` holds `content`, beside code that nobody may run."""
    shutil.rmtree(bad, ignore_errors=True)
    shutil.copytree(good, bad)
    (bad / file).write_bytes(content)
    (bad / "evil.py").write_text(f"import os\nos.mkdir({corpus.MARKER!r})\n")
    (bad / "pytorch_model.bin").write_bytes(arrays.pickles()["mkdir"])


@pytest.fixture(scope="module")
def ensemble(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble checkpoint of the tiny model and itself."""
    folder = tmp_path_factory.mktemp("ensemble") / "ensemble"
    made, processor = GerEnsembleForImageClassification.from_members([str(model), str(model)], [0.3, 0.7])
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def test_convert(here: Path, ended: Callable) -> None:
    meeting = Meeting("convert_checkpoint", UserError)
    for suffix, seeds in ((".pth", checkpoints()), (".safetensors", tables.tensors())):
        for case, content in seeds.items():
            path = here / f"weights{suffix}"
            path.write_bytes(content)
            meeting.meet(
                f"{case}{suffix}", lambda path=path: convert(path, "resnet_places", here / "new", CLASSES), path.name
            )
    assert not meeting.accepted, "none of them is a ResNet"
    assert not (here / "new").exists()
    ended(meeting)


def test_checkpoints_that_are_opened(model: Path, here: Path, ended: Callable) -> None:
    bad = here / "bad_model"
    meeting = Meeting("load_checkpoint", UserError)
    configs = {**CONFIGS, **dict(changed(json.loads((model / "config.json").read_text())))}
    processors = {**CONFIGS, **dict(changed(json.loads((model / "preprocessor_config.json").read_text())))}
    cases = [
        ("config.json", configs),
        ("model.safetensors", tables.tensors()),
        ("preprocessor_config.json", processors),
    ]
    for file, seeds in cases:
        for case, content in seeds.items():
            damaged(model, bad, file, content)
            meeting.meet(f"{file} {case}", lambda: load_checkpoint(str(bad)), bad.name, file.replace("model.", "."))
    assert "evil" not in sys.modules
    ended(meeting)


def test_the_pipeline_of_hostile_checkpoints(model: Path, ensemble: Path, here: Path, ended: Callable) -> None:
    """transformers opens them; whatever it raises says something, and runs nothing."""
    bad = here / "bad_model"
    meeting = Meeting("pipeline, checkpoints", Exception)
    meeting.plain = False
    for good in (model, ensemble):
        for file, seeds in (
            ("config.json", CONFIGS),
            ("model.safetensors", tables.tensors()),
            ("preprocessor_config.json", CONFIGS),
        ):
            for case, content in list(seeds.items())[:: 1 if file != "model.safetensors" else 4]:
                damaged(good, bad, file, content)
                meeting.meet(
                    f"{good.name} {file} {case}",
                    lambda: pipeline("group-emotion", model=str(bad), device="cpu", trust_remote_code=False),
                )
    assert "evil" not in sys.modules
    ended(meeting)


def test_ensemble_checkpoints(model: Path, ensemble: Path, here: Path, ended: Callable) -> None:
    bad = here / "bad_ensemble"
    meeting = Meeting("load_checkpoint, ensembles", UserError)
    whole = json.loads((ensemble / "config.json").read_text())
    configs = {**CONFIGS, **dict(list(changed(whole))[::2])}
    odd = {
        "weights_nan": {"weights": [float("nan"), 1]},
        "weights_negative": {"weights": [-1, 2]},
        "weights_many": {"weights": [1] * 9},
        "weights_huge": {"weights": [1e308, 1e308]},
        "groups_far": {"groups": [0, 10**9]},
        "members_none": {"members": []},
        "members_many": {"members": whole["members"] * 400, "weights": [1 / 800] * 800, "groups": [0] * 800},
        "members_text": {"members": ["../../x", "/etc/passwd"]},
        "members_code": {"members": [{**whole["members"][0], "auto_map": {"AutoConfig": "evil.C"}}] * 2},
        "members_other": {"members": [{"model_type": "bert"}] * 2},
        "members_nested": {"members": [whole, whole]},
        "stacking_odd": {"stacking": {"coefficients": [[["x"]]], "intercept": None}},
        "stacking_list": {"stacking": [1]},
        "stacking_nan": {"stacking": {"coefficients": [[[float("nan")] * 3] * 3] * 2, "intercept": [0] * 3}},
    }
    configs |= {name: json.dumps({**whole, **fields}).encode() for name, fields in odd.items()}
    processor = json.loads((ensemble / "preprocessor_config.json").read_text())
    processors = {**CONFIGS, **dict(changed(processor))}
    for kind, value in ODD[::2]:
        processors[f"inner_{kind}"] = json.dumps({**processor, "processors": [value]}).encode()
        for field in processor["processors"][0]:
            inner = {**processor["processors"][0], field: value}
            processors[f"inner_{field}_{kind}"] = json.dumps({**processor, "processors": [inner]}).encode()
    cases = [
        ("config.json", configs),
        ("model.safetensors", dict(list(tables.tensors().items())[::3])),
        ("preprocessor_config.json", dict(list(processors.items())[::2])),
    ]
    for file, seeds in cases:
        for case, content in seeds.items():
            damaged(ensemble, bad, file, content)
            meeting.meet(f"{file} {case}", lambda: load_checkpoint(str(bad)), bad.name, file.replace("model.", "."))
    assert "evil" not in sys.modules
    ended(meeting)


def test_checkpoints_to_begin_with(model: Path, here: Path, ended: Callable) -> None:
    """train --init_from and the grafts."""
    bad = here / "bad_model"
    meeting = Meeting("train --init_from, --scene_from", UserError)
    torch.manual_seed(0)
    scene, _ = build("densenet_emotic", CLASSES, overrides="backbone=test_resnet")
    fusion, _ = build("fusion_crossvit_tiny", CLASSES, overrides="backbone=test_resnet")
    configs = {**CONFIGS, **dict(list(changed(json.loads((model / "config.json").read_text())))[::3])}
    for file, seeds in (("config.json", configs), ("model.safetensors", tables.tensors())):
        for case, content in seeds.items():
            damaged(model, bad, file, content)
            meeting.meet(f"init {file} {case}", lambda: continue_from(scene, str(bad)), bad.name)
            meeting.meet(f"graft {file} {case}", lambda: graft(fusion, "scene_from", str(bad)), bad.name)
    assert "evil" not in sys.modules
    ended(meeting)


def test_export(run_script: Callable, model: Path, ensemble: Path, here: Path, ended: Callable) -> None:
    bad = here / "bad_model"
    meeting = Meeting("export")
    for file in ("config.json", "model.safetensors", "preprocessor_config.json"):
        for case in ("nothing", "text", "deep", "code", "zip", "beyond"):
            seeds = {**tables.tensors(), **CONFIGS} if file != "model.safetensors" else tables.tensors()
            damaged(model, bad, file, seeds.get(case, b"\x80\x02"))
            code, _, log = run_script("export", "--model", bad, "--output", here / "model.pt2")
            assert code in (0, 2), log
            assert "Traceback" not in log
            refusal = log.splitlines()[-1] if code else None
            meeting.told(f"{file} {case}", refusal, bad.name, file.replace("model.", "."))
            (here / "model.pt2").unlink(missing_ok=True)
    code, _, log = run_script("export", "--model", ensemble, "--output", here / "model.pt2")
    assert code == 2
    meeting.told("an ensemble", log.splitlines()[-1])
    assert not (here / "model.pt2").exists()
    ended(meeting)


def test_there_were_enough(enough: Callable) -> None:
    enough(6)
