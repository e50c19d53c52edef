"""A folder of runs goes to a Hub on loopback, is read back, and costs nothing the second time."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hub_server import CLOSE, Fault, HubServer
from huggingface_hub import ModelCard, parse_eval_result_entries

from ger_datasets.support.errors import UserError
from ger_models.sharing.runs import find_runs, push_runs

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "hf_testtokentesttoken"
# from a dataset on the Hub to two runs, their ensemble and a report, as a user would make them, and back to the Hub:
# one process, as each that starts costs seconds
MAKE = """
import json, sys
import ensemble, evaluate_predictions, predict, push, train
from ger_datasets.support.command_line import run
from ger_models.training import run_report

run_report.plot_curves = lambda *_: b"no picture"  # drawing takes half of a training

def script(module, *words, code=0):
    try:
        run(module.main, module.Arguments, list(words))
    except SystemExit as stop:
        assert stop.code == code, (module, words, stop.code)

script(push, "--dataset", sys.argv[1], "--repo", "me/sample")
common = ("--model", "features_crossvit", "--dataset", "me/sample", "--epochs", "1", "--batch_size", "9")
script(train, *common, "--output_dir", "runs/first")
script(train, *common, "--output_dir", "runs/other/seed_0", "--init_from", "runs/first")
runs = ("runs/first", "runs/other/seed_0")
script(predict, "--model", *runs, "--dataset", "me/sample", "--split", "validation", "test", "--output_dir", "tables")
tables = ("tables/first.parquet", "tables/seed_0.parquet")
script(ensemble, "--predictions", *tables, "--members", *runs, "--nested_folds", "0", "--output_dir", "runs/ensemble")
report = ("--dataset", "me/sample", "--split", "test", "--output_dir", "runs/report")
script(evaluate_predictions, "--predictions", *tables, *report, "--model_card", "runs/first/README.md")
for code in (2, 0, 0):
    script(push, "--run_all", "runs", "--org", "me", code=code)
"""
USE = """
import re
from pathlib import Path
from huggingface_hub import hf_hub_download

for repo in ("me/first", "me/other-seed_0", "me/ensemble"):
    card = Path(hf_hub_download(repo, "README.md")).read_text()
    (code,) = re.findall(r"```python\\n(.*?)```", card, re.S)
    print(repo)
    exec(code)
