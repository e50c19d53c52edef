"""Others' checkpoints: converted to the last weight, or refused in one line; never unpickled."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification

from ger_datasets.support.errors import UserError
from ger_models import GerProcessor, GerSceneConfig, GerSceneForImageClassification
from ger_models.backbones import SphereFace20
from ger_models.conversion.convert import convert, fill
from ger_models.conversion.old_checkpoints import OldCheckpoint, read_checkpoint
from ger_models.conversion.old_names import scene_name

NAMES = ["Negative", "Neutral", "Positive"]


def lively(model: nn.Module) -> nn.Module:
    """`model` with BatchNorm statistics of its own, so that one that is lost would show."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 64))
    for layer in layers:
        layer.momentum = 0.1
    return model.eval()


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    torch.manual_seed(0)
    return lively(torchvision.models.resnet18(num_classes=3))


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def opened(folder: Path) -> nn.Module:
    assert isinstance(AutoImageProcessor.from_pretrained(folder), GerProcessor)
    return AutoModelForImageClassification.from_pretrained(folder).eval()


def same_logits(theirs: nn.Module, folder: Path, pixels: torch.Tensor) -> None:
    with torch.inference_mode():
        wanted = theirs(pixels)
        assert wanted.std(0).max() > 1e-3, "photos differ, so equal logits below mean something"
        torch.testing.assert_close(opened(folder)(pixel_values=pixels).logits, wanted, atol=1e-5, rtol=1e-5)


def wrapped(model: nn.Module) -> nn.Module:
    return nn.DataParallel(model)


FORMS = {
    "state dict": lambda model: model.state_dict(),
    "state dict of DataParallel": lambda model: wrapped(model).state_dict(),
    "in a dict": lambda model: {"epoch": 7, "arch": "resnet18", "state_dict": model.state_dict()},
    "whole model": lambda model: model,
    "whole DataParallel": wrapped,
}


@pytest.mark.parametrize(
    ("form", "zipped"), [*((form, True) for form in FORMS), ("in a dict", False), ("whole DataParallel", False)]
)
def test_every_form_of_a_resnet_gives_its_logits(
    form: str, zipped: bool, resnet18: nn.Module, photos: torch.Tensor, tmp_path: Path
) -> None:
    torch.save(FORMS[form](resnet18), tmp_path / "old.pth", _use_new_zipfile_serialization=zipped)
    report = convert(tmp_path / "old.pth", "resnet_places", tmp_path / "new", NAMES)
    assert (len(report["mapped"]), report["dropped"], report["new"], report["notes"]) == (122, {}, [], [])
    assert report["others"] == (["epoch", "arch"] if form == "in a dict" else [])
    same_logits(resnet18, tmp_path / "new", photos)


def test_the_report_and_the_card_say_where_it_came_from(
    run_script: Callable, resnet18: nn.Module, tmp_path: Path
) -> None:
    torch.save(resnet18.state_dict(), tmp_path / "theirs.pth")
    where = ("--checkpoint", tmp_path / "theirs.pth", "--preset", "model2", "--output_dir", tmp_path / "new")
    code, figures, log = run_script("convert_checkpoint", *where, "--class_names", "sad, so-so,glad")
    assert code == 0, log
    assert figures["preset"] == "resnet_places"
    assert (figures["mapped"], figures["dropped"], figures["new"]) == (122, {}, [])
    report = json.loads((tmp_path / "new" / "conversion.json").read_text())
    assert report["mapped"]["fc.bias"] == "head.bias"
    card = (tmp_path / "new" / "README.md").read_text()
    assert report["source"]["file"] == "theirs.pth"
    assert f"`{report['source']['sha256']}`" in card
    assert "`theirs.pth`" in card
    assert str(tmp_path) not in card + json.dumps(report)
    assert opened(tmp_path / "new").config.id2label == {0: "sad", 1: "so-so", 2: "glad"}
    code, _, log = run_script("convert_checkpoint", *where)
    assert code == 2
    assert "is not empty" in log


