"""Pushing a prepared dataset to a Hub on loopback: what travels, what is refused, what an interruption costs.

huggingface_hub reads its environment when it is imported, so what talks to the server runs in children of another
process.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import CLOSE, Fault, HubServer, Store

from ger_datasets.preparation.push import LOCAL_PATH, push_dataset, refuse_local_paths
from ger_datasets.prepared import read_prepared
from ger_datasets.support.errors import UserError
from ger_datasets.support.hub_connection import told_plainly

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "hf_testtokentesttoken"


class Done(NamedTuple):
    """How a client ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


STEPS = """
import json, os, sys
from pathlib import Path
from datasets import load_dataset
from ger_datasets.support.errors import UserError
from ger_datasets.preparation.push import push_dataset

def push(*arguments, **options):
    try:
        return push_dataset(Path(arguments[0]), *arguments[1:], **options)
    except UserError as error:
        return str(error)

def rows(**options):
    splits = load_dataset("me/sample", **options)
    return {split: [[row["image_id"], row["label"], row["face_boxes"], row["image"].size] for row in splits[split]]
            for split in splits}

first, second, told = sys.argv[1], sys.argv[2], {}
"""


# Runs code in children of a process that has imported what they need
CLIENT = """
import json, sys
from datasets import load_dataset
from transformers import HfArgumentParser
import ger_datasets.preparation.push, ger_models
sys.path.append(sys.argv[1])  # after these imports: it has folders of the same names
from forked import forked

def run(code, *words):
    sys.argv = ["-c", *words]
    exec(code, {"__name__": "__main__"})

print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(forked(run, *json.loads(line)).wait()), flush=True)
"""


@pytest.fixture(scope="module")
def running_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub"), token=TOKEN) as server:
        yield server


@pytest.fixture
def hub(running_hub: HubServer, tmp_path: Path) -> HubServer:
    """A Hub without repositories."""
    running_hub.store = Store(tmp_path / "hub")
    running_hub.log.clear()
    running_hub.faults = []
    return running_hub


