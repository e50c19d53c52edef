"""Hostile tables meet what reads them: evaluate, ensemble, push, inspect, predict and train."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import corpus
import corpus_tables as tables
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checks import Meeting
from corpus_texts import JSONS
from parsers import PARSERS, predictions_table

from ger_datasets.inspection.run import inspect_dataset
from ger_datasets.loading.splits import load_splits
from ger_datasets.preparation.push import push_dataset, refuse_local_paths
from ger_datasets.prepared import read_prepared
from ger_datasets.support.errors import UserError
from ger_models.evaluation.joining import join, read_members
from ger_models.training.dataset_checks import check_trainable


def predictions() -> dict[str, tuple[str, bytes]]:
    """Tables and archives of predictions, by a case's name: suffix and content."""
    made = {}
    for suffix, name in ((".parquet", "predictions"), (".npz", "predictions_npz")):
        for case, content in PARSERS[name].seeds().items():
            made[f"{case}{suffix}"] = (suffix, content)
    return made


def test_tables_that_are_joined(here: Path, ended: Callable) -> None:
    (here / "good.parquet").write_bytes(predictions_table())
    meeting = Meeting("ensemble, evaluate: tables", UserError)
    for case, (suffix, content) in predictions().items():
        path = here / f"other{suffix}"
        path.write_bytes(content)

        def joined(path: Path = path) -> object:
            return join(read_members([here / "good.parquet", path]), "test")

        meeting.meet(case, joined, path.name)
    ended(meeting)


@pytest.mark.parametrize("script", ["ensemble", "evaluate_predictions"])
def test_scripts_and_tables(run_script: Callable, here: Path, ended: Callable, script: str) -> None:
    (here / "good.parquet").write_bytes(predictions_table())
    meeting = Meeting(script)
    words = {
        "ensemble": (
            "--select",
            "test",
            "--report",
            "test",
            "--allow_selection_on_report",
            "True",
            "--nested_folds",
            0,
        ),
        "evaluate_predictions": ("--split", "test", "--weights", 1, 1),
    }[script]
    where = "--output_dir" if script == "ensemble" else "--submission"
    for number, (case, (suffix, content)) in enumerate(list(predictions().items())[::8]):
        path = here / f"other{suffix}"
        path.write_bytes(content)
        tables_of = ("--predictions", here / "good.parquet", path)
        code, _, log = run_script(script, *tables_of, *words, where, here / f"out_{number}")
        assert code in (0, 2), log
        assert "Traceback" not in log
        assert "\x1b[31m" not in log
        meeting.told(case, log.splitlines()[-1] if code else None, *([path.name] if code else []))
    ended(meeting)


def test_reports_of_hostile_names(run_script: Callable, here: Path, ended: Callable) -> None:
    """A table that is read, of photos and models with hostile names, becomes a report and a card."""
    meeting = Meeting("evaluate_predictions, reports")
    good = pq.read_table(io.BytesIO(predictions_table()))
    for number, name in enumerate(
        ["<script>alert(1)</script>", "\x1b[31mred\n", "../../x", "a\u202eb", "x" * 5000, "%s{0}"]
    ):
        ids = [f"{name}{i}" for i in range(len(good))]
        changed = good.set_column(good.column_names.index("image_id"), "image_id", [ids])
        changed = changed.set_column(good.column_names.index("model"), "model", [[name] * len(good)])
        path = here / f"{number}.parquet"
        pq.write_table(changed.replace_schema_metadata(good.schema.metadata), path)
        out = here / f"report_{number}"
        code, _, log = run_script("evaluate_predictions", "--predictions", path, "--output_dir", out)
        assert code in (0, 2), log
        assert "Traceback" not in log
        assert "\x1b[31m" not in log
        meeting.told(name, log.splitlines()[-1] if code else None)
        if code == 0:
            assert "<script>alert" not in (out / "report.html").read_text()
            assert {each.parent for each in here.rglob("report.html")} <= {here / f"report_{n}" for n in range(9)}
    card = here / "README.md"
    (here / "good.parquet").write_bytes(predictions_table())
    for case, content in list(PARSERS["cards"].seeds().items()):
        card.write_bytes(content)
        words = ("--predictions", here / "good.parquet", "--output_dir", here / "carded", "--model_card", card)
        code, _, log = run_script("evaluate_predictions", *words)
        assert "Traceback" not in log
        meeting.told(f"card {case}", log.splitlines()[-1] if code else None, *([card.name] if code else []))
    ended(meeting)


@pytest.fixture(scope="module")
def small(drawn_dataset: Path) -> tuple:
    """The prepared dataset's test split with few columns; and its file."""
    (test,) = (drawn_dataset / "data").glob("test-*")
    table = pq.read_table(test)
    return table.select(["image_id", "image", "label", "group", "face_boxes", "face_scores", "skeleton"]), test


