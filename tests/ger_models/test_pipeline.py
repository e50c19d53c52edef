"""The pipeline: any photo in, an answer for each, whatever the others are; and checkpoints that carry their code."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline

from ger_datasets.sample.drawing import draw_photo
from ger_datasets.support.errors import UserError
from ger_models import (
    GerEnsembleForImageClassification,
    GerFaceConfig,
    GerFaceForImageClassification,
    GerFusionConfig,
    GerFusionForImageClassification,
    GerProcessor,
    GerSceneConfig,
    GerSceneForImageClassification,
    GroupEmotionPipeline,
    pipeline_ger,
)
from ger_models.sharing.publishing import save_with_code

TINY = {"hidden_size": 16, "depth": 1, "face_layers": 1, "scene_layers": 1, "heads": 2, "head_dim": 8, "mlp_dim": 24}
LABELS = {"id2label": {0: "Negative", 1: "Neutral", 2: "Positive"}}
SMALL = {"resize_shorter": 72, "crop_size": 64}


def saved(folder: Path, model: torch.nn.Module, shake: float = 0.05, **fields: object) -> str:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * shake)
    model.save_pretrained(folder)
    GerProcessor(**{**SMALL, **fields}).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checkpoints of tiny models of each kind."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    scene = GerSceneForImageClassification(GerSceneConfig(backbone="test_resnet", notice="made up", **LABELS))
    names = {
        "scene": saved(root / "scene", scene),
        "skeleton": saved(root / "skeleton", scene, columns=["skeleton"]),
        "fusion": saved(
            root / "fusion",
            GerFusionForImageClassification(GerFusionConfig(**TINY, **LABELS)),
            columns=["face_features"],
        ),
        "face": saved(
            root / "face", GerFaceForImageClassification(GerFaceConfig(**LABELS)), 0.005, columns=["aligned_faces"]
        ),
        "feature": saved(
            root / "feature",
            GerFusionForImageClassification(GerFusionConfig(scene="feature", scene_dim=8, **TINY, **LABELS)),
            columns=["face_features", "scene_feature"],
            scene_dim=8,
        ),
        "expressions": saved(
            root / "expressions",
            GerFusionForImageClassification(GerFusionConfig(faces="expressions", **TINY, **LABELS)),
            0.005,
            columns=["face_boxes"],
        ),
    }
    model, processor = GerEnsembleForImageClassification.from_members([names["scene"], names["fusion"]])
    model.save_pretrained(root / "ensemble")
    processor.save_pretrained(root / "ensemble")
    return {**names, "ensemble": str(root / "ensemble")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files: three faces, one, none, on its side by EXIF, and no photo at all."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    three, _ = draw_photo(rng, "Positive", 3, size=(320, 240))
    three.save(root / "three.png")
    draw_photo(rng, "Neutral", 1, size=(320, 240))[0].save(root / "one.jpg", quality=95)
    draw_photo(rng, "Negative", 2, faces_visible=False, size=(320, 240))[0].save(root / "none.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    three.transpose(Image.Transpose.ROTATE_90).save(root / "turned.jpg", quality=95, subsampling=0, exif=exif)
    (root / "broken.jpg").write_bytes(b"no photo at all")
    return {path.stem: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def pipes(folders: dict[str, str]) -> dict[str, GroupEmotionPipeline]:
    return {name: pipeline("group-emotion", model=folder, device="cpu") for name, folder in folders.items()}


def same(one: dict, other: dict) -> None:
    """Two answers to the same photo."""
    assert one.keys() == other.keys()
    assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    assert (one["label"], one["face_count"], one["note"]) == (other["label"], other["face_count"], other["note"])
    for face, again in zip(one["faces"] or (), other["faces"] or (), strict=True):
        assert face["box"] == pytest.approx(again["box"], abs=0.01)


def test_a_photo_alone(pipes: dict, photos: dict) -> None:
    answer = pipes["fusion"](str(photos["three"]))
    assert set(answer) == {"label", "score", "scores", "faces", "face_count", "note"}
    assert set(answer["scores"]) == {"Negative", "Neutral", "Positive"}
    assert sum(answer["scores"].values()) == pytest.approx(1)
    assert answer["score"] == answer["scores"][answer["label"]] == max(answer["scores"].values())
    assert answer["face_count"] == len(answer["faces"]) == 3
    assert answer["note"] == ""
    for face in answer["faces"]:
        left, top, right, bottom = face["box"]
        assert 0 <= left < right <= 320
        assert 0 <= top < bottom <= 240
        assert 0.5 < face["score"] <= 1
    assert sum(face["attention"] for face in answer["faces"]) <= 1 + 1e-5
    same(pipes["fusion"](photos["three"]), answer)
    same(pipes["fusion"](Image.open(photos["three"])), answer)


@pytest.mark.parametrize("kind", ["scene", "fusion", "face", "expressions", "ensemble"])
def test_batch_mates_never_change_an_answer(kind: str, pipes: dict, photos: dict) -> None:
    names = ["three", "broken", "none", "one", "turned"]
    batch = [photos[name] for name in names]
    alone = [pipes[kind](photo, on_error="return") for photo in batch]
    for size in (2, 5):
        together = pipes[kind](batch, batch_size=size)
        assert set(together[1]) == {"error"}
        assert together[1]["error"].startswith(f"{photos['broken']}: not an image in one of the formats")
        for i in (0, 2, 3, 4):
            same(together[i], alone[i])
    assert len({answer["score"] for answer in alone if "score" in answer}) >= 3, "photos differ"


def test_lists_generators_and_datasets(pipes: dict, photos: dict) -> None:
    pipe = pipes["scene"]
    paths = [photos["three"], photos["none"], photos["one"]]
    expected = pipe(paths)
    assert isinstance(expected, list)
    for inputs in (tuple(paths), (path for path in paths), iter(paths)):
        for one, other in zip(pipe(inputs, batch_size=2), expected, strict=True):
            same(one, other)
    rows = [{"image": Image.open(path), "image_id": path.stem} for path in paths]
    for one, other in zip(pipe(rows, batch_size=2), expected, strict=True):
        same(one, other)
    assert pipe([]) == []


def test_a_prepared_dataset(pipes: dict, drawn_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its faces are there already: nobody looks for them again."""
    import datasets

    data = datasets.load_dataset(str(drawn_dataset), split="test")
    answers = list(pipes["fusion"]([{"image": row["image"]} for row in data], batch_size=3))
    monkeypatch.setattr(pipes["fusion"], "_face_columns", None)
    for one, other in zip(pipes["fusion"](data, batch_size=4), answers, strict=True):
        same(one, other)


