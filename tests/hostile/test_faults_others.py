"""The scripts beside the four steps, with a disk that is full or read-only, and two of them at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from faults import Disk, Do, digests, half_written, refused

from ger_datasets.support.errors import UserError
from ger_datasets.support.locks import LOCK, alone
from ger_models.conversion import export as exporting
from ger_models.evaluation.predictions import Predictions, write_predictions
from ger_models.inference.checkpoints import load_checkpoint
from ger_models.inference.saving import disk_errors, finish_files, put_files

NAMES = ("Negative", "Neutral", "Positive")
ROWS = 12  # of each split


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Predictions of two models on two splits."""
    folder = tmp_path_factory.mktemp("tables")
    draw = np.random.default_rng(0)
    ids, splits = [f"photo_{i}" for i in range(2 * ROWS)], ["validation"] * ROWS + ["test"] * ROWS
    labels = draw.integers(0, 3, 2 * ROWS)
    made = Predictions(ids, splits, labels, draw.normal(size=(2 * ROWS, 3)).astype(np.float32), "a", NAMES)
    for name in ("a", "b"):
        logits = draw.normal(size=(2 * ROWS, 3)).astype(np.float32)
        write_predictions(folder / f"{name}.parquet", replace(made, logits=logits, model=name))
    return [folder / "a.parquet", folder / "b.parquet"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18's, as torch.save writes them."""
    file = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(timm.create_model("resnet18", num_classes=3).state_dict(), file)
    return file


def words(script: str, output: Path, tables: list[Path], model: Path, weights: Path) -> tuple:
    return {
        "evaluate_predictions": ("--predictions", tables[0], "--split", "test", "--output_dir", output),
        "ensemble": ("--predictions", *tables, "--members", model, model, "--nested_folds", 0, "--output_dir", output),
        "convert_checkpoint": ("--checkpoint", weights, "--preset", "resnet_places", "--output_dir", output),
    }[script]


SCRIPTS = {"evaluate_predictions": 20_000, "ensemble": 200_000, "convert_checkpoint": 1_000_000}


@pytest.mark.parametrize("script", SCRIPTS)
def test_results_onto_a_disk_that_is_full(
    do: Do, script: str, tables: list[Path], model: Path, weights: Path, tmp_path: Path
) -> None:
    """A quota on files stands in for it: it ends in the middle of a figure, or of the weights."""
    output = tmp_path / "out"
    command = (script, *words(script, output, tables, model, weights))
    refused(do(*command, fsize=SCRIPTS[script]), f"cannot write {output}", "File too large")
    assert half_written(output) == []
    assert not list(output.rglob("*.safetensors"))
    assert not (output / LOCK).exists()
    assert do(*command)["code"] == 0, "and with room it is as if nothing had happened"


@pytest.mark.parametrize("script", SCRIPTS)
def test_results_onto_a_disk_that_is_read_only(
    do: Do, script: str, tables: list[Path], model: Path, weights: Path, small_disk: Disk
) -> None:
    disk, remount = small_disk
    remount("ro")
    told = do(script, *words(script, disk / "out", tables, model, weights))
    remount("rw")
    refused(told, "cannot write", "Read-only file system")


@pytest.mark.parametrize("script", ["evaluate_predictions", "ensemble"])
def test_two_processes_write_results_into_one_folder(
    do: Do, script: str, tables: list[Path], model: Path, weights: Path, tmp_path: Path
) -> None:
    """The second would mix its files with the first's; afterwards it replaces them."""
    output = tmp_path / "out"
    command = (script, *words(script, output, tables, model, weights))
    assert do(*command)["code"] == 0
    before = digests(output)
    with alone(output / LOCK, "writing"):
        refused(do(*command), f"another process is writing into {output}")
    assert digests(output) == before
    assert do(*command)["code"] == 0


def test_an_export_onto_a_disk_that_is_full(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(wrapper: object, inputs: object, names: object, path: Path) -> Callable:
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")  # as torch tells

    monkeypatch.setattr(exporting, "_write_pt2", full)
    with pytest.raises(UserError, match=r"cannot write .*out\.pt2: .*unexpected pos.*; choose another place or free"):
        exporting.export(*load_checkpoint(str(model)), tmp_path / "out.pt2")
    assert list(tmp_path.iterdir()) == []


def test_files_take_their_places_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def write(folder: Path) -> None:
        (folder / "a").write_text("new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match=r"cannot write .*No space left"), disk_errors(tmp_path):
        put_files(tmp_path, write)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"
    with pytest.raises(RuntimeError, match="of another kind"), disk_errors(tmp_path):
        raise RuntimeError("of another kind")


def killed_at(moment: int, folder: Path, contents: dict[str, str]) -> bool:
    """`put_files` in a process that ends before its step number `moment`, as by SIGKILL; whether it came to that."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    steps = iter(range(moment + 1000))

    def ends(real: Callable) -> Callable:
        def step(*given: object, **more: object) -> object:
            if next(steps) == moment:
                os._exit(9)  # nothing is cleaned up
            return real(*given, **more)

        return step

    try:
        for name in ("replace", "unlink", "rmdir"):
            setattr(os, name, ends(getattr(os, name)))
        put_files(folder, lambda made: [(made / name).write_text(text) for name, text in contents.items()])
    finally:
        os._exit(0)


OLD = dict.fromkeys(
    ("config.json", "preprocessor_config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"),
    "old",
)
NEW = {"config.json": "new", "model.safetensors": "new", "preprocessor_config.json": "new"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("old", "new"), [(OLD, NEW), (NEW, {**NEW, "model.safetensors": "newer"}), (NEW, OLD), ({}, NEW)]
)
def test_a_kill_never_combines_a_new_configuration_with_old_weights(old: dict, new: dict, tmp_path: Path) -> None:
    """Killed before each of its steps; what there is then is old, new or cannot be loaded, and is completed later."""

    def there(folder: Path) -> dict[str, str]:
        return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}

    endings, killed, moment = set(), True, 0
    while killed:
        folder = tmp_path / str(moment)
        folder.mkdir()
        for name, text in {**old, "metrics.json": "mine"}.items():
            (folder / name).write_text(text)
        killed = killed_at(moment, folder, new)
        found = there(folder)
        assert found.pop("metrics.json") == "mine"
        kind = "old" if found == old else "new" if found == new else "none"
        endings.add(kind)
        assert kind != "none" or "config.json" not in found, (moment, found)
        if kind == "none":
            with pytest.raises(UserError, match="killed while it replaced it; run its command again"):
                load_checkpoint(str(folder))
        finish_files(folder)
        assert there(folder) in ({**old, "metrics.json": "mine"}, {**new, "metrics.json": "mine"})
        put_files(folder, lambda made: [(made / name).write_text(text) for name, text in new.items()])
        assert there(folder) == {**new, "metrics.json": "mine"}
        assert sorted(path.name for path in folder.iterdir()) == sorted([*new, "metrics.json"])
        moment += 1
        assert moment < 40
    assert {"old", "new"} <= endings or not old
    assert moment > 4


def test_an_error_while_files_are_moved_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NEW:
        (tmp_path / name).write_text("old")
    real, moved = os.replace, []

    def failing(source: Path, target: Path) -> None:
        moved.append(target)
        if len(moved) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="Input/output error"):
        put_files(tmp_path, lambda made: [(made / name).write_text(text) for name, text in NEW.items()])
    assert not (tmp_path / "config.json").exists()
    monkeypatch.setattr(os, "replace", real)
    finish_files(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == NEW
