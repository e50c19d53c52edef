"""What goes wrong around preparing, signals, disks, clocks, other processes, costs neither a row nor a file."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from faults import Disk, Do, digests, half_written, preparing, refused

from ger_datasets.preparation.run import prepare
from ger_datasets.support.errors import UserError
from ger_datasets.support.locks import alone


def test_preparing_told_to_end_and_with_a_jumping_clock(do: Do, raw_folder: Path, tmp_path: Path) -> None:
    assert do(*preparing(raw_folder, tmp_path / "calm"))["code"] == 0
    calm, output = digests(tmp_path / "calm"), tmp_path / "out"
    shard = str(output / "data" / "*.parquet")
    told = do(*preparing(raw_folder, output), signal=signal.SIGTERM, after=shard)
    assert told["sent"]
    assert told["code"] == 143, told["stderr"]
    assert half_written(output) == []
    assert not list(output.glob(".*.lock"))
    assert not (output / "README.md").exists()
    assert do(*preparing(raw_folder, output), clock=True)["code"] == 0
    assert digests(output) == calm, "neither the signal nor the clock shows in a byte"


def test_preparing_onto_a_disk_that_is_full_or_read_only(
    do: Do, raw_folder: Path, tmp_path: Path, small_disk: Disk
) -> None:
    disk, remount = small_disk
    assert do(*preparing(raw_folder, tmp_path / "calm"))["code"] == 0
    remount("size=40k")
    refused(do(*preparing(raw_folder, disk / "out")), "No space left on device")
    assert half_written(disk) == []
    remount("size=20m")
    assert do(*preparing(raw_folder, disk / "out"))["code"] == 0
    assert digests(disk / "out") == digests(tmp_path / "calm")
    remount("ro")
    refused(do(*preparing(raw_folder, disk / "more")), "Read-only file system")
    remount("rw")


def test_a_file_that_may_not_grow(do: Do, raw_folder: Path, tmp_path: Path) -> None:
    """A quota, as `ulimit -f` sets it: what a full disk is, for who may not mount one."""
    refused(do(*preparing(raw_folder, tmp_path / "out"), fsize=3000), "File too large")
    assert half_written(tmp_path) == []
    assert do(*preparing(raw_folder, tmp_path / "out"))["code"] == 0


def test_two_processes_prepare_into_one_folder(raw_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with alone(output / ".part-1-of-1.lock", "preparing"):
        with pytest.raises(UserError, match=r"another process is preparing into .*out: wait until it has ended"):
            prepare("gaf3", raw_folder, output, num_proc=1)
        assert not (output / "data").exists()
    assert prepare("gaf3", raw_folder, output, num_proc=1)["complete"]
    assert not list(output.glob(".*.lock"))
