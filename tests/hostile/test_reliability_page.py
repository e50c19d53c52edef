"""docs/reliability.md names tests that there are, and leaves out no fault at any step."""

from __future__ import annotations

import re
from pathlib import Path

from checks import LEAST
from parsers import PARSERS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
STEPS = ["prepare", "train", "predict", "push"]
FAULTS = ("SIGKILL", "SIGTERM", "Ctrl-C", "disk is full", "read-only", "clock", "worker", "two processes")
AT_THE_HUB = ("429 or 500", "slow", "cut")


def rows() -> list[list[str]]:
    """The cells of every table's rows, without their heads."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|") and "shown by" not in line]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if "---" not in line]


def test_each_fault_has_a_test_that_there_is() -> None:
    assert len(rows()) > 50
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.M)
    }
    for row in rows():
        named = re.findall(r"`(test_\w+)`", row[-1])
        assert named or row[-2].startswith("does not apply: "), f"no test, and no word why: {row}"
        assert set(named) <= there, f"no such test: {row}"


def test_each_fault_is_told_at_each_step() -> None:
    faults: dict[str, list[str]] = {}
    for row in rows():
        if row[0].startswith("**"):
            told = faults.setdefault(row[0].strip("*"), [])
        elif row[0]:
            break  # the table of all faults at all steps has ended
        told.append(row[1])
    assert all(steps == STEPS for steps in faults.values()), faults
    for fault in (*FAULTS, *AT_THE_HUB):
        assert any(fault in name for name in faults), f"{fault} is missing"


def test_the_numbers_of_hostile_files_are_those_of_the_tests() -> None:
    assert f"the package's own {len(PARSERS)} parsers" in PAGE
    stated = re.findall(r"`(test_\w+)`\s([\d,]+)[,.]", PAGE)
    assert {name: int(number.replace(",", "")) for name, number in stated} == LEAST
