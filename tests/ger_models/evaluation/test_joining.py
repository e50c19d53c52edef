"""Predictions are joined by image_id, and archives of the original's kind are read; never by position alone."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from ger_datasets.support.errors import UserError
from ger_models.evaluation.joining import join, read_members, stacked
from ger_models.evaluation.npz_outputs import read_npz_outputs
from ger_models.evaluation.predictions import Predictions, read_predictions, write_predictions

NAMES = ("Negative", "Neutral", "Positive")
ROWS = 12
LABELS = np.arange(ROWS) % 3


def table(model="one", order=range(ROWS), prefix="test/x/", **changes):
    """Photo 7 has the logits (7, 14, 21), wherever it stands."""
    order = np.array(order)
    parts = {
        "image_ids": [f"{prefix}photo_{i}" for i in order],
        "splits": ["test"] * len(order),
        "labels": LABELS[order],
        "logits": order[:, None] * np.array([[1, 2, 3]]),
        "model": model,
        "class_names": NAMES,
    }
    return Predictions(**{**parts, **changes})


def archive(path, order=range(ROWS), models=(1,), **arrays):
    order = np.array(order)
    outputs = {
        f"output_test_model{number}": (order[:, None] * np.array([[1, 2, 3]]) + number).astype(np.float32)
        for number in models
    }
    np.savez(path, **{**outputs, "label_test": LABELS[order], **arrays})
    return path


def test_rows_are_joined_by_their_ids():
    turned = np.random.default_rng(0).permutation(ROWS)
    one, two = join([table(), table("two", turned)], "test")
    assert one.image_ids == two.image_ids == table().image_ids
    np.testing.assert_array_equal(one.logits, two.logits)
    assert stacked([one, two]).shape == (2, ROWS, 3)


def test_what_only_some_know_holds_for_all():
    partly = np.where(np.arange(ROWS) < 5, LABELS, -1)
    videos, faces = [f"video {i // 4}" for i in range(ROWS)], np.arange(ROWS)
    joined = join(
        [table(labels=partly), table("two", labels=LABELS), table("three", groups=videos, faces=faces)], "test"
    )
    for each in joined:
        np.testing.assert_array_equal(each.labels, LABELS)
        assert each.groups == videos
        np.testing.assert_array_equal(each.faces, faces)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            table("two", range(2, ROWS)),
            r"2 test photos that one has are missing in two \(test/x/photo_0, test/x/photo_1\)",
        ),
        (table("two", prefix="test/y/"), r"12 test photos that one has.*; 12 test photos that two has"),
        (table("two", class_names=NAMES[::-1]), "other classes: Negative, Neutral, Positive, and Positive, Neutral"),
        (
            table("two", labels=np.where(LABELS == 2, 0, LABELS)),
            "4 of 12 test labels differ between one and two: test/x/photo_2 is Positive and Negative",
        ),
        (table("two", splits=["validation"] * ROWS), "no predictions for the split 'test'"),
    ],
)
def test_what_does_not_belong_together_is_refused(other, message):
    with pytest.raises(UserError, match=message):
        join([table(), other], "test")


def test_file_names_stand_for_the_photos_of_these_names(tmp_path):
    turned = np.random.default_rng(1).permutation(ROWS)
    names = np.array([f"photo_{i}.jpg" for i in turned])
    (named,) = read_npz_outputs(archive(tmp_path / "a.npz", turned, filename_test=names))
    one, two = join([table(), named], "test")
    assert two.image_ids == table().image_ids
    np.testing.assert_array_equal(two.logits, one.logits + 1)
    two, one = join([named, table()], "test")
    np.testing.assert_array_equal(two.logits, one.logits + 1)
    ambiguous = table(image_ids=[f"test/{i % 3}/photo_{i // 3}" for i in range(ROWS)])
    with pytest.raises(UserError, match="12 test photos that one has are missing"):
        join([ambiguous, named], "test")


def test_rows_without_names_are_joined_only_where_all_labels_agree(tmp_path):
    paths = [archive(tmp_path / f"{i}.npz", models=(i,)) for i in (1, 2)]
    one, two = join(read_members(paths), "test")
    np.testing.assert_array_equal(two.logits, one.logits + 1)
    assert one.image_ids[:2] == ["row 0 of test", "row 1 of test"]

    turned = archive(tmp_path / "turned.npz", np.roll(np.arange(ROWS), 1))
    with pytest.raises(
        UserError, match=r"12 of 12 test labels differ between model1 .0. and model1 .turned.*leave one"
    ):
        join(read_members([archive(tmp_path / "0.npz"), turned]), "test")
    with pytest.raises(UserError, match="model1 has 12 test rows, model2 11, and no file names"):
        join(read_members([paths[0], archive(tmp_path / "2.npz", range(11), models=(2,))]), "test")
    with pytest.raises(UserError, match=r"rows of model1 have no ids or file names, those of one have.*filename_test"):
        join([table(), read_members([paths[0]])[0]], "test")

    unlabelled = [archive(tmp_path / f"u{i}.npz", models=(i, i + 1), label_test=np.full(ROWS, -1)) for i in (1, 3)]
    assert len(join(read_members(unlabelled[:1]), "test")) == 2, "rows of one archive are in one order"
    with pytest.raises(UserError, match="neither labels nor file names"):
        join(read_members(unlabelled), "test")


def test_positions_stay_positions_in_a_table(tmp_path):
    (member,) = read_npz_outputs(archive(tmp_path / "a.npz"))
    write_predictions(tmp_path / "a.parquet", member)
    with pytest.raises(UserError, match="no ids or file names"):
        join([table(), replace(read_predictions(tmp_path / "a.parquet"), model="two")], "test")


def test_many_models_in_the_order_of_their_numbers(tmp_path):
    path = archive(tmp_path / "a.npz", models=(10, 2, 0))
    assert [each.model for each in read_npz_outputs(path)] == ["model0", "model2", "model10"]
    write_predictions(tmp_path / "b.parquet", table("model2"))
    names = np.array([f"photo_{i}.jpg" for i in range(ROWS)])
    archive(path, models=(10, 2), filename_test=names)
    members = read_members([tmp_path / "b.parquet", path, path])
    apart = ["model2 (b)", "model2 (a) (1)", "model10 (a) (1)", "model2 (a) (2)", "model10 (a) (2)"]
    assert [each.model for each in members] == apart
    assert len(join(members, "test")) == 5


def test_the_classes_of_an_archive_are_those_of_the_tables(tmp_path):
    write_predictions(tmp_path / "b.parquet", table(class_names=("a", "b", "c")))
    paths = [archive(tmp_path / "a.npz"), tmp_path / "b.parquet"]
    assert [each.class_names for each in read_members(paths)] == [("a", "b", "c")] * 2
    assert read_members(paths[:1])[0].class_names == NAMES
    assert read_members(paths[:1], ("x", "y", "z"))[0].class_names == ("x", "y", "z")
    np.savez(tmp_path / "two.npz", output_test_model0=np.zeros((4, 2)))
    assert read_members([tmp_path / "two.npz"])[0].class_names == ("0", "1")
    with pytest.raises(UserError, match="outputs of model0 have 2 numbers per row, but there are 3 classes"):
        read_members([tmp_path / "two.npz"], NAMES)


@pytest.mark.parametrize(
    "labels",
    [LABELS.astype(np.float64), LABELS[:, None], np.eye(3)[LABELS], LABELS.astype(object), LABELS.astype("u1")],
)
@pytest.mark.parametrize("outputs", [np.float16, np.float64, "inner axis"])
def test_kinds_of_arrays(tmp_path, labels, outputs):
    logits = np.arange(ROWS * 3).reshape(ROWS, 3)
    logits = logits[:, None].astype(np.float32) if outputs == "inner axis" else logits.astype(outputs)
    path = archive(tmp_path / "a.npz", output_test_model1=logits, label_test=labels)
    (read,) = read_npz_outputs(path)
    np.testing.assert_array_equal(read.labels, LABELS)
    np.testing.assert_array_equal(read.logits, np.arange(ROWS * 3).reshape(ROWS, 3))


@pytest.mark.parametrize("dtype", [str, bytes, object])
def test_kinds_of_names(tmp_path, dtype):
    names = np.array([f"pos_{i}.jpg" for i in range(ROWS)], dtype=dtype)
    (read,) = read_npz_outputs(archive(tmp_path / "a.npz", filename_test=names))
    assert read.image_ids == [f"pos_{i}.jpg" for i in range(ROWS)]


def test_splits_and_names_that_recur(tmp_path):
    names = np.array([f"pos_{i}.jpg" for i in range(ROWS)])
    path = archive(
        tmp_path / "a.npz", output_valid_model1=np.ones((ROWS, 3)), label_valid=LABELS, filename_test=names,
        filename_valid=names, other=np.zeros(3), output_train_model1=np.ones((2, 3)),
    )  # fmt: skip
    (read,) = read_npz_outputs(path)
    assert sorted(read.split_names) == ["test", "train", "validation"]
    assert read.select("validation").image_ids[0] == "validation/pos_0.jpg"
    assert read.select("train").labels.tolist() == [-1, -1]
    one, two = join([table(image_ids=[f"test/x/pos_{i}" for i in range(ROWS)]), read], "test")
    np.testing.assert_array_equal(two.logits, one.logits + 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"label_test": LABELS[:5]},
            "label_test must have one entry per row of output_test_model1: 12 rows, 5 entries",
        ),
        ({"label_test": LABELS + 0.5}, "label_test must be whole numbers"),
        ({"label_test": LABELS + 5}, "labels must lie between 0 and 2"),
        ({"label_test": np.ones((ROWS, 3))}, "one 1 in each row"),
        ({"label_test": np.array(["a"] * ROWS)}, "label_test must be whole numbers"),
        ({"filename_test": np.array(["a.jpg"] * ROWS)}, "1 occur more than once: "),
        ({"filename_test": np.arange(ROWS)}, "filename_test must be the photos' file names"),
        ({"filename_test": np.array([b"\xff"] * ROWS)}, "not UTF-8"),
        ({"output_test_model1": np.ones((ROWS, 2, 3))}, "numbers of shape"),
        ({"output_test_model1": np.array([["a"] * 3] * ROWS)}, "numbers of shape"),
        ({"output_test_model1": np.full((ROWS, 3), np.nan)}, "NaN"),
    ],
)
def test_archives_that_do_not_fit(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        read_npz_outputs(archive(tmp_path / "a.npz", **arrays))


def test_archives_that_cannot_be_read(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    names = np.array([Attack()] * ROWS, dtype=object)
    with pytest.raises(UserError, match=r"cannot be read.*nothing in it was executed"):
        read_npz_outputs(archive(tmp_path / "a.npz", filename_test=names))
    assert not (tmp_path / "executed").exists()
    (tmp_path / "p.npz").write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match="damaged, or no"):
        read_npz_outputs(tmp_path / "p.npz")
    with pytest.raises(UserError, match="no file"):
        read_npz_outputs(tmp_path / "none.npz")
    np.savez(tmp_path / "b.npz", logits=np.zeros(3), output_x=np.zeros(3))
    with pytest.raises(UserError, match="holds no outputs: there are the arrays 'output_x'"):
        read_npz_outputs(tmp_path / "b.npz")
    with pytest.raises(UserError, match="no predictions are named"):
        read_members([])