@pytest.fixture(scope="module")
def client(running_hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Done]]:
    """`client(code, *words)`: Python code with these arguments, in the environment of a user of `hub`."""
    home = tmp_path_factory.mktemp("home")
    driver = subprocess.Popen(
        [sys.executable, "-c", CLIENT, ROOT / "tests"], env=running_hub.environment(home), cwd=home, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert driver.stdout.readline() == "ready\n"

    def call(*words: object) -> Done:
        print(json.dumps(list(map(str, words))), file=driver.stdin, flush=True)
        return Done(*json.loads(driver.stdout.readline()))

    yield call
    driver.stdin.close()
    driver.wait(timeout=30)


@pytest.fixture
def dataset(drawn_dataset: Path, tmp_path: Path) -> Path:
    """A copy of the drawn dataset, cut into two train shards, to be changed."""
    folder = tmp_path / "dataset"
    shutil.copytree(drawn_dataset, folder)
    cut(folder, "train", 2)
    return folder


def cut(folder: Path, split: str, count: int) -> None:
    """Write the shards of `split` anew as `count`."""
    (*old,) = sorted((folder / "data").glob(f"{split}-*.parquet"))
    table = pa.concat_tables(pq.read_table(path) for path in old)
    for path in old:
        path.unlink()
    for i in range(count):
        part = table.slice(i * len(table) // count, (i + 1) * len(table) // count - i * len(table) // count)
        pq.write_table(part, folder / "data" / f"{split}-{i:05d}-of-{count:05d}.parquet")


def puts(log: list[str]) -> list[str]:
    return [line.split("/_lfs/")[1] for line in log if line.startswith("PUT /_lfs/")]


def test_push_load_and_push_again(hub: HubServer, client: Callable, dataset: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(dataset, changed)
    cut(changed, "train", 3)
    (dataset / "frames").mkdir()
    (dataset / "frames" / "secret.jpg").write_bytes(b"raw")
    script = f"""{STEPS}
told["first"] = push(first, "me/sample")
told["whole"] = rows()
told["streamed"] = rows(streaming=True)
told["same"] = push(first, "me/sample")
told["second"] = push(second, "me/sample")
told["now"] = rows(revision="main")
told["then"] = rows(revision=told["first"]["commit"])
told["branch"] = push(first, "me/sample", revision="old shards")
told["public"] = push(first, "me/sample", private=False)
print(json.dumps(told))
"""
    done = client(script, dataset, changed)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])

    assert {split: len(rows) for split, rows in told["whole"].items()} == {"train": 18, "validation": 6, "test": 6}
    assert told["whole"] == told["streamed"] == told["then"] == told["now"]
    repo = hub.store.repos["datasets/me/sample"]
    assert repo["private"] is True
    commits = repo["commits"]
    assert set(commits[told["first"]["commit"]]["tree"]) == {
        "README.md",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/validation-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
    }
    sizes = [path.stat().st_size for path in (dataset / "README.md", *(dataset / "data").iterdir())]
    assert told["first"] == {
        "repo": "me/sample",
        "url": f"{hub.url}/datasets/me/sample",
        "commit": told["first"]["commit"],
        "files": 5,
        "bytes": sum(sizes),
        "private": True,
    }
    assert told["same"] == told["first"], "nothing has changed: no commit"
    shards = [f"data/train-0000{i}-of-00003.parquet" for i in range(3)]
    tree = commits[told["second"]["commit"]]["tree"]
    assert [path for path in tree if "train" in path] == shards, "the shards of before are gone"
    assert commits[told["second"]["commit"]]["parent"] == told["first"]["commit"]
    assert repo["refs"] == {"main": told["second"]["commit"], "old shards": told["branch"]["commit"]}
    assert len(puts(hub.log)) == 4 + 3, "each file was uploaded once"
    assert "me/sample is private and was to be public: nothing was uploaded" in told["public"]


def test_an_upload_that_was_interrupted_goes_on(hub: HubServer, client: Callable, dataset: Path) -> None:
    script = f"""{STEPS}
print(json.dumps(push(first, "me/sample")))
"""
    hub.faults = [Fault("PUT /_lfs/", 403, after=2)]
    done = client(script, dataset, "")
    assert "403" in json.loads(done.stdout), done.stderr
    arrived = {path.name for path in hub.store.blobs.iterdir() if len(path.name) == 64}
    (commit,) = hub.store.repos["datasets/me/sample"]["commits"].values()
    assert (len(arrived), commit["tree"]) == (2, {}), "nothing shows until all has arrived"

    hub.log.clear()
    hub.faults = [Fault("PUT /_lfs/", CLOSE, times=1), Fault("PUT /_lfs/", 500, times=1)]  # tried again within the run
    done = client(script, dataset, "")
    told = json.loads(done.stdout)
    assert told["files"] == 5, told
    tree = hub.store.repos["datasets/me/sample"]["commits"][told["commit"]]["tree"]
    missing = {file["sha256"] for file in tree.values() if file["lfs"]} - arrived
    assert len(missing) == 2
    assert set(puts(hub.log)) == missing
    assert len(puts(hub.log)) == 4


def test_a_hub_that_is_busy_slow_or_cuts_the_connection(hub: HubServer, client: Callable, dataset: Path) -> None:
    """What passes is waited for, what stays is told; the whole dataset is there in the end, and never a part of it."""
    hub.faults = [
        Fault("PUT /_lfs/", cut=1000, times=2),  # in the middle of an upload
        Fault("PUT /_lfs/", 429, times=1),
        Fault("PUT /_lfs/", 500, times=1),
        Fault("PUT /_lfs/", delay=0.5, times=1),
        Fault("POST /api/datasets/me/busy/commit", 429, times=1),
        Fault("POST /api/datasets/me/lost/commit", cut=10, times=1),
        Fault("GET /api/datasets/me/slow", delay=0.5),
    ]
    script = f"""{STEPS}
for repo in ("me/busy", "me/busy", "me/lost", "me/lost", "me/slow"):
    print(json.dumps(push(first, repo)))
"""
    done = client(script, dataset, "")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == 5
    assert TOKEN not in done.stdout + done.stderr
    refused = [answer for answer in told if isinstance(answer, str)]
    assert all("run the same command again" in answer for answer in refused), refused
    for repo, answer in (("me/busy", told[1]), ("me/lost", told[3]), ("me/slow", told[4])):
        commits = hub.store.repos[f"datasets/{repo}"]["commits"]
        assert len(commits[answer["commit"]]["tree"]) == 5
        assert sorted({len(commit["tree"]) for commit in commits.values()}) == [0, 5], "nothing, then everything"


def test_what_the_hub_refuses_is_told_in_one_line(hub: HubServer, client: Callable, dataset: Path) -> None:
    bad = "hf_badtokenbadtoken"
    hub.faults = [
        Fault("POST /api/datasets/me/fails/commit", 500),
        Fault("POST /api/datasets/me/breaks/commit", CLOSE),
        Fault("POST /api/datasets/me/forbids/", 403),
        Fault("POST /api/datasets/me/races/commit", 412),
        Fault("GET /api/datasets/me/hides", 404),
        Fault("POST /api/datasets/me/minds/", 418),
    ]
    cases = [
        (TOKEN, "me/fails", "the Hub fails (500)"),
        (TOKEN, "me/breaks", f"the connection to {hub.url} failed"),
        (TOKEN, "me/forbids", "does not let this token write to me/forbids (403)"),
        (TOKEN, "me/races", "somebody else changed me/races meanwhile (412)"),
        (TOKEN, "me/hides", "me/hides is not there, or this token may not see it (404)"),
        (TOKEN, "me/minds", "the Hub refuses (418): made to fail with 418"),
        (bad, "me/sample", "the Hub does not accept the token (401)"),
        (bad + "é", "me/sample", "the token holds characters that no token has"),
        (bad + "\x07", "me/sample", "the Hub does not accept the token (401)"),
        ("", "me/sample", "the Hub asks for a token (401)"),
        (TOKEN, "sample", "must read ORG/NAME"),
        (TOKEN, "me/my sample", "must read ORG/NAME"),
        (TOKEN, "../me/sample", "must read ORG/NAME"),
    ]
    script = """
import contextlib, io, json, os, runpy, sys, time
real = time.sleep
time.sleep = lambda seconds: real(min(seconds, 0.01))  # between the many tries
_, script, dataset, cases = sys.argv
for token, repo in json.loads(cases):
    os.environ["HF_TOKEN"] = token
    sys.argv = [script, "--dataset", dataset, "--repo", repo]
    written = io.StringIO()
    with contextlib.redirect_stderr(written), contextlib.suppress(SystemExit):
        runpy.run_path(script, run_name="__main__")
    print(json.dumps(written.getvalue()))
"""
    asked = json.dumps([case[:2] for case in cases])
    done = client(script, ROOT / "scripts" / "push.py", dataset, asked)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for (_, repo, words), written in zip(cases, lines, strict=True):
        error = written.splitlines()[-1]  # after what is being done, and progress bars
        assert error.startswith("error: "), written
        assert "Traceback" not in written
        assert words in error, repo
        assert bad not in written
        assert TOKEN not in written


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "README.md, data missing; run prepare.py to its end"),
        (lambda folder: (folder / "README.md").unlink(), "README.md missing"),
        (lambda folder: (folder / "README.md").write_text("my notes"), "not a card that prepare wrote"),
        (lambda folder: (folder / "README.md").write_text("---\na: [\n---\n"), "not a card that prepare wrote"),
        (lambda folder: (folder / "data" / ".test-00000-of-00001.parquet.1.tmp").touch(), "unfinished files"),
        (lambda folder: (folder / "data" / "more.parquet").touch(), "move it away"),
        (lambda folder: (folder / "data" / "train-00001-of-00002.parquet").unlink(), "of the split train, 1 missing"),
        (lambda folder: (folder / "data" / "train-00000-of-00001.parquet").touch(), "1 and 2 shards at once"),
        (
            lambda folder: (folder / "data" / "test-00000-of-00001.parquet").unlink(),
            "train 18, validation 6, test 6",
        ),
        (lambda folder: cut_off(folder / "data" / "test-00000-of-00001.parquet"), "cannot be read"),
        (lambda folder: rewrite(folder, lambda table: table.append_column("x", table["group"])), "other columns or"),
        (lambda folder: rewrite(folder, lambda table: table.drop_columns("group")), "lacks the columns group"),
    ],
)
def test_what_is_not_a_finished_dataset_is_refused(dataset: Path, change: Callable, words: str) -> None:
    change(dataset)
    with pytest.raises(UserError, match=words) as refusal:
        push_dataset(dataset, "me/sample")
    assert "\n" not in str(refusal.value)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def rewrite(folder: Path, change: Callable[[pa.Table], pa.Table], split: str = "test") -> None:
    for path in (folder / "data").glob(f"{split}-*.parquet"):
        pq.write_table(change(pq.read_table(path)), path)


