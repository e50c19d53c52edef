"""The READMEs: both hold the same commands, and each command works as pasted on small data, offline.

The two commands that make a venv, under <!-- demo --> and <!-- test -->, and `pip install` are run by .ci/run.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ger_datasets.sample.drawing import draw_photo, draw_sample
from ger_datasets.support.commands import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md")}
ELSEWHERE = ("demo", "test")  # the markers of the commands that .ci/run runs
MOST_LINES = 150
# a line of `group-emotion`, as the README shows two
ANSWER = re.compile(r"\S+ +((Negative|Neutral|Positive) [01]\.\d\d  \d+ faces?: .+|no face found: nothing is known)")


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
    named = (
        set(re.findall(r"(?:scripts|docs|benchmarks)/[\w/]+\.(?:zh\.)?\w+", PAGES[page])) - {"scripts/NAME.py"} | links
    )
    assert len(named) >= 6
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert ({*PAGES} - {page}) <= links


def test_a_readme_is_short_and_its_page_shows_three_lines_of_each_language() -> None:
    assert all(page.count("\n") <= MOST_LINES for page in PAGES.values())
    first = [blocks(PAGES["README.md"], language)[0].splitlines() for language in ("bash", "python")]
    assert [sum(map(bool, lines)) for lines in first] == [3, 3]


def parameter_counts(page: str) -> dict[str, int]:
    """Model -> parameters, from the table of models."""
    rows = re.findall(r"^\| `(\w+)`[^|]*\|[^|]+\| ([\d,]+) \|", page, re.M)
    return {name: int(count.replace(",", "")) for name, count in rows}


def test_the_tables_of_models_state_the_true_numbers_of_parameters(starter: Path) -> None:
    import torch
    from safetensors import safe_open

    from ger_models.presets import build

    english, chinese = map(parameter_counts, PAGES.values())
    assert english == chinese
    assert len(english) >= 10
    with safe_open(starter / "model.safetensors", "pt") as file:
        sizes = {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict
    buffers = re.compile("running_mean|running_var|num_batches_tracked")
    assert english.pop("starter") == sum(size for name, size in sizes.items() if not buffers.search(name))
    for name, count in english.items():
        with torch.device("meta"):
            model, _ = build(name, ["Negative", "Neutral", "Positive"])
        assert sum(weight.numel() for weight in model.parameters()) == count, name


def test_every_accuracy_in_the_table_of_models_is_in_the_results() -> None:
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    english, chinese = ([*re.findall(r"\b0\.\d{3}\b", page)] for page in PAGES.values())
    assert english == chinese
    assert len(english) >= 10
    assert [figure for figure in english if figure not in results] == []


@pytest.mark.slow
def test_every_command_and_example_works_as_pasted(
    run_script: Callable,
    starter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In order, in one folder: what a command leaves is what the next one, and then the Python, takes. The
    drawn photos are fewer than those that prepare.py would draw."""
    draw_sample(tmp_path / "drawn", {"train": 12, "validation": 6, "test": 6}, seed=1)
    rng = np.random.default_rng(0)
    (tmp_path / "team").mkdir()
    for name in ("party.jpg", "team/a.jpg"):
        draw_photo(rng, "Positive", 2)[0].save(tmp_path / name)
    monkeypatch.chdir(tmp_path)

    for words in commands(PAGES["README.md"]):
        if words[0] == "pip":  # .ci/run installs
            continue
        if words[0] == "group-emotion":
            monkeypatch.setattr(sys, "argv", list(sys.argv))
            with pytest.raises(SystemExit) as stop:
                main(words[1:])
            assert stop.value.code == 0, words
            *answers, figures = capsys.readouterr().out.splitlines()
            assert len(answers) == json.loads(figures)["photos"] == 2
            assert [line for line in answers if not ANSWER.fullmatch(line)] == []
            continue
        if words[:2] == ["accelerate", "launch"]:
            words = ["python", *words[2:]]
        assert words[0] == "python", words
        name = Path(words[1])
        assert name.parent == Path("scripts")
        code, figures, log = run_script(name.stem, *words[2:])
        assert code == 0, (words, log)
        assert figures

    (shown,) = blocks(PAGES["README.md"], "text")
    assert [line for line in shown.splitlines() if not ANSWER.fullmatch(line)] == []
    names: dict = {}
    for block in blocks(PAGES["README.md"], "python"):
        exec(block, names)
    assert names["logits"].shape == (4, 3)
    assert (tmp_path / "answers" / "team" / "a.jpg").exists()
    assert (tmp_path / "answers.csv").read_text().count("\n") == 3
    assert names["answer"]["label"] in ("Negative", "Neutral", "Positive")
    assert {"score", "scores", "faces", "face_count"} <= names["answer"].keys()
    assert (tmp_path / "report" / "report.html").exists()


def test_the_example_of_the_page_on_ensembles_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ger_models.presets import build

    for name, overrides in (("face_aligned", "channels=8"), ("features_crossvit", "")):
        for part in build(name, ["Negative", "Neutral", "Positive"], overrides=overrides):
            part.save_pretrained(tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "ensembles.md").read_text(encoding="utf-8")
    (example,) = blocks(page, "python")
    exec(example.replace("densenet_emotic", "features_crossvit"), {})
    assert (tmp_path / "runs" / "ensemble" / "model.safetensors").exists()
