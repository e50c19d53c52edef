"""predict.py on datasets, photos and videos: in processes, stopped and taken up, with several models at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_dataset
from drawn_videos import write_cuts
from PIL import Image

from ger_datasets.sample.drawing import draw_photo
from ger_datasets.videos.frames import key_frames
from ger_models import (
    GerFaceConfig,
    GerFaceForImageClassification,
    GerFusionConfig,
    GerFusionForImageClassification,
    GerProcessor,
    GerSceneConfig,
    GerSceneForImageClassification,
)
from ger_models.evaluation.predictions import Predictions, read_predictions
from ger_models.inference import inputs, pictures, predict_run
from ger_models.inference.members import Answers
from ger_models.inference.predict_run import _extend
from ger_models.inference.resumable_table import PartialTable, PartRows

ROOT = Path(__file__).resolve().parents[1]
TINY = {"hidden_size": 16, "depth": 1, "face_layers": 1, "scene_layers": 1, "heads": 2, "head_dim": 8, "mlp_dim": 24}
LABELS = {"id2label": {0: "Negative", 1: "Neutral", 2: "Positive"}}


def save(folder: Path, model: torch.nn.Module, **fields: object) -> Path:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    GerProcessor(resize_shorter=72, crop_size=64, **fields).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny checkpoints: faces, and the whole image."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    fusion = GerFusionForImageClassification(GerFusionConfig(**TINY, **LABELS))
    scene = GerSceneForImageClassification(GerSceneConfig(backbone="test_resnet", notice="made up", **LABELS))
    return {
        "faces": save(root / "faces", fusion, columns=["face_features"]),
        "scene": save(root / "scene", scene, columns=["image"]),
    }


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LEAST_PART", 4)
    monkeypatch.setattr(inputs, "PARTS", 100)


def same(one: Predictions, other: Predictions) -> None:
    assert one.image_ids == other.image_ids
    assert one.splits == other.splits
    np.testing.assert_array_equal(one.logits, other.logits)
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.faces, other.faces)
    assert one.note == other.note
    assert one.groups == other.groups
    assert one.face_attention == other.face_attention
    assert (one.model_revision, one.dataset_revision) == (other.model_revision, other.dataset_revision)
    assert len(one.model_revision) == 16


def test_several_models_and_splits_in_one_pass(
    run_script: Callable, models: dict[str, Path], drawn_dataset: Path, tmp_path: Path
) -> None:
    where = ("--dataset", drawn_dataset, "--split", "validation", "test")
    code, figures, log = run_script(
        "predict", "--model", *models.values(), *where, "--output_dir", tmp_path / "both", "--device", "cpu"
    )
    assert code == 0, log
    assert figures["photos"] == 12
    assert [each["model"] for each in figures["models"]] == ["faces", "scene"]
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["faces.parquet", "scene.parquet"]
    for name, model in models.items():
        table = tmp_path / f"{name}.parquet"
        assert run_script("predict", "--model", model, *where, "--output", table)[0] == 0
        together = read_predictions(tmp_path / "both" / f"{name}.parquet")
        same(together, read_predictions(table))
        assert together.split_names == ["validation", "test"]
        assert ("made up" in together.note) == (name == "scene")
        assert together.groups == together.image_ids
        if name == "scene":
            assert together.face_attention is None
        else:
            for shares, count in zip(together.face_attention, together.faces, strict=True):
                assert len(shares) == count
                assert not count or 0 < sum(shares) <= 1.001


@pytest.mark.slow
def test_two_processes_give_what_one_gives(
    run_script: Callable, models: dict[str, Path], drawn_dataset: Path, tmp_path: Path
) -> None:
    command = [str(ROOT / "scripts" / "predict.py"), "--model", str(models["faces"]), "--dataset", str(drawn_dataset)]
    command += ["--split", "train", "--device", "cpu", "--output"]
    launch = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    done = subprocess.run(
        [sys.executable, "-m", *launch, *command, str(tmp_path / "two.parquet")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout)["photos"] == 18
    code, _, log = run_script("predict", *command[1:], tmp_path / "one.parquet")
    assert code == 0, log
    same(read_predictions(tmp_path / "one.parquet"), read_predictions(tmp_path / "two.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "two.parquet"]


@pytest.mark.slow
def test_a_stopped_run_goes_on(
    run_script: Callable, models: dict[str, Path], drawn_dataset: Path, tmp_path: Path, small_parts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    call = ("predict", "--dataset", drawn_dataset, "--split", "train", "--batch_size", 2, "--device", "cpu")
    both = ("--model", *models.values(), "--output", tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert run_script(*call, "--model", *models.values(), "--output_dir", tmp_path / "whole")[0] == 0

    add, written = PartialTable.add, []

    def dies(self: PartialTable, number: int, rows: object) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(number)
        add(self, number, rows)

    monkeypatch.setattr(PartialTable, "add", dies)
    assert run_script(*call, *both)[0] == 130
    assert not list(tmp_path.glob("*.parquet"))
    assert len(list(tmp_path.glob(".*.parts-*/*.json"))) == 3  # part 0 of both, part 1 of one

    monkeypatch.setattr(
        PartialTable, "add", lambda self, number, rows: (written.append(number), add(self, number, rows))
    )
    del written[:]
    code, _, log = run_script(*call, *both)
    assert code == 0, log
    assert "resuming an interrupted run: 1 of 5 parts" in log
    assert written == [1, 2, 2, 3, 3, 4, 4]
    assert not list(tmp_path.glob(".*"))
    for name, table in zip(models, "ab", strict=True):
        same(read_predictions(tmp_path / f"{table}.parquet"), read_predictions(tmp_path / "whole" / f"{name}.parquet"))


def test_a_face_model_counts_and_weighs_the_faces_that_are_sure(
    run_script: Callable, drawn_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its table holds each face's share in the answer, as that of a fusion model does; lower boxes do not count."""
    data = load_dataset(str(drawn_dataset), split="test")
    scores = [row for row in data["face_scores"] if row]
    least = float(np.median([score for row in scores for score in row]))
    torch.manual_seed(0)
    model = GerFaceForImageClassification(GerFaceConfig(channels=4, **LABELS))
    for name, minimum in (("all", 0.0), ("sure", least)):
        save(tmp_path / name, model, columns=["aligned_faces"], min_face_score=minimum)
    where = ("--dataset", drawn_dataset, "--split", "test", "--output_dir", tmp_path / "tables")
    code, _, log = run_script("predict", "--model", tmp_path / "all", tmp_path / "sure", *where)
    assert code == 0, log
    tables = {name: read_predictions(tmp_path / "tables" / f"{name}.parquet") for name in ("all", "sure")}
    expected = {
        "all": [len(row) for row in data["face_scores"]],
        "sure": [sum(score >= least for score in row) for row in data["face_scores"]],
    }
    assert expected["all"] != expected["sure"]
    for name, table in tables.items():
        assert table.faces.tolist() == expected[name]
        assert [len(shares) for shares in table.face_attention] == expected[name]
        assert all(sum(shares) == pytest.approx(1) for shares in table.face_attention if shares)


