"""The pages under docs/: every link leads somewhere, every page and script is in the index, every name is known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ger_datasets.builders import BUILDERS
from ger_datasets.legacy.source import FOLDERS
from ger_models.presets import ALIASES, PRESETS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
INDEX = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
MIGRATION = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")


def anchor(heading: str) -> str:
    """What a heading is called in a link, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        file, _, part = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if part:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
            assert part in map(anchor, headings), link


def test_every_page_and_script_is_in_the_index() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([\w.]+\.md)\)", INDEX))
    scripts = {script.name for script in (ROOT / "scripts").glob("*.py")} - {"demo.py"}
    assert scripts <= set(re.findall(r"`(\w+\.py)`", INDEX))


def test_every_page_is_in_the_navigation_of_the_site_and_every_dataset_has_one() -> None:
    named = set(re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert named - {"reference/commands.md", "reference/python.md"} == pages
    datasets = {Path(page).stem for page in pages if page.startswith("data/")} - {"README", "README.zh"}
    assert datasets == set(BUILDERS) - {"sample"}


def test_the_migration_table_names_what_there_is() -> None:
    for folder in FOLDERS:
        assert f"| `{folder}/" in MIGRATION
    for number, name in ALIASES.items():
        assert f"| `{name}` or `{number}` |" in MIGRATION
    assert set(re.findall(r"`((?:face|fusion|features|densenet|resnet|efficientnet)_\w+)`", MIGRATION)) - {
        "face_boxes", "face_scores", "face_landmarks", "face_features", "face_crops",
    } <= set(PRESETS)  # fmt: skip
    assert set(re.findall(r"--dataset (\w+)", MIGRATION)) == {"gaf3", "emotic", "group_scene"} <= set(BUILDERS)