"""


@pytest.mark.slow
def test_everything_is_pushed_resumed_and_read_back(drawn_dataset: Path, drawn_raw: Path, tmp_path: Path) -> None:
    photo = next(drawn_raw.rglob("*.jpg"))
    shutil.copy(photo, tmp_path / "party.jpg")
    with HubServer(tmp_path / "hub", token=TOKEN) as hub:
        environment = hub.environment(tmp_path / "home", PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'scripts'}")

        def python(*words: object) -> subprocess.CompletedProcess:
            command = [sys.executable, *map(str, words)]
            return subprocess.run(
                command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=170, check=False
            )

        hub.faults.append(Fault("POST /api/models/me/first/commit", CLOSE, times=3))  # the first push ends there
        made = python("-c", MAKE, drawn_dataset)
        assert made.returncode == 0, made.stderr[-3000:]
        done, again = (json.loads(line) for line in made.stdout.splitlines()[-2:])
        assert list(done["models"]) == ["ensemble", "first", "other-seed_0"]
        assert list(done["reports"]) == ["report"]
        assert again == done
        assert made.stderr.count("nothing has changed") == 1 + 4, "the one before the refusal, then all"
        repos = hub.store.repos
        assert all(repo["private"] for repo in repos.values())
        weights = [line for line in hub.log if line.startswith("PUT /_lfs/")]
        assert weights
        assert len(weights) == len(set(weights)), "what had arrived was not sent again"
        answers = python("-c", USE)
        assert answers.returncode == 0, answers.stderr[-3000:]
        assert answers.stdout.count("'label'") == 3
        contents = {
            key: {name: (hub.store.blobs / file["sha256"]).read_bytes() for name, file in tree.items()}
            for key in repos
            for tree in [hub.store.tree(key, repos[key]["refs"]["main"])]
        }
    check_contents(contents, repos["datasets/me/sample"]["refs"]["main"])
    for key, files in contents.items():
        for name, content in files.items():
            assert str(tmp_path).encode() not in content, (key, name)
    assert TOKEN not in made.stdout + made.stderr


def check_contents(contents: dict[str, dict[str, bytes]], revision: str) -> None:
    """The cards and figures say where things are, in the formats that the Hub reads."""
    first, other, whole = (
        ModelCard(contents[f"models/me/{name}"]["README.md"].decode())
        for name in ("first", "other-seed_0", "ensemble")
    )
    for card in (first, other, whole):
        assert card.data.library_name == "transformers"
        assert card.data.pipeline_tag == "image-classification"
        assert card.data.eval_results
    assert first.data.datasets == other.data.datasets == ["me/sample"]
    assert other.data.base_model == ["me/first"]
    assert whole.data.base_model == ["me/first", "me/other-seed_0"]
    splits = {result.dataset_split: result for result in first.data.eval_results if result.metric_type == "accuracy"}
    assert "chosen on this split" in splits["validation"].metric_name
    assert (splits["test"].dataset_type, splits["test"].dataset_revision) == ("me/sample", revision)
    figures = contents["models/me/first"][".eval_results/me--sample_test.yaml"]
    (entry,) = parse_eval_result_entries(yaml.safe_load(figures))
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("me/sample", "test", revision)
    assert entry.value == pytest.approx(splits["test"].metric_value, abs=1e-4)
    assert {"README.md", "report.html", "report.json"} <= set(contents["spaces/me/report"])
    front = yaml.safe_load(contents["spaces/me/report"]["README.md"].decode().split("---\n")[1])
    assert (front["sdk"], front["app_file"]) == ("static", "report.html")
    assert front["models"] == ["me/ensemble", "me/first", "me/other-seed_0"]
    assert "ensemble.json" in contents["models/me/ensemble"]


def make_run(folder: Path, finished: bool = True) -> None:
    folder.mkdir(parents=True)
    for name in ("config.json", "preprocessor_config.json", "model.safetensors", "README.md", "run.json"):
        (folder / name).write_text("{}")
    (folder / "metrics.json").write_text(json.dumps({"finished": finished, "stages": {}}))


def test_what_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b" / "seed_1")
    make_run(tmp_path / "c", finished=False)
    (tmp_path / "raw").mkdir()
    found = {each.name: set(each.files) for each in find_runs(tmp_path)}
    files = {"config.json", "preprocessor_config.json", "model.safetensors", "metrics.json"}
    assert found == {"a": files, "b-seed_1": files}
    assert re.search(r"c is not finished and is left out", caplog.text)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        push_runs(tmp_path / "none", "me")
    with pytest.raises(UserError, match="no finished run, ensemble or report lies in it"):
        push_runs(tmp_path, "me")
    make_run(tmp_path / "a")
    with pytest.raises(UserError, match="has no b: there are a"):
        push_runs(tmp_path, "me", ["b"])
    (tmp_path / "a" / "metrics.json").write_text("[1")
    with pytest.raises(UserError, match=r"metrics.json cannot be read"):
        push_runs(tmp_path, "me")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--run_all", "runs"), "--run_all DIR --org ORG belong together"),
        (("--run_all", "runs", "--org", "me", "--dataset", "d", "--repo", "me/d"), "say one of"),
        (("--run_all", "runs", "--org", "me", "--revision", "x"), "--revision is for one repository"),
        (("--dataset", "d", "--repo", "me/d", "--names", "a"), "--names is for --run_all"),
        ((), "say one of --dataset DIR --repo ORG/NAME"),
    ],
)
def test_options_that_do_not_go_together(run_script, words: tuple[str, ...], message: str) -> None:
    code, _, told = run_script("push", *words)
    assert code == 2
    assert message in told
