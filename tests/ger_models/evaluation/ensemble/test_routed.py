"""Routed ensembles of tables and archives: who answers which photo, what is refused, and the figures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ger_datasets.support.errors import UserError
from ger_models.evaluation.ensemble.routed import answer_by_route, by_route
from ger_models.evaluation.joining import read_members
from ger_models.evaluation.predictions import Predictions, read_predictions, write_predictions

NAMES = ("Negative", "Positive")
COUNTS = [0, 1, 2, 0, 5, 3, 0, 4]  # faces of each photo
ROWS = len(COUNTS)


def table(model: str, seed: int = 0, split: str = "test", faces: list[int] | None = None) -> Predictions:
    """A model's answers to all photos of a split."""
    logits = np.random.default_rng(seed).normal(size=(ROWS, 2)).astype(np.float32)
    ids = [f"{split}/{row}" for row in range(ROWS)]
    labels = np.arange(ROWS) % 2
    return Predictions(ids, [split] * ROWS, labels, logits, model, NAMES, np.array(faces or COUNTS))


def both(model: str, seed: int, faces: list[int] | None = None) -> Predictions:
    """The same of validation and test."""
    parts = [table(model, seed, "validation", faces), table(model, seed + 10, "test", faces)]
    return Predictions(
        image_ids=[image_id for part in parts for image_id in part.image_ids],
        splits=[split for part in parts for split in part.splits],
        labels=np.concatenate([part.labels for part in parts]),
        logits=np.concatenate([part.logits for part in parts]),
        model=model,
        class_names=NAMES,
        faces=np.concatenate([part.faces for part in parts]),
    )


def by_id(predictions: Predictions) -> dict[str, list[float]]:
    return dict(zip(predictions.image_ids, predictions.logits.tolist(), strict=True))


def test_each_photo_is_answered_by_its_route() -> None:
    a, b, c = table("a", 1), table("b", 2), table("c", 3)
    whole = answer_by_route(["1-3", "faceless", "4+"], [a, b, c], "test")
    expected = {
        image_id: by_id((b, a, a, a, c, c)[count])[image_id]
        for image_id, count in zip(a.image_ids, COUNTS, strict=True)
    }
    assert by_id(whole) == expected
    assert whole.routes == ["1-3"] * 3 + ["faceless"] * 3 + ["4+"] * 2
    assert whole.faces.tolist() == [1, 2, 3, 0, 0, 0, 5, 4]
    figures = by_route(whole)
    assert [(each["route"], each["rows"]) for each in figures] == [("1-3", 3), ("faceless", 3), ("4+", 2)]
    right = (whole.logits.argmax(1) == whole.labels)[:3].mean()
    assert figures[0]["accuracy"] == pytest.approx(right)


def test_tables_of_their_routes_alone_say_the_same() -> None:
    a, b = table("a", 1), table("b", 2)
    whole = answer_by_route(["faces", "faceless"], [a, b], "test")
    apart = answer_by_route(["faces", "faceless"], [a.chosen("faces"), b.chosen("faceless")], "test")
    assert by_id(apart) == by_id(whole)
    assert apart.only == ""
    other_order = answer_by_route(["faces", "faceless"], [a.take([7, 1, 2, 5, 4]), b], "test")
    assert by_id(other_order) == by_id(whole)


def archive(path, seed: int, rows: dict[str, int], model: str = "model", **arrays: np.ndarray):
    generator = np.random.default_rng(seed)
    made = {}
    for split, count in rows.items():
        made[f"output_{split}_{model}"] = generator.normal(size=(count, 2)).astype(np.float32)
        made[f"label_{split}"] = generator.integers(0, 2, count)
    np.savez(path, **{**made, **arrays})
    return path


def test_archives_without_names_follow_one_another(tmp_path, run_script) -> None:
    """As the original saved them: arrays without a number, more photos in test than in the other splits."""
    first = archive(tmp_path / "a.npz", 0, {"train": 5, "valid": 4, "test": 30}, "model6_2")
    second = archive(tmp_path / "b.npz", 1, {"train": 6, "valid": 3, "test": 20})
    assert [member.model for member in read_members([first, second])] == ["model6_2", "model"]
    options = (
        "--method",
        "routed",
        "--routes",
        f"faces={first}",
        f"faceless={second}",
        "--output_dir",
        tmp_path / "e",
    )
    code, last, told = run_script("ensemble", *options)
    assert code == 0, told
    arrays = [np.load(path) for path in (first, second)]
    outputs = [z[name] for z, name in zip(arrays, ("output_test_model6_2", "output_test_model"), strict=True)]
    right = [(x.argmax(1) == z["label_test"]) for x, z in zip(outputs, arrays, strict=True)]
    assert last["test"]["accuracy"] == np.concatenate(right).mean()
    assert [each["accuracy"] for each in last["by_route"]["test"]] == [each.mean() for each in right]
    written = read_predictions(tmp_path / "e" / "test.parquet")
    np.testing.assert_array_equal(written.logits, np.concatenate(outputs))
    assert written.routes == ["faces"] * 30 + ["faceless"] * 20
    twice = ("--method", "routed", "--routes", f"faces={first}", f"faceless={first}", "--output_dir", tmp_path / "t")
    code, _, told = run_script("ensemble", *twice)
    assert code == 2
    assert "are the same: model6_2" in told
    assert "is given twice" in told


