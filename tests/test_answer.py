"""`group-emotion PHOTOS`: a line, a picture and a row for each photo, whatever the photos are."""

from __future__ import annotations

import csv
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_videos import write_sound, write_video
from PIL import Image
from transformers import AutoModelForImageClassification, pipeline

from ger_datasets.sample.drawing import draw_photo
from ger_datasets.support.commands import command, main
from ger_datasets.support.errors import UserError
from ger_models import STARTER, GerProcessor, GerSceneConfig, GerSceneForImageClassification, GroupEmotionPipeline
from ger_models.configuration_ger import EXPRESSIONS
from ger_models.evaluation.predictions import read_predictions
from ger_models.inference.answer_files import AnswerFolder, AnswerTable
from ger_models.inference.answers import Answer, answer_line, find_photos
from ger_models.inference.checkpoints import load_checkpoint, read_config
from ger_models.inference.face_marks import FaceMark, draw_faces, overlap, place_labels
from ger_models.inference.pictures import CLASSLESS_COLOUR

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {0: "Negative", 1: "Neutral", 2: "Positive"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """party.jpg with three people, team/ with one in a.jpg and b.png each and a text, people from behind, no photo."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "team" / ".hidden").mkdir(parents=True)
    rng = np.random.default_rng(3)
    draw_photo(rng, "Positive", 3, size=(480, 320))[0].save(folder / "party.jpg", quality=95)
    for name in ("a.jpg", "b.png"):
        draw_photo(rng, "Neutral", 1, size=(320, 240))[0].save(folder / "team" / name)
    draw_photo(rng, "Negative", 2, faces_visible=False, size=(320, 240))[0].save(folder / "hall.jpg")
    (folder / "team" / "notes.TXT").write_text("no photo")
    (folder / "team" / ".hidden" / "c.jpg").write_bytes((folder / "party.jpg").read_bytes())
    (folder / "broken.jpg").write_bytes(b"no photo at all")
    return folder


@pytest.fixture
def answer(
    run_here: Callable[..., tuple[int, list[str], str]], expression_checkpoint: Path, photos: Path
) -> Callable[..., tuple[int, list[str], str]]:
    """`answer("party.jpg", "--json")` in the folder of the photos: exit code, lines of stdout, stderr."""

    def call(*words: object) -> tuple[int, list[str], str]:
        return run_here(*words, "--model", expression_checkpoint, "--device", "cpu")

    return call


@pytest.fixture
def run_here(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str], str]]:
    """The command line in an empty folder, names of the photos made paths."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))

    def call(*words: object) -> tuple[int, list[str], str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(photos / str(word)) if (photos / str(word)).exists() else str(word) for word in words])
        printed = capsys.readouterr()
        return stop.value.code, printed.out.splitlines(), printed.err

    return call


