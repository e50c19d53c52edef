"""The column face_expressions: filled at once or later, left empty, or lacking in datasets of earlier versions."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_dataset

from ger_datasets import records, schema
from ger_datasets.loading.splits import load_splits
from ger_datasets.preparation.run import prepare
from ger_datasets.prepared import read_prepared
from ger_datasets.support.errors import UserError
from ger_models.configuration_ger import EXPRESSIONS
from ger_models.encoders.face_expressions import CheckpointExpressions
from ger_models.presets import build


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def reader(expression_checkpoint: Path) -> CheckpointExpressions:
    return CheckpointExpressions(str(expression_checkpoint))


@pytest.fixture(scope="module")
def at_once(drawn_raw: Path, reader: CheckpointExpressions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("at_once") / "sample"
    prepare("sample", drawn_raw, folder, num_proc=1, sources=[reader])
    return folder


def earlier_version(dataset: Path, folder: Path) -> Path:
    """A copy of a prepared dataset as versions made it that had no such column."""
    shutil.copytree(dataset, folder)
    for path in (folder / "data").iterdir():
        pq.write_table(pq.read_table(path).drop_columns(["face_expressions"]), path)
        entry_path = folder / "manifest" / f"{path.name}.json"
        entry = json.loads(entry_path.read_text())
        del entry["expressions"]
        entry_path.write_text(json.dumps({**entry, "bytes": path.stat().st_size}))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["settings"]["expressions"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    card = folder / "README.md"
    lines = "  - name: face_expressions\n    list:\n      list: float32\n      length: 7\n"
    assert lines in card.read_text()
    card.write_text(card.read_text().replace(lines, ""))
    return folder


def test_the_names_are_the_models() -> None:
    assert schema.EXPRESSIONS == EXPRESSIONS


def test_every_face_has_its_expressions(at_once: Path, reader: CheckpointExpressions) -> None:
    faces = 0
    for row in load_dataset(str(at_once), split="train"):
        (alone,) = reader.read([row["image"]], [row["face_boxes"]])
        told = np.array(row["face_expressions"], np.float32).reshape(-1, 7)
        assert told.shape == (len(row["face_boxes"]), 7)
        np.testing.assert_allclose(told, alone.expressions, atol=1e-5)
        np.testing.assert_allclose(told.sum(1), 1, atol=1e-5)
        faces += len(told)
    assert faces > 30
    assert "Expressions of faces: name small, weights_sha256" in (at_once / "README.md").read_text()


def test_added_later_it_is_the_same_to_the_byte(
    drawn_raw: Path,
    drawn_dataset: Path,
    at_once: Path,
    reader: CheckpointExpressions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = tmp_path / "later"
    shutil.copytree(drawn_dataset, later)
    with monkeypatch.context() as patch:
        patch.setattr(records, "read_photo", None)  # nothing is read or looked for again
        prepare("sample", drawn_raw, later, num_proc=1, sources=[reader])
    assert digests(later) == digests(at_once)

    torch.manual_seed(3)
    for part in build("face_expressions", schema.CLASS_NAMES):
        part.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="expressions was"):
        prepare("sample", drawn_raw, later, sources=[CheckpointExpressions(str(tmp_path / "other"))])


def test_datasets_of_earlier_versions(
    drawn_raw: Path, drawn_dataset: Path, at_once: Path, reader: CheckpointExpressions, tmp_path: Path
) -> None:
    old = earlier_version(drawn_dataset, tmp_path / "old")
    assert "face_expressions" not in load_dataset(str(old), split="test").column_names
    assert "image" in load_splits(str(old), ["image", "face_expressions"], ["test"])["test"].column_names
    assert read_prepared(old).rows["test"] == 6
    prepare("sample", drawn_raw, old, num_proc=1)  # as with --expressions none
    assert load_dataset(str(old), split="test")["face_expressions"][:] == [None] * 6
    assert digests(old / "data") == digests(drawn_dataset / "data")
    also_old = earlier_version(drawn_dataset, tmp_path / "also_old")
    prepare("sample", drawn_raw, also_old, num_proc=1, sources=[reader])
    assert digests(also_old / "data") == digests(at_once / "data")


def test_the_option(
    run_script: Callable, raw_folder: Path, expression_checkpoint: Path, at_once: Path, tmp_path: Path
) -> None:
    common = ("prepare", "--dataset", "gaf3", "--source", raw_folder, "--num_proc", 1, "--output", tmp_path / "out")
    code, _, log = run_script(*common, "--expressions", "none")
    assert code == 0, log
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]["expressions"] is None
    code, _, log = run_script(*common, "--expressions", expression_checkpoint)
    assert code == 0, log
    settings = json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]["expressions"]
    assert settings == json.loads((at_once / "manifest.json").read_text())["settings"]["expressions"]
    code, _, log = run_script(*common, "--expressions", tmp_path / "nothing")
    assert code == 2
    assert "no such folder" in log


def test_checkpoints_that_tell_no_such_expressions(tmp_path: Path) -> None:
    model, processor = build("face_aligned", ["a", "b"], overrides="channels=8")
    eight = build("face_expressions", schema.CLASS_NAMES, overrides='expressions=["happy"]')
    for name, parts in {"face": (model, processor), "eight": eight}.items():
        for part in parts:
            part.save_pretrained(tmp_path / name)
    with pytest.raises(UserError, match="expressions come from a model such as face_expressions"):
        CheckpointExpressions(str(tmp_path / "face"))
    with pytest.raises(UserError, match="happy; the column holds angry, disgust"):
        CheckpointExpressions(str(tmp_path / "eight"))