def test_archives_with_names_are_a_union(tmp_path) -> None:
    names = {"test": ("a.jpg", "b.jpg"), "other": ("c.jpg", "d.jpg", "b.jpg")}
    first = archive(tmp_path / "a.npz", 0, {"test": 2}, filename_test=np.array(names["test"]))
    second = archive(tmp_path / "b.npz", 1, {"test": 2}, filename_test=np.array(names["other"][:2]))
    whole = answer_by_route(["faces", "faceless"], read_members([first, second]), "test")
    assert whole.image_ids == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert whole.faces is None
    third = archive(tmp_path / "c.npz", 1, {"test": 3}, filename_test=np.array(names["other"]))
    members = read_members([first, third])
    members[1] = replace(members[1], labels=np.array([0, 0, members[0].labels[1]]))
    with pytest.raises(UserError, match=r"1 of 4 test photos are in the archives of two routes \(b.jpg\)"):
        answer_by_route(["faces", "faceless"], members, "test")


def without_faces(predictions: Predictions) -> Predictions:
    return replace(predictions, faces=None)


MISCOUNTED = [0, 1, 2, 0, 5, 3, 1, 4]
OTHERS = {
    "overlap": (["faces", "1-3"], [table("a"), table("b")], "routes faces and 1-3 overlap"),
    "unknown": (["faces", "facless"], [table("a"), table("b")], "a route must be faces, faceless, or .*'facless'"),
    "backwards": (["3-1", "0"], [table("a"), table("b")], "'3-1' holds no face count"),
    "in no route": (
        ["0", "3+"], [table("a"), table("b")],
        r"2 of 8 test photos are in no route \(test/1, test/2\): they have 1, 2",
    ),
    "no counts": (
        ["faces", "faceless"], [without_faces(table("a")), without_faces(table("b"))],
        "8 of 8 test photos have no number of faces in any table",
    ),
    "missing": (
        ["faces", "faceless"], [table("a").take([0, 1, 2]), table("b")],
        r"3 of 5 test photos of the route faces are missing in the predictions of a \(test/4, test/5, test/7\)",
    ),
    "other counts": (
        ["faces", "faceless"], [table("a"), table("b", faces=MISCOUNTED)],
        r"other numbers of faces for 1 of 8 test photos \(test/6\): predict again with one --min_face_score",
    ),
    "other labels": (
        ["faces", "faceless"], [table("a"), replace(table("b"), labels=np.zeros(ROWS, int))],
        "other labels for 4 of 8 test photos",
    ),
    "other classes": (
        ["faces", "faceless"], [table("a"), replace(table("b"), class_names=("Calm", "Glad"))],
        "a and b have other classes: Negative, Positive, and Calm, Glad",
    ),
    "no split": (
        ["faces", "faceless"], [table("a"), table("b", split="train")],
        "no predictions for the split 'test'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_refused(case: str) -> None:
    routes, members, words = OTHERS[case]
    with pytest.raises(UserError, match=words):
        answer_by_route(routes, members, "test")


def test_archives_that_cannot_be_told_apart_are_refused(tmp_path) -> None:
    plain = archive(tmp_path / "a.npz", 0, {"test": 2})
    named = archive(tmp_path / "b.npz", 1, {"test": 2}, filename_test=np.array(["c.jpg", "d.jpg"]))
    with pytest.raises(UserError, match="have ids, and those of other routes have none"):
        answer_by_route(["faces", "faceless"], read_members([plain, named]), "test")
    np.savez(tmp_path / "c.npz", output_test_model=np.ones((2, 2), np.float32))
    with pytest.raises(UserError, match="neither labels nor file names"):
        answer_by_route(["faces", "faceless"], read_members([plain, tmp_path / "c.npz"]), "test")


def test_the_report_shows_each_route(tmp_path, run_script) -> None:
    paths = [tmp_path / f"{name}.parquet" for name in "ab"]
    a, b = both("a", 1), both("b", 2)
    write_predictions(paths[0], a)
    write_predictions(paths[1], b)
    routes = (f"faces={paths[0]}", f"faceless={paths[1]}")
    code, last, told = run_script(
        "ensemble", "--method", "routed", "--routes", *routes, "--output_dir", tmp_path / "e"
    )
    assert code == 0, told
    assert last["routes"] == ["faces", "faceless"]
    account = json.loads((tmp_path / "e" / "ensemble.json").read_text())
    assert account["route_figures"] == last["by_route"]

    ensemble = ("--ensemble", tmp_path / "e" / "ensemble.json", "--split", "test")
    code, scored, told = run_script(
        "evaluate_predictions", "--predictions", *paths, *ensemble, "--output_dir", tmp_path / "all"
    )
    assert code == 0, told
    assert scored["accuracy"] == last["test"]["accuracy"]
    assert scored["by_route"] == last["by_route"]["test"]
    assert [each["model"] for each in scored["others"]] == ["a", "b"], "tables of all photos are compared"
    page = (tmp_path / "all" / "report.html").read_text()
    assert "By route" in page
    assert "photos without faces: b" in page
    assert "| photos with faces |" in (tmp_path / "all" / "card.md").read_text()

    write_predictions(paths[0], a.chosen("faces"))
    write_predictions(paths[1], b.chosen("faceless"))
    code, apart, told = run_script(
        "evaluate_predictions", "--predictions", *paths, *ensemble, "--output_dir", tmp_path / "apart"
    )
    assert code == 0, told
    assert (apart["accuracy"], apart["by_route"]) == (scored["accuracy"], scored["by_route"])
    assert "others" not in apart
    alone = ("--predictions", tmp_path / "e" / "test.parquet", "--output_dir", tmp_path / "own")
    code, own, told = run_script("evaluate_predictions", *alone)
    assert code == 0, told
    assert own["by_route"] == scored["by_route"], "the ensemble's own table knows the routes"


def test_a_report_on_some_photos_says_so(tmp_path, run_script) -> None:
    write_predictions(tmp_path / "a.parquet", table("a", 1))
    asked = ("--predictions", tmp_path / "a.parquet", "--only", "faceless", "--output_dir", tmp_path / "r")
    code, last, told = run_script("evaluate_predictions", *asked)
    assert code == 0, told
    assert (last["rows"], last["only"]) == (3, "faceless")
    assert last["note"] == "Only photos without faces"
    assert "Only photos without faces" in (tmp_path / "r" / "card.md").read_text()
    kept = table("a", 1).chosen("faces")
    write_predictions(tmp_path / "b.parquet", kept)
    again = read_predictions(tmp_path / "b.parquet")
    assert (again.only, len(again)) == ("faces", 5)
    code, _, told = run_script(
        "evaluate_predictions", "--predictions", tmp_path / "b.parquet", "--only", "0", "--output_dir", tmp_path / "q"
    )
    assert code == 2
    assert "none of the 5 photos of a is one of the photos with 0 faces" in told
    write_predictions(tmp_path / "c.parquet", without_faces(table("a")))
    code, _, told = run_script(
        "evaluate_predictions", "--predictions", tmp_path / "c.parquet", "--only", "0", "--output_dir", tmp_path / "q"
    )
    assert code == 2
    assert "8 of 8 photos of a have no number of faces" in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "routed"), "--method routed and --routes go together"),
        (("--routes", "faces=a.parquet"), "--method routed and --routes go together"),
        (("--method", "routed", "--routes", "faces=a.parquet", "--predictions", "b.parquet"), "give --predictions"),
        (("--method", "routed", "--routes", "faces"), "write ROUTE=TABLE or ROUTE=RUN, not 'faces'"),
        (("--method", "routed", "--routes", "faces=a.parquet", "4+=b.parquet"), "faces and 4+ overlap"),
        (("--method", "routed", "--routes", "fac=a.parquet"), "a route must be"),
        (("--method", "routed", "--routes", "faces=a.parquet", "0=runs/b"), "tables and runs (0=runs/b)"),
        (("--method", "routed", "--routes", "faces=./a", "0=./b"), "no checkpoint at ./a, ./b"),
        (("--method", "routed", "--routes", "faces=a.parquet", "--on", "logits"), "--weights and --on are for"),
        ((), "give --predictions"),
    ],
)
def test_command_lines_that_are_refused(options, words, tmp_path, run_script, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, told = run_script("ensemble", *options, "--output_dir", "e")
    assert code == 2
    assert words in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "e" / "ensemble.json").exists()