def test_a_line_a_picture_and_a_row_for_each_photo(answer: Callable, photos: Path) -> None:
    code, lines, log = answer("party.jpg", "broken.jpg", "team", "hall.jpg", "missing.jpg", "--csv", "table.csv")
    assert code == 0, log
    assert [line.split()[0] for line in lines[:-1]] == [
        "party.jpg", "broken.jpg", "team/a.jpg", "team/b.png", "hall.jpg", "missing.jpg",
    ]  # fmt: skip
    assert lines[0].split()[1] in GROUPS.values()
    assert "  3 faces: " in lines[0]
    assert "broken.jpg   cannot be read: not an image in one of the formats JPEG" in lines[1]
    assert "  1 face: 1 " in lines[2]
    assert lines[4] == "hall.jpg     no face found: nothing is known"
    assert lines[5] == "missing.jpg  cannot be read: No such file or directory"
    figures = json.loads(lines[-1])
    assert (figures["photos"], figures["faces"], figures["nothing_known"]) == (4, 5, 1)
    assert sum(figures["predicted"].values()) == 3
    assert [failed["file"] for failed in figures["failed"]] == ["broken.jpg", "missing.jpg"]
    assert figures["left_out"] == {str(photos / "team"): {".txt": 1, "hidden": 1}}
    assert "team: left out 2 files: 1 hidden, 1 .txt" in log

    made = {path.relative_to("answers").as_posix() for path in Path("answers").rglob("*") if path.is_file()}
    assert made == {"answers.jsonl", "party.jpg", "hall.jpg", "team/a.jpg", "team/b.png.jpg"}
    for name in made - {"answers.jsonl"}:
        with Image.open(Path("answers") / name) as picture:
            assert picture.height > picture.width / 2
    with open("table.csv", newline="") as table:
        rows = {row["photo"]: row for row in csv.DictReader(table)}
    assert len(rows) == 6
    assert rows["party.jpg"]["label"] == lines[0].split()[1]
    assert sum(float(rows["party.jpg"][name]) for name in GROUPS.values()) == pytest.approx(1, abs=1e-5)
    assert sum(int(rows["party.jpg"][name]) for name in EXPRESSIONS) == int(rows["party.jpg"]["faces"]) == 3
    assert {rows["hall.jpg"][name] for name in ("label", "score", *GROUPS.values())} == {""}
    assert "nothing is known" in rows["hall.jpg"]["note"]
    assert rows["broken.jpg"]["error"].startswith("not an image")


def test_json_lines_alone(answer: Callable) -> None:
    code, lines, log = answer("party.jpg", "broken.jpg", "hall.jpg", "--json", "--output_dir", "none")
    assert code == 0, log
    party, broken, hall = map(json.loads, lines)
    assert set(party) == {"photo", "label", "score", "scores", "faces", "face_count", "note"}
    for face in party["faces"]:
        assert tuple(face["expressions"]) == EXPRESSIONS
        assert sum(face["expressions"].values()) == pytest.approx(1, abs=1e-5)
        assert face["attention"] == pytest.approx(1 / 3)
    assert set(broken) == {"photo", "error"}
    assert (hall["label"], hall["face_count"], hall["faces"]) == (None, 0, [])
    assert list(hall["scores"].values()) == pytest.approx([1 / 3] * 3)
    assert hall["note"] == "no face was found, so nothing is known about the group"
    assert not list(Path().iterdir())


def test_nothing_is_written_over(answer: Callable, photos: Path) -> None:
    for folder in ("answers", "answers-2", "answers-3"):
        code, lines, log = answer("party.jpg")
        assert code == 0, log
        assert json.loads(lines[-1])["pictures"] == folder
        assert (Path(folder) / "party.jpg").exists()
    Path("table.csv").write_text("mine")
    for words, told in (
        (("--csv", "table.csv"), "table.csv exists already"),
        (("--output_dir", photos), "is not empty"),
        (("--output_dir", "table.csv"), "table.csv cannot be made"),
    ):
        code, lines, log = answer("party.jpg", *words)
        assert (code, lines) == (2, [])
        assert told in log
    assert Path("table.csv").read_text() == "mine"
    code, lines, log = answer("team", "--output_dir", "new/pictures")
    assert code == 0, log
    assert Path("new/pictures/team/a.jpg").exists()