def test_prepared_datasets(drawn_dataset: Path, small: tuple, here: Path, ended: Callable) -> None:
    """What push, inspect, train and predict read: another's Parquet, another's card."""
    bad = here / "bad_dataset"
    shutil.copytree(drawn_dataset, bad)
    (shard,) = (bad / "data").glob("test-*")
    table, test = small
    whole = pq.read_table(test)
    made = tables.tables(table)
    for name in ("image_id", "label", "face_boxes", "skeleton", "image"):  # whole but for one column
        for kind, content in tables.tables(whole.select([name])).items():
            if kind.startswith(f"{name}_"):
                column = pq.read_table(io.BytesIO(content))[name]
                changed = whole.set_column(whole.column_names.index(name), name, column)
                made[f"whole {kind}"] = tables.parquet(
                    changed, **{k.decode(): v.decode() for k, v in whole.schema.metadata.items()}
                )
    made |= {f"damaged_{i}": content for i, content in enumerate(corpus.mutated(test.read_bytes()[-9000:], 40))}
    made |= {f"pixels_{i}": c for i, c in enumerate(corpus.mutated(test.read_bytes(), 10, seed=1))}
    entries = {
        "push": lambda: (refuse_local_paths(read_prepared(bad)), push_dataset(bad, "no name", True)),
        "inspect_dataset": lambda: inspect_dataset(bad, here / "page.html"),
    }
    for entry, call in entries.items():
        meeting = Meeting(entry, UserError)
        for case, content in made.items():
            shard.write_bytes(content)
            meeting.meet(case, call)
        for case, refusal in meeting.refused.items():
            if (
                shard.name not in refusal
                and "cannot be the name of a repository" not in refusal
                and "README.md tells" not in refusal
            ):
                meeting.failures.append(f"{case}: the shard is not named: {refusal[:300]}")
        shard.write_bytes(test.read_bytes())
        card = (bad / "README.md").read_bytes()
        for case, content in PARSERS["cards"].seeds().items():
            (bad / "README.md").write_bytes(content)
            meeting.meet(f"card {case}", call, "README.md")
        (bad / "README.md").write_bytes(card)
        if entry == "inspect_dataset":
            for case, content in JSONS.items():
                (bad / "quarantine.jsonl").write_bytes(content)
                meeting.meet(f"quarantine {case}", call, "quarantine.jsonl")
            (bad / "quarantine.jsonl").write_bytes(b"")
        ended(meeting)


CHOSEN = (
    "nothing", "magic", "footer_huge", "notes_no_json", "notes_deep", "notes_lying", "notes_number", "notes_code",
    "notes_features_list", "image_id_number", "label_text", "label_list", "without_label", "no_rows", "no_columns",
    "image_number", "face_boxes_text", "same_name", "notes_unknown", "label_huge", "label_negative", "image_id_null",
    "image_id_control",
)  # fmt: skip


TRAIN = (
    "--model", "densenet_emotic", "--max_steps", 8, "--initial_weights", "random",
    "--config_overrides", "backbone=test_resnet", "--batch_size", 4, "--epochs", 1,
)  # fmt: skip


def test_load_splits(drawn_dataset: Path, small: tuple, here: Path, ended: Callable) -> None:
    bad = here / "bad_dataset"
    shutil.copytree(drawn_dataset, bad)
    (shard,) = (bad / "data").glob("test-*")
    made = tables.tables(small[0])
    meeting = Meeting("load_splits", UserError)
    for case in CHOSEN:
        shard.write_bytes(made[case])

        def loaded() -> None:
            data = load_splits(str(bad), ["image", "face_boxes"], ["test"])
            check_trainable(str(bad), data, ["image"])

        meeting.meet(case, loaded, bad.name)
    ended(meeting)


def test_training_and_predicting(
    run_script: Callable, drawn_dataset: Path, small: tuple, model: Path, here: Path, ended: Callable
) -> None:
    """As a user runs them, on a dataset one of whose splits is another's."""
    bad, table = here / "bad_dataset", small[0]
    shutil.copytree(drawn_dataset, bad)
    (shard,) = (bad / "data").glob("train-*")
    whole = pq.read_table(shard)
    images = {**corpus.photos(), "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n"}
    made = {name: content for name, content in tables.tables(table).items() if name in CHOSEN[::3]}
    for name in ("nothing.jpg", "cut_5_tenths.jpg", "postscript.jpg", "eps", "wrong_depth.png"):
        column = whole["image"].to_pylist()
        column[3] = {"bytes": images[name], "path": None}
        field = whole.schema.field("image")
        changed = whole.set_column(whole.column_names.index("image"), field, pa.array(column, field.type))
        made[f"image {name}"] = tables.parquet(
            changed, **{k.decode(): v.decode() for k, v in whole.schema.metadata.items()}
        )
    meeting = Meeting("train, predict: datasets")
    for number, (case, content) in enumerate(made.items()):
        shard.write_bytes(content)
        words = (*TRAIN, "--dataset", bad, "--output_dir", here / f"run_{number}")
        code, _, log = run_script("train", *words)
        assert "Traceback" not in log
        told = log.rpartition("error: ")[2].strip()  # behind a bar that stands still
        named = whole["image_id"][3].as_py() if case.startswith("image ") else bad.name
        meeting.told(f"train {case}", told if code else None, *([named] if code else []))
        words = ("--model", model, "--dataset", bad, "--split", "train", "--output", here / f"{number}.parquet")
        code, _, log = run_script("predict", *words, "--device", "cpu")
        assert "Traceback" not in log
        meeting.told(f"predict {case}", log.splitlines()[-1] if code else None, *([bad.name] if code else []))
    ended(meeting)


def test_there_were_enough(enough: Callable) -> None:
    enough(7)