def test_faces_are_looked_for_only_where_they_are_needed(pipes: dict, photos: dict) -> None:
    pipe = pipes["scene"]
    pipe._face_columns.extractor = None
    answer = pipe(photos["three"])
    assert (answer["faces"], answer["face_count"], answer["note"]) == (None, None, "made up")
    assert pipe._face_columns.extractor is None
    with_faces = pipe(photos["three"], faces=True)
    assert with_faces["face_count"] == 3
    assert "attention" not in with_faces["faces"][0]
    assert with_faces["scores"] == pytest.approx(answer["scores"], abs=1e-6)


def test_a_faceless_photo_gets_an_answer_and_says_so(pipes: dict, photos: dict) -> None:
    for kind in ("fusion", "face", "ensemble"):
        answer = pipes[kind](photos["none"])
        assert (answer["faces"], answer["face_count"]) == ([], 0)
        assert answer["note"].endswith("no face was found")
        assert answer["label"] in answer["scores"]


def test_a_photo_on_its_side_is_turned(pipes: dict, photos: dict) -> None:
    upright, turned = pipes["fusion"]([photos["three"], photos["turned"]])
    assert turned["face_count"] == 3
    for face in upright["faces"]:  # JPEG moves edges a little
        moved = [np.abs(np.subtract(face["box"], other["box"])).max() for other in turned["faces"]]
        assert min(moved) < 6
    same(pipes["fusion"](Image.open(photos["turned"])), turned)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK", "I;16", "1"])