@pytest.mark.slow
def test_options_are_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("mine")
    for words, message in (
        (["--output_dir", ""], "--output_dir is empty"),
        (["--csv", "table.csv"], "table.csv exists already"),
        (["--device", "gpu one"], "--device must be auto"),
    ):
        code = (
            "import sys; from ger_datasets.support.command_line import run; import answer\n"
            f"try: run(answer.main, answer.Arguments, {['a.jpg', *words]!r})\n"
            "except SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
        )
        scripts = Path(__file__).parent.parent / "scripts"
        environment = {**os.environ, "PYTHONPATH": f"{scripts}{os.pathsep}{scripts.parent}"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.stdout.split() == ["2", "False"], done.stderr
        assert message in done.stderr


def test_json_makes_no_pictures_unless_asked(answer: Callable) -> None:
    code, _, log = answer("party.jpg", "--json")
    assert code == 0, log
    assert not list(Path().iterdir())
    code, _, log = answer("party.jpg", "--json", "--output_dir", "pictures")
    assert code == 0, log
    assert Path("pictures/party.jpg").exists()


def test_a_table_keeps_what_was_answered_before_an_interruption(
    answer: Callable, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = AnswerTable.add

    def interrupted(table: AnswerTable, told: Any) -> None:
        if told.name == "hall.jpg":
            raise KeyboardInterrupt
        add(table, told)

    monkeypatch.setattr(AnswerTable, "add", interrupted)
    words = ("party.jpg", "broken.jpg", "hall.jpg", "--csv", "table.csv", "--output_dir", "none")
    assert answer(*words)[0] == 130
    assert [path.name for path in Path().iterdir()] == ["table.csv.partial"]
    with open("table.csv.partial", newline="") as table:
        assert [row["photo"] for row in csv.DictReader(table)] == ["party.jpg", "broken.jpg"]
    code, _, log = answer(*words)
    assert code == 2
    assert "table.csv.partial holds the answers of an interrupted run" in log


def test_spreadsheets_calculate_nothing_and_animations_are_named(answer: Callable, photos: Path) -> None:
    with Image.open(photos / "team" / "a.jpg") as photo:
        photo.save("=1+1.gif", save_all=True, append_images=[photo.rotate(5), photo.rotate(9)])
    code, _, log = answer("=1+1.gif", "team", "--csv", "table.csv", "--output_dir", "none")
    assert code == 0, log
    with open("table.csv", newline="") as table:
        rows = {row["photo"]: row["note"] for row in csv.DictReader(table)}
    assert rows["'=1+1.gif"] == "an animation of 3 frames, of which one was used"
    assert rows["team/a.jpg"] == ""


def test_only_the_advice_to_name_a_model_is_silenced(starter: Path) -> None:
    logger = logging.getLogger("transformers.pipelines")

    def passes(message: str) -> bool:
        return bool(logger.filter(logger.makeRecord(logger.name, logging.WARNING, "", 0, message, (), None)))

    assert not passes(f"No model was supplied, defaulted to {STARTER} and revision main.")
    assert passes("No model was supplied, defaulted to some/model and revision main.")
    assert passes("Device set to use cpu")


def test_help_shows_photos_as_they_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["answer", "--help"])
    shown = capsys.readouterr().out
    assert "PHOTOS ... [options]" in shown
    assert "--photos" not in shown
    assert "default: None" not in shown
    assert "default: False" not in shown


def test_pictures_of_earlier_answers_are_no_photos(answer: Callable, photos: Path) -> None:
    Path("own.jpg").write_bytes((photos / "party.jpg").read_bytes())
    answer("own.jpg")
    code, lines, log = answer(Path.cwd(), "--output_dir", "none")
    assert code == 0, log
    figures = json.loads(lines[-1])
    assert figures["photos"] == 1
    assert figures["left_out"] == {str(Path.cwd()): {"earlier answers": 1}}


def test_no_photo_that_can_be_used(answer: Callable, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, lines, log = answer("broken.jpg", "empty")
    assert code == 2
    assert [line.partition("  ")[0] for line in lines] == ["broken.jpg", "empty"]
    assert log.splitlines()[-1].startswith("error: no photo can be used, of 2: broken.jpg: not an image")
    assert "empty: no photo in it: expected .avif" in log
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_commands_and_paths(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    scripts = ROOT / "scripts"
    assert command(["predict", "--help"]) == [str(scripts / "predict.py"), "--help"]
    assert command(["party.jpg", "team", "--json"]) == [str(scripts / "answer.py"), "party.jpg", "team", "--json"]
    assert command(["missing.jpg", "party.jpg"])[0] == str(scripts / "answer.py")
    assert command(["https://example.org/a.jpg"])[0] == str(scripts / "answer.py")
    (photos / "push").mkdir()
    assert command(["push"])[0] == str(scripts / "push.py")
    assert command(["./push"]) == [str(scripts / "answer.py"), "./push"]
    for words, told in {
        ("fly",): "'fly' is neither .* nor a command: the commands are answer, app, calibrate",
        ("fly", "--model", "team"): "'fly' is neither",
        ("--json", "party.jpg"): "--json comes first: name photos and folders first",
    }.items():
        with pytest.raises(UserError, match=told):
            command(words)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["fly"], ["--json", "a.jpg"]])
def test_what_needs_no_torch_does_not_wait_for_it(words: list[str]) -> None:
    code = "import sys, ger_datasets.support.commands as c\ntry: c.main(sys.argv[1:])\n"
    code += "finally: print([m for m in ('torch', 'transformers', 'numpy', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """As with `| head -1`: no traceback."""
    script = tmp_path / "lines.py"
    script.write_text(
        "import dataclasses\nfrom ger_datasets.support.command_line import run\n"
        "@dataclasses.dataclass\nclass Arguments:\n    lines: int = 9\n"
        "def main(arguments):\n    for i in range(arguments.lines):\n        print(i, flush=True)\n    return {}\n"
        "run(main, Arguments)\n"
    )
    command, pipe = [sys.executable, str(script)], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        process.stdout.close()
        log = process.stderr.read()
    assert (process.returncode, log) == (141, "")


def test_photos_are_told_apart_by_name(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "party.jpg").write_bytes(b"")
    found = find_photos(
        [
            str(photos / "party.jpg"),
            str(tmp_path / "party.jpg"),
            str(photos / "party.jpg"),
            "https://example.org/x/a.jpg?token=1",
        ]
    )
    assert list(found.places) == ["party.jpg", "party.jpg-2", "https://example.org/x/a.jpg"]
    assert found.places["https://example.org/x/a.jpg"].endswith("?token=1")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that does not look at faces."""
    folder = tmp_path_factory.mktemp("scene")
    torch.manual_seed(0)
    GerSceneForImageClassification(GerSceneConfig(backbone="test_resnet", id2label=GROUPS)).save_pretrained(folder)
    GerProcessor(resize_shorter=72, crop_size=64).save_pretrained(folder)
    return folder


def test_expressions_beside_another_models_answer(scene: Path, starter: Path, photos: Path) -> None:
    pipe = pipeline("group-emotion", model=str(scene), device="cpu")
    plain, told = pipe(photos / "party.jpg"), pipe(photos / "party.jpg", expressions=True)
    assert (plain["faces"], told["scores"]) == (None, plain["scores"])
    expected = pipeline("group-emotion", device="cpu")(photos / "party.jpg")
    assert told["face_count"] == 3
    for face, other in zip(told["faces"], expected["faces"], strict=True):
        assert face["expressions"] == pytest.approx(other["expressions"], abs=1e-5)
        assert "attention" not in face
    faceless = pipe(photos / "hall.jpg", expressions=True)
    assert (faceless["label"], faceless["note"]) == (plain["label"] and faceless["label"], "no face was found")
    assert faceless["label"] in GROUPS.values()


def test_the_pictures_are_one_face_each(answer: Callable, expression_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    face = draw_photo(np.random.default_rng(3), "Positive", 1)[0].crop((300, 100, 360, 190))
    face.save(tmp_path / "crops" / "1.png")
    code, lines, log = answer("crops", "--whole_face", "--json", "--output_dir", "none")
    assert code == 0, log
    (told,) = json.loads(lines[0])["faces"]
    assert (told["box"], told["score"]) == ([0, 0, 60, 90], 1)
    pipe = pipeline("group-emotion", model=str(expression_checkpoint), whole_face=True)
    assert pipe(face)["faces"][0]["expressions"] == pytest.approx(told["expressions"], abs=1e-5)


def test_predicting_on_whole_faces(
    run_script: Callable, photos: Path, expression_checkpoint: Path, tmp_path: Path
) -> None:
    command = ("predict", "--model", expression_checkpoint, "--photos", photos / "hall.jpg", "--output_dir")
    code, figures, log = run_script(*command, tmp_path / "found")
    assert code == 0, log
    assert figures["labels"] == {"hall.jpg": None}
    assert (sum(figures["predicted"].values()), figures["nothing_known"]) == (0, 1)
    code, figures, log = run_script(*command, tmp_path / "whole", "--whole_face")
    assert code == 0, log
    assert figures["labels"]["hall.jpg"] in GROUPS.values()
    assert "nothing_known" not in figures


def test_the_starter_answers_where_no_model_is_named(
    run_here: Callable, run_script: Callable, starter: Path, photos: Path, tmp_path: Path
) -> None:
    pipe = pipeline("group-emotion", device="cpu")
    assert isinstance(pipe, GroupEmotionPipeline)
    told = pipe(photos / "party.jpg")
    code, lines, log = run_here("party.jpg", "--json", "--output_dir", "none", "--device", "cpu")
    assert code == 0, log
    assert json.loads(lines[0])["scores"] == pytest.approx(told["scores"], abs=1e-5)
    code, figures, log = run_script("predict", "--photos", photos / "party.jpg", "--output_dir", tmp_path / "pictures")
    assert code == 0, log
    assert (figures["model"], figures["labels"]) == ("starter", {"party.jpg": told["label"]})
    (expressions,) = read_predictions(tmp_path / "pictures" / "predictions.parquet").face_expressions
    assert expressions == [pytest.approx(list(face["expressions"].values()), abs=1e-5) for face in told["faces"]]


def test_a_mistyped_model_is_refused_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ger_datasets.support.hub_connection.PROBE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        began = time.monotonic()
        with pytest.raises(UserError, match="there is no folder run/densenet here; as a Hub repository it could not"):
            load_checkpoint("run/densenet")
    assert time.monotonic() - began < 5


def test_the_starter_is_called_by_its_name(starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, processor = load_checkpoint("starter")
    assert [model.config.id2label[i] for i in range(3)] == list(GROUPS.values())
    assert model.dtype == AutoModelForImageClassification.from_pretrained(STARTER).dtype == torch.float32
    assert set(processor.row_columns) == {"face_boxes", "face_scores", "image"}
    assert tuple(read_config("starter").expressions) == EXPRESSIONS
    (tmp_path / "starter").mkdir()  # a folder that is called so is meant
    with pytest.raises(UserError, match=r"its config\.json cannot be read"):
        load_checkpoint("starter")


def test_only_what_the_model_reads_is_made(
    expression_checkpoint: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*arguments: object) -> None:
        raise AssertionError("not needed")

    for name in ("crop_faces", "align_faces", "sample_patches"):
        monkeypatch.setattr(f"ger_datasets.faces.columns.{name}", unexpected)
    pipe = pipeline("group-emotion", model=str(expression_checkpoint), device="cpu")
    assert [told["face_count"] for told in pipe([photos / "party.jpg", photos / "hall.jpg"])] == [3, 0]


def answered(weights: list[float], expressions: list[str]) -> dict:
    faces = [
        {"box": [10, 10, 40, 50], "score": 1.0, "attention": weight, "expressions": {name: 1.0, "other": 0.0}}
        for weight, name in zip(weights, expressions, strict=True)
    ]
    scores = {"Negative": 0.1, "Neutral": 0.1, "Positive": 0.8}
    return {"label": "Positive", "score": 0.8, "scores": scores, "faces": faces, "face_count": len(faces), "note": ""}


def test_marks_tell_weights_only_where_they_differ(tmp_path: Path, expression_checkpoint: Path) -> None:
    folder = AnswerFolder(tmp_path / "out", read_config(str(expression_checkpoint)))
    alike = folder.marks(answered([0.5, 0.5], ["happy", "surprise"]))
    assert [mark.texts for mark in alike] == [("happy",), ("surprise",)]
    assert alike[0].colour != alike[1].colour == CLASSLESS_COLOUR
    differing = folder.marks(answered([0.75, 0.25], ["happy", "sad"]))
    assert [mark.texts for mark in differing] == [("happy 75 %", "happy"), ("sad 25 %", "sad")]
    assert differing[0].colour == alike[0].colour != differing[1].colour
    told = answered([0.5, 0.5], ["happy", "happy"])
    assert answer_line(Answer("a.jpg", None, told)) == "a.jpg  Positive 0.80  2 faces: 2 happy"
    for face in told["faces"]:
        del face["expressions"]
    assert answer_line(Answer("a.jpg", None, told)) == "a.jpg  Positive 0.80  2 faces"


def test_labels_do_not_hide_each_other() -> None:
    """Twelve small faces in two close rows: each has its label, inside the picture, and none lies over another."""
    boxes = [(20 + 90.0 * i, y, 50 + 90.0 * i, y + 36.0) for i in range(6) for y in (30.0, 80.0)]
    marks = [FaceMark(box, ("happy 8 %", "happy")) for box in boxes]
    labels = place_labels(marks, boxes, line=2, picture_size=(600, 200))
    assert len(labels) == 12
    for i, label in enumerate(labels):
        assert overlap(label.place, [other.place for k, other in enumerate(labels) if k != i]) == 0
        assert label.place[0] >= 0
        assert label.place[3] <= 200
    picture = Image.new("RGB", (600, 200))
    draw_faces(picture, marks, 1.0)
    assert picture.getbbox() is not None


def test_a_crowd_in_no_room_is_drawn_all_the_same() -> None:
    boxes = [(10.0 * i, 10.0 * j, 10.0 * i + 8, 10.0 * j + 8) for i in range(20) for j in range(10)]
    marks = [FaceMark(box, ("surprise",)) for box in boxes]
    assert len(place_labels(marks, boxes, 2, (200, 100))) == 200
    assert place_labels([FaceMark((0, 0, 5, 5), ("happy",))], [(0, 0, 5, 5)], 2, (5, 5)) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["party.jpg", "--outputdir", "x"], "unknown option --outputdir: did you mean --output_dir?"),
        (["party.jpg", "--output_dir", "none", "hall.jpg"], "photos stand before the options"),
        (["party.jpg", " "], "an argument is empty"),
    ],
)
def test_a_wrong_command_line_is_one_line(answer: Callable, words: list[str], message: str) -> None:
    with_model = [*words, *([] if "--output_dir" in words else ["--output_dir", "none"])]
    code, _, err = answer(*with_model)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_face_that_is_not_counted_has_no_share_whatever_its_batch(starter: Path) -> None:
    rng = np.random.default_rng(4)
    image = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    boxes = [[5.0, 5.0, 40.0, 45.0], [50.0, 10.0, 80.0, 45.0], [10.0, 50.0, 40.0, 85.0]]
    unsure = {"image": image, "face_boxes": boxes[:2], "face_scores": [0.99, 0.71]}
    sure = {"image": image, "face_boxes": boxes, "face_scores": [0.99, 0.98, 0.97]}
    ask = pipeline("group-emotion", model=str(starter))
    (alone,) = ask([unsure])
    together = ask([unsure, sure], batch_size=2)[0]
    assert alone["face_count"] == together["face_count"] == 1
    for answered in (alone, together):
        assert [sorted(face) for face in answered["faces"]] == [
            ["attention", "box", "expressions", "score"],
            ["box", "score"],
        ]
    assert alone["scores"] == pytest.approx(together["scores"], abs=1e-5)


