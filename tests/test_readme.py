"""The READMEs: both hold the same commands, and each command works on small data, offline.

What a user would run for hours is made small here and nowhere else: `SMALLER` is appended to the commands of a script.
The two commands that make a venv, under <!-- demo --> and <!-- test -->, are run by .ci/run.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ger_datasets.sample.drawing import draw_photo, draw_sample
from ger_datasets.support.commands import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md")}
ELSEWHERE = ("demo", "test")  # the markers of the commands that .ci/run runs
SMALLER = {
    "prepare": ["--num_proc", "1"],
    "train": ["--config_overrides", "backbone=test_resnet", "--epochs", "1", "--initial_weights", "random"],
}


def blocks(page: str, language: str, marked: bool = False) -> list[str]:
    """The contents of the fenced blocks; those under a marker only where they are asked for."""
    found = re.findall(rf"(<!-- (\w+) -->\n)?```{language}\n(.*?)\n```", page, re.S)
    return [content for _, marker, content in found if marked == (marker in ELSEWHERE)]


def commands(page: str) -> list[list[str]]:
    """The shell commands, as words; a backslash at the end of a line goes on in the next."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip() and not line.startswith("#")]


def without_comments(block: str) -> list[str]:
    return [line.partition("  #")[0].rstrip() for line in block.splitlines()]


def test_both_languages_hold_the_same_commands() -> None:
    english, chinese = PAGES.values()
    assert commands(english) == commands(chinese)
    assert len(commands(english)) >= 5
    assert blocks(english, "bash", marked=True) == blocks(chinese, "bash", marked=True)
    assert len(blocks(english, "bash", marked=True)) == len(ELSEWHERE)
    assert [*map(without_comments, blocks(english, "python"))] == [*map(without_comments, blocks(chinese, "python"))]
    assert re.findall(r"^<!-- .* -->$", english, re.M) == re.findall(r"^<!-- .* -->$", chinese, re.M)
    assert english.count("\n## ") == chinese.count("\n## ")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_readme_names_is_there(page: str) -> None:
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", PAGES[page]) if "://" not in link}
    named = set(re.findall(r"(?:scripts|docs|benchmarks)/\w+\.\w+", PAGES[page])) - {"scripts/NAME.py"} | links
    assert len(named) >= 6
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert ({*PAGES} - {page}) <= links


@pytest.mark.slow
def test_every_command_and_example_works(
    run_script: Callable, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, in one folder: what a command leaves is what the next one, and then the Python, takes."""
    from ger_models.presets import build

    draw_sample(tmp_path / "RAW", {"train": 6, "validation": 3, "test": 6}, seed=1)
    rng = np.random.default_rng(0)
    (tmp_path / "team").mkdir()
    for name in ("a.jpg", "b.jpg", "party.jpg", "team/a.jpg"):
        draw_photo(rng, "Positive", 2)[0].save(tmp_path / name)
    for name, overrides in (("face_aligned", "channels=8"), ("features_crossvit", "")):
        model, processor = build(name, ["Negative", "Neutral", "Positive"], overrides=overrides)
        for part in (model, processor):
            part.save_pretrained(tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)

    for words in commands(PAGES["README.md"]):
        if words[0] == "pip":  # .ci/run installs
            continue
        if words[0] == "group-emotion":
            monkeypatch.setattr(sys, "argv", list(sys.argv))
            with pytest.raises(SystemExit) as stop:
                main(words[1:])
            assert stop.value.code == 0, words
            continue
        if words[:2] == ["accelerate", "launch"]:
            words = ["python", *words[2:]]
        assert words[0] == "python", words
        name = Path(words[1])
        assert name.parent == Path("scripts")
        code, figures, log = run_script(name.stem, *words[2:], *SMALLER.get(name.stem, ()))
        assert code == 0, (words, log)
        assert figures

    names: dict = {}
    for block in blocks(PAGES["README.md"], "python"):
        exec(block, names)
    assert names["logits"].shape == (4, 3)
    answer = names["recognise"]("party.jpg")
    assert (tmp_path / "answers" / "team" / "a.jpg").exists()
    assert (tmp_path / "answers.csv").read_text().count("\n") == 3
    assert answer["label"] in ("Negative", "Neutral", "Positive")
    assert {"score", "scores", "faces", "face_count"} <= answer.keys()
    assert (tmp_path / "runs" / "ensemble" / "model.safetensors").exists()
    assert Image.open(next((tmp_path / "pictures").glob("*.png"))).height > 100
