"""The page in a browser, with Playwright and the system's Chromium; skipped, with the reason, where one is missing."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from PIL import Image

pytest.importorskip("gradio", reason="the extra `app` is not installed")
pytestmark = pytest.mark.slow

MS = 40_000  # that anything on the page may take


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if program is None or sync_playwright is None:
        missing = "Chromium" if program is None else "Playwright"
        print(f"THE PAGE OF THE APP IS NOT TESTED: {missing} is not installed", file=sys.__stderr__)
        pytest.skip(f"the page of the app is not tested: {missing} is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def open_page(app: Any, browser: Any) -> Callable:
    @contextmanager
    def opened(**options: Any) -> Iterator[Any]:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options})
        page = context.new_page()
        page.set_default_timeout(MS)
        page.problems = []
        page.on("request", lambda request: page.problems.append(request.url)
                if not request.url.startswith((app.url, "data:", "blob:")) else None)  # fmt: skip
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(app.url)
        page.wait_for_selector("#recognise")
        yield page
        assert page.problems == []  # no address of another server, no error
        context.close()

    return opened


def recognise(page: Any, file: Path) -> str:
    """Upload a photo and ask; the words of the answer."""
    page.set_input_files("#photo input[type=file]", str(file))
    page.wait_for_selector("#photo button[aria-label]")
    page.wait_for_load_state("networkidle")
    page.click("#recognise")
    return page.wait_for_selector(".ge-answer, .ge-message").inner_text()


def test_a_photo_gets_a_label_faces_and_a_picture(open_page: Callable, party: Path) -> None:
    with open_page() as page:
        words = recognise(page, party)
        assert "Positive" in words
        assert "faces count" in words
        assert page.locator(".ge-faces img").count() >= 2
        picture = page.wait_for_selector(".ge-picture img")
        page.wait_for_function("element => element.naturalWidth > 0", arg=picture)
        drawn = page.evaluate("element => [element.naturalWidth, element.naturalHeight]", picture)
        assert drawn[1] > Image.open(party).height  # the band with the answer


def test_a_photo_without_faces_and_a_broken_file(open_page: Callable, party: Path, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (90, 120, 150)).save(tmp_path / "wall.png")
    (tmp_path / "broken.jpg").write_bytes(party.read_bytes()[:900])
    with open_page() as page:
        assert "Nothing is known" in recognise(page, tmp_path / "wall.png")
    with open_page() as page:
        assert recognise(page, tmp_path / "broken.jpg").strip().startswith("This photo cannot be used: damaged")
        assert page.locator(".ge-message[role=alert]").count() == 1
    with open_page() as page:
        page.click("#recognise")
        assert page.wait_for_selector(".ge-message").inner_text() == "Choose a photo first."


def test_a_folder_gets_a_table_and_a_csv(open_page: Callable, party: Path, tmp_path: Path) -> None:
    (tmp_path / "<b>${1+1}.jpg").write_bytes(party.read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"x")
    with open_page() as page:
        page.get_by_role("tab").nth(2).click()
        page.set_input_files("#files input[type=file]", [str(party), *map(str, sorted(tmp_path.glob("*.jpg")))])
        page.wait_for_selector("#files .file-preview")
        page.click("#recognise_all")
        page.wait_for_selector(".ge-photos")
        table = page.locator(".ge-photos tbody tr").all_inner_texts()
        assert len(table) == 3
        with page.expect_download() as download:
            page.locator("#made a").first.click()
        rows = list(csv.DictReader(Path(download.value.path()).read_text("utf-8").splitlines()))
        assert [row["label"] for row in rows] == ["Positive", "Positive", ""]
        for row, shown in zip(rows, table, strict=True):
            assert shown.split("\t")[0].strip() == row["photo"]


def ask_about_video(page: Any, file: Path) -> str:
    """Upload a video and ask; the words of the answer."""
    page.get_by_role("tab").nth(1).click()
    page.set_input_files("#video input[type=file]", str(file))
    page.wait_for_selector("#video .file-preview")
    page.wait_for_load_state("networkidle")
    page.click("#recognise_video")
    return page.locator(".ge-answer:visible, .ge-message:visible").first.inner_text()


def test_a_video_gets_a_timeline_that_plays(open_page: Callable, meeting: Path) -> None:
    with open_page() as page:
        words = ask_about_video(page, meeting)
        assert words.startswith("Positive")
        assert page.locator(".ge-segments tbody tr").count() == 2
        player = page.wait_for_selector("#player video")
        page.wait_for_function("element => element.readyState >= 2", arg=player)
        assert page.evaluate("element => element.duration", player) == pytest.approx(12, abs=1)
        curve = page.frame_locator(".ge-timeline").locator("#curve")
        assert curve.get_attribute("aria-valuetext").startswith("0:00.0, 3 faces")
        curve.focus()
        page.keyboard.press("End")
        assert curve.get_attribute("aria-valuetext").startswith("0:11.5, 3 faces")
        assert page.frame_locator(".ge-timeline").locator(".lane").count() >= 3
        names = page.locator("#timeline_files .file-preview .filename").all_inner_texts()
        assert len(names) == 6
        with page.expect_download() as download:
            page.locator("#timeline_files a").nth(1).click()
        rows = list(csv.DictReader(Path(download.value.path()).read_text("utf-8").splitlines()))
        assert [row["label"] for row in rows] == ["Positive", "Neutral"]


def test_a_broken_video_gets_one_sentence_in_the_pages_language(open_page: Callable, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing" * 100)
    (tmp_path / "empty.jpg").write_bytes(b"")
    with open_page() as page:
        assert ask_about_video(page, tmp_path / "broken.mp4").startswith("This video cannot be used: no video")
        assert page.locator(".ge-timeline, #player video").count() == 0
    with open_page(locale="zh-CN") as page:
        assert ask_about_video(page, tmp_path / "broken.mp4").startswith("无法使用这段视频：不是视频")
    with open_page(locale="zh-CN") as page:
        assert recognise(page, tmp_path / "empty.jpg") == "无法使用这张照片：文件为空（0 字节）。"


@pytest.mark.parametrize(
    ("locale", "button", "answer"), [("zh-CN", "识别", "积极"), ("de-DE", "Recognise", "Positive")]
)
def test_the_language_is_the_browsers(locale: str, button: str, answer: str, open_page: Callable, party: Path) -> None:
    with open_page(locale=locale) as page:
        assert page.locator("#recognise").inner_text() == button
        assert answer in recognise(page, party)


def test_keyboard_only(open_page: Callable, party: Path) -> None:
    """From the top of the page, the tab key reaches every control, and Enter or Space use it."""
    with open_page() as page:

        def focused() -> str:
            return page.evaluate(
                "(e => [e.tagName, e.id, e.getAttribute('aria-label'), e.type, e.innerText].join(' '))"
                "(document.activeElement)"
            )

        def go_to(wanted: str) -> None:
            for _ in range(40):
                page.keyboard.press("Tab")
                if wanted.lower() in focused().lower():
                    return
            raise AssertionError(f"the tab key does not reach {wanted}")

        go_to("Photo")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        with page.expect_file_chooser() as chooser:
            go_to("upload")
            page.keyboard.press("Enter")
        chooser.value.set_files(str(party))
        page.wait_for_load_state("networkidle")
        go_to("range")
        go_to("checkbox")
        page.keyboard.press("Space")
        go_to("recognise")
        page.keyboard.press("Enter")
        assert "Positive" in page.wait_for_selector(".ge-answer").inner_text()


def test_every_control_has_a_label(open_page: Callable) -> None:
    with open_page() as page:
        for tab in range(4):
            page.get_by_role("tab").nth(tab).click()
            assert page.evaluate(UNNAMED) == []


# controls that are seen and have no name
UNNAMED = """() => [...document.querySelectorAll('input:not([type=file]):not([type=hidden]), button, textarea')]
    .filter(e => e.offsetParent && !(e.labels && e.labels.length) && !e.getAttribute('aria-label')
        && !e.title && !e.innerText.trim()).map(e => e.outerHTML.slice(0, 200))"""


# colours change slowly with the scheme
END_TRANSITIONS = """() => document.getAnimations().filter(each => each instanceof CSSTransition)
    .forEach(each => each.finish())"""


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen_and_letters_can_be_read(
    width: int, open_page: Callable, party: Path, meeting: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"x")
    with open_page(color_scheme="light", viewport={"width": width, "height": 800}) as page:
        recognise(page, party)
        for tab in range(4):
            page.get_by_role("tab").nth(tab).click()
            if tab == 1:
                ask_about_video(page, meeting)
            elif tab == 2:
                page.set_input_files("#files input[type=file]", [str(party), str(tmp_path / "broken.jpg")])
                page.wait_for_selector("#files .file-preview")
                page.click("#recognise_all")
                page.wait_for_selector(".ge-photos")
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.wait_for_function(f"document.body.classList.contains('dark') === {str(scheme == 'dark').lower()}")
                page.evaluate(END_TRANSITIONS)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert page.evaluate(CONTRAST) == [], scheme


# elements with words of their own whose contrast is below 4.5 : 1 (3 : 1 for large letters), as WCAG computes it
CONTRAST = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => { const c = [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 :
    ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0.99) return c; } return [255, 255, 255]; };
  const found = [];
  for (const e of document.querySelectorAll('.gradio-container *')) {
    if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    if (!style.color.startsWith('rgb')) continue;
    const [a, b] = [light(parse(style.color)), light(behind(e))].sort((x, y) => y - x);
    const least = size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 : 4.5;
    if ((a + 0.05) / (b + 0.05) < least) found.push([e.className, e.textContent.trim().slice(0, 40),
      style.color, ((a + 0.05) / (b + 0.05)).toFixed(2)].join(' | '));
  }
  return found;
}"""
