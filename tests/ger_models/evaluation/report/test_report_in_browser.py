"""The report's page in headless Chromium: what is chosen is shown, it fits a phone, and nothing complains."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, chromium
from PIL import Image
from several_models import LANDSCAPE, NAMES, models, pictures

from ger_models.evaluation.report.writing import write_report

pytestmark = pytest.mark.slow

PHONE = 390  # pixels
SHOWN = """[...document.querySelectorAll("article")].filter(e => e.offsetParent !== null).map(e => e.id)"""
CHOOSE = """{ const e = document.getElementById("picker").elements.%s; e.value = "%s";
  e.dispatchEvent(new Event("change", { bubbles: true })); }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("no Chromium here: the page is not looked at in a browser")
    opened = Browser(program)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models and their ensemble on two splits, with pictures."""
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, models(), ["test", "validation"], ensemble=LANDSCAPE, show=pictures, note="drawn")
    return folder / "report.html"


def test_what_is_chosen_is_shown(browser: Browser, page: Path) -> None:
    browser.errors.clear()
    browser.open(page)
    assert browser.value("document.getElementById('picker').offsetParent !== null")
    assert browser.value(SHOWN) == ["result-0-0"]
    browser.value(CHOOSE % ("model", 2))
    assert browser.value(SHOWN) == ["result-2-0"]
    browser.value(CHOOSE % ("split", 1))
    assert browser.value(SHOWN) == ["result-2-1"]
    overview = "[...document.querySelectorAll('h2')].filter(e => e.offsetParent !== null).map(e => e.textContent)"
    assert browser.value(overview)[0] == "Models on validation"
    browser.value('document.querySelector(\'[data-split="1"] a[data-row="3"]\').click()')
    browser.value("new Promise(done => setTimeout(done, 100))")
    assert browser.value(SHOWN) == ["result-3-1"]
    assert browser.value("document.getElementById('picker').elements.model.value") == "3"
    images = "[...document.querySelectorAll('article:not([hidden]) .mistakes svg')].map(e => e.getBBox().width > 90)"
    assert browser.value(images)
    assert all(browser.value(images))
    assert browser.errors == []


def test_without_scripts_everything_is_shown(browser: Browser, page: Path) -> None:
    browser.errors.clear()
    browser.open(page, scripts=False)
    tree = browser.ask("DOM.getDocument", depth=0)["root"]["nodeId"]
    found = browser.ask("DOM.querySelectorAll", nodeId=tree, selector="article")["nodeIds"]
    heights = [browser.ask("DOM.getBoxModel", nodeId=node)["model"]["height"] for node in found]
    assert len(heights) == 8
    assert min(heights) > 1000


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone(browser: Browser, page: Path, dark: bool) -> None:
    browser.errors.clear()
    browser.open(page, PHONE, dark=dark)
    assert browser.value("document.scrollingElement.scrollWidth") <= PHONE
    picture = Image.open(io.BytesIO(browser.screenshot())).convert("L")
    assert picture.width == PHONE
    paper = np.bincount(np.asarray(picture).ravel()).argmax()
    assert paper < 60 if dark else paper > 240
    assert browser.errors == []


def test_one_model_with_long_names(browser: Browser, tmp_path: Path) -> None:
    browser.errors.clear()
    long = {"model": "a-very-long-name-of-a-model-" * 3, "note": "a" * 300}
    write_report(tmp_path, models(names=[f"{name}ness-without-end" for name in NAMES], **long)[1], "test")
    browser.open(tmp_path / "report.html", PHONE)
    assert browser.value("document.scrollingElement.scrollWidth") <= PHONE
    assert browser.errors == []
