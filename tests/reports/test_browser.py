"""The pages in a real browser: scripts, requests, sorting, names, contrast, narrow screens."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.browser,
    # The driver leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REQUIRED = "CELEBATTR_TEST_BROWSER"
"""Environment variable: set, a missing browser is a failure."""

PAGES = ("full", "bare", "training", "labels")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set and no chromium is found: apt-get install chromium")
        pytest.skip("no chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory,
    full_page: str,
    bare_page: str,
    training_page: str,
    labels_page: str,
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    texts = dict(zip(PAGES, (full_page, bare_page, training_page, labels_page), strict=True))
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in PAGES}


def opened(browser: Any, file: Path, width: int = 1200, theme: str = "light") -> Any:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
    page.troubles = []
    page.on("console", lambda message: page.troubles.append(message.text))
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("request", lambda request: page.troubles.append(request.url))
    page.goto(file.as_uri())
    return page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_disk_without_errors_and_asks_for_nothing(
    browser: Any, files: dict[str, Path], name: str
) -> None:
    page = opened(browser, files[name])
    others = [one for one in page.troubles if one != files[name].as_uri()]
    assert [one for one in others if not one.startswith("data:image/jpeg")] == []
    assert files[name].stat().st_size < 5_000_000
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_a_phone(browser: Any, files: dict[str, Path], name: str) -> None:
    page = opened(browser, files[name], width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.close()


@pytest.mark.parametrize(
    ("name", "theme"),
    [("full", "light"), ("full", "dark"), ("training", "light"), ("labels", "light")],
)
def test_axe_finds_nothing_in_either_theme(
    browser: Any, files: dict[str, Path], name: str, theme: str
) -> None:
    """Names, roles, headings, tables and the contrast of text, by WCAG 2.2 A and AA."""
    from axe_playwright_python.sync_playwright import Axe

    page = opened(browser, files[name], theme=theme)
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    # The second theme has the same names and tables: its colours alone are looked at.
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    rules = tags if theme == "light" else {"type": "rule", "values": ["color-contrast"]}
    found = Axe().run(page, options={"runOnly": rules}).response
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]] == []
    checked = {one["id"] for one in found["passes"]}
    assert "color-contrast" in checked
    assert theme == "dark" or {"image-alt", "empty-table-header"} <= checked
    assert theme == "dark" or name == "labels" or "svg-img-alt" in checked
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(int(part) for part in background[4:-1].split(",")) > 3 * 128
    assert light == (theme == "light")
    page.close()


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) =>
      v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = light(getComputedStyle(document.body).backgroundColor);
  const fills = new Set([...document.querySelectorAll('svg.chart text')].map(
    (text) => getComputedStyle(text).fill));
  return [...fills].map((fill) => {
    const text = light(fill);
    return (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
  });
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_in_charts_has_contrast_too(browser: Any, files: dict[str, Path], theme: str) -> None:
    page = opened(browser, files["full"], theme=theme)
    ratios = page.evaluate(CONTRAST)
    assert len(ratios) >= 2
    assert min(ratios) >= 4.5
    page.close()


def test_the_button_changes_the_theme(browser: Any, files: dict[str, Path]) -> None:
    page = opened(browser, files["bare"])
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.click("#theme")
    assert page.evaluate(colour) != before
    assert page.text_content("#theme") == "Light theme"
    page.click("#theme")
    assert page.evaluate(colour) == before
    page.close()


def test_the_table_sorts_by_keyboard_and_says_so(browser: Any, files: dict[str, Path]) -> None:
    page = opened(browser, files["full"])

    def column(number: int) -> list[str]:
        cells = page.locator(f"#attributes tbody tr > :nth-child({number})")
        return list(cells.evaluate_all("cells => cells.map(cell => cell.dataset.value)"))

    heads = page.locator("#attributes thead th")
    accuracy = heads.nth(2)
    assert accuracy.get_attribute("aria-sort") is None
    accuracy.locator("button").focus()
    page.keyboard.press("Enter")
    values = [float(value) for value in column(3)]
    assert values == sorted(values, reverse=True)
    assert accuracy.get_attribute("aria-sort") == "descending"
    assert page.text_content("#attributes-status") == "Sorted by accuracy, highest first"
    page.keyboard.press("Enter")
    assert [float(value) for value in column(3)] == sorted(values)
    assert accuracy.get_attribute("aria-sort") == "ascending"

    heads.nth(0).locator("button").click()
    assert column(1) == sorted(column(1), key=str.lower)
    assert accuracy.get_attribute("aria-sort") is None
    heads.nth(5).locator("button").click()  # F1, undefined for one: last, both ways
    assert column(6)[-1] == ""
    heads.nth(5).locator("button").click()
    assert column(6)[-1] == ""
    assert page.locator("#attributes tfoot tr").count() == 1
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_chart_and_picture_has_a_name(
    browser: Any, files: dict[str, Path], name: str
) -> None:
    page = opened(browser, files[name])
    charts = page.locator("svg").all()
    assert len(charts) == {"full": 10, "bare": 2, "training": 5, "labels": 0}[name]
    for chart in charts:
        assert chart.get_attribute("role") == "img"
        names = str(chart.get_attribute("aria-labelledby")).split()
        title, text = (page.text_content(f"[id='{one}']") for one in names)
        assert len(title) >= 4
        assert len(text) > 20
    for picture in page.locator("img").all():
        assert picture.get_attribute("alt")
        assert picture.evaluate("image => image.naturalWidth") == 110
    page.close()


def test_choosing_an_attribute_shows_its_curves_alone(browser: Any, files: dict[str, Path]) -> None:
    page = opened(browser, files["full"])
    page.select_option("#choice", label="Smiling")
    shown = page.evaluate(
        "[...document.querySelectorAll('[data-series]')].filter("
        "part => getComputedStyle(part).display !== 'none').map(part => part.dataset.series)"
    )
    # Three charts with a curve, one with four, three captions, one table.
    assert shown == ["31"] * (3 + 4 + 3 + 1)
    assert "Smiling: area 90.00" in page.inner_text("#curves")
    assert page.text_content("#chart-roc-title") == "ROC curve of Smiling"
    page.close()


def test_without_its_script_a_page_still_shows_everything(
    browser: Any, files: dict[str, Path]
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(files["full"].as_uri())
    assert page.locator("#theme").is_hidden()
    assert page.locator("#chart-roc-title").count() == 1
    assert page.locator("svg.chart g.shown").count() == 3 + 4
    assert page.locator("#attributes tbody tr").count() == 40
    context.close()


def test_on_paper_the_page_is_light_and_holds_the_model_card(
    browser: Any, files: dict[str, Path]
) -> None:
    page = opened(browser, files["full"], theme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert sum(int(part) for part in ink[4:-1].split(",")) < 3 * 80
    assert page.locator("#card h4").first.is_visible()
    assert page.locator("#theme").is_hidden()
    page.close()