@pytest.mark.slow
@pytest.mark.parametrize("old_names", [False, True], ids=["today's names", "names of 2017"])
def test_densenet161(old_names: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    densenet = lively(torchvision.models.densenet161(num_classes=3 if old_names else 10))
    weights = densenet.state_dict()
    if old_names:  # denselayer1.norm1.weight was denselayer1.norm.1.weight, and counters came later
        weights = {n: w for n, w in weights.items() if not n.endswith("num_batches_tracked")}
        for layer in ("norm1", "norm2", "conv1", "conv2"):
            old = f".{layer[:4]}.{layer[4]}."
            weights = {n.replace(f".{layer}.", old) if "denselayer" in n else n: w for n, w in weights.items()}
        assert "features.denseblock1.denselayer1.norm.1.running_mean" in weights
    torch.save(weights, tmp_path / "old.pth")
    report = convert(tmp_path / "old.pth", "densenet_emotic", tmp_path / "new", NAMES)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    if old_names:
        assert report["new"] != []
        assert all(name.endswith("num_batches_tracked") for name in report["new"])
        same_logits(densenet, tmp_path / "new", pixels)
    else:
        assert report["dropped"] == dict.fromkeys(
            ("classifier.weight", "classifier.bias"), "a classifier of 10 classes; the model has 3"
        )
        assert report["new"] == ["head.weight", "head.bias"]
        assert "untrained" in report["notes"][0]
        densenet.classifier = nn.Identity()
        with torch.inference_mode():
            torch.testing.assert_close(opened(tmp_path / "new").features(pixels), densenet(pixels))


def test_places365_and_timm_safetensors(photos: torch.Tensor, tmp_path: Path) -> None:
    torch.manual_seed(2)
    places = lively(torchvision.models.resnet18(num_classes=365))
    content = {"epoch": 90, "arch": "resnet18", "state_dict": wrapped(places).state_dict(), "best_prec1": 0.5}
    torch.save(content, tmp_path / "resnet18_places365.pth.tar", _use_new_zipfile_serialization=False)
    weights = timm.create_model("resnet18", num_classes=0)
    weights.load_state_dict({n: w for n, w in places.state_dict().items() if not n.startswith("fc.")})
    save_file(weights.state_dict(), tmp_path / "timm.safetensors")
    places.fc = nn.Identity()
    for file, dropped in (("resnet18_places365.pth.tar", 2), ("timm.safetensors", 0)):
        report = convert(tmp_path / file, "resnet_places", tmp_path / file.split(".")[0], NAMES)
        assert len(report["dropped"]) == dropped
        assert report["new"] == ["head.weight", "head.bias"]
        with torch.inference_mode():
            got = opened(tmp_path / file.split(".")[0]).features(photos)
            torch.testing.assert_close(got, places(photos), atol=1e-5, rtol=1e-5)


def efficientnet_names(stages: list[int]) -> list[tuple[str, str]]:
    """(efficientnet_pytorch's name, timm's name) of each layer, for so many blocks per stage (Tan and Le 2019)."""
    pairs = [("_conv_stem", "conv_stem"), ("_bn0", "bn1"), ("_conv_head", "conv_head"), ("_bn1", "bn2")]
    number = 0
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            old = ["_depthwise_conv", "_bn1", "_se_reduce", "_se_expand", "_project_conv", "_bn2"]
            new = ["conv_dw", "bn1", "se.conv_reduce", "se.conv_expand", "conv_pw", "bn2"]
            if stage:
                old = ["_expand_conv", "_bn0", *old]
                new = ["conv_pw", "bn1", "conv_dw", "bn2", "se.conv_reduce", "se.conv_expand", "conv_pwl", "bn3"]
            pairs += [(f"_blocks.{number}.{a}", f"blocks.{stage}.{block}.{b}") for a, b in zip(old, new, strict=True)]
            number += 1
    return pairs


@pytest.mark.parametrize(
    ("backbone", "stages"),
    [("tf_efficientnet_b0", [1, 2, 2, 3, 3, 4, 1]), ("tf_efficientnet_b6", [3, 6, 6, 8, 8, 11, 3])],
)
def test_efficientnet_names_cover_timm_s(backbone: str, stages: list[int]) -> None:
    with torch.device("meta"):
        net = timm.create_model(backbone, num_classes=0)
    pairs = efficientnet_names(stages)
    assert {scene_name(f"{old}.weight", net) for old, _ in pairs} == {f"backbone.{new}.weight" for _, new in pairs}
    assert {name.rpartition(".")[0] for name in net.state_dict()} == {new for _, new in pairs}
    for stray in (f"_blocks.{sum(stages)}._bn1.weight", "_blocks.0._expand_conv.weight", "_blocks.x._bn1.weight"):
        assert scene_name(stray, net) is None


def test_efficientnet_in_the_names_of_efficientnet_pytorch() -> None:
    torch.manual_seed(3)
    net = lively(timm.create_model("tf_efficientnet_b0", num_classes=3))
    old_name = {new: old for old, new in [*efficientnet_names([1, 2, 2, 3, 3, 4, 1]), ("_fc", "classifier")]}
    weights = {}
    for name, weight in net.state_dict().items():
        layer, _, kind = name.rpartition(".")
        weights[f"module.{old_name[layer]}.{kind}"] = weight
    model = GerSceneForImageClassification(GerSceneConfig(backbone="tf_efficientnet_b0", num_labels=3)).eval()
    conversion = fill(model, OldCheckpoint("a state dict", weights), "b0.pth")
    assert (conversion.dropped, conversion.new, len(conversion.mapped)) == ({}, [], len(weights))
    assert "pads for a fixed photo size" in conversion.notes[0]
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(pixel_values=pixels).logits, net(pixels), atol=1e-5, rtol=1e-5)