@pytest.mark.parametrize(
    ("photo", "reason"), [(np.zeros((8, 8, 3), np.uint8), "8 x 8 pixels"), (b"x", "not an image")]
)
def test_an_array_is_not_taken_for_a_list_of_photos(photo: object, reason: str, starter: Path) -> None:
    with pytest.raises(UserError, match=reason):
        pipeline("group-emotion", model=str(starter))(photo)


def test_a_video_gets_a_line_and_a_folder(
    run_here: Callable[..., tuple[int, list[str], str]], starter: Path, tmp_path: Path
) -> None:
    photo = draw_photo(np.random.default_rng(1), "Positive", 3, size=(320, 240))[0]
    write_video(tmp_path / "meeting.mp4", [np.asarray(photo)] * 50)
    write_sound(tmp_path / "sound.mp4")
    words = ("meeting.mp4", "sound.mp4", "--device", "cpu")
    code, lines, error = run_here(*words)
    assert code == 0, error
    assert lines[0] == "meeting.mp4  Positive 0.99 over 2 s: 1 segment, 3 people"
    assert lines[1] == "sound.mp4    cannot be read: it has no video, only sound"
    figures = json.loads(lines[2])
    assert figures["videos"][0]["folder"] == "timelines/meeting"
    assert figures["failed_videos"] == [{"file": "sound.mp4", "reason": "it has no video, only sound"}]
    assert (tmp_path / "timelines" / "meeting" / "timeline.html").exists()
    code, lines, error = run_here(*words, "--json")
    assert code == 0, error
    assert [json.loads(line).get("label") for line in lines] == ["Positive", None]
    assert run_here("sound.mp4", "--fps", "0")[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--blur_faces", "--csv", "answers.csv")], ids=["plain", "csv"])
def test_photos_and_videos_continue_after_an_interruption(
    words: tuple[str, ...], run_here: Callable, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted among the photos, then in the video: the same command ends as one that was never interrupted."""
    from ger_models.inference.answer_files import AnswerFolder
    from ger_models.timeline.reading import FrameReader

    for number in range(4):
        photo = draw_photo(np.random.default_rng(number), "Positive", 2, size=(320, 240))[0]
        photo.save(tmp_path / f"{number}.png")
    write_video(tmp_path / "meeting.mp4", [np.asarray(photo)] * 250)
    photos = [f"{number}.png" for number in range(4)]
    call = (*photos, "meeting.mp4", "--device", "cpu", "--batch_size", "1", *words)

    def interrupt(owner: type, name: str, after: int) -> None:
        original, calls = getattr(owner, name), []

        def stopping(*given: object) -> object:
            calls.append(1)
            if len(calls) > after:
                raise KeyboardInterrupt
            return original(*given)

        monkeypatch.setattr(owner, name, stopping)

    for owner, name, after in ((AnswerFolder, "add", 2), (FrameReader, "read", 5)):
        with monkeypatch.context() as patch:
            monkeypatch, outer = patch, monkeypatch
            interrupt(owner, name, after)
            assert run_here(*call, "--output_dir", "out")[0] == 130
            monkeypatch = outer
        with open(tmp_path / "out" / "answers.jsonl", "a") as record:
            record.write('{"photo": "cut')
    code, lines, error = run_here(*photos, "--output_dir", "out", "--device", "cpu")
    assert (code, "out is not empty" in error) == (2, True), "another command may not write there"
    code, lines, error = run_here(*call, "--output_dir", "out")
    assert code == 0, error
    assert "resuming an interrupted run: 4 photos are answered" in error
    (tmp_path / "answers.csv").exists() and (tmp_path / "answers.csv").rename(tmp_path / "first.csv")
    code, whole, error = run_here(*call, "--output_dir", "whole")
    assert code == 0, error
    assert lines[:-1] == whole[:-1]
    assert lines[-1].replace('"out', '"whole') == whole[-1]
    files = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")}
    assert {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")} == files
    for path in files:
        if path.suffix in (".jpg", ".jsonl", ".csv"):
            assert (tmp_path / "out" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes(), path
    assert not [path for path in files if path.name.startswith(".")]
    assert run_here(*call, "--output_dir", "out")[0] == 2, "it is finished"
