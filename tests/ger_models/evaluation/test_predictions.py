"""The predictions table: what is written is what is read, and what cannot be read is said."""

from __future__ import annotations

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ger_datasets.support.errors import UserError
from ger_models.evaluation.predictions import (
    REQUIRED_COLUMNS,
    Predictions,
    read_predictions,
    write_predictions,
)

NAMES = ("Negative", "Neutral", "Positive")


def predictions(**changes):
    parts = {
        "image_ids": ["test/Negative/neg_1", "test/Neutral/neu_1", "val/x", "test/pos_1"],
        "splits": ["test", "test", "validation", "test"],
        "labels": np.array([0, 1, -1, 2]),
        "logits": np.array([[2, 0, 1], [0.5, 1.5, 0], [0, 0, 1], [1, 2, 3]], dtype=np.float32),
        "model": "densenet_emotic",
        "class_names": NAMES,
    }
    return Predictions(**{**parts, **changes})


def rewritten(path, change):
    """The table at `path`, changed by `change(table)` and written back."""
    pq.write_table(change(pq.read_table(path)), path)
    return path


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "test.parquet"
    write_predictions(path, predictions())
    return path


def test_round_trip(tmp_path):
    written = predictions(
        faces=np.array([3, -1, 0, 12]),
        note="drawn – not real",
        groups=["a", "a", "b", "c"],
        model_revision="1f3",
        dataset_revision="77e",
    )
    path = tmp_path / "new folder" / "odd [name] *?.parquet"
    write_predictions(path, written)
    read = read_predictions(path)
    assert read.image_ids == written.image_ids
    assert read.splits == written.splits
    assert (read.model, read.class_names, read.note) == ("densenet_emotic", NAMES, "drawn – not real")
    for name, dtype in (("labels", np.int64), ("logits", np.float32), ("faces", np.int32)):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
        assert getattr(read, name).dtype == dtype
    assert (read.groups, read.model_revision, read.dataset_revision) == (["a", "a", "b", "c"], "1f3", "77e")
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert pq.read_table(path)["faces"].to_pylist() == [3, None, 0, 12]


def test_without_faces_and_note(table):
    read = read_predictions(table)
    assert read.faces is None
    assert read.note == ""
    assert "faces" not in pq.read_schema(table).names


def test_datasets_and_pandas_open_it(tmp_path):
    path = tmp_path / "test.parquet"
    write_predictions(path, predictions(faces=np.array([3, -1, 0, 12]), note="a note"))
    rows = datasets.load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / "cache"), split="train")
    assert rows.features["label"].names == list(NAMES)
    assert rows[1]["logits"] == [0.5, 1.5, 0.0]
    frame = pd.read_parquet(path)
    assert list(frame.columns) == [*REQUIRED_COLUMNS, "model_revision", "dataset_revision", "faces"]
    assert frame["label"].tolist() == [0, 1, -1, 2]


def test_a_table_written_by_datasets_is_read(tmp_path):
    features = datasets.Features(
        {
            "image_id": datasets.Value("large_string"),
            "split": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["a", "b"]),
            "logits": datasets.List(datasets.Value("float64"), length=2),
            "model": datasets.Value("string"),
            "extra": datasets.Value("string"),
        }
    )
    row = {"image_id": "x", "split": "test", "label": None, "logits": [0.25, 1.0], "model": "m", "extra": "e"}
    datasets.Dataset.from_list([row], features=features).to_parquet(str(tmp_path / "t.parquet"))
    read = read_predictions(tmp_path / "t.parquet")
    assert read.labels.tolist() == [-1]
    assert read.logits.tolist() == [[0.25, 1.0]]
    assert read.class_names == ("a", "b")


def test_a_table_of_before_there_were_revisions_is_read(table):
    rewritten(table, lambda rows: rows.drop_columns(["model_revision", "dataset_revision"]))
    read = read_predictions(table)
    assert (read.model_revision, read.dataset_revision, read.groups) == ("", "", None)


def test_a_photo_without_a_group_stands_alone(tmp_path):
    path = tmp_path / "test.parquet"
    write_predictions(path, predictions(groups=["a", "a", "b", "b"]))
    rewritten(path, lambda rows: rows.set_column(7, "group", pa.array(["a", "a", None, "b"])))
    assert read_predictions(path).groups == ["a", "a", "val/x", "b"]
    assert read_predictions(path).select("test").groups == ["a", "a", "b"]


def test_select(table):
    chosen = read_predictions(table).select("test")
    assert chosen.image_ids == ["test/Negative/neg_1", "test/Neutral/neu_1", "test/pos_1"]
    assert chosen.labels.tolist() == [0, 1, 2]
    assert chosen.split_names == ["test"]
    with pytest.raises(UserError, match=r"'val'; the table has test, validation"):
        chosen = read_predictions(table).select("val")