def test_lower_boxes_are_drawn_thin_and_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(pictures, "draw_faces", lambda picture, marks, scale: drawn.append(marks))
    row = {"image_id": "a", "image": Image.new("RGB", (80, 60)), "face_boxes": [[1, 1, 20, 20], [30, 1, 50, 20]]}
    row["face_scores"] = [0.97, 0.71]
    pictures.save_pictures(tmp_path, [row], np.array([[0.2, 0.3, 0.5]]), ["a", "b", "c"], min_face_score=0.9)
    pictures.save_pictures(tmp_path, [row], np.array([[0.2, 0.3, 0.5]]), ["a", "b", "c"])
    assert [[mark.faint for mark in marks] for marks in drawn] == [[False, True], [False, False]]


def test_another_model_takes_up_nothing(
    run_script: Callable, models: dict[str, Path], drawn_dataset: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model, table = tmp_path / "model", tmp_path / "test.parquet"
    call = ("predict", "--model", model, "--dataset", drawn_dataset, "--output", table, "--device", "cpu")
    torch.manual_seed(1)
    save(model, GerFusionForImageClassification(GerFusionConfig(**TINY, **LABELS)), columns=["face_features"])

    def dies(self: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(predict_run.Run, "finish", dies)
        assert run_script(*call)[0] == 130
    (left,) = tmp_path.glob(".test.parquet.parts-*")
    save(model, GerFusionForImageClassification(GerFusionConfig(**TINY, **LABELS)), columns=["face_features"])
    code, _, log = run_script(*call)
    assert code == 0, log
    assert "going on" not in log
    assert left.exists()
    assert run_script(*call[:-4], "--output", tmp_path / "again.parquet", "--device", "cpu")[0] == 0
    same(read_predictions(table), read_predictions(tmp_path / "again.parquet"))


@pytest.mark.slow
def test_a_folder_of_photos_whose_faces_are_looked_for_once(
    run_script: Callable, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    (photos / "day 2" / ".hidden").mkdir(parents=True)
    rng = np.random.default_rng(2)
    draw_photo(rng, "Positive", 2, size=(320, 240))[0].save(photos / "a.jpg")
    draw_photo(rng, "Neutral", 1, size=(320, 240))[0].save(photos / "day 2" / "a.JPG")
    Image.new("RGB", (40, 40)).save(photos / "day 2" / ".hidden" / "b.png")
    (photos / "day 2" / "cut.jpg").write_bytes((photos / "a.jpg").read_bytes()[:300])
    (photos / "notes.txt").write_text("no photo")
    looked = []
    original = inputs.FaceColumns.__call__
    monkeypatch.setattr(
        inputs.FaceColumns, "__call__", lambda self, images: (looked.extend(images), original(self, images))[1]
    )
    out = tmp_path / "out"
    for _ in range(2):  # a second time, over its own pictures
        del looked[:]
        code, figures, log = run_script(
            "predict", "--model", *models.values(), "--photos", photos, photos / "a.jpg", "--output_dir", out
        )
        assert code == 0, log
    assert len(looked) == 3
    assert figures["photos"] == 3
    assert [photo["file"] for photo in figures["failed"]] == ["day 2/cut.jpg"]
    assert figures["left_out"] == {str(photos): {".txt": 1, "hidden": 1}}
    assert "photos: left out 2 files: 1 hidden, 1 .txt" in log
    for each in figures["models"]:
        assert set(each["labels"]) == {"a.jpg", "day 2/a.JPG", "a.jpg-2"}
        folder = out / each["model"]
        assert (folder / "day 2" / "a.JPG.png").exists()
        told = (folder / "predictions.quarantine.jsonl").read_text()
        assert json.loads(told) == figures["failed"][0]
        table = read_predictions(folder / "predictions.parquet")
        assert table.faces.tolist() == [2, 1, 2]
        assert set(table.splits) == {"photos"}

    code, _, log = run_script("predict", "--model", models["scene"], "--photos", photos / "day 2" / ".hidden",
                              "--output", tmp_path / "hidden.parquet")  # fmt: skip
    assert code == 0, log  # named, a hidden folder is meant
    code, _, log = run_script(
        "predict", "--model", models["scene"], "--photos", models["scene"], "--output", out / "x"
    )
    assert (code, "no photos in" in log) == (2, True)


def test_pictures_of_a_stopped_run_are_ours(
    run_script: Callable, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "a.png"
    draw_photo(np.random.default_rng(2), "Positive", 2, size=(320, 240))[0].save(photo)
    call = ("predict", "--model", models["scene"], "--photos", photo, "--output_dir", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(PartialTable, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run_script(*call)[0] == 130
    assert (tmp_path / "out" / "a.png.png").exists()
    code, _, log = run_script(*call)
    assert code == 0, log


def test_faces_below_min_face_pixels_are_not_detected(
    run_script: Callable, models: dict[str, Path], tmp_path: Path
) -> None:
    image, _ = draw_photo(np.random.default_rng(3), "Positive", 3)
    (tmp_path / "photos").mkdir()
    image.save(tmp_path / "photos" / "a.png")
    call = ("predict", "--model", models["faces"], "--photos", tmp_path / "photos", "--device", "cpu")
    tables = {}
    for limit in (None, 20, 400):
        output = tmp_path / f"{limit}.parquet"
        options = () if limit is None else ("--min_face_pixels", limit)
        code, _, log = run_script(*call, "--output", output, *options)
        assert code == 0, log
        tables[limit] = read_predictions(output)
    np.testing.assert_array_equal(tables[None].faces, tables[20].faces)
    assert tables[None].faces[0] > tables[400].faces[0]
    code, _, log = run_script(*call, "--output", tmp_path / "11.parquet", "--min_face_pixels", 11)
    assert code == 2
    assert "--min_face_pixels: min_face_pixels must be 12" in log


@pytest.mark.slow
def test_videos(run_script: Callable, models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    write_cuts(folder / "party.mp4", [40, 90], 130)
    write_cuts(folder / "more" / "talk.avi", [60], 100, seed=9)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    call = ("predict", "--model", models["scene"], "--videos", folder, "--device", "cpu", "--output")
    code, figures, log = run_script(*call, tmp_path / "key.parquet")
    assert code == 0, log
    assert [video["file"] for video in figures["failed"]] == ["broken.mp4"]
    table = read_predictions(tmp_path / "key.parquet")
    assert set(table.splits) == {"videos"}
    names = ("more/talk.avi", "party.mp4")
    expected = [f"{name}/frame_{number:06d}" for name in names for number in key_frames(folder / name)]
    assert table.image_ids == expected
    assert len(expected) > 2
    assert set(table.groups) == set(names)

    assert run_script(*call, tmp_path / "fps.parquet", "--fps", 0.5)[0] == 0
    by_time = read_predictions(tmp_path / "fps.parquet").seconds
    assert by_time is not None
    assert by_time[:2] == [0.0, 2.0]
    assert run_script(*call, tmp_path / "every.parquet", "--every", 50)[0] == 0
    assert read_predictions(tmp_path / "every.parquet").image_ids == [
        "more/talk.avi/frame_000000", "more/talk.avi/frame_000050",
        "party.mp4/frame_000000", "party.mp4/frame_000050", "party.mp4/frame_000100",
    ]  # fmt: skip


def test_a_damaged_photo_of_a_dataset_is_set_aside(
    run_script: Callable, models: dict[str, Path], drawn_dataset: Path, tmp_path: Path
) -> None:
    import datasets

    data = datasets.load_dataset(str(drawn_dataset), split="test").cast_column("image", datasets.Image(decode=False))
    broken = data.map(lambda row, i: {"image": {**row["image"], "bytes": b"no photo"} if i == 2 else row["image"]},
                      with_indices=True, features=data.features).cast_column("image", datasets.Image())  # fmt: skip
    broken.to_parquet(tmp_path / "data" / "data" / "test-00000-of-00001.parquet")
    code, figures, log = run_script(
        "predict", "--model", models["scene"], "--dataset", tmp_path / "data", "--output", tmp_path / "t.parquet"
    )
    assert code == 0, log
    assert figures["photos"] == 5
    assert [photo["file"] for photo in figures["failed"]] == [data[2]["image_id"]]


def test_a_dataset_with_repeated_image_ids_is_refused_by_name(
    run_script: Callable, models: dict[str, Path], drawn_dataset: Path, tmp_path: Path
) -> None:
    (shard,) = (drawn_dataset / "data").glob("test-*")
    rows = pq.read_table(shard)
    (tmp_path / "repeated").mkdir()
    pq.write_table(pa.concat_tables([rows, rows[:1]]), tmp_path / "repeated" / "test-00000-of-00001.parquet")
    call = ("predict", "--model", models["scene"], "--dataset", tmp_path / "repeated", "--output", tmp_path / "t")
    code, _, log = run_script(*call)
    assert code == 2
    assert f"repeated: 1 image_ids occur in more than one row of test, for example {rows['image_id'][0]}" in log


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--dataset d --output a b", "--output needs a file for each model: 1, found 2"),
        ("--dataset d --output a --output_dir b", "not both"),
        ("--photos p --output a --every 3", "--every is for --videos"),
        ("--photos p --output a --fps 3", "--fps is for --videos"),
        ("--videos v --output a --fps 0", "a number above 0"),
        ("--videos v --output a --every 0", "--every must be 1 or more, not 0"),
        ("--dataset d --output a --min_face_pixels 40", "--min_face_pixels is for --photos and --videos"),
        ("--dataset d --photos p --output a", "give either --dataset"),
        ("--dataset d --output a --device tpu9x", "--device must be auto"),
    ],
)
def test_wrong_options(options: str, words: str, run_script: Callable, models: dict[str, Path]) -> None:
    code, _, log = run_script("predict", "--model", models["scene"], *options.split())
    assert code == 2
    assert words in log


def test_two_models_of_one_name(run_script: Callable, models: dict[str, Path], drawn_dataset: Path, tmp_path: Path):
    twice = ("--model", models["scene"], models["scene"])
    code, _, log = run_script("predict", *twice, "--dataset", drawn_dataset, "--output_dir", tmp_path / "out")
    assert (code, "two models are called the same" in log) == (2, True)


def test_only_photos_of_a_route(models: dict, drawn_dataset: Path, tmp_path: Path, run_script: Callable) -> None:
    asked = ("--model", models["scene"], "--dataset", drawn_dataset, "--split", "train", "validation")
    tables = {}
    for only in ("faces", "faceless", "4+"):
        code, last, log = run_script("predict", *asked, "--only", only, "--output", tmp_path / f"{only}.parquet")
        assert code == 0, log
        assert last["only"] == only
        tables[only] = read_predictions(tmp_path / f"{only}.parquet")
        assert tables[only].only == only
    code, last, _ = run_script("predict", *asked, "--output", tmp_path / "all.parquet")
    assert "only" not in last
    whole = read_predictions(tmp_path / "all.parquet")
    faces = dict(zip(whole.image_ids, whole.faces.tolist(), strict=True))
    assert set(tables["faces"].image_ids) == {name for name, count in faces.items() if count}
    assert set(tables["faceless"].image_ids) == {name for name, count in faces.items() if not count}
    assert set(tables["4+"].image_ids) == {name for name, count in faces.items() if count >= 4}


def test_faces_count_as_the_model_counts_them(
    models: dict, drawn_dataset: Path, tmp_path: Path, run_script: Callable
) -> None:
    torch.manual_seed(0)
    fusion = GerFusionForImageClassification(GerFusionConfig(**TINY, **LABELS))
    sure = save(tmp_path / "sure", fusion, columns=["face_features"], min_face_score=0.9999)
    asked = ("--dataset", drawn_dataset, "--split", "train")
    both = ("--model", models["scene"], sure, *asked)
    code, _, log = run_script("predict", *both, "--only", "faces", "--output_dir", tmp_path / "a")
    assert code == 2
    assert "the models count other faces: their min_face_score are 0.0, 0.9999; give one --min_face_score" in log
    code, _, log = run_script("predict", *both, "--output_dir", tmp_path / "b")
    assert code == 0, log
    counts = [read_predictions(tmp_path / "b" / f"{name}.parquet").faces for name in ("scene", "sure")]
    assert (counts[0] >= counts[1]).all()
    assert counts[0].sum() > counts[1].sum()
    least = ("--min_face_score", "0.9999")
    code, _, log = run_script("predict", *both, *least, "--only", "faceless", "--output_dir", tmp_path / "c")
    assert code == 0, log
    table = read_predictions(tmp_path / "c" / "scene.parquet")
    assert len(table) == (counts[1] == 0).sum()


def test_routes_that_cannot_be_predicted_on(
    models: dict, drawn_dataset: Path, tmp_path: Path, run_script: Callable
) -> None:
    output = ("--model", models["scene"], "--output", tmp_path / "t.parquet")
    code, _, log = run_script("predict", *output, "--dataset", drawn_dataset, "--only", "many")
    assert (code, "--only: a route must be faces" in log) == (2, True)
    code, _, log = run_script("predict", *output, "--dataset", drawn_dataset, "--only", "99")
    assert (code, "none of the 6 photos in the split 'test'" in log) == (2, True)
    code, _, log = run_script("predict", *output, "--photos", tmp_path, "--only", "faces")
    assert (code, "--only is for --dataset" in log) == (2, True)


def test_the_intact_part_of_a_video_is_predicted_and_listed(tmp_path: Path) -> None:
    path = write_cuts(tmp_path / "cut.webm", [20], 60, codec="libvpx")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    for every in (5, None):
        (part,), *_ = inputs.video_parts([path], every, lambda images: [{} for _ in images])
        quarantined: list[dict[str, str]] = []
        assert list(part.rows(quarantined))
        assert [line["file"] for line in quarantined] == ["cut.webm"]
        assert "incomplete: it ends after" in quarantined[0]["reason"]


def test_columns_of_encoders_named_as_those_of_frames() -> None:
    """`--features clip=hf:openai/clip-vit-base-patch16` is no clip of a video."""
    row = {"image_id": "a", "label": 0, "group": "a", "face_scores": [0.9]}
    answers, done = Answers(np.zeros((2, 3), np.float32), None), PartRows()
    _extend(done, [{**row, "clip": [0.1, 0.2], "seconds": [0.3]}, {**row, "clip": "12_3", "seconds": 1.5}], answers, 0)
    assert (done.clips, done.seconds) == ([None, "12_3"], [None, 1.5])