def test_images_of_every_mode(mode: str, pipes: dict, photos: dict) -> None:
    image = Image.open(photos["three"])
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    answer = pipes["scene"](image)
    plain = pipes["scene"](image.convert("L") if mode == "1" else image.convert("RGB"))
    if mode != "I;16":
        assert answer["scores"] == pytest.approx(plain["scores"], abs=0.02)
    assert answer["label"] in answer["scores"]


def test_photos_that_cannot_be_used(pipes: dict, photos: dict, tmp_path: Path) -> None:
    pipe = pipes["scene"]
    whole = photos["three"].read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    bad = [
        (str(photos["broken"]), "broken.jpg: not an image"),
        (tmp_path / "missing.jpg", "missing.jpg: the file cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (tmp_path / "cut.png", "cut.png: damaged"),
        (Image.open(tmp_path / "cut.png"), "cut.png: damaged"),
        (Image.new("RGB", (4, 400)), "a photo without a name: 4 x 400 pixels: a side below 16"),
        (Image.new("F", (40, 40)), "floating-point"),
        ({"image": "a.jpg", "image_id": "test_1"}, "test_1: its image is a str, not a PIL image"),
        ("ftp://example.org/a.jpg", "the file cannot be read"),
    ]
    for photo, words in bad:
        with pytest.raises(UserError, match=words):
            pipe(photo)
        assert words in pipe(photo, on_error="return")["error"]
    with pytest.raises(UserError, match="a float: not a path, an address, a PIL image"):
        pipe(3.5)
    answers = pipe([*(photo for photo, _ in bad), photos["three"]], batch_size=4)
    assert all(words in answer["error"] for answer, (_, words) in zip(answers[:-1], bad, strict=True))
    assert "label" in answers[-1]
    with pytest.raises(UserError, match="not an image"):
        pipe([photos["three"], photos["broken"]], on_error="raise")


class Photos(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes]

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        name = self.path.partition("?")[0]
        if name == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(50):
                time.sleep(0.05)
                self.wfile.write(b"x")
            return
        content = self.files.get(name)
        self.send_response(200 if content else 404)
        self.end_headers()
        self.wfile.write(content or b"")


@pytest.fixture
def site(photos: dict) -> Iterator[str]:
    """The address of a server with `/three.png`, `/large` and `/slow`."""
    Photos.files = {"/three.png": photos["three"].read_bytes(), "/large": bytes(3_000_000)}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Photos) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_addresses(site: str, pipes: dict, photos: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_ger, "MAX_URL_BYTES", 2_000_000)
    pipe = pipes["scene"]
    same(pipe(f"{site}/three.png?size=1"), pipe(photos["three"]))
    for address, words in {
        f"{site}/missing.jpg?token=secret": f"{site}/missing.jpg: the server answers 404",
        f"{site}/large": "more than 2,000,000 bytes are not downloaded",
        f"{site}/slow": "not downloaded within 0.3 seconds",
        "http://127.0.0.1:1/a.jpg": "cannot be downloaded",
        "http://[bad/a.jpg": "cannot be downloaded",
    }.items():
        error = pipe([address], timeout=0.3)[0]["error"]
        assert words in error
        assert "secret" not in error


def test_columns_that_do_not_follow_from_a_photo(pipes: dict, photos: dict) -> None:
    for kind, option in {"skeleton": "--skeletons", "feature": "--scene_model"}.items():
        for on_error in ("raise", "return"):
            with pytest.raises(UserError, match=rf"does not follow from a photo: .*scripts/prepare.py {option}"):
                pipes[kind](photos["three"], on_error=on_error)
    rows = [{"skeleton": Image.new("RGB", (80, 80))}, {"image": Image.open(photos["one"]), "skeleton": None}]
    assert [answer["faces"] for answer in pipes["skeleton"](rows, batch_size=2)] == [None, None]