def test_an_archive_of_several_models_is_no_route(tmp_path, run_script) -> None:
    outputs = {f"output_test_model{i}": np.ones((2, 2), np.float32) for i in range(2)}
    np.savez(tmp_path / "two.npz", **outputs)
    options = ("--method", "routed", "--routes", f"faces={tmp_path / 'two.npz'}", "--output_dir", tmp_path / "e")
    code, _, told = run_script("ensemble", *options)
    assert code == 2
    assert "one model for each of the 1 routes, and the files hold 2: model0, model1" in told


def test_the_published_figures(shared, tmp_path, run_script) -> None:
    folder = shared / "data" / "published_outputs_group_scene"
    if not folder.is_dir():
        pytest.skip("the published outputs are not here")
    routes = (
        f"faces={folder / 'model6_2A_output_data.npz'}",
        f"faceless={folder / 'model_output_data_Densenet_No_Face2.npz'}",
    )
    code, last, told = run_script(
        "ensemble", "--method", "routed", "--routes", *routes, "--output_dir", tmp_path / "e"
    )
    assert code == 0, told
    assert round(last["validation"]["accuracy"], 5) == 0.96509
    assert round(last["test"]["accuracy"], 5) == 0.96299
    found = [(e["rows"], round(e["accuracy"], 5)) for s in ("validation", "test") for e in last["by_route"][s]]
    assert found == [(2173, 0.97607), (1121, 0.94380), (1082, 0.97320), (539, 0.94249)]