def test_sphere20a_as_published(tmp_path: Path) -> None:
    torch.manual_seed(4)
    net = SphereFace20()
    weights = {**net.state_dict(), "fc6.weight": torch.randn(512, 10574)}
    torch.save(weights, tmp_path / "sphere20a_20171020.pth", _use_new_zipfile_serialization=False)
    report = convert(tmp_path / "sphere20a_20171020.pth", "face_aligned", tmp_path / "new", NAMES)
    assert report["mapped"]["fc5.weight"] == "net.fc5.weight"
    assert report["dropped"] == {"fc6.weight": "a classifier of 10574 classes; the model has 3"}
    assert sorted(report["new"]) == ["head.bias", "head.weight", "no_face_logits"]
    faces = torch.randn(2, 3, 112, 96)
    with torch.inference_mode():
        torch.testing.assert_close(opened(tmp_path / "new").net(faces), net(faces))


def of_main(name: str, base: type, monkeypatch: pytest.MonkeyPatch) -> type:
    """A class as the original's scripts defined it, in the file that was run."""
    made = type(name, (base,), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], name, made, raising=False)
    return made


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_the_original_s_whole_face_model(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    net = of_main("sphere20a", SphereFace20, monkeypatch)()
    net.fc6 = nn.Linear(512, 3)
    if zipped:  # with what its margin layer held
        net.fc6 = of_main("LSoftmaxLinear", nn.Module, monkeypatch)()
        net.fc6.weight = nn.Parameter(torch.randn(512, 3))
        net.fc6.coeffs, net.fc6.cos_exps = np.array([1.0, 6.0, 1.0]), range(4, -1, -2)
    whole = of_main("FaceAttention", nn.Module, monkeypatch)()
    whole.non_align_model = net
    torch.save(wrapped(whole), tmp_path / "model_0.pt", _use_new_zipfile_serialization=zipped)
    report = convert(tmp_path / "model_0.pt", "model0", tmp_path / "new", NAMES)
    assert report["source"]["form"] == "a whole DataParallel"
    assert report["mapped"]["module.non_align_model.fc6.weight"] == "head.weight"
    assert "96 wide" in report["notes"][0]
    faces = torch.randn(2, 3, 112, 96)
    with torch.inference_mode():
        wanted = net(faces) @ net.fc6.weight if zipped else net.fc6(net(faces))
        got = opened(tmp_path / "new")(face_pixels=faces, face_counts=torch.tensor([1, 1, 0])).logits
    torch.testing.assert_close(got[:2], wanted)
    assert got[2].tolist() == [0, 0, 0]


# -- what is refused


def refused(run_script: Callable, file: Path, *words: str, preset: str = "resnet_places") -> None:
    output = file.parent / "refused"
    code, figures, log = run_script(
        "convert_checkpoint", "--checkpoint", file, "--preset", preset, "--output_dir", output
    )
    assert code == 2, log
    assert figures is None
    errors = [line for line in log.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in log
    for word in words:
        assert word in errors[0], errors[0]
    assert not output.exists()


@pytest.mark.slow
def test_weights_without_a_place_or_of_another_shape(
    run_script: Callable, resnet18: nn.Module, tmp_path: Path
) -> None:
    weights = resnet18.state_dict()
    cases = {
        "extra": ({**weights, "attention.weight": torch.ones(3)}, ["1 weights, of 123", "attention.weight"]),
        "short": (
            {n: w for n, w in weights.items() if "layer4" not in n},
            ["lacks 25 weights", "layer4.0.conv1"],
        ),
        "shape": ({**weights, "conv1.weight": torch.ones(64, 1, 7, 7)}, ["conv1.weight", "64 x 1 x 7 x 7", "64 x 3"]),
        "dtype": ({**weights, "bn1.bias": torch.ones(64, dtype=torch.int64)}, ["bn1.bias int64 64", "float32 64"]),
        "width": ({**weights, "fc.weight": torch.ones(3, 100)}, ["fc.weight float32 3 x 100", "3 x 512"]),
        "twice": ({**weights, "classifier.bias": torch.ones(3)}, ["classifier.bias"]),
        "nan": ({**weights, "bn1.weight": torch.full((64,), torch.nan)}, ["NaN or infinity in backbone.bn1.weight"]),
        "empty": ({}, ["holds no weights"]),
        "words": ({"epoch": 3, "notes": ["x"]}, ["holds no weights", "epoch, notes"]),
    }
    cases["bare"] = nn.Sequential(nn.ReLU()), ["lacks 100 weights"]
    for name, (content, words) in cases.items():
        torch.save(content, tmp_path / f"{name}.pth")
        refused(run_script, tmp_path / f"{name}.pth", f"{name}.pth", *words)
    torch.save(weights, tmp_path / "good.pth")
    refused(run_script, tmp_path / "good.pth", "that SphereFace-20 does not have", preset="face_aligned")
    refused(run_script, tmp_path / "good.pth", "no conversion to features_crossvit", preset="features_crossvit")
    refused(run_script, tmp_path / "good.pth", "unknown model 'x'", preset="x")
    code, _, log = run_script(
        "convert_checkpoint", "--checkpoint", tmp_path / "good.pth", "--preset", "model2", "--class_names", "A,A",
        "--output_dir", tmp_path / "o",
    )  # fmt: skip
    assert code == 2
    assert "class names" in log


def packed(path: Path, pickled: bytes, members: dict[str, bytes] | None = None, method: int = 0) -> Path:
    """A file in torch.save's zip format around `pickled`."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", **(members or {})}.items():
            archive.writestr(f"archive/{name}", content)
    return path


class Evil:
    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


LEGACY = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_nothing_is_executed(run_script: Callable, zipped: bool, protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    attacks = {
        f"{os.system.__module__}.system": Evil(os.system, f"touch {trace}"),
        "exec": Evil(exec, f"open({str(trace)!r}, 'w')"),
        "getattr": Evil(getattr, "torch", "Linear"),
        "torch.hub.load": Evil(torch.hub.load, "a/b", "c"),
        "torch.serialization.load": Evil(torch.load, "x.pt"),
        "importlib.import_module": Evil(__import__("importlib").import_module, "this"),
    }
    for name, attack in attacks.items():
        content = pickle.dumps({"state_dict": OrderedDict(weight=attack)}, protocol)
        file = tmp_path / "evil.pt"
        if zipped:
            packed(file, content)
        else:
            file.write_bytes(LEGACY + content + pickle.dumps([], 2))
        refused(run_script, file, name, "nothing in it was executed")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("pickled", "words"),
    [
        (b"\x80\x02ctorch.nn.modules.linear\nLinear.__init__\n.", "Linear.__init__"),
        (b"\x80\x02ctorch.nn.modules.module\ntorch\n.", "torch.nn.modules.module.torch"),
        (b"\x80\x02ctorch.nn.modules.linear\nLinear\nK\x02K\x03\x86R.", "damaged"),  # Linear(2, 3), called
        (b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81}X\x0b\x00\x00\x00_parametersK\x01sb.", "invalid content"),
        (b"\x80\x02c__main__\nSecretNet\n)\x81.", "save model.state_dict() and convert that"),
        (b"\x80\x02cmodels\x1b[31m\nNet\n.", r"models\x1b[31m.Net"),
        (b"\x80\x02]q\x00h\x00a.", "holds no weights"),  # a list in itself
        (b"\x80\x02ccollections\nOrderedDict\n)R(K\x01K\x02u", "damaged"),
        (b"\x80\x02}((((ttt)s.", "damaged"),  # a tuple as a key
        (b"\x80\x02}X\x05\x00\x00\x00modelh\x00s.", "damaged"),
        (b"\x80\x02q\xff.", "damaged"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "damaged"),
        (b"\x80\x02\x8a\xffx.", "damaged"),
        (b"\x80\x02(i" + b"os\nsystem\n.", "the instruction INST"),
        (b"\x80\x02\x82\x01.", "the instruction EXT1"),
        (b"Pos.system\n.", "the instruction PERSID"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "damaged"),
        (b"", "damaged"),
        (b"no pickle", "damaged"),
    ],
)  # fmt: skip
def test_pickles_that_no_checkpoint_holds(run_script: Callable, pickled: bytes, words: str, tmp_path: Path) -> None:
    refused(run_script, packed(tmp_path / "odd.pt", pickled), words)


def a_module_in_itself() -> bytes:
    body = b"ctorch.nn.modules.container\nSequential\n)\x81q\x00"
    return b"\x80\x02" + body + b"}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00ssb."


def tensor_pickle(
    key: str = "0", numel: int = 6, offset: int = 0, size: tuple = (2, 3), stride: tuple = (3, 1)
) -> bytes:
    """A state dict with one tensor, as torch.save would pickle it."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: object) -> tuple | None:
            return ("storage", torch.FloatStorage, key, "cpu", numel) if thing is storage else None

    storage = object()
    stream = io.BytesIO()
    rebuild = torch._utils._rebuild_tensor_v2
    Pickler(stream, 2).dump({"fc.weight": Evil(rebuild, storage, offset, size, stride, False, OrderedDict())})
    return stream.getvalue()


def test_a_state_dict_pickled_by_python_2(tmp_path: Path) -> None:
    """As Python 2 wrote it: byte strings for names, a dict as pairs, and a view of a storage."""
    storage = b"(U\x07storagectorch\nFloatStorage\nU\x0594608U\x03cpu\x8a\x01\x09(U\x0594609K\x03\x8a\x01\x06ttQ"
    tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x00K\x02K\x03\x86K\x03K\x01\x86tR"
    pickled = b"\x80\x02}U\x0astate_dictccollections\nOrderedDict\n](](U\x09fc.weight" + tensor + b"ee\x85Rs."
    numbers = struct.pack("<q9f", 9, *range(9))
    (tmp_path / "old.pth").write_bytes(LEGACY + pickled + pickle.dumps(["94608"], 2) + numbers)
    assert read_checkpoint(tmp_path / "old.pth").tensors["fc.weight"].tolist() == [[3, 4, 5], [6, 7, 8]]


def test_tensors_and_storages_that_lie(run_script: Callable, tmp_path: Path) -> None:
    six = struct.pack("<6f", *range(6))
    good = packed(tmp_path / "good.pt", tensor_pickle(), {"data/0": six})
    assert read_checkpoint(good).tensors["fc.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    cases = [
        (tensor_pickle(offset=1), {"data/0": six}, "beyond its 6 elements"),
        (tensor_pickle(stride=(2**39, 1)), {"data/0": six}, "beyond its 6 elements"),
        (tensor_pickle(size=(2**20, 2**20), stride=(0, 0)), {"data/0": six}, "beyond its 6 elements"),
        (tensor_pickle(size=(-1, 3)), {"data/0": six}, "damaged"),
        (tensor_pickle(size=(2**70, 3)), {"data/0": six}, "damaged"),
        (tensor_pickle(size=(6,)), {"data/0": six}, "damaged"),
        (tensor_pickle(numel=2**39, size=(2**39,), stride=(1,)), {"data/0": six}, "24 bytes instead of"),
        (tensor_pickle(), {"data/0": six[:-1]}, "23 bytes instead of 24"),
        (tensor_pickle(), {}, "damaged or cut short"),
        (tensor_pickle(key="../../data.pkl"), {"data/0": six}, "damaged"),
        (tensor_pickle(), {"data/0": six, "byteorder": b"big"}, "big-endian"),
        (tensor_pickle(), {"data/0": six, "more/data.pkl": b""}, "archive/data.pkl"),
        (a_module_in_itself(), {}, "contains itself"),
    ]
    for pickled, members, words in cases:
        refused(run_script, packed(tmp_path / "lie.pt", pickled, members), words)
    bomb = packed(tmp_path / "bomb.pt", tensor_pickle(numel=2**22), {"data/0": bytes(2**24)}, zipfile.ZIP_DEFLATED)
    refused(run_script, bomb, "compressed or larger than the file")


def test_files_that_are_no_checkpoints(run_script: Callable, resnet18: nn.Module, tmp_path: Path) -> None:
    cases = {
        "text.pth": (b"dear torch,\n", "neither a .safetensors file nor"),
        "empty.pth": (b"", "has 0 bytes"),
        "text.safetensors": (b"dear torch, here are my weights", "damaged"),
        "long.safetensors": (struct.pack("<Q", 2**60) + b"{}", "damaged"),
        "lie.safetensors": (None, "damaged"),
        "pickle.pkl": (pickle.dumps({"fc.bias": 3}), "not one of torch.save's"),
        "zip.pt": (None, "torch.save writes a data.pkl"),
    }
    header = json.dumps({"fc.bias": {"dtype": "F32", "shape": [3], "data_offsets": [0, 1200]}}).encode()
    cases["lie.safetensors"] = (struct.pack("<Q", len(header)) + header + bytes(12), "damaged")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    cases["zip.pt"] = ((tmp_path / "z.zip").read_bytes(), "readme.txt; torch.save writes a data.pkl")
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        refused(run_script, tmp_path / name, name, words)
    save_file({"two\nlines": torch.ones(1)}, tmp_path / "names.safetensors")
    refused(run_script, tmp_path / "names.safetensors", r"called 'two\nlines'")
    save_file({}, tmp_path / "none.safetensors")
    refused(run_script, tmp_path / "none.safetensors", "lacks 100 weights")
    refused(run_script, tmp_path / "nowhere.pth", "there is no such file")
    refused(run_script, tmp_path, "there is no such file")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_damage_anywhere_is_told_in_one_line(zipped: bool, tmp_path: Path) -> None:
    whole = io.BytesIO()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    torch.save(model, whole, _use_new_zipfile_serialization=zipped)
    content = whole.getvalue()
    rng = np.random.default_rng(7)
    file, messages = tmp_path / "damaged.pt", []
    for i in range(200):
        damaged = bytearray(content)
        if i % 4 == 0:
            damaged = damaged[: rng.integers(len(content))]
        else:
            for at in rng.integers(len(content), size=i % 4):
                damaged[at] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            read_checkpoint(file)  # a number of a weight may be what changed
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)