def test_wrong_arguments_and_models(pipes: dict, photos: dict, tmp_path: Path) -> None:
    for wrong, words in {"on_error": "on_error must be", "timeout": "timeout must be above 0"}.items():
        with pytest.raises(UserError, match=words):
            pipes["scene"](photos["three"], **{wrong: 0})
    with pytest.raises(TypeError, match="top_k"):
        pipes["scene"](photos["three"], top_k=2)
    from transformers import ViTImageProcessor

    with pytest.raises(UserError, match="needs one of this package's models"):
        GroupEmotionPipeline(model=pipes["scene"].model, image_processor=ViTImageProcessor(), task="group-emotion")


def test_saved_and_loaded(pipes: dict, photos: dict, tmp_path: Path) -> None:
    pipes["ensemble"].save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    same(pipeline("group-emotion", model=str(tmp_path))(photos["one"]), pipes["ensemble"](photos["one"]))


def test_in_half_precision(folders: dict, pipes: dict, photos: dict) -> None:
    pipe = pipeline("group-emotion", model=folders["ensemble"], dtype=torch.bfloat16)
    answer = pipe(photos["three"])
    assert answer["scores"] == pytest.approx(pipes["ensemble"](photos["three"])["scores"], abs=0.05)


def test_workers_read_photos(pipes: dict, photos: dict) -> None:
    paths = [photos["three"], photos["broken"], photos["one"]]
    for one, other in zip(pipes["scene"](paths, num_workers=1, batch_size=2), pipes["scene"](paths), strict=True):
        assert one.get("error") == other.get("error")
        if "label" in one:
            same(one, other)


WITHOUT_PACKAGE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ger_models", "ger_datasets"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

try:
    import ger_models
except ModuleNotFoundError:
    print("hidden")
for folder in sys.argv[1:]:
    model = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True).eval()
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)
    inputs = torch.load(f"{folder}/inputs.pt")
    row = torch.load(f"{folder}/row.pt")
    for name, tensor in processor([row]).items():
        assert torch.equal(tensor, inputs[name]), name
    print(*model(**inputs).logits[0].tolist())
"""


@pytest.mark.slow
def test_a_checkpoint_with_its_code_works_without_this_package(folders: dict, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    row = {"face_features": torch.randn(2, 256, generator=generator).tolist(), "skeleton": None}
    expected = []
    for kind in ("skeleton", "fusion"):
        model = AutoModelForImageClassification.from_pretrained(folders[kind]).eval()
        processor = GerProcessor.from_pretrained(folders[kind])
        save_with_code(model, processor, tmp_path / kind)
        inputs = processor([row])
        torch.save(dict(inputs), tmp_path / kind / "inputs.pt")
        torch.save(row, tmp_path / kind / "row.pt")
        expected.append(model(**inputs).logits[0].tolist())
        model.save_pretrained(tmp_path / "plain")
        processor.save_pretrained(tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*.py")), "only save_with_code saves code"
    assert not any("auto_map" in path.read_text() for path in (tmp_path / "plain").glob("*.json"))

    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", WITHOUT_PACKAGE, str(tmp_path / "skeleton"), str(tmp_path / "fusion")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    hidden, *logits = done.stdout.splitlines()[-3:]
    assert hidden == "hidden"
    for line, values in zip(logits, expected, strict=True):
        assert [float(value) for value in line.split()] == pytest.approx(values, abs=1e-6)


def test_an_ensemble_cannot_be_saved_with_code(pipes: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only this package knows"):
        save_with_code(pipes["ensemble"].model, pipes["ensemble"].image_processor, tmp_path)
