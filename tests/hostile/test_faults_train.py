"""What goes wrong around training costs neither a step nor a file, and a Hub that fails never costs the run."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from faults import Disk, Do, refused, training
from hub_server import CLOSE, Fault, HubServer

from ger_datasets.support.locks import LOCK, alone


def test_training_with_a_jumping_clock_and_onto_a_read_only_disk(
    do: Do, drawn_dataset: Path, tmp_path: Path, small_disk: Disk
) -> None:
    disk, remount = small_disk
    for name, happens in (("calm", {}), ("jumping", {"clock": True})):
        told = do(*training(drawn_dataset, tmp_path / name, "--epochs", 2), **happens)
        assert told["code"] == 0, told["stderr"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("calm", "jumping")]
    assert weights[0] == weights[1]
    remount("ro")
    refused(do(*training(drawn_dataset, disk / "run")), "Read-only file system")
    remount("rw")


def test_two_processes_train_into_one_folder(do: Do, drawn_dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    words = training(drawn_dataset, output, "--epochs", 1)
    with alone(output / LOCK, "training"):
        for more in ((), ("--resume",)):
            told = do(*words, *more)
            refused(told, f"another process is training into {output}: wait until it has ended")
            assert [path.name for path in output.iterdir()] == [LOCK]
    (output / LOCK).touch()  # of a process that was killed
    assert do(*words)["code"] == 0
    assert not (output / LOCK).exists()
    refused(do(*words), "is not empty: --resume continues it")


def test_a_loader_whose_worker_is_killed(do: Do, drawn_dataset: Path, tmp_path: Path) -> None:
    options = ("--epochs", 3, "--batch_size", 3, "--save_steps", 1, "--num_workers", 1)
    assert do(*training(drawn_dataset, tmp_path / "calm", *options))["code"] == 0
    words = training(drawn_dataset, tmp_path / "run", *options)
    checkpoints = str(tmp_path / "run" / "checkpoints" / "checkpoint_*")
    told = do(*words, signal=signal.SIGKILL, victim="worker", after=checkpoints)
    assert told["sent"]
    refused(told, "a worker process that decodes photos was killed", "--resume")
    assert do(*words, "--resume")["code"] == 0
    weights = {(tmp_path / name / "model.safetensors").read_bytes() for name in ("calm", "run")}
    assert len(weights) == 1, "to the bit what a run that nobody disturbed has"


FAULTS = [
    Fault("POST /api/models/.*/commit", 500),
    Fault("POST /api/models/.*/preupload", 429, wait=86_400),  # come back tomorrow
    Fault("PUT /_lfs/", cut=1000),
    Fault("GET /api/models/", CLOSE),
    Fault("POST /api/repos/create", delay=60),  # never answers
]


@pytest.mark.parametrize("seed", range(len(FAULTS)), ids=["500", "429", "cut", "closed", "silent"])
def test_a_hub_that_fails_does_not_cost_the_run(
    do: Do, hub: HubServer, drawn_dataset: Path, tmp_path: Path, seed: int
) -> None:
    """Training ends as it should, says what was not pushed, and the same command with --resume pushes it."""
    repo = f"me/run-{seed}"
    hub.faults.append(FAULTS[seed])
    options = ("--epochs", 1, "--seed", seed)  # so that the Hub has not seen these weights
    words = training(drawn_dataset, tmp_path / "run", *options, "--push_to_hub", repo)
    told = do(*words, hasty=True, silence=0.5)
    assert told["code"] == 0, told["stderr"]
    assert '"pushed": false' in told["stdout"]
    assert "a push failed: " in told["stderr"]
    assert f"was NOT pushed to {repo}" in told["stderr"]
    assert not list((tmp_path / "run").glob(".push_*"))
    repository = hub.store.repos.get(f"models/{repo}", {"commits": {}})
    assert all(commit["tree"] == {} for commit in repository["commits"].values()), "nothing half shows"
    hub.faults.clear()
    told = do(*words, "--resume")
    assert '"pushed": true' in told["stdout"], told["stderr"]
    assert len(hub.store.tree(f"models/{repo}", hub.store.repos[f"models/{repo}"]["refs"]["main"])) == 7


def test_a_hub_that_recovers_while_a_run_is_pushed(
    do: Do, hub: HubServer, drawn_dataset: Path, tmp_path: Path
) -> None:
    hub.faults += [
        Fault("POST /api/repos/create", 500, times=1),
        Fault("GET /api/models/me/recovers", CLOSE, times=1),
        Fault("PUT /_lfs/", cut=1000, times=1),
        Fault("PUT /_lfs/", 429, times=1, wait=86_400),
        Fault("POST /api/models/me/recovers/commit", delay=0.2),
    ]
    options = ("--epochs", 1, "--seed", len(FAULTS))
    words = training(drawn_dataset, tmp_path / "run", *options, "--push_to_hub", "me/recovers")
    told = do(*words, hasty=True)
    assert '"pushed": true' in told["stdout"], told["stderr"]