def with_column(name: str, value: object) -> Callable[[pa.Table], pa.Table]:
    """Puts `value` into the last row of the column `name`."""

    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(name)
        values = [*table[name].to_pylist()[:-1], value]
        return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))

    return change


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda folder: (folder / "README.md").open("a").write("\nFrom /data/raw/gaf3.\n"), "README.md names"),
        (lambda folder: (folder / "README.md").open("a").write(f"\n{Path.home()}\n"), "README.md names"),
        (
            lambda folder: rewrite(
                folder, lambda t: t.replace_schema_metadata({**t.schema.metadata, b"a": b"C:\\Users"})
            ),
            "test-00000-of-00001",
        ),
        (lambda folder: rewrite(folder, with_column("image_id", "/data/raw/pos_1.jpg")), "test-00000-of-00001"),
        (lambda folder: rewrite(folder, with_column("image", {"bytes": b"", "path": "/data/a.jpg"})), "'/data/a.jpg'"),
        (lambda folder: rewrite(folder, with_column("face_crops", [{"bytes": b"", "path": "~/a.jpg"}])), "'~/a.jpg'"),
    ],
)
def test_paths_of_this_machine_never_travel(dataset: Path, change: Callable, where: str) -> None:
    refuse_local_paths(read_prepared(dataset))
    change(dataset)
    with pytest.raises(UserError, match=f"{where}.*nothing was uploaded"):
        refuse_local_paths(read_prepared(dataset))


@pytest.mark.parametrize(
    "text",
    [
        "Negative / Neutral / Positive",
        "train/Positive/pos_1",
        "https://a.org/b/c",
        "and/or/not",
        "[x](https://a.b/c/d)",
    ],
)
def test_what_is_no_path(text: str) -> None:
    assert not LOCAL_PATH.search(text)


def test_terms_are_told(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The subprocesses' environment is not this one's: here the Hub is switched off."""
    with (dataset / "README.md").open("a") as card:
        card.write("\n**Terms.** For academic use;\nnot to be passed on.\n\nMore.\n")
    for private, words in (
        (True, "private: For academic use; not"),
        (False, "PUBLIC, although .* not to be passed on."),
    ):
        caplog.clear()
        with caplog.at_level("INFO"), pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
            push_dataset(dataset, "me/sample", private=private)
        assert re.match(words, caplog.messages[0])
        assert caplog.records[0].levelname == ("INFO" if private else "WARNING")


def test_a_token_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(UserError, match=r"b'Bearer \.\.\.'$"), told_plainly("me/sample", "http://hub"):
        raise ValueError(f"Illegal header value b'Bearer {TOKEN}'")
