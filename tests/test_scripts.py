"""The scripts as a user meets them: the whole way, and every wrong turn."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ger_datasets.sample.drawing import draw_photo
from ger_datasets.support import command_line
from ger_models.evaluation.predictions import read_predictions

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


@pytest.fixture(scope="module")
def run_folder(drawn_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A features_crossvit checkpoint, one epoch old."""
    folder = tmp_path_factory.mktemp("runs") / "features_crossvit"
    command = [ROOT / "scripts" / "train.py", "--model", "features_crossvit", "--dataset", drawn_dataset]
    command += ["--output_dir", folder, "--epochs", "1"]
    subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, timeout=120)
    return folder


@pytest.mark.slow
def test_from_predictions_to_a_report(
    run_script: Callable, run_folder: Path, drawn_dataset: Path, tmp_path: Path
) -> None:
    table = tmp_path / "test.parquet"
    code, figures, log = run_script(
        "predict", "--model", run_folder, "--dataset", drawn_dataset, "--split", "test", "--output", table
    )
    assert code == 0, log
    assert figures["photos"] == 6
    assert "drawn test pattern" in log
    predictions = read_predictions(table)
    assert predictions.model == "features_crossvit"
    assert set(predictions.splits) == {"test"}
    assert sorted(predictions.labels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert predictions.faces is not None
    assert "drawn" in predictions.note

    code, scores, log = run_script("evaluate_predictions", "--predictions", table, "--output_dir", tmp_path / "report")
    assert code == 0, log
    assert next(iter(scores)) == "accuracy"
    assert scores["accuracy"] == pytest.approx((predictions.logits.argmax(1) == predictions.labels).mean())
    for name in ("report.html", "report.json", "confusion_matrix.png"):
        assert (tmp_path / "report" / name).stat().st_size > 1000


def test_batches_do_not_change_predictions(
    run_script: Callable, run_folder: Path, drawn_dataset: Path, tmp_path: Path
) -> None:
    tables = []
    for size in (1, 4):
        tables.append(tmp_path / f"{size}.parquet")
        where = ("--dataset", drawn_dataset, "--output", tables[-1], "--batch_size", size)
        assert run_script("predict", "--model", run_folder, *where)[0] == 0
    one, many = map(read_predictions, tables)
    assert one.image_ids == many.image_ids
    np.testing.assert_allclose(one.logits, many.logits, atol=1e-5)


@pytest.mark.slow
def test_photos_of_ones_own(run_script: Callable, run_folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    rng = np.random.default_rng(2)
    draw_photo(rng, "Positive", 3)[0].save(photos / "group.jpg")
    draw_photo(rng, "Negative", 2, faces_visible=False)[0].save(photos / "backs.png")
    draw_photo(rng, "Neutral", 1)[0].save(photos / "more" / "group.jpg")
    (photos / "broken.jpg").write_bytes(b"no photo at all")
    names = [photos / name for name in ("group.jpg", "backs.png", "more/group.jpg", "broken.jpg")]
    where = ("--output_dir", tmp_path / "pictures")
    for _ in range(2):  # a second time, over its own pictures
        code, figures, log = run_script("predict", "--model", run_folder, "--photos", *names, *where)
        assert code == 0, log
    assert set(figures["labels"]) == {"group.jpg", "group.jpg-2", "backs.png"}
    assert [photo["file"] for photo in figures["failed"]] == ["broken.jpg"]
    assert str(tmp_path) not in json.dumps(figures["failed"])
    predictions = read_predictions(tmp_path / "pictures" / "predictions.parquet")
    assert dict(zip(predictions.image_ids, predictions.faces.tolist(), strict=True)) == {
        "group.jpg": 3,
        "backs.png": 0,
        "group.jpg-2": 1,
    }
    for image_id in figures["labels"]:
        with Image.open(tmp_path / "pictures" / f"{image_id}.png") as picture:
            assert picture.height > picture.width / 2

    code, _, log = run_script("predict", "--model", run_folder, "--photos", *names, "--output_dir", photos)
    assert code == 2
    assert "is not empty" in log
    assert (photos / "broken.jpg").read_bytes() == b"no photo at all"

    code, _, log = run_script("predict", "--model", run_folder, "--photos", names[-1], *where)
    assert code == 2
    assert "none of the 1 photos can be used: broken.jpg: not an image" in log


def test_preparing_by_the_command_line(run_script: Callable, raw_folder: Path, tmp_path: Path) -> None:
    code, figures, log = run_script(
        "prepare",
        "--dataset",
        "gaf3",
        "--source",
        raw_folder,
        "--output",
        tmp_path / "out",
        "--num_proc",
        1,
        "--limit",
        2,
    )
    assert code == 0, log
    assert (figures["photos"], figures["rows"], figures["faceless"]) == (4, 4, 4)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("prepare --dataset gaf9 --source RAW --output OUT", ["unknown dataset 'gaf9'", "gaf3, sample"]),
        ("prepare --dataset gaf3 --source NOWHERE --output OUT", ["no folder", "train and val"]),
        ("prepare --dataset gaf3 --source RAW --output OUT --limit x", ["invalid int value: 'x'"]),
        ("prepare --dataset gaf3", ["required", "--source"]),
        ("prepare --dataset gaf3 --source RAW --output OUT --device tpu9x", ["--device must be auto"]),
        ("prepare --dataset gaf3 --source RAW --output OUT --detector eyes", ["face detector 'eyes'", "mtcnn"]),
        ("prepare --dataset gaf3 --source RAW --output OUT --split_by video", ["gaf3 has no option split_by"]),
        ("prepare --dataset gaf3 --source RAW --output OUT --skeletons NOWHERE", ["NOWHERE"]),
        ("prepare --dataset gaf3 --source RAW --output OUT --legacy NOWHERE", ["NOWHERE"]),
        ("prepare --dataset gaf3 --source RAW --output OUT --scene_model NOWHERE", ["no model can be loaded"]),
        ("push --dataset NOWHERE --repo me/x", ["NOWHERE"]),
        ("inspect_dataset NOWHERE", ["NOWHERE"]),
        ("train --model m --dataset DATA --output_dir OUT", ["unknown model 'm'", "features_crossvit"]),
        ("train --model features_crossvit --dataset NOWHERE --output_dir OUT", ["no folder", "prepare.py"]),
        ("train --model features_crossvit --dataset DATA --output_dir OUT --epochs 0", ["epochs must be more than 0"]),
        ("train --model features_crossvit --dataset DATA --output_dir DATA", ["is not empty"]),
        ("predict --model NOWHERE --dataset DATA --output OUT", ["no model can be loaded from"]),
        ("predict --model DATA --dataset DATA --output OUT", ["no model can be loaded from"]),
        ("predict --model RUN --dataset DATA --split dev --output OUT", ["no split 'dev'", "train, validation, test"]),
        ("predict --dataset DATA --output OUT --whole_face", ["--whole_face is for --photos"]),
        ("answer DATA --output_dir DATA", ["is not empty: choose another --output_dir, or none"]),
        ("answer DATA --batch_size 0", ["--batch_size must be 1 or more"]),
        ("answer DATA --csv NOWHERE/a.csv", ["there is no folder", "make it first"]),
        ("answer DATA --model NOWHERE", ["no model can be loaded from"]),
        ("predict --model RUN", ["either --dataset with --output, or --photos or --videos"]),
        ("predict --model RUN --dataset DATA", ["needs --output"]),
        ("predict --model RUN --photos a.jpg", ["needs --output_dir"]),
        ("predict --model RUN --photos NOWHERE --output_dir OUT", ["none of the 1 photos", "No such file"]),
        ("evaluate_predictions --predictions NOWHERE --output_dir OUT", ["NOWHERE"]),
        ("ensemble --predictions NOWHERE --method best --output_dir OUT", ["there is no method 'best'", "simplex"]),
        ("ensemble --predictions NOWHERE --weights -1e-3 .5 --output_dir OUT", ["NOWHERE"]),
        ("demo --output_dir DATA", ["is not empty"]),
        ("demo --output_dir OUT --train 1", ["--train and --test must be 3 or more"]),
    ],
)  # fmt: skip
def test_wrong_turns_end_in_one_clear_line(
    command: str, words: list[str], run_script: Callable, run_folder: Path, drawn_dataset: Path, raw_folder: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    places = {"RAW": raw_folder, "DATA": drawn_dataset, "RUN": run_folder, "OUT": tmp_path / "out"}
    places["NOWHERE"] = tmp_path / "NOWHERE"
    name, *arguments = [str(places.get(word, word)) for word in command.split()]
    code, figures, log = run_script(name, *arguments)
    assert (code, figures) == (2, None)
    lines = [line for line in log.replace("\r", "\n").splitlines() if "error: " in line]
    assert len(lines) == 1, log
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in log


@pytest.mark.slow
def test_the_exit_code_of_a_real_process(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "train.py"),
        "--model",
        "m",
        "--dataset",
        "d",
        "--output_dir",
        "o",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("error: unknown model 'm'")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_explains_every_option(name: str, load_script: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    from ger_datasets.support.command_line import run

    module = load_script(name)
    with pytest.raises(SystemExit) as stop:
        run(module.main, module.Arguments, ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert module.__doc__.split("\n")[0].split()[0] in text
    first = getattr(module.Arguments, "first", None)
    for option in dataclasses.fields(module.Arguments):
        shown = f"{option.name.upper()} ..." if option.name == first else f"--{option.name}"
        assert shown in text
        assert len(option.metadata["help"]) > 15, option.name


def test_interrupting_is_no_success(run_script: Callable, monkeypatch: pytest.MonkeyPatch, raw_folder: Path) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ger_datasets.records.read_photo", interrupted)
    code, figures, _ = run_script(
        "prepare", "--dataset", "gaf3", "--source", raw_folder, "--output", raw_folder / "out", "--num_proc", 1
    )
    assert (code, figures) == (130, None)


def test_an_interrupt_that_a_library_loses_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    """Python drops exceptions of callbacks and finalisers, such as this one's."""

    class Finalised:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):  # the signal's handler runs amid these
                pass

    @dataclasses.dataclass
    class Arguments:
        pass

    def main(arguments: Arguments) -> dict:
        hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
        try:
            Finalised()
        finally:
            sys.unraisablehook = hook
        return {"done": True}

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as stop:
            command_line.run(main, Arguments, [])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert stop.value.code == 130
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_real_faces_are_learned(shared: Path, run_script: Callable, tmp_path: Path) -> None:
    """Group photos composed of real faces with real expressions: a small training set lifts accuracy off chance."""
    raw, dataset, model, table = (tmp_path / name for name in ("raw", "gaf3", "run", "test.parquet"))
    tool = [sys.executable, shared / "tools" / "make_collages.py", "--source", shared / "data" / "expressions"]
    sizes = ["--out", raw, "--train", "60", "--val", "15", "--test", "45"]
    subprocess.run([str(word) for word in (*tool, *sizes)], check=True, capture_output=True)
    steps = [
        ("prepare", "--dataset", "gaf3", "--source", raw, "--output", dataset, "--num_proc", 1),
        ("train", "--model", "features_crossvit", "--dataset", dataset, "--output_dir", model),
        ("predict", "--model", model, "--dataset", dataset, "--split", "test", "--output", table),
        ("evaluate_predictions", "--predictions", table, "--output_dir", tmp_path / "report"),
    ]
    for step in steps:
        code, figures, log = run_script(*step)
        assert code == 0, log
    assert figures["accuracy"] >= 0.6, figures
    assert figures["note"] == ""


@pytest.mark.parametrize("name", ["train", "predict"])
def test_threads_are_told_how_to_wait_before_torch_comes(name: str) -> None:
    tree = ast.parse((ROOT / "scripts" / f"{name}.py").read_text("utf-8"))
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert ast.unparse(imports[1]) == "import ger_datasets.support.cpu_cores"  # the first is __future__
    code = (
        "import os, sys, ger_datasets.support.cpu_cores; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    for given, told in ((None, "PASSIVE False"), ("ACTIVE", "ACTIVE False")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        environment |= {"OMP_WAIT_POLICY": given} if given else {}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
        assert done.stdout.strip() == told, done.stderr
