"""What goes wrong around pushing: nothing half shows on the Hub, and the same command completes it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from faults import TOKEN, Disk, Do, digests, refused
from hub_server import Fault, HubServer

FILES = 4  # the card and a shard for each split


def pushing(dataset: Path, repo: str) -> tuple:
    return ("push", "--dataset", dataset, "--repo", repo)


def trees(hub: HubServer, repo: str) -> list[int]:
    """How many files each commit shows, the first first."""
    return [len(commit["tree"]) for commit in hub.store.repos[f"datasets/{repo}"]["commits"].values()]


@pytest.fixture
def dataset(drawn_dataset: Path, tmp_path: Path) -> Path:
    """A dataset whose files the Hub has never seen."""
    folder = tmp_path / "dataset"
    shutil.copytree(drawn_dataset, folder)
    import pyarrow.parquet as pq

    for path in (folder / "data").glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"of": tmp_path.name}), path)
    return folder


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_pushing_that_is_killed_told_to_end_or_interrupted(
    do: Do, hub: HubServer, dataset: Path, number: int, code: int
) -> None:
    repo = f"me/ended-{code % 256}"
    hub.faults.append(Fault("PUT /_lfs/", delay=3, after=1))  # one arrives, the others are on their way
    before = digests(dataset)
    told = do(*pushing(dataset, repo), signal=number, after=str(hub.store.blobs / ("?" * 64)))
    assert told["sent"]
    assert told["code"] == code, told["stderr"]
    assert trees(hub, repo) == [0], "nothing shows until all has arrived"
    assert digests(dataset) == before
    hub.faults.clear()
    assert do(*pushing(dataset, repo))["code"] == 0
    assert trees(hub, repo) == [0, FILES]


def test_pushing_writes_nothing_and_does_not_mind_the_clock(do: Do, hub: HubServer, dataset: Path) -> None:
    """Hence no disk can be too full for it; with the limit not even a cache could grow."""
    before = digests(dataset)
    told = do(*pushing(dataset, "me/clock"), clock=True, fsize=20_000)
    assert told["code"] == 0, told["stderr"]
    assert trees(hub, "me/clock") == [0, FILES]
    assert digests(dataset) == before


def test_pushing_from_a_read_only_disk(do: Do, hub: HubServer, dataset: Path, small_disk: Disk) -> None:
    disk, remount = small_disk
    remount("size=20m")
    shutil.copytree(dataset, disk / "dataset")
    remount("ro")
    told = do(*pushing(disk / "dataset", "me/readonly"))
    remount("rw")
    assert told["code"] == 0, told["stderr"]
    assert trees(hub, "me/readonly") == [0, FILES]


def test_two_processes_push_to_one_repository(do: Do, hub: HubServer, dataset: Path) -> None:
    """Both see the repository empty; whoever commits second is refused, or finds all of it there."""
    hub.faults.append(Fault("POST /api/datasets/me/twice/commit", delay=0.5, times=1))
    words = pushing(dataset, "me/twice")
    told = do(*words, beside=words)
    answers = sorted((told, told["beside"]), key=lambda each: each["code"])
    assert answers[0]["code"] == 0, told
    if answers[1]["code"]:
        refused(answers[1], "somebody else changed me/twice meanwhile (412): run the same command again")
    assert trees(hub, "me/twice") == [0, FILES], "one commit, with everything"
    assert do(*words)["code"] == 0
    assert trees(hub, "me/twice") == [0, FILES]


def test_a_hub_that_never_answers(do: Do, hub: HubServer, dataset: Path) -> None:
    hub.faults.append(Fault("POST /api/datasets/me/silent/preupload", delay=60))
    told = do(*pushing(dataset, "me/silent"), silence=0.2, hasty=True)
    refused(told, f"the connection to {hub.url} failed", "run the same command again")
    assert trees(hub, "me/silent") == [0]


def test_a_hub_that_asks_for_a_long_wait_is_not_waited_for(do: Do, hub: HubServer, dataset: Path) -> None:
    hub.faults.append(Fault("POST /api/datasets/me/busy/preupload", 429, wait=86_400))
    told = do(*pushing(dataset, "me/busy"), hasty=True)
    refused(told, "the Hub fails (429): run the same command again later")
    assert TOKEN not in told["stderr"]