def test_a_failed_write_leaves_the_old_table(table):
    (table.parent / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_predictions(table.parent / "folder", predictions())
    with pytest.raises(UserError, match="cannot write"):
        write_predictions(table / "below a file.parquet", predictions())
    assert read_predictions(table).model == "densenet_emotic"
    assert sorted(file.name for file in table.parent.iterdir()) == ["folder", "test.parquet"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_ids": ["a", "b", "a", "c"]}, "1 occur more than once: a"),
        ({"logits": np.array([[0, 0, 0], [0, np.nan, 0], [0, 0, np.inf], [0, 0, 0]])}, r"2 of 4 rows.*neu_1, val/x"),
        ({"logits": [[0, 0, 0], [0, 0], [0, 0, 0], [0, 0, 0]]}, "equally many in every row"),
        ({"logits": np.zeros((4, 2))}, "3 classes .*found 2 numbers"),
        ({"logits": np.zeros((3, 3))}, "4 image_ids, 3 logits"),
        ({"logits": np.zeros(4)}, "found shape"),
        ({"labels": np.array([0, 1, 3, -2])}, "between 0 and 2.*2 of 4 do not: val/x has 3, test/pos_1 has -2"),
        ({"labels": np.array([0.0, 1.0, 2.0, 1.5])}, "labels must be one integer per row"),
        ({"labels": np.array([0, 1])}, "4 image_ids, 2 labels"),
        ({"splits": ["test"]}, "4 image_ids, 1 splits"),
        ({"faces": np.array([1])}, "4 image_ids, 1 faces"),
        ({"groups": ["a"]}, "4 image_ids, 1 groups"),
        ({"class_names": ("a", "a", "b")}, "distinct"),
        ({"image_ids": [], "splits": [], "labels": [], "logits": []}, "no rows"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        predictions(**changes)


def test_missing_file_names_its_neighbours(table):
    with pytest.raises(UserError, match=r"no predictions table at .*; the folder has test\.parquet"):
        read_predictions(table.parent / "tset.parquet")
    with pytest.raises(UserError, match="there is no folder"):
        read_predictions(table.parent / "none" / "test.parquet")
    with pytest.raises(UserError, match="cannot read"):
        read_predictions(table.parent)


@pytest.mark.parametrize("content", [b"", b"image_id,split\n", b"PAR1 and then nonsense PAR1"])
def test_not_parquet(tmp_path, content):
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_predictions(path)


def test_a_cut_off_file(table):
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_predictions(table)


def test_missing_columns_are_listed(table):
    rewritten(table, lambda rows: rows.drop_columns(["logits", "model"]))
    with pytest.raises(UserError, match="columns logits, model are missing, there are image_id, split, label"):
        read_predictions(table)


def test_no_class_names(table):
    rewritten(table, lambda rows: rows.replace_schema_metadata(None))
    with pytest.raises(UserError, match="carries no class names"):
        read_predictions(table)


def test_spoilt_class_names(table):
    rewritten(table, lambda rows: rows.replace_schema_metadata({b"huggingface": b"{"}))
    with pytest.raises(UserError, match="notes for datasets cannot be read"):
        read_predictions(table)


def test_several_models(table):
    other = pa.array(["a", "a", "b", "b"])
    rewritten(table, lambda rows: rows.set_column(4, "model", other))
    with pytest.raises(UserError, match=r"one model per table, found 2: a, b"):
        read_predictions(table)


def test_uneven_logits(table):
    uneven = pa.array([[0, 1, 2], [0, 1], [0, 1, 2], [1, 2, 3]], pa.list_(pa.float32()))
    rewritten(table, lambda rows: rows.set_column(3, "logits", uneven))
    with pytest.raises(UserError, match="1 of 4 rows differ: test/Neutral/neu_1 has 2"):
        read_predictions(table)


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        (
            "logits",
            pa.array([[0, 1, 2], None, [0, 1, 2], [1, 2, 3]], pa.list_(pa.float32())),
            "1 of 4 rows have no logits",
        ),
        (
            "logits",
            pa.array([[0, 1, 2], [0, None, 1], [0, 1, 2], [1, 2, 3]], pa.list_(pa.float32())),
            "NaN or infinity",
        ),
        ("logits", pa.array([1.0, 2.0, 3.0, 4.0]), "column logits must be"),
        ("image_id", pa.array(["a", "b", None, "c"]), "1 of 4 rows have no image_id"),
    ],
)
def test_odd_columns(table, name, column, message):
    rewritten(table, lambda rows: rows.set_column(rows.column_names.index(name), name, column))
    with pytest.raises(UserError, match=message):
        read_predictions(table)


def test_empty_table(table):
    rewritten(table, lambda rows: rows.slice(0, 0))
    with pytest.raises(UserError, match="no rows"):
        read_predictions(table)


def test_face_attention_is_kept(tmp_path):
    shares = [[0.25, 0.5], None, []]
    parts = {"image_ids": ["a", "b", "c"], "splits": ["test"] * 3, "labels": np.zeros(3, int)}
    given = Predictions(**parts, logits=np.eye(3), model="m", class_names=["x", "y", "z"], face_attention=shares)
    write_predictions(tmp_path / "t.parquet", given)
    assert read_predictions(tmp_path / "t.parquet").face_attention == shares
    assert given.take([2, 0]).face_attention == [[], [0.25, 0.5]]
    with pytest.raises(UserError, match="face_attention must have one entry per image_id"):
        Predictions(**parts, logits=np.eye(3), model="m", class_names=["x", "y", "z"], face_attention=shares[:2])


def test_face_expressions_are_kept(tmp_path):
    expressions = [[[0.5, 0.25], [0.0, 1.0]], None, []]
    parts = {"image_ids": ["a", "b", "c"], "splits": ["test"] * 3, "labels": np.zeros(3, int)}
    given = Predictions(
        **parts, logits=np.eye(3), model="m", class_names=["x", "y", "z"], face_expressions=expressions
    )
    write_predictions(tmp_path / "t.parquet", given)
    assert read_predictions(tmp_path / "t.parquet").face_expressions == expressions
    assert given.take([2, 0]).face_expressions == [[], [[0.5, 0.25], [0.0, 1.0]]]
