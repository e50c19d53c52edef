"""What runs where: one process for a GPU, the cores decoding for it, and every model on the chosen device."""

from __future__ import annotations

import hashlib
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from ger_datasets.detectors import DEFAULT_DETECTOR, DETECTORS
from ger_datasets.faces import FaceExtractor
from ger_datasets.photos.reading import decode_photo
from ger_datasets.preparation import run
from ger_datasets.preparation.column_sources import open_sources
from ger_datasets.preparation.shards import decoded_ahead
from ger_datasets.records import Record
from ger_datasets.support import cpu_cores
from ger_datasets.support.devices import choose_device
from ger_datasets.support.errors import BadPhoto, UserError
from ger_models.encoders.face_expressions import CheckpointExpressions
from ger_models.encoders.sources import scene_source
from ger_models.presets import build


def test_one_process_for_a_gpu_and_the_cores_decode_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "usable_cores", lambda: 16)
    assert run.division("cpu", None, 1000) == (16, 0)
    assert run.division("cpu", None, 51) == (2, 0)
    assert run.division("cpu", None, 50) == (1, 0)
    assert run.division("cpu", 3, 50) == (3, 0)
    assert run.division("cuda:1", None, 50) == (1, 16)
    assert run.division("cuda", 3, 50) == (1, 3)
    assert run.division("mps", None, 50) == (1, 16)


@pytest.mark.slow
def test_a_dataset_that_is_prepared_on_a_gpu_is_the_same(
    drawn_raw: Path, drawn_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector of this test computes on the CPU, whatever the device is called."""
    made: list[str] = []

    def detector(device: str) -> FaceExtractor:
        made.append(device)
        return FaceExtractor()

    def several(*_: object) -> None:
        raise AssertionError("several processes for one GPU")

    decoding: set[str] = set()

    def recorded(*given: object) -> object:
        decoding.add(threading.current_thread().name)
        return decode_photo(*given)

    monkeypatch.setitem(DETECTORS.own, DEFAULT_DETECTOR, detector)
    monkeypatch.setattr(run, "_write_in", several)
    monkeypatch.setattr("ger_datasets.photos.reading.decode_photo", recorded)
    run.prepare("sample", drawn_raw, tmp_path / "sample", device="cuda:0", num_proc=3)
    assert made == ["cuda:0"]
    assert decoding
    assert threading.current_thread().name not in decoding
    for path in (drawn_dataset / "data").glob("*.parquet"):
        again = (tmp_path / "sample" / "data" / path.name).read_bytes()
        assert hashlib.sha256(again).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_photos_that_are_decoded_ahead_stay_in_order_and_report_what_is_wrong(drawn_raw: Path, tmp_path: Path) -> None:
    paths = sorted(drawn_raw.rglob("*.jpg"))
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"no photo")
    records = [Record(str(i), path, "train") for i, path in enumerate([*paths[:7], damaged, *paths[7:]])]
    for threads in (0, 1, 4, 99):
        ids = []
        for record, photo in decoded_ahead(records, threads):
            ids.append(record.image_id)
            if record.path == damaged:
                with pytest.raises(BadPhoto, match="not an image"):
                    photo()
            else:
                assert photo().image.tobytes() == record.photo().image.tobytes()
        assert ids == [record.image_id for record in records]
    before = threading.active_count()
    next(photos := decoded_ahead(records, 4))
    photos.close()  # as where the run is interrupted
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", ["scene", "expressions"])
def test_models_run_on_the_chosen_device(kind: str, expression_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = expression_checkpoint
    if kind == "scene":
        checkpoint = tmp_path
        for part in build("densenet_emotic", ["a", "b"], overrides="backbone=test_resnet"):
            part.save_pretrained(checkpoint)
    source: Any = scene_source(str(checkpoint), Path()) if kind == "scene" else CheckpointExpressions(str(checkpoint))

    assert {tensor.device.type for tensor in source.encoder.model.state_dict().values()} == {"cpu"}
    source.device = "meta"  # computes shapes alone: what comes out cannot be copied to the CPU
    again = pickle.loads(pickle.dumps(source))  # noqa: S301 - made here
    assert {tensor.device.type for tensor in again.encoder.model.state_dict().values()} == {"meta"}
    with pytest.raises((NotImplementedError, RuntimeError), match="copy out of meta tensor"):
        again.batch_columns([Image.new("RGB", (80, 60))], [[[10, 10, 40, 40]]])


def test_every_source_gets_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        ("ger_models.encoders.sources", "EncodedColumn"),
        ("ger_models.encoders.face_expressions", "CheckpointExpressions"),
    ):
        monkeypatch.setattr(sys.modules[module], name, lambda *names, device: device)
    pose_model = SimpleNamespace(check=lambda: None)
    monkeypatch.setattr(
        "ger_datasets.skeletons.pose_model.SkeletonModel",
        lambda pose, detector, device: setattr(pose_model, "device", device) or pose_model,
    )
    given = {
        "legacy": "none",
        "skeletons": "owner/pose",
        "scene_model": "scene",
        "expressions": "faces",
        "regions": "none",
    }
    skeletons, *others = open_sources(given, Path("raw"), "cuda:1")
    assert (skeletons.device, others) == ("cuda:1", ["cuda:1", "cuda:1"])


def test_devices(load_script: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    state = SimpleNamespace(local_process_index=3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", state) == "cuda:1"
    assert choose_device("cuda:0", state) == "cuda:0"
    assert choose_device("cpu", state) == "cpu"
    with pytest.raises(UserError, match="--device cuda:2: this machine has the GPUs cuda:0 to cuda:1"):
        choose_device("cuda:2", state)
    script = load_script("prepare")
    monkeypatch.setattr(script, "usable_cores", lambda: 16)
    assert cpu_cores.usable_cores() >= 1
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert [script.share_of_cores(*given) for given in ((1, "cpu"), (4, "cpu"), (4, "cuda:0"))] == [None, 1, 4]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert script.share_of_cores(4, "cuda:0") == 8
