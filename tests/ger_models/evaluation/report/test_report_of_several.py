"""The report on several models and splits: what it says, what it marks, its card, the ensemble and the submission."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from several_models import GRID, LANDSCAPE, NAMES, SPLITS, WEIGHTS, models, pictures

from ger_datasets.preparation.run import prepare
from ger_datasets.schema import EXPRESSIONS
from ger_datasets.support.errors import UserError
from ger_models.encoders.face_expressions import CheckpointExpressions
from ger_models.evaluation.ensemble.applying import apply
from ger_models.evaluation.ensemble.ensemble import Ensemble
from ger_models.evaluation.predictions import write_predictions
from ger_models.evaluation.report.card import add_to_card
from ger_models.evaluation.report.mistakes import Picture, drawing, mistakes_about
from ger_models.evaluation.report.shown_photos import read_pictures
from ger_models.evaluation.report.writing import SELECTION_NOTE, make_report, write_report
from ger_models.evaluation.submission import write_submission


def test_every_model_on_every_split() -> None:
    given = models()
    report = make_report(given, SPLITS, ensemble=LANDSCAPE)
    results = [report, *report["others"]]
    assert [(each["split"], each["model"]) for each in results] == [
        (split, model) for split in SPLITS for model in ("ensemble", *LANDSCAPE["members"])
    ]
    for result in results:
        chosen = next(each for each in given if each.model == result["model"]).select(result["split"])
        assert result["metrics"]["accuracy"] == pytest.approx((chosen.logits.argmax(1) == chosen.labels).mean())
    assert report["ensemble"] == LANDSCAPE
    json.dumps(report, allow_nan=False)

    pairs = [pair for pair in report["comparisons"] if pair["split"] == "test"]
    assert len(pairs) == 6
    assert pairs[0]["models"] == ["faces", "ensemble"]
    accuracy = {each["model"]: each["metrics"]["accuracy"] for each in results[:4]}
    assert pairs[0]["difference"] == pytest.approx(accuracy["ensemble"] - accuracy["faces"])


def test_agreement() -> None:
    first, second = models()[1:3]
    report = make_report([first, second], "test")
    one, other = (each.select("test") for each in (first, second))
    said = [each.logits.argmax(1) for each in (one, other)]
    (told,) = report["agreement"]
    assert told["models"] == ["faces", "scene"]
    assert told["agree"][0][1] == told["agree"][1][0] == pytest.approx((said[0] == said[1]).mean())
    assert told["both_wrong"][0][1] == ((said[0] != one.labels) & (said[1] != one.labels)).sum()
    assert told["both_wrong"][1][1] == (said[1] != one.labels).sum()


def test_rows_in_another_order_are_joined_by_id() -> None:
    first, second = models()[1:3]
    order = np.random.default_rng(0).permutation(len(second))
    straight, shuffled = make_report([first, second], SPLITS), make_report([first, second.take(order)], SPLITS)
    assert straight["others"] == shuffled["others"]
    assert straight["agreement"] == shuffled["agreement"]


def test_frames_of_one_video_are_drawn_together() -> None:
    alone = models()[1]
    grouped = replace(alone, groups=[f"video {row // 10}" for row in range(len(alone))])
    assert make_report(alone, "test")["metrics"]["groups"] is None
    assert make_report(replace(alone, groups=alone.image_ids), "test")["metrics"]["groups"] is None
    assert make_report(grouped, "test")["metrics"]["groups"] == 8


def test_a_choice_on_the_reported_split_is_marked_everywhere(tmp_path: Path) -> None:
    write_report(tmp_path, models(), "validation", ensemble=LANDSCAPE)
    report = json.loads((tmp_path / "report.json").read_text())
    said = SELECTION_NOTE.format(model="ensemble", split="validation")
    assert report["selection_on_report"] is True
    assert not any(other["selection_on_report"] for other in report["others"])
    assert report["note"].startswith(said)
    page = (tmp_path / "report.html").read_text()
    assert page.index(said) < page.index("<h1>")
    card = (tmp_path / "card.md").read_text()
    metadata, body = card.split("---\n")[1:3]
    assert all("(chosen on this split)" in found.metric_name for found in ModelCard(card).data.eval_results)
    assert said in yaml.safe_load(metadata)["notice"]
    assert body.strip().startswith("> **" + said)

    both = make_report(models(), SPLITS, ensemble=LANDSCAPE)
    assert [each["selection_on_report"] for each in (both, *both["others"])] == [False] * 4 + [True] + [False] * 3
    assert said in both["note"]
    assert said in make_report(models(), SPLITS, "mine", ensemble=LANDSCAPE)["note"]
    unnamed = {"members": LANDSCAPE["members"], "weights": WEIGHTS, "selection_on_report": True}
    assert make_report(models(), "test", ensemble=unnamed)["selection_on_report"] is True
    assert make_report(models(), "test", ensemble=LANDSCAPE)["note"] == ""


def test_the_card_is_what_the_hub_reads(tmp_path: Path) -> None:
    report = write_report(tmp_path, models(), SPLITS, dataset="org/gaf3")
    card = ModelCard.load(tmp_path / "card.md")
    found = {(each.dataset_split, each.metric_type): each for each in card.data.eval_results}
    assert card.data.model_name == "ensemble"
    assert {split for split, _ in found} == set(SPLITS)
    accuracy = found["test", "accuracy"]
    assert accuracy.metric_value == report["metrics"]["accuracy"]
    assert (accuracy.dataset_type, accuracy.task_type) == ("org/gaf3", "image-classification")
    assert "| skeletons | validation |" in card.text
    assert "\\*\\*" not in card.text


def test_figures_go_into_a_card_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("---\nlicense: mit\ntags:\n- mine\n---\n\n# My model\n\nProse.\n")
    add_to_card(path, make_report(models()[1], "validation"), "org/gaf3")
    add_to_card(path, make_report(models()[1], "test"), "org/gaf3")
    once = path.read_text()
    add_to_card(path, make_report(models()[1], "test"), "org/gaf3")
    assert path.read_text() == once
    card = ModelCard(once)
    assert (card.data.license, card.data.tags) == ("mit", ["mine"])
    assert {each.dataset_split for each in card.data.eval_results} == set(SPLITS)
    figures = {path.name: yaml.safe_load(path.read_text()) for path in (tmp_path / ".eval_results").iterdir()}
    assert set(figures) == {"org--gaf3_test.yaml", "org--gaf3_validation.yaml"}
    (entry,) = parse_eval_result_entries(figures["org--gaf3_test.yaml"])
    accuracy = make_report(models()[1], "test")["metrics"]["accuracy"]
    assert (entry.dataset_id, entry.task_id, entry.value) == ("org/gaf3", "test", pytest.approx(accuracy, abs=1e-4))
    assert card.text.count("## Evaluation") == 1
    assert card.text.index("Prose.") < card.text.index("### faces on test")
    with pytest.raises(UserError, match="not a model card"):
        add_to_card(tmp_path / "none.md", make_report(models()[1], "test"))


def test_figures_that_flatter_are_no_results_of_the_hub(tmp_path: Path) -> None:
    """Neither those on the split that chose the weights, nor those on a dataset that is not on the Hub."""
    (tmp_path / "README.md").write_text("# My model\n")
    add_to_card(tmp_path / "README.md", make_report(models(), "test"), "gaf3")
    assert not (tmp_path / ".eval_results").exists()
    add_to_card(tmp_path / "README.md", make_report(models(), SPLITS, ensemble=LANDSCAPE), "org/gaf3")
    assert [path.name for path in (tmp_path / ".eval_results").iterdir()] == ["org--gaf3_test.yaml"]


def test_names_in_the_card_are_text(tmp_path: Path) -> None:
    evil = "a | b <script> [x](y) **\n# c"
    given = models(names=("x`", evil, "&amp;"), model=evil, note=evil)[1]
    write_report(tmp_path, given, "test")
    card = ModelCard.load(tmp_path / "card.md")
    assert card.data.model_name == evil
    assert "<script>" not in card.text
    assert "\n# c" not in card.text
    assert "| a \\| b &lt;script\\> " in card.text


def test_pictures_stand_once_and_are_escaped(tmp_path: Path) -> None:
    evil = '"><img src=x>'
    given = [replace(each, image_ids=[evil + name for name in each.image_ids]) for each in models()]
    report = write_report(tmp_path, given, "test", show=pictures, most_mistakes=6)
    page = (tmp_path / "report.html").read_text()
    ids = {mistake["image_id"] for each in (report, *report["others"]) for mistake in each["mistakes"]}
    assert page.count("data:image/jpeg;base64,") == len(ids) - 1
    assert page.count("<figure>") == 4 * 6
    assert "cannot be shown: damaged: &lt;b&gt;" in page
    assert "<img" not in page
    assert ">40%</text>" in page
    assert "data:image" not in json.dumps(report)


def test_the_triangle_marks_the_chosen_and_the_best(tmp_path: Path) -> None:
    write_report(tmp_path, models(), "test", ensemble=LANDSCAPE)
    page = (tmp_path / "report.html").read_text()
    assert page.count('<use class="fill"') == len(GRID)
    assert page.count('class="chosen"') == page.count('class="best"') == 1
    assert "Found by simplex on the split validation" in page
    write_report(tmp_path, models()[:3], "test", ensemble={**LANDSCAPE, "members": ["a", "b"], "weights": [0.5, 0.5]})
    assert 'class="best"' not in (tmp_path / "report.html").read_text()


def test_weighted_logits() -> None:
    members = models()[1:]
    together = apply(Ensemble("given", weights=[0.5, 0.25, 0.25]), members, SPLITS)
    logits = sum(weight * member.logits for weight, member in zip(WEIGHTS, members, strict=True))
    np.testing.assert_allclose(together.logits, logits, atol=1e-6)
    assert together.image_ids == members[0].image_ids
    assert apply(Ensemble("given", weights=[1, 0, 0]), members, ["validation"]).split_names == ["validation"]
    for weights, words in (([1, 1], "each of the 3"), ([1, None, 1], "finite"), ([0, 0, 0], "all be 0")):
        with pytest.raises(UserError, match=words):
            Ensemble("given", weights=weights, members=LANDSCAPE["members"])


def test_reading_an_ensemble(tmp_path: Path) -> None:
    path = tmp_path / "ensemble.json"
    path.write_text(json.dumps(LANDSCAPE))
    content = Ensemble.read(path).to_dict()
    assert {name: content[name] for name in LANDSCAPE} == LANDSCAPE
    Ensemble.read(path).write(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == content
    lost = json.dumps({**LANDSCAPE, "landscape": {"weights": [[1, 0, 0]], "accuracy": []}})
    for content, words in (
        ('{"members": ["a"], "weights": ["x"]}', "weights must be finite numbers"),
        (lost, "landscape must hold"),
        ('{"members": ["a"], "weights": null}', "stacking must have"),
        ('{"members": ["a"], "weights": [NaN]}', "weights must be finite numbers"),
        ('{"members": "a", "weights": [1]}', "list of members"),
        ('{"members": ["a"], "weights": [1], "on": "faces"}', "on must be logits"),
        ('{"members": ["a"], "weights": null, "coefficients": [[[1, 2]]], "intercept": [1]}', "stacking must have"),
        (
            '{"members": ["a"], "weights": null, "coefficients": [[[1]], [[1]]], "intercept": [1]}',
            "stacking must have",
        ),
        ('{"members": ["a"], "weights": null, "coefficients": [[["x"]]], "intercept": [1]}', "stacking must have"),
        ('{"members": ["a"], "weights": null, "coefficients": [[1]], "intercept": [1]}', "stacking must have"),
        ("[]", "not an ensemble"),
        ("{", "not"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=words):
            Ensemble.read(path)


def test_a_submission(run_script: Callable, tmp_path: Path) -> None:
    given = models()[1]
    withheld = replace(given, labels=np.full(len(given), -1), image_ids=[f"challenge/test_{i}" for i in range(160)])
    write_predictions(tmp_path / "t.parquet", withheld)
    command = ("evaluate_predictions", "--predictions", tmp_path / "t.parquet", "--split", "test")
    code, figures, log = run_script(*command, "--submission", tmp_path / "upload")
    assert code == 0, log
    assert figures["submission"] == str(tmp_path / "upload")
    files = sorted((tmp_path / "upload").iterdir())
    assert {path.name for path in files} == {f"test_{i}.txt" for i in range(80)}
    for i in (0, 79):
        expected = NAMES[withheld.logits[i].argmax()]
        assert (tmp_path / "upload" / f"test_{i}.txt").read_text() == f"{expected}\n"

    before = {path: path.read_bytes() for path in files}
    code, _, log = run_script(*command, "--submission", tmp_path / "upload")
    assert (code, "is not empty: nothing was overwritten" in log) == (2, True)
    assert {path: path.read_bytes() for path in files} == before


def test_a_submission_is_of_one_model_and_one_split(run_script: Callable, tmp_path: Path) -> None:
    tables = [tmp_path / f"{each.model}.parquet" for each in models()[1:]]
    for table, each in zip(tables, models()[1:], strict=True):
        write_predictions(table, each)
    upload = ("--submission", tmp_path / "upload")
    for asked, words in (
        ((*tables, "--split", "test"), "of one model, not of faces, scene, skeletons"),
        ((tables[0], "--split", *SPLITS), "of one split, not of test, validation"),
    ):
        code, _, log = run_script(
            "evaluate_predictions", "--predictions", *asked, *upload, "--output_dir", tmp_path / "report"
        )
        assert (code, words in log) == (2, True), log
        assert sorted(tmp_path.iterdir()) == sorted(tables)
    combined = ("--predictions", *tables, "--split", "test", "--weights", -1, 5, 2.5)
    code, figures, log = run_script("evaluate_predictions", *combined, *upload)
    assert code == 0, log
    assert figures["model"] == "ensemble"
    logits = sum(weight * each.logits for weight, each in zip((-1, 5, 2.5), models()[1:], strict=True))
    said = [(tmp_path / "upload" / f"{row}.txt").read_text().strip() for row in range(80)]
    assert said == [NAMES[best] for best in logits[:80].argmax(1)]


def test_submissions_that_are_refused(tmp_path: Path) -> None:
    given = models()[1]
    doubled = replace(given, image_ids=[f"{i % 2}/{i // 2}.jpg" for i in range(160)])
    with pytest.raises(UserError, match=r"80 names occur more than once \(0, 1, 2 and 77 more\)"):
        write_submission(tmp_path / "a", doubled)
    with pytest.raises(UserError, match="160 of 160 rows have no file name"):
        write_submission(tmp_path / "a", replace(given, image_ids=[f"row {i} of test" for i in range(160)]))
    for name in ("a\0b.jpg", "a\nb", "folder/", "folder/.."):
        with pytest.raises(UserError, match="1 of 160 photos have a name that no file should have"):
            write_submission(tmp_path / "a", replace(given, image_ids=[name, *given.image_ids[1:]]))
    assert not list(tmp_path.iterdir())


def test_negative_weights_are_shown_in_full(tmp_path: Path) -> None:
    ensemble = {"method": "given", "members": ["a", "b"], "weights": [-5, 2.5]}
    write_report(tmp_path, models()[:3], "test", ensemble=ensemble)
    page = (tmp_path / "report.html").read_text()
    assert '<i style="width:100.00%"></i></span><b>-5</b>' in page
    assert '<i style="width:50.00%"></i></span><b>2.5</b>' in page
    assert "-5 |" in (tmp_path / "card.md").read_text()


def test_the_script_on_several_tables(run_script: Callable, tmp_path: Path) -> None:
    tables = [tmp_path / f"{each.model}.parquet" for each in models()[1:]]
    for table, each in zip(tables, models()[1:], strict=True):
        write_predictions(table, each)
    command = ("evaluate_predictions", "--predictions", *tables, "--output_dir", tmp_path / "report")
    code, figures, log = run_script(*command, "--split", *SPLITS, "--weights", 0.5, 0.25, 0.25)
    assert code == 0, log
    assert next(iter(figures)) == "accuracy"
    assert figures["model"] == "ensemble"
    assert [(each["split"], each["model"]) for each in figures["others"]][:4] == [
        ("test", "faces"), ("test", "scene"), ("test", "skeletons"), ("validation", "ensemble"),
    ]  # fmt: skip

    path = tmp_path / "ensemble.json"
    path.write_text(json.dumps({**LANDSCAPE, "select": "test"}))
    code, marked, log = run_script(*command, "--split", "test", "--ensemble", path)
    assert code == 0, log
    assert marked["accuracy"] == figures["accuracy"]
    assert marked["selection_on_report"] is True
    assert SELECTION_NOTE.format(model="ensemble", split="test") in log

    code, turned, log = run_script(
        "evaluate_predictions", "--predictions", *tables[::-1], *command[5:], "--split", "test", "--ensemble", path
    )
    assert code == 0, log
    assert turned["accuracy"] == figures["accuracy"]
    path.write_text(json.dumps({**LANDSCAPE, "members": ["faces", "scene", "other"]}))

    for wrong, words in (
        (("--split", "test", "--ensemble", path), "the ensemble is of faces, scene, other"),
        (("--split", "test", "--weights", 1), "one for each of the 3 members"),
        (("--split", "test", "--weights", 1, "--ensemble", path), "not both"),
        ((), "choose one with --split"),
        (("--split", "dev"), "dev"),
    ):
        code, _, log = run_script(*command, *wrong)
        assert (code, words in log) == (2, True), log


def test_the_mistakes_of_a_dataset_are_shown(run_script: Callable, drawn_dataset: Path, tmp_path: Path) -> None:
    data = datasets.load_dataset(str(drawn_dataset), split="train")
    logits = np.eye(3)[(np.array(data["label"]) + 1) % 3]
    names = [image_id.rpartition("/")[2] + ".jpg" for image_id in data["image_id"]]  # as in the original's archives
    given = replace(
        models(9)[1], image_ids=names, splits=["train"] * 18, labels=np.array(data["label"]), logits=logits,
        faces=None, face_attention=None,
    )  # fmt: skip
    write_predictions(tmp_path / "t.parquet", given)
    command = ("evaluate_predictions", "--predictions", tmp_path / "t.parquet", "--dataset", drawn_dataset)
    code, figures, log = run_script(*command, "--output_dir", tmp_path / "report", "--most_mistakes", 5)
    assert code == 0, log
    assert figures["accuracy"] == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == page.count("<figure>") == 5
    assert '<rect class="face"' in page
    assert "The words at the faces" not in page
    code, _, log = run_script(*command, "--output_dir", tmp_path / "bare", "--without_images")
    assert code == 0, log
    assert "data:image" not in (tmp_path / "bare" / "report.html").read_text()


def test_expressions_stand_at_the_faces() -> None:
    picture = Picture(b"jpeg", 200, 100, [[10, 20, 40, 60], [80, 20, 110, 60]], expressions=["happy", "sad & <b>"])
    mistake = {"image_id": "a", "prediction": "Positive", "label": "Neutral", "probability": 0.9}
    mistake["probability_of_label"] = 0.1
    assert "The words at the faces are their expressions" in mistakes_about([mistake], 1, {"a": picture})
    shown = drawing(picture, 0, [], "a")
    assert ">happy</text>" in shown
    assert ">sad &amp; &lt;b&gt;</text>" in shown
    assert ">75% happy</text>" in drawing(picture, 0, [0.75, 0.25], "a")


def test_boxes_that_did_not_count_are_thin_and_grey() -> None:
    picture = Picture(b"jpeg", 200, 100, [[10, 20, 40, 60], [80, 20, 110, 60]], expressions=["happy", "sad"])
    shown = drawing(picture, 0, [], "a", faces=1)
    assert shown.count('class="face"') == shown.count('class="faint"') == 1
    assert ">happy</text>" in shown
    assert "sad" not in shown


def test_the_expressions_of_a_dataset_are_read(drawn_raw: Path, expression_checkpoint: Path, tmp_path: Path) -> None:
    reader = CheckpointExpressions(str(expression_checkpoint))
    prepare("sample", drawn_raw, tmp_path / "data", num_proc=1, limit=3, sources=[reader])
    data = datasets.load_dataset(str(tmp_path / "data"), split="test")
    pictures = read_pictures(str(tmp_path / "data"), ["test"], data["image_id"][:])
    told = 0
    for row in data:
        names = [EXPRESSIONS[np.argmax(shares)] for shares in row["face_expressions"]]
        assert pictures[row["image_id"]].expressions == names
        told += len(names)
    assert told


@pytest.mark.slow
def test_the_published_ensemble(run_script: Callable, shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "published_outputs"
    archives = [folder / f"model{model}_output_data.npz" for model in ("1", "2", "3", "4_1", "5")]
    command = ("evaluate_predictions", "--predictions", *archives, "--weights", 0.3, 0, 0, 0.2, 0.5)
    code, figures, log = run_script(*command, "--split", "test", "validation", "--output_dir", tmp_path / "report")
    assert code == 0, log
    assert figures["accuracy"] == 0.796
    others = {(each["split"], each["model"]): round(each["accuracy"], 4) for each in figures["others"]}
    assert others["validation", "ensemble"] == 0.7791
    assert [others["test", f"model{i}"] for i in range(1, 6)] == [0.749, 0.679, 0.652, 0.64, 0.763]
